"""A text file in gzip that grows row by row, and goes on after a kill."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from unet_helpers.archives import writing_to
from unet_helpers.environment import CourseError

__all__ = ["continued_rows", "one_writer", "whole_rows"]


@contextlib.contextmanager
def one_writer(path: Path) -> Iterator[None]:
    """Keep a second process from writing `path` meanwhile: that one gets a CourseError."""
    beside = path.with_suffix(".lock")
    lock = FileLock(beside)
    try:
        with contextlib.suppress(NotImplementedError):  # some network drives have no locks
            lock.acquire(timeout=0)
    except Timeout as error:
        raise CourseError(
            path,
            expected="one process that writes this file",
            found="another one at work",
            mend="let that one finish, or stop it first",
        ) from error
    try:
        yield
    finally:
        lock.release()
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def continued_rows(
    path: Path, header: str, names: Sequence[str]
) -> Iterator[tuple[Callable[[str], None], int]]:
    """A function that adds a row, and how many rows an earlier, interrupted call has left.

    Rows begin with their names and a comma, in the order of `names`; an earlier row counts if it
    is whole and has the right name. A gzip stream that was cut cannot be written on, so its rows
    are copied to a new one. While that goes on, the cut one is kept as .cut, and whoever is killed
    then starts from it again. CourseError when the file cannot be written.
    """
    cut, left = path.with_suffix(".cut"), 0
    with contextlib.ExitStack() as stack:
        with writing_to(path):
            if path.exists() and not cut.exists():
                path.replace(cut)
            raw = path.open("wb")
            stack.callback(_close_quietly, raw)
            # No file name and no date inside: equal rows give equal bytes.
            file = gzip.GzipFile("", "wb", 6, raw, mtime=0)
            stack.callback(_close_quietly, file)
            file.write(f"{header}\n".encode())
            for name, row in zip(names, whole_rows(cut), strict=False):
                if not row.startswith(f"{name},".encode()):  # damaged: from here on it is new
                    break
                file.write(row)
                left += 1
            file.flush()
            cut.unlink(missing_ok=True)

        def add(row: str) -> None:
            with writing_to(path):
                file.write(row.encode())
                file.flush()  # ends a block of the gzip stream: a kill loses no finished row

        yield add, left
        with writing_to(path):
            file.close()
            raw.flush()
            os.fsync(raw.fileno())


def _close_quietly(file: IO[bytes]) -> None:
    """On a full disk closing fails as well, and it is the first error that counts."""
    with contextlib.suppress(OSError):
        file.close()


def whole_rows(path: Path) -> Iterator[bytes]:
    """The rows behind the header that a gzip file, cut anywhere, still holds to their end."""
    if not path.exists():
        return
    with gzip.open(path, "rb") as file, contextlib.suppress(EOFError, OSError, zlib.error):
        for number, row in enumerate(file):
            if number and row.endswith(b"\n"):
                yield row
