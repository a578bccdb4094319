"""Where the photos come from: the built-in studio pack, a folder of your own, or Kaggle.

An archive pair is train.zip (train/<car>_<NN>.jpg) and train_masks.zip
(train_masks/<car>_<NN>_mask.gif), or the two folders unpacked. With part labels, the second half is
train_parts.zip (train_parts/<car>_<NN>_parts.png).
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from PIL import Image

from unet_helpers.archives import (
    CHUNK,
    MASKS,
    NOISE,
    PARTS,
    PHOTOS,
    Part,
    check_crc,
    check_free_disk,
    crc_of,
    list_entries,
    list_folder,
    open_archive,
    parse_stem,
    report_noise,
    writing_to,
)
from unet_helpers.environment import CourseError, course_root, data_dir
from unet_helpers.progress import progress_bar

__all__ = [
    "ArchivePair",
    "PairReport",
    "extract_pair",
    "open_source",
    "parse_stem",
    "verify_pair",
]

LABELS = {"car": MASKS, "parts": PARTS}
COMPETITION = "carvana-image-masking-challenge"
KAGGLE_INPUT = Path("/kaggle/input")  # where a Kaggle notebook finds the data added to it
BLOCK = 4096  # a file takes whole blocks of a disk


@dataclass(frozen=True)
class ArchivePair:
    """The two halves of a source: each a .zip, or an unpacked folder train/ or train_masks/.

    labels: how the second half is named: MASKS, or PARTS for part labels.
    """

    photos: Path
    masks: Path
    name: str
    labels: Part = MASKS


@dataclass(frozen=True)
class PairReport:
    """What `verify_pair` counted; height and width are the first photo's, bytes are unpacked."""

    photos: int
    masks: int
    cars: int
    height: int
    width: int
    bytes: int

    def __str__(self) -> str:
        return (
            f"{self.photos} photos and {self.masks} masks of {self.cars} cars, "
            f"{self.height}×{self.width}, {self.bytes / 1e6:.1f} MB unpacked"
        )


def open_source(
    source: str | Path = "studio",
    download_to: Path | None = None,
    *,
    labels: str = "car",
    kaggle_input: Path = KAGGLE_INPUT,
) -> ArchivePair:
    """Find a source's archive pair: "studio" (built in), "kaggle", or a folder that holds one.

    "kaggle" takes the files a Kaggle notebook already has, else downloads them to `download_to`
    (by default data/kaggle). labels: "car" for its masks, or "parts" for the part labels that the
    built-in pack has, and that a folder may have. Raises CourseError when there is no whole pair.
    """
    if labels not in LABELS or (source == "kaggle" and labels != "car"):
        has = "car" if source == "kaggle" else " or ".join(LABELS)
        mend = "the built-in pack has part labels: source studio"
        raise CourseError(f"labels of {source}", expected=has, found=repr(labels), mend=mend)
    part = LABELS[labels]
    if source == "studio":
        mend = "restore the folder from the course's repository: git checkout -- data/studio"
        return _find_pair(course_root() / "data" / "studio", "studio", mend, part)
    if source == "kaggle":
        for folder in (kaggle_input / "competitions" / COMPETITION, kaggle_input / COMPETITION):
            if folder.is_dir():
                return _find_pair(
                    folder, "kaggle", "remove the competition's data and add it again"
                )
        from unet_helpers.kaggle_download import download_kaggle

        return download_kaggle(download_to or data_dir() / "kaggle")
    folder = Path(source).expanduser()
    mend = 'give a folder that holds both, or the word "studio" or "kaggle"'
    return _find_pair(folder, folder.resolve().name, mend, part)


def _find_pair(folder: Path, name: str, mend: str, labels: Part = MASKS) -> ArchivePair:
    """Both zips if they are there, else both unpacked folders."""
    masks = labels.folder
    expected = f"train.zip and {masks}.zip (or the folders train and {masks})"
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise CourseError(folder, expected=f"a folder with {expected}", found=found, mend=mend)
    for endings in ((".zip", ".zip.zip"), ("",)):  # Kaggle sometimes wraps a zip once more
        halves = [
            next((p for end in endings if (p := folder / f"{part.folder}{end}").exists()), None)
            for part in (PHOTOS, labels)
        ]
        if halves[0] and halves[1]:
            return ArchivePair(halves[0], halves[1], name, labels)
    names = sorted(path.name for path in folder.iterdir())
    found = ", ".join(names[:8]) + (" …" if len(names) > 8 else "") or "an empty folder"
    raise CourseError(folder, expected=expected, found=found, mend=mend)


def verify_pair(pair: ArchivePair, progress: bool = True) -> PairReport:
    """Read a pair once: checksum of every zip entry, every name, every photo with its mask.

    Raises CourseError for a damaged archive, a wrong name, and for unpaired files (all named).
    """
    for path, part in ((pair.photos, PHOTOS), (pair.masks, pair.labels)):
        if not path.is_dir():
            check_crc(path, part, progress)
    with _opened(pair.photos, PHOTOS) as photos, _opened(pair.masks, pair.labels) as masks:
        check_paired(pair, photos.sizes, masks.sizes)
        with Image.open(io.BytesIO(photos.read(next(iter(photos.sizes))))) as first:
            width, height = first.size
        stems = [name.removesuffix(PHOTOS.ending) for name in photos.sizes]
        total = sum(photos.sizes.values()) + sum(masks.sizes.values())
    cars = len({parse_stem(stem)[0] for stem in stems})
    return PairReport(len(stems), len(masks.sizes), cars, height, width, total)


