"""The studio's meshes, cars and camera, checked by their measures; nothing is rendered here."""

from __future__ import annotations

import numpy as np
import pytest

from tools.studio import trim
from tools.studio.bodies import STYLES
from tools.studio.camera import aim, car_turn, draw_camera
from tools.studio.car import build_car
from tools.studio.geometry import box, cut, ellipsoid, lathe, loft, merge, refine, rotation
from tools.studio.hull import Shell, carve_fine
from tools.studio.labels import tidy, vote
from tools.studio.lettering import GLYPHS, WORDS, word_mask
from tools.studio.materials import PAINTS, all_materials, draw_finish, pick_paints
from tools.studio.part import CLASSES
from tools.studio.styles import SHARES, draw_car, pick_styles
from tools.studio.wheels import _openings


def area(mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_a_box_has_its_area_and_looks_outwards():
    mesh = box([0, 0, 0], [1, 2, 3])
    assert area(mesh) == pytest.approx(2 * (1 * 2 + 2 * 3 + 1 * 3))
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    outward = ((a + b + c) / 3 - [0.5, 1, 1.5]) * np.cross(b - a, c - a)
    assert (outward.sum(axis=1) > 0).all()


def test_lathe_of_a_rod_is_a_cylinder():
    mesh = lathe(np.array([(2.0, 1.0), (2.0, 0.0)]), 400)
    assert area(mesh) == pytest.approx(2 * np.pi * 2.0, rel=1e-3)
    assert (mesh.normals[:, 0] * mesh.vertices[:, 0] >= -1e-9).all(), "normals point inwards"


@pytest.mark.parametrize("height", [-0.61, 0.0, 0.33])
def test_cutting_a_sphere_keeps_its_area_and_cuts_where_asked(height):
    mesh = ellipsoid([0, 0, 0], [1, 1, 1], n=90)
    below, above = cut(mesh, mesh.vertices[:, 2] - height)
    assert below.vertices[:, 2].max() == pytest.approx(height, abs=1e-9)
    assert above.vertices[:, 2].min() == pytest.approx(height, abs=1e-9)
    assert area(below) + area(above) == pytest.approx(area(mesh), rel=1e-9)
    assert area(below) == pytest.approx(2 * np.pi * (1 + height), rel=0.01)  # Archimedes


def test_merging_keeps_all_triangles():
    parts = [box([0, 0, 0], [1, 1, 1]), box([2, 0, 0], [3, 1, 1])]
    assert area(merge(parts)) == pytest.approx(12)


@pytest.mark.parametrize("style", list(STYLES))
def test_every_style_makes_a_car_of_its_size(style):
    spec = draw_car(style, np.random.default_rng(4))
    parts = build_car(spec)
    shell = next(part for part in parts if part.material == "paint")
    size = np.ptp(shell.mesh.vertices, axis=0)
    assert size[0] == pytest.approx(spec.length, rel=0.04)
    everything = np.concatenate([part.mesh.vertices for part in parts])
    assert np.isfinite(everything).all()
    assert everything[:, 2].min() == pytest.approx(0.0, abs=1e-6), "the tyres stand on the floor"
    assert everything[:, 2].max() < spec.height + 0.36
    wheels = [part.mesh.vertices for part in parts if CLASSES[part.label] == "wheel"]
    outermost = np.abs(np.concatenate(wheels)[:, 1]).max()
    assert 0.9 < outermost / (spec.width / 2) < 1.02, "wheels sit flush in their arches"
    assert {CLASSES[part.label] for part in parts} == {"body", "window", "wheel", "light"}
    known = all_materials(draw_finish("blue", 0.1, np.random.default_rng(1)))
    assert {part.material for part in parts} <= set(known)


def test_a_car_is_the_same_on_both_sides():
    parts = build_car(draw_car("sedan", np.random.default_rng(2)))
    for part in parts:
        if part.material in ("paint", "rubber", "glass"):
            y = part.mesh.vertices[:, 1]
            assert y.max() == pytest.approx(-y.min(), abs=1e-6), part.name


def test_no_two_cars_are_alike():
    sizes = {draw_car("suv", np.random.default_rng(seed)).length for seed in range(40)}
    assert len(sizes) == 40


def test_refining_keeps_the_shape_and_lets_fine_lines_be_cut_whole():
    """A line 4 mm wide across triangles of 10 cm keeps its exact area."""
    sheet = loft(
        np.stack(np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 1, 11), [0.0]), -1)[:, :, 0]
    )
    assert area(refine(sheet, 2)) == pytest.approx(1.0)
    assert len(refine(sheet, 2).faces) == 16 * len(sheet.faces)
    line, rest = carve_fine(sheet, lambda x, y, z, n: np.abs(x - 0.4321) - 0.002, 0.06, 6)
    assert area(line) == pytest.approx(0.004, rel=1e-6)
    assert area(line) + area(rest) == pytest.approx(1.0)


@pytest.mark.parametrize("style", list(STYLES))
def test_every_body_of_a_style_is_drawn_and_stays_in_its_range(style):
    seen = {body.body: 0 for body in STYLES[style]}
    assert len(seen) == len(STYLES[style]) >= 2
    for seed in range(150):
        spec = draw_car(style, np.random.default_rng(seed))
        body = next(body for body in STYLES[style] if body.body == spec.body)
        seen[spec.body] += 1
        for name in ("length", "width", "height"):
            low, high = getattr(body, name)
            assert low <= getattr(spec, name) <= high, f"{spec.body}: {name}"
        assert list(spec.pillars) == sorted(spec.pillars, reverse=True)
        assert spec.cowl[0] > spec.roof_front[0] > spec.roof_rear[0] > spec.rear_base[0]
        assert spec.details["top_down"] == (spec.body == "top down")
    assert min(seen.values()) > 0, seen


