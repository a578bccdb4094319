"""The split: whole cars, the same everywhere; preparing twice, anew, half-way, and into trouble."""

from __future__ import annotations

import csv
import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from make_pairs import car_name, make_archive_pair

from unet_helpers import placing
from unet_helpers.environment import CourseError
from unet_helpers.sources import ArchivePair, open_source
from unet_helpers.split import SPLITS, load_prepared, prepare

FOLDERS = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "masks")]


def make_folders(folder: Path, cars: int, angles: int = 16) -> ArchivePair:
    """An unpacked pair whose files hold only their own names: preparing opens no picture."""
    for name in ("train", "train_masks"):
        (folder / name).mkdir(parents=True)
    for index in range(cars):
        for angle in range(1, angles + 1):
            stem = f"{car_name(index)}_{angle:02d}"
            (folder / "train" / f"{stem}.jpg").write_text(f"photo {stem}")
            (folder / "train_masks" / f"{stem}_mask.gif").write_text(f"mask {stem}")
    return ArchivePair(folder / "train", folder / "train_masks", folder.name)


@pytest.fixture
def pair(tmp_path) -> ArchivePair:
    return make_folders(tmp_path / "source", cars=10, angles=3)


def tree(folder: Path) -> dict[str, tuple]:
    """Everything below a folder: inode, time and content of files, time of folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_ino, status.st_mtime_ns, content)
    return found


def made(folder: Path) -> dict[str, bytes]:
    return {
        f"{name}/{path.name}": path.read_bytes()
        for name in FOLDERS
        for path in sorted((folder / name).iterdir())
    }


def assert_whole(prepared, pair: ArchivePair) -> None:
    """Every pair is in exactly one split, under its own name, with its own content."""
    stems = {path.stem for path in pair.photos.iterdir()}
    seen = []
    for split in SPLITS:
        images = {p.stem: p for p in prepared.images(split).iterdir()}
        masks = {p.stem.removesuffix("_mask"): p for p in prepared.masks(split).iterdir()}
        assert images.keys() == masks.keys()
        assert len(images) == prepared.count(split)
        for stem in images:
            assert images[stem].read_text() == f"photo {stem}"
            assert masks[stem].read_text() == f"mask {stem}"
        seen += images
    assert Counter(seen) == Counter(stems)


def test_prepared_folder_and_its_table(pair, tmp_path):
    prepared = prepare(pair, tmp_path / "to", val_cars=2, test_cars=3, progress=False)
    assert_whole(prepared, pair)
    assert [len(prepared.cars(split)) for split in SPLITS] == [5, 2, 3]
    assert [prepared.count(split) for split in SPLITS] == [15, 6, 9]
    together = [car for split in SPLITS for car in prepared.cars(split)]
    assert len(together) == len(set(together)) == 10  # no car in two splits
    with (tmp_path / "to" / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "car", "angle", "split", "seed"]
    for row in rows:
        assert row["file"] == f"{row['car']}_{row['angle']}.jpg"
        assert (prepared.images(row["split"]) / row["file"]).is_file()
        assert row["seed"] == "42"
    assert load_prepared(tmp_path / "to") == prepared
    assert "val 6 images of 2 cars" in prepared.summary()


def test_files_are_hard_links_and_originals_untouched(pair, tmp_path):
    before = tree(pair.photos.parent)
    prepared = prepare(pair, tmp_path / "to", progress=False)
    assert tree(pair.photos.parent) == before
    one = next(prepared.images("val").iterdir())
    assert one.samefile(pair.photos / one.name)
    shutil.rmtree(tmp_path / "to")
    assert tree(pair.photos.parent) == before


def test_from_zips(tmp_path):
    zips = make_archive_pair(tmp_path / "zips", cars=4, angles=2)
    prepared = prepare(zips, tmp_path / "to", progress=False)
    assert [len(prepared.cars(split)) for split in SPLITS] == [2, 1, 1]
    original = tmp_path / "to" / "originals" / "train"
    assert len(list(original.iterdir())) == 8
    one = next(prepared.images("train").iterdir())
    assert one.samefile(original / one.name)
    before = tree(tmp_path / "to")
    prepare(zips, tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == before


def test_second_call_changes_nothing(pair, tmp_path):
    first = prepare(pair, tmp_path / "to", progress=False)
    before = tree(tmp_path / "to")
    assert prepare(pair, tmp_path / "to", progress=False) == first
    assert tree(tmp_path / "to") == before


def test_same_seed_same_split_everywhere(pair, tmp_path):
    """The order must not hang on the order of files, the folder or the process."""
    one = prepare(pair, tmp_path / "a", seed=7, progress=False)
    two = prepare(pair, tmp_path / "b", seed=7, progress=False)
    assert one.rows == two.rows
    others = {
        tuple(prepare(pair, tmp_path / "c", seed=s, progress=False).cars("val")) for s in range(8)
    }
    assert len(others) > 3


def test_seed_42_splits_these_cars_so(tmp_path):
    """A fixed value: a split must not change with a version of this code, Python or NumPy."""
    prepared = prepare(make_folders(tmp_path / "s", 5, 1), tmp_path / "to", progress=False)
    by_hand = sorted((car_name(i) for i in range(5)), key=_sha("42"))
    assert prepared.cars("val") == [by_hand[0]]
    assert prepared.cars("test") == [by_hand[1]]


def _sha(seed: str):
    import hashlib

    return lambda car: hashlib.sha256(f"{seed}/{car}".encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"val_cars": 4},
        {"seed": 9},
        {"by": "image"},
        {"test_cars": 1, "val_cars": 1, "seed": 3},
    ],
)
def test_change_of_mind_leaves_nothing_behind(pair, tmp_path, change):
    prepare(pair, tmp_path / "to", val_cars=2, test_cars=2, progress=False)
    changed = {"val_cars": 2, "test_cars": 2} | change
    again = prepare(pair, tmp_path / "to", **changed, progress=False)
    fresh = prepare(pair, tmp_path / "fresh", **changed, progress=False)
    assert_whole(again, pair)
    assert made(tmp_path / "to") == made(tmp_path / "fresh")
    assert again.rows == fresh.rows == load_prepared(tmp_path / "to").rows


def test_kaggles_full_set(tmp_path, capsys):
    """318 cars from 16 sides: 4988/50/50 images asked for, as whole cars 4992/48/48."""
    pair = make_folders(tmp_path / "kaggle", cars=318)
    by_car = prepare(pair, tmp_path / "car", progress=False)
    assert [by_car.count(split) for split in SPLITS] == [4992, 48, 48]
    assert [len(by_car.cars(split)) for split in SPLITS] == [312, 3, 3]
    said = capsys.readouterr().out
    assert "4988/50/50" in said
    assert "4992/48/48" in said
    by_image = prepare(pair, tmp_path / "image", by="image", progress=False)
    assert [by_image.count(split) for split in SPLITS] == [4988, 50, 50]
    assert len(by_image.cars("val")) > 30  # so nearly every one of these cars is trained on as well
    assert len(by_image.cars("train")) == 318


def test_by_image_takes_as_many_images_as_the_cars_have(pair, tmp_path):
    prepared = prepare(pair, tmp_path / "to", by="image", val_cars=2, test_cars=3, progress=False)
    assert [prepared.count(split) for split in SPLITS] == [15, 6, 9]
    assert_whole(prepared, pair)


def test_default_is_an_eighth_of_the_cars(tmp_path):
    for cars, expected in ((3, [1, 1, 1]), (15, [13, 1, 1]), (17, [13, 2, 2])):
        pair = make_folders(tmp_path / str(cars), cars, angles=1)
        prepared = prepare(pair, tmp_path / f"to{cars}", progress=False)
        assert [len(prepared.cars(split)) for split in SPLITS] == expected


@pytest.mark.parametrize(
    ("cars", "options", "said"),
    [
        (1, {}, "1 car in all"),
        (2, {}, "2 cars in all"),
        (5, {"val_cars": 6}, "6 asked for validation"),
        (5, {"val_cars": 2, "test_cars": 3}, "at most"),
        (5, {"val_cars": 0}, "at least 1"),
        (5, {"test_cars": -1}, "at least 1"),
        (5, {"by": "angle"}, '"car" or "image"'),
    ],
)
def test_impossible_splits(tmp_path, cars, options, said):
    pair = make_folders(tmp_path / "source", cars, angles=2)
    with pytest.raises(CourseError, match=said):
        prepare(pair, tmp_path / "to", **options, progress=False)
    assert not (tmp_path / "to").exists()


def test_impossible_split_leaves_the_earlier_one(pair, tmp_path):
    prepare(pair, tmp_path / "to", progress=False)
    before = tree(tmp_path / "to")
    with pytest.raises(CourseError):
        prepare(pair, tmp_path / "to", val_cars=99, progress=False)
    assert tree(tmp_path / "to") == before


@pytest.mark.parametrize("first", [True, False])
def test_foreign_files_are_named_and_left_alone(pair, tmp_path, first):
    to = tmp_path / "to"
    if first:
        prepare(pair, to, progress=False)
    for name in ("val_images/holiday.jpg", "test_masks/notes.txt"):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text("mine")
    before = tree(to)
    with pytest.raises(CourseError) as caught:
        prepare(pair, to, seed=5, progress=False)
    assert "val_images/holiday.jpg" in str(caught.value)
    assert "test_masks/notes.txt" in str(caught.value)
    assert tree(to) == before


def test_file_that_somebody_changed_is_not_overwritten(pair, tmp_path):
    to = tmp_path / "to"
    prepared = prepare(pair, to, progress=False)
    mine = next(prepared.masks("train").iterdir())
    mine.unlink()
    mine.write_text("a mask that I drew myself")
    with pytest.raises(CourseError, match=mine.name):
        prepare(pair, to, seed=5, progress=False)
    assert mine.read_text() == "a mask that I drew myself"


def test_other_things_in_the_target_stay(pair, tmp_path):
    prepare(pair, tmp_path / "to", progress=False)
    (tmp_path / "to" / "cache").mkdir()
    (tmp_path / "to" / "cache" / "x.npy").write_text("cache")
    (tmp_path / "to" / "readme.txt").write_text("mine")
    prepare(pair, tmp_path / "to", seed=5, progress=False)
    assert (tmp_path / "to" / "cache" / "x.npy").read_text() == "cache"
    assert (tmp_path / "to" / "readme.txt").read_text() == "mine"


def test_missing_files_are_put_back(pair, tmp_path):
    prepared = prepare(pair, tmp_path / "to", progress=False)
    next(prepared.images("train").iterdir()).unlink()
    with pytest.raises(CourseError, match="prepare again"):
        load_prepared(tmp_path / "to")
    assert_whole(prepare(pair, tmp_path / "to", progress=False), pair)


def test_originals_that_changed_are_linked_anew(tmp_path):
    pair = make_folders(tmp_path / "source", 4, 1)
    prepare(pair, tmp_path / "to", progress=False)
    for path in pair.photos.iterdir():
        path.unlink()  # as unpacking another archive would: new files, not new content in old ones
        path.write_text(f"another photo {path.stem}")
    prepared = prepare(pair, tmp_path / "to", progress=False)
    texts = {p.read_text() for split in SPLITS for p in prepared.images(split).iterdir()}
    assert all(text.startswith("another") for text in texts)


def test_copies_where_links_are_impossible(pair, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    prepared = prepare(pair, tmp_path / "to", progress=False)
    assert_whole(prepared, pair)
    one = next(prepared.images("val").iterdir())
    assert not one.samefile(pair.photos / one.name)
    before = tree(tmp_path / "to")
    prepare(pair, tmp_path / "to", progress=False)
    assert tree(tmp_path / "to") == before
    assert_whole(prepare(pair, tmp_path / "to", seed=5, progress=False), pair)


def test_real_other_device(pair, tmp_path):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=shm) as other:
        assert_whole(prepare(pair, Path(other) / "to", progress=False), pair)


def test_disk_that_fills_up_while_copying(pair, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(*arguments, **options):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    prepare(pair, tmp_path / "to", progress=False)
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(CourseError, match="No space left"):
        prepare(pair, tmp_path / "to", seed=5, progress=False)
    assert not list((tmp_path / "to").rglob("*.copying"))
    monkeypatch.undo()
    with pytest.raises(CourseError, match="half-way"):
        load_prepared(tmp_path / "to")
    assert_whole(prepare(pair, tmp_path / "to", seed=5, progress=False), pair)


def prepare_slowly(pair: ArchivePair, to: Path, put) -> None:
    plain = placing._put

    def slow(original, target):
        if put.value == 20:
            time.sleep(600)
        put.value += 1
        plain(original, target)

    placing._put = slow
    prepare(pair, to, val_cars=2, test_cars=3, seed=11, progress=False)


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("then", [{"seed": 11}, {"seed": 12}])
def test_killed_half_way_is_completed_by_the_next_run(pair, tmp_path, earlier, then):
    """Also when the next run wants another split: nothing of the killed one may stay."""
    to, numbers = tmp_path / "to", {"val_cars": 2, "test_cars": 3, "progress": False}
    if earlier:
        prepare(pair, to, seed=1, val_cars=3, test_cars=3, progress=False)
    context = multiprocessing.get_context("spawn")
    put = context.Value("i", 0)
    worker = context.Process(target=prepare_slowly, args=(pair, to, put))
    worker.start()
    while put.value < 20 and worker.is_alive():
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    with pytest.raises(CourseError):
        load_prepared(to)
    prepared = prepare(pair, to, **numbers, **then)
    assert_whole(prepared, pair)
    fresh = prepare(pair, tmp_path / "fresh", **numbers, **then)
    assert made(to) == made(fresh.root)


@pytest.fixture
def read_only():
    """A folder that this process may not write to, also when it runs as root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755 if os.geteuid() == 0 else 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # "nobody": permissions do not bind root
    yield folder
    if os.geteuid() == 65534:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_read_only_target(read_only, tmp_path_factory):
    with tempfile.TemporaryDirectory() as source:
        pair = make_folders(Path(source) / "s", 4, 1)
        with pytest.raises(CourseError, match="Permission denied"):
            prepare(pair, read_only / "to", progress=False)
    assert not any(read_only.iterdir())


