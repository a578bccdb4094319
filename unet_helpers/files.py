"""Writing files so that nothing that existed before can be lost."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from .environment import CourseError


def write_atomically(path: str | Path, write: Callable[[BinaryIO], Any]) -> Path:
    """Let `write(file)` fill a new file, then put it in the place of `path` in one step.

    Whoever reads `path` finds the old content or the new one, never a part of it, even after a
    power cut. Raises CourseError when the disk is full or read-only; `path` is then as it was.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as problem:
        # torch.save reports a failed write as a RuntimeError that follows the OSError.
        cause = problem if isinstance(problem, OSError) else problem.__context__
        if not isinstance(cause, OSError):
            raise
        raise _write_error(path, cause) from problem
    finally:
        with contextlib.suppress(OSError):  # usually it is gone: renamed, or never made
            part.unlink()
    return path


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut (Windows offers no such call)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network drives refuse; the rename has happened
            os.fsync(handle)
    finally:
        os.close(handle)


def _write_error(path: Path, cause: OSError) -> CourseError:
    """What to tell the learner when a file could not be written."""
    kept = f"; {path.name} is still the one from before" if path.exists() else ""
    if cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return CourseError(
            path,
            expected="room on the disk for the new file",
            found=f"a full disk{kept}",
            mend=f"free some space on the disk of {path.parent}, then start again",
        )
    reason = cause.strerror or str(cause)
    if isinstance(cause, FileExistsError | NotADirectoryError):
        reason = "a file where the folder should be"
    return CourseError(
        path,
        expected="a folder that can be written to",
        found=f"{reason}{kept}",
        mend="choose another output folder, or change the permissions of this one",
    )