def test_roof_rails_and_plates_touch_the_body():
    """Rails reach down to the roof at both ends; plates stand out by millimetres, not more."""
    found = 0
    for seed in range(40):
        spec = draw_car("suv", np.random.default_rng(seed))
        shell = Shell(spec)
        for name, mesh, *_ in trim.rails(shell):
            if name != "rail":
                continue
            found += 1
            for end in (mesh.vertices[:, 0].min(), mesh.vertices[:, 0].max()):
                ring = mesh.vertices[np.abs(mesh.vertices[:, 0] - end) < 0.02]
                x, y, z = ring[ring[:, 2].argmin()]
                assert -0.04 < z - shell.roof(x, abs(y)) < 0.0
        for name, mesh, *_ in trim.plates(shell):
            if name == "plate":
                front = mesh.vertices[:, 0].mean() > 0
                z = mesh.vertices[:, 2].mean()
                reach = np.abs(mesh.vertices[:, 0]).max() - abs(shell.end(0.0, z, front))
                assert 0.0 < reach < 0.05
    assert found >= 10


@pytest.mark.parametrize(("style", "choice", "spokes"),
                         [("straight", 0.0, 5), ("straight", 0.99, 10), ("double", 0.0, 10),
                          ("split", 0.99, 12), ("mesh", 0.5, 12)])  # fmt: skip
def test_rims_have_as_many_spokes_as_their_style_says(style, choice, spokes):
    """Counted on a circle near the rim's edge, where a double or split spoke counts as two."""
    details = {"rim_style": style, "spokes": choice, "spoke_width": 0.3, "spoke_twist": 0.8}
    angle = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    closed = _openings(np.full(4000, 0.8), angle, 0.25, details) >= 0
    assert (closed & ~np.roll(closed, 1)).sum() == spokes


def test_an_open_car_has_no_roof():
    """With its top down nothing but windscreen, seats and mirrors stands above the belt."""
    drawn = [draw_car("convertible", np.random.default_rng(seed)) for seed in range(12)]
    for open_top in (True, False):
        spec = next(spec for spec in drawn if spec.details["top_down"] == open_top)
        high = [part.mesh.vertices for part in build_car(spec) if CLASSES[part.label] == "body"]
        x, y, z = np.concatenate(high).T
        middle = (spec.roof_front[0] + spec.roof_rear[0]) / 2
        over = z[(np.abs(x - middle) < 0.15) & (np.abs(y) < 0.6)].max()
        assert (over < spec.belt[1] + 0.2) == open_top


def test_a_block_of_cars_has_every_style_and_the_common_paints():
    rng = np.random.default_rng(0)
    styles, paints = pick_styles(32, rng), pick_paints(32, rng)
    assert set(styles) == set(SHARES) and len(styles) == len(paints) == 32
    assert {"white", "black", "grey", "silver", "blue", "red"} <= set(paints) <= set(PAINTS)
    common = sum(paint in ("white", "black", "grey", "silver") for paint in paints)
    assert common > 32 / 2


def test_angles_run_as_in_the_real_set():
    """01 shows the front, 05 a side with the front at the left, 09 the rear, 13 the other side."""
    camera = draw_camera(np.random.default_rng(0), 4.6, 1.5)
    eye, _ = aim(camera, 1.5)
    nose = {
        angle: rotation("z", car_turn(angle, camera)) @ np.array([2.3, 0, 0.6])
        for angle in range(1, 17)
    }
    # The camera stands at +x and looks along -x, so +y is the picture's right.
    distance = {angle: np.linalg.norm(point - eye) for angle, point in nose.items()}
    assert min(distance, key=distance.get) == 1
    assert max(distance, key=distance.get) == 9
    assert min(nose, key=lambda angle: nose[angle][1]) == 5
    assert max(nose, key=lambda angle: nose[angle][1]) == 13


def test_words_can_be_drawn_and_fill_their_box():
    for word in WORDS:
        assert set(word) <= set(GLYPHS) and "CARVANA" not in word
        mask = word_mask(word, 600, 100, 3)
        assert mask.shape == (100, 600) and mask.max() == 1.0
        assert mask[:4].max() > 0.5 and mask[-4:].max() > 0.5, "full height"
        assert mask[:, :30].max() > 0.5 and mask[:, -60:].max() > 0.5, "full width"


def test_vote_by_hand():
    fine = np.array(
        [[0, 0, 1, 2, 0, 4], [0, 1, 2, 2, 4, 0], [3, 3, 0, 0, 1, 1], [3, 4, 0, 4, 0, 2]]
    )
    parts, coverage = vote(fine.astype(np.uint8), 2)
    assert parts.tolist() == [[0, 2, 4], [3, 0, 1]]
    assert coverage.tolist() == [[0.25, 1.0, 0.5], [1.0, 0.25, 0.75]]


def test_tidy_drops_specks_and_fills_pinholes_only():
    parts = np.zeros((100, 100), np.uint8)
    parts[20:80, 20:80] = 1
    parts[40:43, 50] = 0  # a pinhole
    parts[30:50, 30:40] = 0  # a real gap
    parts[5, 5] = 2  # a speck
    parts[88:98, 88:98] = 3  # a piece large enough to be meant
    clean = tidy(parts)
    assert clean[5, 5] == 0 and (clean[40:43, 50] == 1).all()
    assert (clean[30:50, 30:40] == 0).all() and (clean[88:98, 88:98] == 3).all()
    assert (clean > 0).sum() == 60 * 60 - 200 + 100
