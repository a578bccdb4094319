"""The pack that ships with the course: in the contract's format, and close to the real sizes."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.studio import choose
from tools.studio.measure import mean_mask_dice, read_masks, size_table
from tools.studio.styles import SHARES
from tools.studio.writer import Order, car_orders
from unet_helpers.sources import ArchivePair, verify_pair

PACK = Path(__file__).resolve().parents[2] / "data" / "studio"


@pytest.fixture(scope="module")
def masks() -> dict[int, list[np.ndarray]]:
    return read_masks(PACK)


@pytest.mark.parametrize(
    ("folder", "cars", "size"), [(PACK, 64, (480, 320)), (PACK / "fullres", 1, (1918, 1280))]
)
def test_it_is_an_archive_pair_of_whole_cars(folder, cars, size):
    pair = ArchivePair(folder / "train.zip", folder / "train_masks.zip", "studio")
    report = verify_pair(pair, progress=False)
    assert report.photos == report.masks == report.cars * 16
    assert (report.cars, report.width, report.height) == (cars, *size)


@pytest.mark.parametrize("folder", [PACK, PACK / "fullres"])
def test_it_is_the_pack_that_its_note_orders(folder):
    order = json.loads((folder / "pack.json").read_text())
    rows = list(csv.DictReader(io.StringIO((folder / "metadata.csv").read_text())))
    cars = sorted(car_orders(Order(**order)), key=lambda car: car.id)
    assert [(row["id"], row["style"], row["paint"], int(row["year"])) for row in rows] == [
        (car.id, car.style, car.paint, car.year) for car in cars
    ]
    assert {row["style"] for row in rows} == set(SHARES) or folder != PACK
    with zipfile.ZipFile(folder / "train.zip") as archive:
        names = {Path(name).name[:12] for name in archive.namelist()}
    assert names == {car.id for car in cars}


def test_stamps_are_fixed_and_the_pack_is_small():
    total = 0
    for path in PACK.rglob("*.zip"):
        total += path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(2020, 1, 1, 0, 0, 0)}
    assert total <= 32e6


@pytest.mark.parametrize("folder", [PACK, PACK / "fullres"])
def test_parts_add_up_to_the_masks(folder):
    with (
        zipfile.ZipFile(folder / "train_masks.zip") as masks,
        zipfile.ZipFile(folder / "train_parts.zip") as parts,
    ):
        names = sorted(masks.namelist())
        assert len(names) == len(parts.namelist())
        for name in names[::7]:
            other = name.replace("train_masks", "train_parts").replace("_mask.gif", "_parts.png")
            index = np.asarray(Image.open(io.BytesIO(masks.read(name))))
            label = np.asarray(Image.open(io.BytesIO(parts.read(other))))
            assert set(np.unique(index)) == {0, 1} and label.max() <= 4, name
            assert ((label > 0) == (index == 1)).all(), name


def test_no_two_cars_have_the_same_outline(masks):
    side = {mask.tobytes() for mask in masks[5]}
    assert len(side) == len(masks[5])


def test_a_constant_mask_does_not_solve_it(masks):
    assert 0.70 <= mean_mask_dice(masks) <= 0.80


@pytest.mark.real
def test_sizes_and_their_spread_are_those_of_the_real_set_at_every_angle(masks, real_carvana):
    ours, real = size_table(masks), size_table(read_masks(real_carvana))
    for angle in range(1, 17):
        assert ours[angle] == pytest.approx(real[angle], rel=0.10), angle


def some_sizes(cars: int, spread: float, seed: int) -> np.ndarray:
    """Sizes (cars, 16, 5) around 0.5: every car differs from the mean alike at all angles."""
    rng = np.random.default_rng(seed)
    return 0.5 + spread * rng.standard_normal((cars, 1, 5)) + 0.002 * rng.random((cars, 16, 5))


def test_cars_are_chosen_so_that_sizes_vary_as_the_real_ones_do(monkeypatch):
    monkeypatch.setattr(choose, "STEPS", 8000)
    monkeypatch.setattr(choose, "RUNS", 2)
    real = some_sizes(200, 0.05, 1)
    sizes = np.concatenate([some_sizes(16, 0.08, 2), some_sizes(32, 0.05, 3)])
    chosen = choose.choose(sizes, real, 16, fixed={3, 5})
    assert len(set(chosen)) == 16 and {3, 5} <= set(chosen)
    before, after = sizes[:16].std(axis=0) / real.std(axis=0), sizes[chosen].std(axis=0)
    assert abs(before - 1).max() > 0.3 and abs(after / real.std(axis=0) - 1).max() < 0.12
    assert chosen == choose.choose(sizes, real, 16, fixed={3, 5}), "the same every time"


def test_without_spare_cars_none_is_exchanged():
    sizes = some_sizes(8, 0.08, 4)
    assert choose.choose(sizes, some_sizes(50, 0.05, 5), 8, set()) == list(range(8))


def test_finished_cars_are_found_by_their_index(masks):
    order = Order(**json.loads((PACK / "pack.json").read_text()))
    sizes = choose.finished_sizes(Order(92, 240, 160, order.seed), [PACK])
    assert list(sizes) == [car.index for car in car_orders(order)]
    first = car_orders(order)[0]
    ids = sorted(car.id for car in car_orders(order))
    mask = masks[5][ids.index(first.id)]
    assert sizes[first.index][4, 0] == pytest.approx(mask.mean())
