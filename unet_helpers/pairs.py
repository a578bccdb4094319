"""Which mask belongs to which photo: two folders, paired by stem."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unet_helpers.archives import NOISE
from unet_helpers.environment import CourseError

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png")
MASK_ENDINGS = (".gif", ".png")
MASK_SUFFIXES = ("_mask", "_parts")  # what the stem of a mask or of part labels may end in


@dataclass(frozen=True)
class Pair:
    """A photo and its mask: two files with one stem."""

    stem: str
    image: Path
    mask: Path


def find_pairs(image_dir: str | Path, mask_dir: str | Path) -> list[Pair]:
    """Photos and masks of two folders, paired by stem and sorted by it.

    A mask may be a GIF or a PNG, with or without "_mask" or "_parts" at the end of its stem. Raises
    CourseError for a missing or empty folder, a file that is neither, two files of one stem, and
    for unpaired files (all of them named).
    """
    photos = _by_stem(Path(image_dir), PHOTO_ENDINGS, "photos", ())
    masks = _by_stem(Path(mask_dir), MASK_ENDINGS, "masks", MASK_SUFFIXES)
    alone = [f"no mask for {photos[stem].name}" for stem in sorted(photos.keys() - masks.keys())]
    alone += [f"no photo for {masks[stem].name}" for stem in sorted(masks.keys() - photos.keys())]
    if alone:
        raise CourseError(
            f"{image_dir} and {mask_dir}",
            expected="a mask for every photo and a photo for every mask",
            found=", ".join(alone),
            mend="add the missing files, or move the unpaired ones away",
        )
    return [Pair(stem, photos[stem], masks[stem]) for stem in sorted(photos)]


def _by_stem(
    folder: Path, endings: tuple[str, ...], kind: str, suffixes: tuple[str, ...]
) -> dict[str, Path]:
    what = f"a folder of {kind} ({', '.join(endings)})"
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        mend = "check the path; `python -m unet_helpers prepare` makes these folders"
        raise CourseError(folder, expected=what, found=found, mend=mend)
    files = [path for path in sorted(folder.iterdir()) if not NOISE.search(path.name)]
    if not files:
        raise CourseError(folder, expected=what, found="an empty folder", mend="prepare it again")
    wrong = [p.name for p in files if p.suffix.lower() not in endings or not p.is_file()]
    by_stem: dict[str, Path] = {}
    for path in files:
        suffix = next((end for end in suffixes if path.stem.endswith(end)), "")
        stem = path.stem.removesuffix(suffix)
        if by_stem.setdefault(stem, path) is not path:
            wrong.append(path.name)
    if wrong:
        mend = "move these files away: nothing is skipped in silence"
        raise CourseError(folder, expected=f"{what}, one a stem", found=", ".join(wrong), mend=mend)
    return by_stem
