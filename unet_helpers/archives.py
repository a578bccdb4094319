"""Reading one Carvana archive safely, every name and byte checked; writing to disk safely.

`sources` builds on this: an archive pair is two archives, one of photos and one of masks.
"""

from __future__ import annotations

import errno
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from unet_helpers.environment import CourseError
from unet_helpers.progress import progress_bar

STEM = re.compile(r"([0-9a-f]{12})_(0[1-9]|1[0-6])")
CHUNK = 1 << 20
# What macOS and Windows add to folders and zips on their own. Ignored, and said so.
NOISE = re.compile(r"(^|/)(__MACOSX|\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)(/|$)")
AGAIN = "delete this file and fetch or copy it again"


@dataclass(frozen=True)
class Part:
    """One half of an archive pair: its folder inside the zip and what its file names end in."""

    folder: str
    ending: str

    @property
    def example(self) -> str:
        return f"{self.folder}/<car>_<NN>{self.ending}"


PHOTOS, MASKS = Part("train", ".jpg"), Part("train_masks", "_mask.gif")
PARTS = Part("train_parts", "_parts.png")  # class indices of a car's parts, in place of its mask


def parse_stem(stem: str) -> tuple[str, int]:
    """Car and angle of a file's stem: "00087a6bd4dc_01" or "00087a6bd4dc_01_mask" -> (car, 1).

    Raises CourseError for anything but 12 hex digits, an underscore and an angle from 01 to 16.
    """
    match = STEM.fullmatch(stem.removesuffix("_mask"))
    if match is None:
        raise CourseError(
            stem,
            expected="a Carvana file name: 12 hex digits (the car), _ and an angle from 01 to 16",
            found=repr(stem),
            mend="rename the file, for example 00087a6bd4dc_01.jpg with 00087a6bd4dc_01_mask.gif",
        )
    return match[1], int(match[2])


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`, opened; a zip whose only content is a zip (train.zip.zip) is seen through.

    Raises CourseError for a missing file, one that is no zip, a truncated or a damaged one, also
    when the damage only shows while the caller reads an entry.
    """
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        found = error.strerror or str(error)
        raise CourseError(
            path, expected="a zip file", found=found, mend="check path and permissions"
        ) from error
    try:
        with zipfile.ZipFile(path) as outer:
            inner = [info for info in outer.infolist() if not NOISE.search(info.filename)]
            if len(inner) == 1 and inner[0].filename.lower().endswith(".zip"):
                with outer.open(inner[0]) as file, zipfile.ZipFile(file) as nested:
                    yield nested
            else:
                yield outer
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise CourseError(
            path, expected="a whole zip file", found=_what_is_wrong(path, error), mend=AGAIN
        ) from error


def _what_is_wrong(path: Path, error: Exception) -> str:
    if zipfile.is_zipfile(path):
        return f"a damaged one ({error})"
    with path.open("rb") as file:
        start = file.read(16)
    size = f"{path.stat().st_size:,} bytes"
    if start.startswith(b"PK"):
        return f"one cut short ({size}, and the table of contents at its end is missing)"
    if start.lstrip().startswith(b"<"):
        return f"a web page ({size})"
    return f"no zip ({size}, starting with {start!r})" if start else "an empty file"


def list_entries(archive: zipfile.ZipFile, path: Path, part: Part) -> dict[str, zipfile.ZipInfo]:
    """File name -> zip entry, in the archive's order; what macOS and Windows add is left out.

    Raises CourseError for an entry that would leave the target folder (.., an absolute path, a
    drive, a link), a name that is not Carvana's, a name twice, an encrypted entry, an empty zip.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if reason := _why_unsafe(info):
            raise CourseError(
                f"{path}, entry {info.filename!r}",
                expected="only files that stay inside the target folder",
                found=reason,
                mend="do not unpack this zip; get it again from a source you trust",
            )
        if info.is_dir() or NOISE.search(info.filename):
            continue
        folder, _, name = info.filename.rpartition("/")
        if folder != part.folder or not is_named_like(name, part):
            raise _wrong_name(path, part, info.filename)
        if name in entries or info.flag_bits & 1:
            found = "the same name twice" if name in entries else "an encrypted file"
            raise CourseError(
                f"{path}, entry {info.filename!r}",
                expected="every file once and readable",
                found=found,
                mend=AGAIN,
            )
        entries[name] = info
    if not entries:
        raise CourseError(path, expected=f"files {part.example}", found="none", mend=AGAIN)
    return entries


def _why_unsafe(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link" if kind == stat.S_IFLNK else "a device or pipe"
    # zipfile tidies names up (cuts at NUL); the original name is what the sender wrote.
    for name in (info.filename, info.orig_filename):
        if "\0" in name:
            return "a name with a NUL byte"
        if PureWindowsPath(name).anchor:  # covers /etc, \\host\share and C:
            return "an absolute path"
        if ".." in re.split(r"[\\/]", name):
            return "a path with .."
    return None


def list_folder(folder: Path, part: Part) -> dict[str, Path]:
    """File name -> path of an unpacked archive folder, sorted. Raises CourseError as for a zip."""
    files = {}
    for path in sorted(folder.iterdir()):
        if NOISE.search(path.name):
            continue
        if not path.is_file() or not is_named_like(path.name, part):
            raise _wrong_name(folder, part, path.name)
        files[path.name] = path
    if not files:
        raise CourseError(
            folder, expected=f"files {part.example}", found="an empty folder", mend="fill it"
        )
    return files


def is_named_like(name: str, part: Part) -> bool:
    """Whether a file name is Carvana's for this part: <car>_<NN> and the part's ending."""
    return name.endswith(part.ending) and STEM.fullmatch(name.removesuffix(part.ending)) is not None


def _wrong_name(path: Path, part: Part, name: str) -> CourseError:
    return CourseError(
        path,
        expected=f"nothing but files {part.example} (12 hex digits, an angle from 01 to 16)",
        found=repr(name),
        mend="remove or rename that file; the course reads Carvana's format only",
    )


def report_noise(archive: zipfile.ZipFile, path: Path) -> None:
    """Print one line when entries added by macOS or Windows are left out: nothing in silence."""
    count = sum(1 for info in archive.infolist() if NOISE.search(info.filename))
    if count:
        print(f"{path.name}: {count} entries that macOS or Windows added are left out")


def check_crc(path: Path, part: Part, progress: bool = True) -> int:
    """Read every entry of a zip once, checksums compared; returns the number of files.

    Raises CourseError that names the first damaged entry.
    """
    with open_archive(path) as archive:
        entries = list_entries(archive, path, part)
        report_noise(archive, path)
        for info in progress_bar(entries.values(), f"checking {path.name}", disable=not progress):
            with archive.open(info) as file:
                while file.read(CHUNK):  # zipfile compares the checksum at the end of an entry
                    pass
    return len(entries)


def unwrap_nested(path: Path, to: Path) -> None:
    """Move the zip at `path` to `to`, taken out of its wrapping if it is a zip inside a zip."""
    with zipfile.ZipFile(path) as outer:
        inner = [info for info in outer.infolist() if not NOISE.search(info.filename)]
        if len(inner) == 1 and inner[0].filename.lower().endswith(".zip"):
            plain = path.with_name("unwrapped.zip")
            with outer.open(inner[0]) as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            path = plain
    path.replace(to)


def crc_of(file: BinaryIO) -> int:
    """CRC-32 of an open file, read in pieces."""
    value = 0
    while chunk := file.read(CHUNK):
        value = zlib.crc32(chunk, value)
    return value


def check_free_disk(folder: Path, needed: int) -> None:
    """Raise CourseError when the disk of `folder` (or its nearest parent) has too little left."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise CourseError(
            folder,
            expected=f"{needed / 1e6:,.0f} MB of free disk",
            found=f"{free / 1e6:,.0f} MB",
            mend="free some space or choose a folder on another disk",
        )


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn a failure to write (read-only, not a folder, disk full) into a CourseError."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise CourseError(
            target,
            expected="enough room to write" if full else "a folder that can be written to",
            found=error.strerror or str(error),
            mend="free some space or choose a folder on another disk"
            if full
            else "choose a folder of your own, or change its permissions",
        ) from error
