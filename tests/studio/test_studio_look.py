"""What the studio's photos are made of: mirrors, panes, tone, the places where cars stand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mitsuba", reason="the studio's renderer: pip install -e '.[studio]'")

from tools.studio import photo
from tools.studio.camera import draw_camera
from tools.studio.car import build_car
from tools.studio.details import _rear
from tools.studio.edge import below_texture, edge_meshes, lip_texture
from tools.studio.geometry import rotation
from tools.studio.gloss import Surroundings, mirrored
from tools.studio.hull import Shell
from tools.studio.materials import all_materials, clearness, draw_finish, gloss
from tools.studio.part import CLASSES
from tools.studio.shoot import factor
from tools.studio.studio import EDGES, WALL_RADIUS, draw_studio, edge_line
from tools.studio.styles import draw_car

RED, GREEN, BLUE = np.eye(3, dtype=np.float32)


@pytest.fixture(scope="module")
def room() -> Surroundings:
    """A room whose wall is red, floor green and sky blue, with a small car turned by 90 degrees."""
    flat = {name: np.tile(colour, (64, 64, 1)) for name, colour in
            (("wall", RED), ("floor", GREEN), ("sky", BLUE))}  # fmt: skip
    return Surroundings(draw_studio(np.random.default_rng(1)), **flat, wall_level=0.5,
                        floor_level=2.0, turn=rotation("z", np.pi / 2), foot=np.zeros(3),
                        half=(2.0, 0.8))  # fmt: skip


def test_rays_meet_wall_floor_and_sky_where_they_are(room):
    start = np.tile([0.0, 0.0, 1.5], (5, 1))
    way = np.array([[-1, 0, 0], [0, 0, 1], [1, 0, 0.2], [-1.0, 0, -0.4], [-1, 0, -0.15]], float)
    seen = room.seen(start, way / np.linalg.norm(way, axis=1, keepdims=True))
    assert seen[0] == pytest.approx(RED * 0.5), "the wall is behind the car, at -x"
    assert seen[1] == pytest.approx(BLUE) and seen[2] == pytest.approx(BLUE)
    assert seen[3] == pytest.approx(GREEN * 2), "3.75 m away: floor beside the turned car"
    drop = 1.5 - 0.15 * WALL_RADIUS
    assert drop < room.studio.skirting
    assert seen[4] == pytest.approx(np.asarray(room.studio.floor) * 2), "the wall's painted foot"


def test_under_the_car_the_mirrored_floor_is_dark(room):
    under, beside = np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 1.9, 1.0]])  # the car lies along y
    down, out = np.array([[0.0, 0.0, -1.0]]), np.array([[3.0, 1.9, 1.0]])
    assert room.seen(under, down)[0, 1] == pytest.approx(2 * 0.12)
    assert room.seen(beside, down)[0, 1] < 0.5
    assert room.seen(out, down)[0, 1] == pytest.approx(2.0)


@pytest.mark.parametrize("side", [1, -1])
def test_a_mirror_follows_fresnels_law_whichever_way_its_normal_points(room, side):
    """Straight on it mirrors f0; at 60 degrees Schlick's f0 + (1 - f0) / 32."""
    eye = np.array([0.0, 0.0, 5.0])
    spots = np.array([[0.0, 0.0, 1.0], [0.0, 4 * np.sqrt(3), 1.0], [0.0, 0.0, 1.0]])
    hits = {
        "gloss": np.array([[0.04, 0.04, 0.0]], np.float32), "ribs": np.zeros((1, 3), np.float32),
        "position": spots[None], "normal": np.tile([0.0, 0.0, side], (1, 3, 1)),
    }  # fmt: skip
    light, share = mirrored(hits, eye, room)
    assert share[0] == pytest.approx([0.04, 0.04 + 0.96 / 32, 0.0], rel=1e-5)
    assert light[0, 0] == pytest.approx(BLUE * 0.04), "upwards it sees the sky"
    assert light[0, 2].sum() == 0, "a dull surface mirrors nothing"


def test_every_material_that_mirrors_or_lets_light_through_is_a_material():
    for seed in range(20):
        finish = draw_finish("white", 0.3, np.random.default_rng(seed))
        known, clear = all_materials(finish), clearness(finish)
        assert set(gloss(finish)) <= set(known) and set(clear) <= set(known)
        assert clear["privacy_glass"] < clear["glass"] < 0.7
        assert all(known[name]["bsdf"]["reflectance"]["value"] == [0, 0, 0] for name in clear)


def test_a_finer_grid_is_used_as_long_as_it_can_be_paid_for():
    assert factor(480) == 3 and factor(1918) == 2


def test_denoising_keeps_painted_edges_and_removes_noise():
    rng = np.random.default_rng(3)
    albedo = np.full((120, 120, 3), 0.5, np.float32)
    albedo[:, 60:] = 0.05
    normal = np.tile(np.float32([0, 0, 1]), (120, 120, 1))
    hits = {"albedo": albedo, "normal": normal, "label": np.ones((120, 120), np.uint8)}
    clean = 0.8 * photo.average(albedo, 2)
    noisy = clean * rng.gamma(6, 1 / 6, clean.shape)
    smooth = photo.denoise(noisy.astype(np.float32), hits, np.ones((60, 60), np.float32))
    assert np.abs(smooth / clean - 1).mean() < 0.3 * np.abs(noisy / clean - 1).mean()
    assert smooth[:, 31:].max() < 0.1 * 0.8 and smooth[:, :29].min() > 0.25


