"""From car, studio and camera to pixels: the scene, the picture, the index image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from unet_helpers.environment import CourseError

from . import edge
from . import studio as room
from .camera import Camera, aim, car_turn
from .geometry import Mesh, rotation, write_ply
from .materials import Finish, all_materials, clearness, gloss
from .part import LIGHT, WHEEL, Part

VARIANT = "scalar_rgb"
MAX_DEPTH = 4


def renderer():
    """Mitsuba with its variant set; CourseError says how to install it."""
    try:
        import mitsuba as mi
    except ImportError as error:
        raise CourseError(
            "the studio's renderer", expected="Mitsuba 3 (package mitsuba)", found=str(error),
            mend="pip install -e '.[studio]' and run the command again",
        ) from error  # fmt: skip
    if VARIANT not in mi.variants():
        raise CourseError(
            "the studio's renderer", expected=f"Mitsuba's variant {VARIANT}",
            found=", ".join(mi.variants()) or "no variant",
            mend="install the mitsuba package from the registry; it holds this variant",
        )  # fmt: skip
    if mi.variant() != VARIANT:
        mi.set_variant(VARIANT)
    import drjit

    # One thread a process: on busy cores the renderer's own threads mostly wait for one another.
    drjit.set_thread_count(1)
    return mi


class Stage:
    """One car in its studio, ready to be rendered at any angle.

    Meshes and textures are written once to folder; a scene is built for every angle.
    """

    def __init__(self, parts: list[Part], finish: Finish, studio: room.Studio, camera: Camera,
                 folder: Path):  # fmt: skip
        self.mi = renderer()
        self.camera, self.studio, self.parts = camera, studio, parts
        self.labels = {f"car_{i:02d}": part.label for i, part in enumerate(parts)}
        materials, clear, shine = all_materials(finish), clearness(finish), gloss(finish)
        self._car, self._shine, self._clear = {}, {}, {}
        for name, part in zip(self.labels, parts, strict=True):
            path = folder / f"{name}.ply"
            write_ply(part.mesh, path)
            self._car[name] = (path, materials[part.material])
            self._shine[name] = shine.get(part.material, (0.0, 0.0))
            self._clear[name] = clear.get(part.material, 0.0)
        self.textures = {"wall": room.wall_texture(studio), "floor": room.floor_texture(studio),
                         "sky": room.sky(studio)}  # fmt: skip
        # Lacquer is not quite even: what it mirrors is a little soft.
        soft = {"wall": 10.0, "floor": 4.0, "sky": 2.5}
        self.mirrored = {name: cv2.GaussianBlur(self.textures[name], (0, 0), sigma)
                         for name, sigma in soft.items()}  # fmt: skip
        self._room = self._room_shapes(folder)
        self._sky = self.mi.Bitmap(self.textures["sky"])

    def _room_shapes(self, folder: Path) -> dict:
        s = self.studio

        def textured(texture: np.ndarray, roughness: float | None) -> dict:
            bitmap = {"type": "bitmap", "bitmap": self.mi.Bitmap(texture), "raw": True}
            if roughness is None:
                return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": bitmap}}
            bsdf = {"type": "principled", "base_color": bitmap, "roughness": roughness,
                    "specular": 0.45}  # fmt: skip
            return {"type": "twosided", "bsdf": bsdf}

        def plain(value: float) -> dict:
            colour = {"type": "rgb", "value": [value, value, value * 0.98]}
            return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": colour}}

        rim, floor = edge.edge_meshes(s), self.textures["floor"]
        shapes: dict[str, tuple[Mesh, dict]] = {
            "wall": (room.wall_mesh(), textured(self.textures["wall"], None)),
            "floor": (room.floor_mesh(s), textured(floor, 0.38)),
            "cove": (room.cove_mesh(s), textured(room.cove_texture(floor), 0.38)),
            "ring": (room.ring_mesh(s), plain(0.12)),
            "lip": (rim["lip"], textured(edge.lip_texture(s), None)),
            "step": (rim["step"], plain(0.03 if s.edge_kind == "dark" else 0.12)),
            "below": (rim["below"], textured(edge.below_texture(s), None)),
        }
        described = {}
        for name, (mesh, bsdf) in shapes.items():
            path = folder / f"{name}.ply"
            write_ply(mesh, path)
            described[f"room_{name}"] = {"type": "ply", "filename": str(path), "bsdf": bsdf}
        return described

    def empty_scene(self):
        """The room without the car."""
        return self.mi.load_dict(self._described(), optimize=False)

    def _described(self) -> dict:
        lift = self.mi.ScalarTransform4f().rotate([1, 0, 0], 90)
        sky = {"type": "envmap", "bitmap": self._sky, "to_world": lift}
        return {"type": "scene", "sky": sky, **self._room}

    def scene(self, angle: int, glazed: bool = True):
        """The renderer's scene for angle 1..16.

        Without its panes of glass it is only looked at through them: wheels and lamps, which are
        not seen there, are left out, as most of a scene's cost is to sort its triangles.
        """
        to_world = self.placement(angle)
        scene = self._described()
        for name, (path, bsdf) in self._car.items():
            if not glazed and (self._clear[name] or self.labels[name] in (WHEEL, LIGHT)):
                continue
            scene[name] = {"type": "ply", "filename": str(path), "to_world": to_world, "bsdf": bsdf}
        # optimize=False: otherwise meshes that share a material are merged, and labels with them
        return self.mi.load_dict(scene, optimize=False)

    def placement(self, angle: int):
        """Where the turntable has carried the car at an angle, as the renderer's transform."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation("z", car_turn(angle, self.camera))
        matrix[:3, 3] = matrix[:3, :3] @ np.array([*self.camera.offset, 0.0])
        return self.mi.ScalarTransform4f(matrix)

    def mesh_path(self, name: str) -> Path:
        """The file that holds the mesh of one of the car's shapes."""
        return self._car[name][0]

    def sensor(self, width: int, height: int, crop: tuple[int, int, int, int] | None = None):
        """Camera for a picture of width x height; crop is (left, top, width, height) in pixels."""
        mi = self.mi
        eye, target = aim(self.camera, width / height)
        up = rotation("x", np.radians(self.camera.roll)) @ np.array([0.0, 0.0, 1.0])
        film = {"type": "hdrfilm", "width": width, "height": height, "pixel_format": "rgb",
                "component_format": "float32", "rfilter": {"type": "box"}}  # fmt: skip
        if crop is not None:
            names = ("crop_offset_x", "crop_offset_y", "crop_width", "crop_height")
            film |= dict(zip(names, (int(value) for value in crop), strict=True))
        return mi.load_dict({
            "type": "perspective", "fov": self.camera.field_of_view, "fov_axis": "x",
            "to_world": mi.ScalarTransform4f().look_at(
                origin=eye.tolist(), target=target.tolist(), up=up.tolist()),
            "film": film, "sampler": {"type": "multijitter", "sample_count": 4},
        })  # fmt: skip

    def light(self, scene, sensor, samples: int, seed: int) -> np.ndarray:
        """Path-traced light (H, W, 3), linear."""
        path = self.mi.load_dict({"type": "path", "max_depth": MAX_DEPTH, "rr_depth": 8})
        return np.array(
            self.mi.render(scene, sensor=sensor, integrator=path, spp=samples, seed=seed)
        )[..., :3]

    def first_hits(self, scene, sensor) -> dict[str, np.ndarray]:
        """What the ray through every pixel meets first.

        Returns label (H, W) uint8 with 0 for the room, floor and wall (H, W) bool, position (in
        metres), normal and albedo (H, W, 3) float32, and of the material its gloss (reflectance
        seen straight on), ribs and clearness (H, W). The renderer counts shapes from 1 in the
        order of scene.shapes(); 0 means nothing was hit.
        """
        aovs = "albedo:albedo,normal:sh_normal,position:position,index:shape_index"
        integrator = self.mi.load_dict({"type": "aov", "aovs": aovs})
        image = np.array(
            self.mi.render(scene, sensor=sensor, integrator=integrator, spp=1, seed=1)
        )[..., -10:]
        names = [""] + [shape.id() for shape in scene.shapes()]
        label = np.array([self.labels.get(name, 0) for name in names], np.uint8)
        floor = np.array([name in ("room_floor", "room_ring") for name in names])
        shine = np.array([self._shine.get(name, (0.0, 0.0)) for name in names], np.float32)
        clear = np.array([self._clear.get(name, 0.0) for name in names], np.float32)
        wall = np.array([name == "room_wall" for name in names])
        index = np.rint(image[..., 9]).astype(np.uint8)
        return {"label": label[index], "floor": floor[index], "wall": wall[index], "index": index,
                "albedo": image[..., :3], "normal": image[..., 3:6], "position": image[..., 6:9],
                "gloss": shine[index, 0], "ribs": shine[index, 1],
                "clear": clear[index]}  # fmt: skip

    def box_in_picture(self, angle: int, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, width, height) in pixels around the car, its shadow and its reflection."""
        turn = rotation("z", car_turn(angle, self.camera))
        points = np.concatenate([part.mesh.vertices[::7] for part in self.parts])
        points = (points + np.array([*self.camera.offset, 0.0])) @ turn.T
        shadow = points * [1.0, 1.0, 0.0]
        eye, target = aim(self.camera, width / height)
        forward = (target - eye) / np.linalg.norm(target - eye)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        seen = np.concatenate([points, shadow]) - eye
        depth = seen @ forward
        x = (seen @ right / depth * self.camera.focal + 0.5) * width
        y = (seen @ down / depth * self.camera.focal) * width + height / 2
        left, right_ = np.clip([x.min() - 0.07 * width, x.max() + 0.07 * width], 0, width)
        top, bottom = np.clip([y.min() - 0.02 * height, y.max() + 0.07 * height], 0, height)
        left, top = int(left), int(top)
        return left, top, int(np.ceil(right_)) - left, int(np.ceil(bottom)) - top