def check_paired(pair: ArchivePair, photos: Iterable[str], masks: Iterable[str]) -> None:
    """Raise CourseError that names every photo without a mask and every mask without a photo."""
    with_photo = {name.removesuffix(PHOTOS.ending) for name in photos}
    with_mask = {name.removesuffix(pair.labels.ending) for name in masks}
    no_mask, no_photo = sorted(with_photo - with_mask), sorted(with_mask - with_photo)
    if no_mask or no_photo:
        found = [f"no mask for {stem}{PHOTOS.ending}" for stem in no_mask]
        found += [f"no photo for {stem}{pair.labels.ending}" for stem in no_photo]
        raise CourseError(
            f"{pair.photos} and {pair.masks.name}",
            expected="a mask for every photo and a photo for every mask",
            found=", ".join(found),
            mend="remove the unpaired files or add their other halves",
        )


@dataclass(frozen=True)
class _Half:
    """One opened half of a pair: names with sizes, and a way to read one file."""

    sizes: dict[str, int]
    entries: dict[str, ZipInfo] | None = None
    archive: ZipFile | None = None
    folder: Path | None = None

    def read(self, name: str) -> bytes:
        if self.archive is not None:
            return self.archive.read(self.entries[name])
        return (self.folder / name).read_bytes()


@contextmanager
def _opened(path: Path, part: Part) -> Iterator[_Half]:
    if path.is_dir():
        files = list_folder(path, part)
        yield _Half({name: file.stat().st_size for name, file in files.items()}, folder=path)
        return
    with open_archive(path) as archive:
        entries = list_entries(archive, path, part)
        yield _Half({name: e.file_size for name, e in entries.items()}, entries, archive, path)


def extract_pair(pair: ArchivePair, to: Path, progress: bool = True) -> Path:
    """Unpack a pair; returns `to`, which then holds train/ and train_masks/ (or train_parts/).

    Each archive is unpacked beside its target and renamed when whole, so a folder with the final
    name is always complete. Stopped half-way, the next call goes on where it was; a second call
    changes nothing. A pair that is unpacked already is returned as it is. Raises CourseError for
    unsafe or unpaired entries, a damaged zip, too little disk, a target that cannot be written
    to or that holds something else; none of these leaves half-written files or loses old ones.
    """
    to = Path(to)
    with _opened(pair.photos, PHOTOS) as photos, _opened(pair.masks, pair.labels) as masks:
        check_paired(pair, photos.sizes, masks.sizes)
        if photos.archive is None or masks.archive is None:
            return _common_folder(pair)
        halves = [(photos, PHOTOS), (masks, pair.labels)]
        todo = [(half, to / part.folder) for half, part in halves]
        todo = [(half, target) for half, target in todo if not _is_complete(target, half.sizes)]
        if todo:
            with writing_to(to):
                check_free_disk(to, sum(_bytes_left(half, target) for half, target in todo))
        for half, target in todo:
            report_noise(half.archive, half.folder)
            with writing_to(target):
                _unpack(half, target, progress)
    return to


def _common_folder(pair: ArchivePair) -> Path:
    names = (pair.photos.name, pair.masks.name)
    if pair.photos.parent == pair.masks.parent and names == (PHOTOS.folder, pair.labels.folder):
        return pair.photos.parent
    raise CourseError(
        f"{pair.photos} and {pair.masks}",
        expected=f"two zips, or two folders train and {pair.labels.folder} side by side",
        found="something else",
        mend="put both halves into one folder, in one form",
    )


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _is_complete(target: Path, sizes: dict[str, int]) -> bool:
    """Whether `target` holds exactly these files. Raises CourseError if it holds anything else."""
    if not target.exists():
        return False
    there = {}
    if target.is_dir():
        there = {p.name: p.stat().st_size for p in target.iterdir() if not NOISE.search(p.name)}
    if there == sizes:
        return True
    if target.is_dir() and not any(target.iterdir()):
        return False
    missing, extra = sizes.keys() - there.keys(), there.keys() - sizes.keys()
    changed = sum(there[name] != size for name, size in sizes.items() if name in there)
    raise CourseError(
        target,
        expected=f"nothing there yet, or the archive's {len(sizes)} files",
        found=f"{len(missing)} of them missing, {changed} of another size, {len(extra)} others",
        mend="move this folder away (nothing in it was touched) or unpack into another one",
    )


def _bytes_left(half: _Half, target: Path) -> int:
    partial, left = _partial(target), 0
    for name, size in half.sizes.items():
        if not (partial / name).is_file():
            left += -(-size // BLOCK) * BLOCK
    return left


def _unpack(half: _Half, target: Path, progress: bool) -> None:
    partial = _partial(target)
    partial.mkdir(parents=True, exist_ok=True)
    try:
        for stray in [p for p in partial.iterdir() if p.name not in half.sizes]:
            stray.unlink()  # left by a stopped run with another archive
        entries = half.entries.items()
        for name, info in progress_bar(entries, f"unpacking {target.name}", disable=not progress):
            file = partial / name
            if not _is_whole(file, info):
                with half.archive.open(info) as packed, file.open("wb") as out:
                    shutil.copyfileobj(packed, out, CHUNK)
        if target.exists():
            target.rmdir()  # empty, as _is_complete saw; Windows renames onto nothing only
        partial.rename(target)
    except Exception:  # not KeyboardInterrupt: what is unpacked then serves the next run
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _is_whole(file: Path, info: ZipInfo) -> bool:
    if not file.is_file() or file.stat().st_size != info.file_size:
        return False
    with file.open("rb") as written:
        return crc_of(written) == info.CRC