def test_shadows_on_the_floor_are_smooth_and_spread_no_car():
    rng = np.random.default_rng(4)
    floor = np.ones((80, 120), np.float32)
    floor[20:50, 30:90] = 0  # the car
    ratio = np.where(floor[..., None] > 0, rng.gamma(4, 0.25, (80, 120, 3)), 50.0)
    shadow = photo._shadow(ratio, floor, 1.0)
    assert shadow[floor > 0].std() < 0.15 * ratio[floor > 0].std()
    assert 0.8 < shadow[floor > 0].mean() < 1.1 and shadow[floor > 0].max() < 1.6


def test_tone_is_monotonic_and_ends_are_neither_crushed_nor_burnt():
    look = photo.draw_look(np.random.default_rng(0)) | {"noise": 0.0, "balance": [1, 1, 1]}
    ramp = np.linspace(0, 1.2, 400)[None, :, None] * np.ones((8, 1, 3))
    grey = photo.develop(ramp, np.random.default_rng(1), look)[4, :, 0].astype(int)
    assert (np.diff(grey) >= 0).all() and 4 <= grey[0] <= 12 and 245 <= grey[-1] <= 255


def test_fill_light_lifts_sides_and_leaves_shade_and_roofs_alone():
    level = np.linspace(0, 3, 3001)
    filled = photo.filled(level)
    assert (np.diff(filled) > 0).all(), "what is brighter stays brighter"
    same = (level <= 0.08) | (level >= 1.4)
    assert (filled[same] == level[same]).all()
    assert filled[500] == pytest.approx(0.5 * 1.4), "a side in half of the roof's light"
    assert (filled >= level).all() and (filled <= 1.4 * level + 1e-12).all()


def test_dark_parts_of_the_body_hang_below_no_sill():
    for seed, style in enumerate(("sedan", "pickup", "coupe", "suv")):
        spec = draw_car(style, np.random.default_rng(seed))
        shell = Shell(spec)
        for part in build_car(spec):
            if part.material == "black" and CLASSES[part.label] == "body":
                low = part.mesh.vertices[:, 2].min()
                assert low > 0.5 * shell.spec.clearance, f"{style}: dark parts hang at {low:.2f} m"


def test_wings_stand_on_the_boot():
    """Every foot of a wing reaches into the body: no post floats in the air."""
    found = 0
    for seed in range(120):
        spec = draw_car("sedan", np.random.default_rng(seed))
        if not (spec.details["spoiler"] and spec.details["wing"]):
            continue
        shell = Shell(spec)
        for name, mesh, *_ in _rear(shell):
            if name == "foot":
                found += 1
                x, _, z = mesh.vertices[mesh.vertices[:, 2].argmin()]
                assert z < float(shell.top(np.array(x))) - 0.02
    assert found >= 2


def test_roof_spoilers_lie_on_the_roof_from_side_to_side():
    found = 0
    for seed in range(30):
        spec = draw_car("suv", np.random.default_rng(seed))
        shell = Shell(spec)
        for name, mesh, *_ in _rear(shell):
            if name == "spoiler":
                found += 1
                gap = [z - shell.roof(spec.roof_rear[0], abs(y)) for _, y, z in mesh.vertices]
                assert np.abs(gap).max() < 0.045
                assert 0.5 < mesh.vertices[:, 1].max() < spec.width / 2
    assert found >= 5


def test_long_cars_stand_further_back():
    """Their fronts stay nearly in place: the real set's front edge varies least at a side view."""
    front, rear = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        spec = draw_car("sedan" if seed % 2 else "pickup", rng)
        x = draw_camera(rng, spec.length, spec.height).offset[0]
        front.append(x + spec.length / 2)
        rear.append(x - spec.length / 2)
    assert np.std(front) < 0.75 * np.std(rear)


def test_what_shows_of_the_floors_edge_is_what_the_kind_says():
    """Dark beam, red line and wood lie nearer than bright corners; most sessions show none."""
    rooms = [draw_studio(np.random.default_rng(seed)) for seed in range(400)]
    kinds = {kind: [room for room in rooms if room.edge_kind == kind] for kind in EDGES}
    assert all(kinds.values()) and 0.35 < len(kinds["none"]) / 400 < 0.55
    for kind in ("dark", "red", "wood"):
        assert max(room.edge for room in kinds[kind]) < min(room.edge for room in kinds["corner"])
    dark, red = kinds["dark"][0], kinds["red"][0]
    assert below_texture(dark).mean() < 0.06 < below_texture(red).mean()
    line = lip_texture(red).mean(axis=1)
    assert (line[:, 0] - line[:, 2]).max() > 3 * np.ptp(lip_texture(dark).mean(axis=1)[:, 0])
    lip, below = (edge_meshes(red)[name].vertices for name in ("lip", "below"))
    assert lip[:, 0].min() == pytest.approx(edge_line(red, lip[:, 1]).min(), abs=1e-6)
    assert below[:, 2].max() < -0.1 < 0 < lip[:, 2].max() < 0.03, "the lip is low, the rest lower"
