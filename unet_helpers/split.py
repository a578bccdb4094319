"""Train, validation and test folders from an archive pair, without leaking a car.

The sixteen photos of a car are nearly copies of each other. If some of them are trained on and
others tested on, the score says how well the network remembers that car, not how well it cuts out
a new one. So whole cars are dealt out (grouped splitting; Kapoor and Narayanan 2023, "Leakage and
the reproducibility crisis in machine-learning-based science", section on non-independence).
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unet_helpers.archives import writing_to
from unet_helpers.environment import CourseError
from unet_helpers.files import write_atomically
from unet_helpers.pairs import Pair, find_pairs
from unet_helpers.placing import check_finished, place
from unet_helpers.sources import ArchivePair, extract_pair, parse_stem

SPLITS = ("train", "val", "test")
TABLE = "split.csv"
COLUMNS = ["file", "car", "angle", "split", "seed"]
KAGGLE_CARS, KAGGLE_IMAGES, ASKED = 318, 5088, 50
PREPARE = "prepare it: `python -m unet_helpers prepare SOURCE --to DIR`"


@dataclass(frozen=True)
class Row:
    """One photo's line in split.csv; file is the photo's name, angle 1..16."""

    file: str
    car: str
    angle: int
    split: str
    seed: int


@dataclass(frozen=True)
class Prepared:
    """A prepared folder: train_images/, train_masks/, …, and split.csv as `rows`."""

    root: Path
    rows: list[Row]

    def images(self, split: str) -> Path:
        """Folder of a split's photos; split is "train", "val" or "test"."""
        return self.root / f"{_checked(split)}_images"

    def masks(self, split: str) -> Path:
        """Folder of a split's masks."""
        return self.root / f"{_checked(split)}_masks"

    def count(self, split: str) -> int:
        """Number of photos in a split."""
        return sum(row.split == _checked(split) for row in self.rows)

    def cars(self, split: str) -> list[str]:
        """Cars that have a photo in a split, sorted."""
        return sorted({row.car for row in self.rows if row.split == _checked(split)})

    def summary(self) -> str:
        """One line: images and cars of every split."""
        parts = [f"{s} {self.count(s)} images of {len(self.cars(s))} cars" for s in SPLITS]
        return "; ".join(parts)


def _checked(split: str) -> str:
    if split not in SPLITS:
        expected, mend = f"one of {', '.join(SPLITS)}", "choose one of them"
        raise CourseError("split", expected=expected, found=repr(split), mend=mend)
    return split


def prepare(
    pair: ArchivePair,
    to: str | Path,
    *,
    val_cars: int | None = None,
    test_cars: int | None = None,
    seed: int = 42,
    by: str = "car",
    progress: bool = True,
) -> Prepared:
    """Deal an archive pair into train, val and test folders under `to`, with split.csv.

    Zips are unpacked into `to`/originals first. The files are hard links to the originals, or
    copies where the file system has none; originals are never changed. The same arguments give
    the same split everywhere; a second call changes nothing; other arguments deal anew.

    val_cars, test_cars: how many cars; left out, one eighth of the cars each, at least one, and
    3 for Kaggle's 318 cars (48 images, as near to 50 as whole cars allow). by="image" deals single
    images instead, which leaks (for comparison): exactly 4988/50/50 on Kaggle's set, else as many
    images as the cars asked for have on average. Raises CourseError for numbers that leave nothing
    to train on, unpaired or wrongly named files, files in the target that prepare did not make
    (none of them is touched), a target that cannot be written to, a full disk.
    """
    to = Path(to)
    source = extract_pair(pair, to / "originals", progress)
    pairs = find_pairs(source / "train", source / pair.labels.folder)
    cars = {p.stem: parse_stem(p.stem) for p in pairs}
    names = _deal(cars, val_cars, test_cars, seed, by)
    rows = [Row(p.image.name, *cars[p.stem], names[p.stem], seed) for p in pairs]
    wanted = _targets(pairs, rows)
    folders = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "masks")]
    with writing_to(to):
        to.mkdir(parents=True, exist_ok=True)
        table = _table(rows)
        place(
            wanted,
            to,
            folders,
            finish=lambda: _write_if_changed(to / TABLE, table),
            progress=progress,
        )
    return Prepared(to, rows)


