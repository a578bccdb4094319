"""Packs made by the studio: the same bytes again, exact labels, restarts, refusals."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

mitsuba = pytest.importorskip("mitsuba", reason="the studio's renderer: pip install -e '.[studio]'")

import cv2  # noqa: E402

from tools.studio import __main__ as command  # noqa: E402
from tools.studio import writer  # noqa: E402
from tools.studio.camera import draw_camera  # noqa: E402
from tools.studio.car import build_car  # noqa: E402
from tools.studio.labels import vote  # noqa: E402
from tools.studio.materials import draw_finish  # noqa: E402
from tools.studio.render import Stage, renderer  # noqa: E402
from tools.studio.shoot import factor  # noqa: E402
from tools.studio.studio import draw_studio  # noqa: E402
from tools.studio.styles import draw_car  # noqa: E402
from unet_helpers.environment import CourseError  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
ORDER = writer.Order(cars=1, width=96, height=64, seed=11, samples=1)
# One process renders the pack, once, for all of them.
pytestmark = pytest.mark.xdist_group("the studio's renderer")
ARCHIVES = ("train.zip", "train_masks.zip", "train_parts.zip", "metadata.csv", "pack.json")


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    writer.write_pack(ORDER, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Stage:
    rng = np.random.default_rng(21)
    spec = draw_car("suv", rng)
    camera = draw_camera(rng, spec.length, spec.height)
    parts = build_car(spec)
    folder = tmp_path_factory.mktemp("meshes")
    return Stage(parts, draw_finish("grey", 0.1, rng), draw_studio(rng), camera, folder)


def pictures(path: Path) -> dict[str, Image.Image]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}


def test_a_pack_is_an_archive_pair_with_parts_that_add_up(pack):
    car = writer.car_orders(ORDER)[0]
    photos = pictures(pack / "train.zip")
    masks = pictures(pack / "train_masks.zip")
    parts = pictures(pack / "train_parts.zip")
    assert list(photos) == [f"train/{car.id}_{angle:02d}.jpg" for angle in range(1, 17)]
    for angle in range(1, 17):
        stem = f"{car.id}_{angle:02d}"
        mask, part = masks[f"train_masks/{stem}_mask.gif"], parts[f"train_parts/{stem}_parts.png"]
        assert mask.mode == "P" and mask.getpalette()[:6] == [0, 0, 0, 255, 255, 255]
        assert getattr(mask, "n_frames", 1) == 1 and photos[f"train/{stem}.jpg"].mode == "RGB"
        index, label = np.asarray(mask), np.asarray(part)
        assert index.shape == (64, 96) and set(np.unique(index)) == {0, 1}
        assert ((label > 0) == (index == 1)).all()
        assert label.max() <= 4 and 0.08 < index.mean() < 0.5
    seen = set.union(*(set(np.unique(np.asarray(part)).tolist()) for part in parts.values()))
    assert seen == {0, 1, 2, 3, 4}
    assert not (pack / "unfinished").exists()


def test_masks_have_no_specks_and_no_pinholes(pack):
    for name, image in pictures(pack / "train_masks.zip").items():
        mask = np.asarray(image)
        for inside, connect in ((mask, 8), (1 - mask, 4)):
            _, _, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=connect)
            smallest = stats[1:, cv2.CC_STAT_AREA].min()
            assert smallest >= 4, f"{name}: a piece or hole of {smallest} pixels"


def test_killed_in_mid_render_it_ends_with_the_same_bytes(pack, tmp_path):
    out = tmp_path / "again"
    line = [sys.executable, "-m", "tools.studio", "--cars", "1", "--size", "96x64", "--seed", "11",
            "--samples", "1", "--workers", "1", "--out", str(out)]  # fmt: skip
    process = subprocess.Popen(line, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    while len(list(out.glob("unfinished/train/*.jpg"))) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    process.wait()
    assert not (out / "train.zip").exists(), "no archive before the pack is whole"
    (out / "unfinished" / "train" / "left_over.jpg.part").write_bytes(b"half a photo")
    writer.write_pack(ORDER, out, progress=False)
    for name in ARCHIVES:
        assert (out / name).read_bytes() == (pack / name).read_bytes(), name
    before = {name: (out / name).stat().st_mtime_ns for name in ARCHIVES[:3]}
    writer.write_pack(ORDER, out, progress=False)
    assert before == {name: (out / name).stat().st_mtime_ns for name in ARCHIVES[:3]}


def test_first_cars_of_a_larger_pack_are_those_of_a_smaller_one():
    larger = writer.car_orders(writer.Order(40, 96, 64, 11, 1))
    assert larger[:1] == writer.car_orders(ORDER)
    assert len({car.id for car in larger}) == 40
    assert all(len(car.id) == 12 and int(car.id, 16) >= 0 for car in larger)


def test_a_car_left_out_makes_room_for_the_next_and_changes_no_other():
    all_of_them = writer.car_orders(writer.Order(40, 96, 64, 11, 1))
    chosen = writer.car_orders(writer.Order(36, 96, 64, 11, 1, without=(33, 2, 33, 5)))
    left_out = [all_of_them[index] for index in (2, 5, 33)]
    assert chosen == [car for car in all_of_them if car not in left_out][:36]
    assert chosen[-1].index == 38


def test_a_pack_can_change_its_cars_and_keeps_the_photos_of_those_that_stay(
    pack, tmp_path, monkeypatch
):
    out = tmp_path / "other"
    shutil.copytree(pack, out)
    asked = []
    monkeypatch.setattr(writer, "render_car", lambda order, car, folder: asked.append(
        (car.index, all(writer._finished(folder, car.id, angle) for angle in writer.ANGLES))
    ))  # fmt: skip
    monkeypatch.setattr(writer, "_zip", lambda path, files, folder: None)
    writer.write_pack(writer.Order(2, 96, 64, 11, 1, without=(1,)), out, progress=False)
    assert asked == [(0, True), (2, False)]
    assert json.loads((out / "pack.json").read_text())["without"] == [1]
    rows = (out / "metadata.csv").read_text()
    orders = writer.car_orders(writer.Order(3, 96, 64, 11, 1))
    assert [order.id in rows for order in orders] == [True, False, True]


@pytest.mark.parametrize(("words", "found"), [("3,x", "3,x"), ("-4", "-4")])
def test_what_is_left_out_must_be_indices_of_cars(words, found, tmp_path, capsys):
    line = ["--cars", "1", f"--without={words}", "--workers", "1", "--out", str(tmp_path / "o")]
    try:
        code = command.main(line)
    except SystemExit as stopped:
        code = stopped.code
    said = capsys.readouterr().err
    assert code == 2 and "indices of cars" in said and found in said
    assert not (tmp_path / "o").exists()


def test_shape_index_is_understood_as_the_renderer_means_it(stage):
    """Every first hit's label agrees with a ray cast through the same pixel on its own."""
    mi = renderer()
    scene, sensor = stage.scene(4), stage.sensor(480, 320)
    hits = stage.first_hits(scene, sensor)
    index = hits["index"]
    same = np.ones((318, 478), bool)
    for dy in range(3):
        for dx in range(3):
            same &= index[dy : dy + 318, dx : dx + 478] == index[1:319, 1:479]
    seen = set()
    for value in np.unique(index[1:319, 1:479][same]):
        rows, columns = np.nonzero(same & (index[1:319, 1:479] == value))
        for k in {0, len(rows) // 2, len(rows) - 1}:
            row, column = rows[k] + 1, columns[k] + 1
            spot = mi.Point2f((column + 0.5) / 480, (row + 0.5) / 320)
            ray, _ = sensor.sample_ray(0.0, 0.5, spot, mi.Point2f(0.5, 0.5))
            name = scene.ray_intersect(ray).shape.id()
            assert hits["label"][row, column] == stage.labels.get(name, 0), name
            assert hits["floor"][row, column] == (name in ("room_floor", "room_ring"))
            seen.add(name)
    assert {"room_wall", "room_floor"} < seen and len(seen) > 8
    assert {stage.labels[name] for name in seen if name in stage.labels} == {1, 2, 3, 4}


def test_labels_are_exact_against_the_bare_car_at_four_times_the_size(stage):
    """The oracle knows no shape index: the car alone, and whether a ray meets anything at all."""
    mi = renderer()
    width, height, angle = 288, 192, 3
    k = factor(width)
    hits = stage.first_hits(stage.scene(angle), stage.sensor(width * k, height * k))
    mask = vote(hits["label"], k)[0] > 0
    car = {"type": "scene"}
    for name in stage.labels:
        mesh, place = str(stage.mesh_path(name)), stage.placement(angle)
        car[name] = {"type": "ply", "filename": mesh, "to_world": place}
    depth = mi.render(
        mi.load_dict(car, optimize=False), sensor=stage.sensor(width * 4, height * 4), spp=1,
        integrator=mi.load_dict({"type": "aov", "aovs": "far:depth"}),
    )  # fmt: skip
    met = np.array(depth)[..., -1] > 0
    truth = met.reshape(height, 4, width, 4).mean(axis=(1, 3)) >= 0.5
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert mask.mean() > 0.1 and dice >= 0.995


def test_another_seeds_folder_is_refused_and_left_alone(pack):
    before = (pack / "train.zip").read_bytes()
    with pytest.raises(CourseError, match="seed"):
        writer.write_pack(writer.Order(1, 96, 64, 12, 1), pack, progress=False)
    assert (pack / "train.zip").read_bytes() == before
    assert json.loads((pack / "pack.json").read_text())["seed"] == 11


@pytest.mark.parametrize("wrong", [["--size", "0x64"], ["--size", "96x-64"], ["--cars", "0"]])
def test_sizes_that_are_not_positive_are_refused(wrong, tmp_path, capsys):
    code = command.main([*wrong, "--workers", "1", "--out", str(tmp_path / "out")])
    assert code == 2 and "error: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_renderer_it_says_how_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    assert command.main(["--cars", "1", "--workers", "1", "--out", str(tmp_path / "o")]) == 2
    assert "[studio]" in capsys.readouterr().err


def test_without_its_variant_it_names_those_found(monkeypatch):
    monkeypatch.setattr(mitsuba, "variants", lambda: ["cuda_ad_rgb"])
    with pytest.raises(CourseError, match=r"scalar_rgb.*cuda_ad_rgb"):
        renderer()
