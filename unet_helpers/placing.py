"""Putting links to original files into folders, so that nothing that was there before is lost.

A small ledger (a JSON file beside the folders) lists what was put there and with which size and
time. So a run that was killed is completed by the next one, a changed plan removes exactly what
the earlier plan made, and files of anybody else are recognised and left alone.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from unet_helpers.archives import NOISE, check_free_disk
from unet_helpers.environment import CourseError
from unet_helpers.files import write_atomically
from unet_helpers.progress import progress_bar

LEDGER = ".prepared.json"
COARSE = 2.0  # seconds; some file systems store times no finer than that
COPY_ENDING = ".copying"
# What a file system answers that has no hard links, or not to there, or not this many of them.
NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}

Stamp = tuple[int, float]  # bytes, modification time


def place(
    wanted: Mapping[str, Path],
    root: Path,
    folders: Sequence[str],
    *,
    finish: Callable[[], None],
    progress: bool = True,
) -> None:
    """Make `folders` under `root` hold links to the wanted originals and nothing else.

    wanted: path relative to root ("val_images/x.jpg") -> original. finish is called when the
    files are in place, before the work counts as finished. Nothing is written when everything is
    in place already. Raises CourseError, before anything is changed, for files in these folders
    that are not ours, or that somebody changed; OSError when the disk refuses.
    """
    stamps = {name: _stamp(original) for name, original in wanted.items()}
    ledger = _read_ledger(root)
    there = _list(root, folders)
    _refuse_foreign(root, there, ledger["files"], wanted, stamps)
    todo = [name for name in wanted if name not in there or not _same(there[name], stamps[name])]
    extra = [name for name in there if name not in wanted]
    if todo or extra or not ledger["finished"]:
        both = {name: [list(stamp)] for name, stamp in stamps.items()}
        for name, known in ledger["files"].items():
            both.setdefault(name, []).extend(known)
        _write_ledger(root, finished=False, files=both)
        for folder in folders:
            (root / folder).mkdir(exist_ok=True)
        for name in extra:
            (root / name).unlink()
        _check_disk(root, [wanted[name] for name in todo])
        for name in progress_bar(todo, "preparing", unit="file", disable=not progress or not todo):
            _put(wanted[name], root / name)
    finish()
    _write_ledger(root, finished=True, files={name: [list(s)] for name, s in stamps.items()})


def check_finished(root: Path) -> None:
    """Raise CourseError when the last `place` in this folder was stopped half-way."""
    if (root / LEDGER).exists() and not _read_ledger(root)["finished"]:
        raise CourseError(
            root,
            expected="a prepared folder",
            found="one whose preparing was stopped half-way",
            mend="prepare again with the same arguments; that completes it",
        )


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime


def _same(path: Path, stamp: Sequence[float]) -> bool:
    size, time = _stamp(path)
    return size == stamp[0] and abs(time - stamp[1]) <= COARSE


def _read_ledger(root: Path) -> dict:
    try:
        ledger = json.loads((root / LEDGER).read_text(encoding="utf-8"))
        return {"finished": bool(ledger["finished"]), "files": dict(ledger["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"finished": False, "files": {}}


def _write_ledger(root: Path, finished: bool, files: dict) -> None:
    text = json.dumps({"finished": finished, "files": files}, sort_keys=True)
    path = root / LEDGER
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, lambda file: file.write(text.encode()))


def _list(root: Path, folders: Sequence[str]) -> dict[str, Path]:
    """What the folders hold, by path relative to root."""
    there = {}
    for folder in folders:
        if not (root / folder).is_dir():
            continue
        for path in sorted((root / folder).iterdir()):
            if not NOISE.search(path.name):
                there[f"{folder}/{path.name}"] = path
    return there


def _refuse_foreign(
    root: Path,
    there: Mapping[str, Path],
    known: Mapping[str, Sequence],
    wanted: Mapping[str, Path],
    stamps: Mapping[str, Stamp],
) -> None:
    """Raise CourseError that names every file that is not ours, or not as we left it."""
    foreign = []
    for name, path in there.items():
        if not path.is_file() or path.is_symlink():
            foreign.append(name)
            continue
        base = name.removesuffix(COPY_ENDING)
        if base != name and base in known:  # a copy that was cut off
            continue
        accepted = list(known.get(name, []))
        if name in wanted and path.samefile(wanted[name]):
            accepted.append(stamps[name])
        if not any(_same(path, stamp) for stamp in accepted):
            foreign.append(name)
    if foreign:
        raise CourseError(
            root,
            expected="only files that prepare made, as it made them",
            found=f"{len(foreign)} others ({', '.join(foreign)})",
            mend="move them away (nothing was touched), or prepare into another folder",
        )


def _check_disk(root: Path, originals: Sequence[Path]) -> None:
    """Where links are impossible the files are copied: see first that they fit."""
    if originals and originals[0].stat().st_dev != root.stat().st_dev:
        check_free_disk(root, sum(path.stat().st_size for path in originals))


def _put(original: Path, target: Path) -> None:
    """Hard link, or a copy (made beside its place and renamed, so that none is ever partial)."""
    original = original.resolve()
    target.unlink(missing_ok=True)  # ours, and no longer what is wanted
    try:
        os.link(original, target)
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    copy = target.with_name(target.name + COPY_ENDING)
    try:
        shutil.copy2(original, copy)
        copy.replace(target)
    finally:
        copy.unlink(missing_ok=True)