def test_small_full_disk(tmp_path):
    """A real file system of 64 KB, where this machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small file system")
    try:
        zips = make_archive_pair(tmp_path / "zips", cars=8, height=128, width=192)
        with pytest.raises(CourseError, match=r"free disk|room to write"):
            prepare(zips, disk / "to", progress=False)
        assert not list(disk.rglob("*.jpg"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_not_a_prepared_folder(tmp_path):
    with pytest.raises(CourseError, match="prepare"):
        load_prepared(tmp_path / "nothing")
    with pytest.raises(CourseError, match=r"split\.csv"):
        load_prepared(tmp_path)
    (tmp_path / "split.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CourseError, match="columns"):
        load_prepared(tmp_path)


def test_unknown_split_name(pair, tmp_path):
    prepared = prepare(pair, tmp_path / "to", progress=False)
    for ask in (prepared.images, prepared.masks, prepared.count, prepared.cars):
        with pytest.raises(CourseError, match="validation"):
            ask("validation")


def test_photo_without_mask(pair, tmp_path):
    victim = next(pair.masks.iterdir())
    victim.unlink()
    with pytest.raises(CourseError, match=victim.name.removesuffix("_mask.gif")):
        prepare(pair, tmp_path / "to", progress=False)
    assert not (tmp_path / "to").exists()


def test_the_real_pair(real_carvana, tmp_path):
    prepared = prepare(open_source(real_carvana), tmp_path / "to", progress=False)
    assert [len(prepared.cars(split)) for split in SPLITS] == [150, 25, 25]
    assert [prepared.count(split) for split in SPLITS] == [2400, 400, 400]