def _targets(pairs: Sequence[Pair], rows: Sequence[Row]) -> dict[str, Path]:
    """Path inside the prepared folder -> original, for every photo and mask."""
    targets = {}
    for pair, row in zip(pairs, rows, strict=True):
        targets[f"{row.split}_images/{pair.image.name}"] = pair.image
        targets[f"{row.split}_masks/{pair.mask.name}"] = pair.mask
    return targets


def _deal(
    cars: dict[str, tuple[str, int]],
    val_cars: int | None,
    test_cars: int | None,
    seed: int,
    by: str,
) -> dict[str, str]:
    """Stem -> split. `cars`: stem -> (car, angle)."""
    if by not in ("car", "image"):
        mend = 'use by="car", unless you want to see what a leak does'
        raise CourseError("by", expected='"car" or "image"', found=repr(by), mend=mend)
    all_cars = sorted({car for car, _ in cars.values()})
    full = len(all_cars) == KAGGLE_CARS and len(cars) == KAGGLE_IMAGES
    val, test = (
        _number(name, given, len(all_cars), full)
        for name, given in (("val_cars", val_cars), ("test_cars", test_cars))
    )
    _check_numbers(len(all_cars), val, test)
    if by == "car":
        if full and val_cars is None and test_cars is None:
            print(
                f"Carvana's usual split has 4988/{ASKED}/{ASKED} images; with whole cars "
                f"(16 images each) the nearest is {KAGGLE_IMAGES - 16 * (val + test)}/"
                f"{16 * val}/{16 * test}."
            )
        split = draw(all_cars, val, test, seed)
        return {stem: split[car] for stem, (car, _) in cars.items()}
    images = [
        ASKED if full and given is None else max(round(number * len(cars) / len(all_cars)), 1)
        for number, given in ((val, val_cars), (test, test_cars))
    ]
    return draw(sorted(cars), *images, seed)


def _number(name: str, given: int | None, cars: int, full: bool) -> int:
    if given is None:
        return 3 if full else max(cars // 8, 1)
    if given < 1:
        raise CourseError(name, expected="at least 1", found=given, mend="ask for one car or more")
    return given


def _check_numbers(cars: int, val: int, test: int) -> None:
    if val + test < cars:
        return
    raise CourseError(
        "the split",
        expected="at least one car each for training, validation and test",
        found=f"{cars} car{'s' * (cars != 1)} in all, {val} asked for validation, {test} for test",
        mend="use more cars (three at least)"
        if cars < 3
        else f"ask for fewer: val_cars + test_cars may be {cars - 1} at most",
    )


def draw(names: Iterable[str], val: int, test: int, seed: int) -> dict[str, str]:
    """Name -> split, at random. The order is that of digests, which no library update changes."""
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return {
        name: "val" if i < val else "test" if i < val + test else "train"
        for i, name in enumerate(order)
    }


def _table(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row.file, row.car, f"{row.angle:02d}", row.split, row.seed] for row in rows)
    return text.getvalue()


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, lambda file: file.write(text.encode()))


def load_prepared(root: str | Path) -> Prepared:
    """Open a prepared folder by its split.csv.

    Raises CourseError for a folder that was not prepared, or not to the end, or whose files and
    table disagree.
    """
    root = Path(root)
    if not (root / TABLE).is_file():
        found = f"no {TABLE} in it" if root.is_dir() else "no such folder"
        raise CourseError(root, expected="a prepared folder", found=found, mend=PREPARE)
    check_finished(root)
    rows = _read_table(root / TABLE)
    prepared = Prepared(root, rows)
    for split in SPLITS:
        listed = {row.file for row in rows if row.split == split}
        folder = prepared.images(split)
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if missing := sorted(listed - there):
            raise CourseError(
                folder,
                expected=f"the {len(listed)} photos that {TABLE} lists",
                found=f"{len(missing)} missing ({', '.join(missing[:5])}, …)",
                mend="prepare again; that puts them back",
            )
    return prepared


def _read_table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        try:
            if reader.fieldnames != COLUMNS:
                raise ValueError(f"columns {reader.fieldnames}")
            rows = [
                Row(r["file"], r["car"], int(r["angle"]), _checked(r["split"]), int(r["seed"]))
                for r in reader
            ]
        except (ValueError, TypeError, CourseError, UnicodeDecodeError) as error:
            raise CourseError(
                path,
                expected=f"a table with the columns {', '.join(COLUMNS)}",
                found=f"something else ({error})",
                mend="prepare again; that writes it anew",
            ) from error
    return rows
