"""The commands that go through folders of photos: finding them, and `submit`.

As in `cli`, what needs torch is imported inside the functions.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from .environment import CourseError, pick_device

if TYPE_CHECKING:
    import numpy as np

PHOTO_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
AHEAD = 4  # photos that are decoded while the network is busy with an earlier one


def find_photos(words: Sequence[str]) -> list[Path]:
    """The photos to predict, folders opened; all are checked before the first one is predicted."""
    photos: list[Path] = []
    for path in map(Path, words):
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in PHOTO_ENDINGS)
        if not inside or not path.exists():
            raise CourseError(
                path,
                expected="a photo, or a folder of photos",
                found="a folder without photos" if path.is_dir() else "no such file",
                mend="check the path",
            )
        photos += inside
    stems: dict[str, Path] = {}
    for path in photos:
        first = stems.setdefault(path.stem, path)
        if first.resolve() != path.resolve():
            raise CourseError(
                path,
                expected="photos of different names",
                found=f"the same name as {first}, so their masks would overwrite each other",
                mend="predict them in two calls with different --to folders",
            )
    return list(stems.values())


def add_submit_options(parser: argparse.ArgumentParser) -> None:
    """The options of `submit`."""
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="best.pt or last.pt of a run")
    add("--photos", metavar="DIR", type=Path, required=True, help="the folder of the test photos")
    add("--to", metavar="FILE", type=Path, required=True, help="the .csv.gz to write; "
        "after an interruption the same call goes on where it stopped")  # fmt: skip
    add("--sample", metavar="FILE", type=Path, help="sample_submission.csv(.gz): names and order "
        "of the rows (default: all photos of DIR, sorted); --send needs it")  # fmt: skip
    add("--flips", action="store_true", help="ask about every photo's mirror image as well")
    add("--window", metavar="HxW", type=_size, help="ask window by window at full resolution, such "
        "as 512x768, for a network trained on photos of that scale")  # fmt: skip
    add("--send", metavar="MESSAGE", help="upload the file to Kaggle, with this line beside it")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 512x768 (height x width)")
    return int(found[1]), int(found[2])


def submit(options: argparse.Namespace) -> int:
    """Predict every photo, write the submission, and send it if that was asked for."""
    from . import submission
    from .checkpoint import load_model
    from .decode import read_photo
    from .heap import return_large_blocks

    if options.send and not options.sample:
        raise CourseError(
            "--send",
            expected="--sample beside it, which says which photos Kaggle asks for",
            found="no --sample",
            mend="add --sample sample_submission.csv, one of the competition's files; without "
            "--send the file is written and stays here",
        )
    names = submission.read_names(options.sample) if options.sample else None
    paths = photos_by_name(options.photos, names)
    first = next(iter(paths.values()))
    size = read_photo(first).shape[:2]
    read = _reader(first, size)
    if options.window:
        _check_window(options.window, size)
    return_large_blocks()
    model, config = load_model(options.checkpoint, pick_device())
    ask = _asker(model, (config.height, config.width), options)
    digest = hashlib.sha256(options.checkpoint.read_bytes()).hexdigest()

    def predict(rest: list[str]) -> Iterator[tuple[str, np.ndarray]]:
        photos = read_ahead(read, [paths[name] for name in rest])
        return ((name, ask(photo)) for name, photo in zip(rest, photos, strict=True))

    made_by = f"{digest} {options.window} {options.flips}"
    submission.write_submission(predict, list(paths), options.to, shape=size, made_by=made_by)
    megabytes = options.to.stat().st_size / 1e6
    print(f"{len(paths):,} photos of {size[0]}×{size[1]}: {options.to}, {megabytes:.1f} MB")
    if options.send:
        print(submission.submit(options.to, options.send, list(paths), shape=size))
    return 0


def _reader(first: Path, size: tuple[int, int]) -> Callable[[Path], np.ndarray]:
    """`read_photo`, with a CourseError for a photo that is not of the first one's size."""
    from .decode import read_photo

    def read(path: Path) -> np.ndarray:
        photo = read_photo(path)
        if photo.shape[:2] != size:
            raise CourseError(
                path,
                expected=f"{size[0]}×{size[1]} (height × width), the size of {first.name}",
                found=f"{photo.shape[0]}×{photo.shape[1]}",
                mend=f"keep only photos of one size in {first.parent}",
            )
        return photo

    return read


def _check_window(window: tuple[int, int], size: tuple[int, int]) -> None:
    """The words of a shell for what `windows` would say only at the first photo."""
    from .windows import MULTIPLE, fitting_window

    fits = fitting_window(window, size)
    if window != fits:
        raise CourseError(
            f"--window {window[0]}x{window[1]}",
            expected=f"multiples of {MULTIPLE}, no larger than the photo of {size[0]}×{size[1]} "
            "(height × width)",
            found=f"{window[0]}x{window[1]}",
            mend=f"write --window {fits[0]}x{fits[1]}, or leave it out",
        )


def _asker(model, size: tuple[int, int], options: argparse.Namespace) -> Callable:
    """The function from a photo to its mask that the options ask for."""
    from .inference import predict_mask
    from .windows import mask_by_windows

    if options.window:
        return lambda photo: mask_by_windows(model, photo, options.window, flips=options.flips)
    return lambda photo: predict_mask(model, photo, size, flips=options.flips)


def photos_by_name(folder: Path, names: Sequence[str] | None) -> dict[str, Path]:
    """Name -> file, in the order of `names` (None: all photos of the folder, sorted).

    CourseError for a folder without photos, and for names without a photo. Says how many photos
    of the folder no name asks for.
    """
    there = {path.name: path for path in find_photos([str(folder)])}
    if names is None:
        return there
    if missing := [name for name in names if name not in there]:
        raise CourseError(
            folder,
            expected=f"all {len(names):,} photos that the sample names",
            found=f"{len(names) - len(missing):,} of them; the first one missing is {missing[0]}",
            mend="unpack Kaggle's test.zip (or test_hq.zip, the same, less compressed) and "
            "name its folder",
        )
    if left := len(there) - len(names):
        print(f"note: the sample does not name {left:,} of the photos in {folder}")
    return {name: there[name] for name in names}


def read_ahead(read: Callable[[Path], np.ndarray], paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """read(path) for every path, in order, a few of them ahead of time in another thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque = deque()
        for path in paths:
            waiting.append(pool.submit(read, path))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
