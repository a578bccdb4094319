"""A pack on disk: cars rendered one after the other, archives written whole at the end.

While a pack is being rendered its pictures lie in DIR/unfinished/; a restart continues with the
first photo that is missing. The archives appear in one step, with fixed time stamps.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from unet_helpers.environment import CourseError

from . import photo
from .camera import ANGLES, draw_camera
from .car import build_car
from .materials import draw_finish, pick_paints
from .render import Stage, renderer
from .shoot import shoot, shoot_plate
from .studio import draw_studio
from .styles import draw_car, pick_styles

BLOCK = 32  # fleet shares hold within every block of cars
VERSION = 2  # raise it when the same seed gives other pictures
ARCHIVES = ("train.zip", "train_masks.zip", "train_parts.zip")
PALETTE = [(0, 0, 0), (70, 130, 220), (120, 220, 220), (240, 150, 40), (250, 70, 90)]


@dataclass(frozen=True)
class Order:
    """What is to be rendered: it decides every byte of the pack."""

    cars: int
    width: int
    height: int
    seed: int
    samples: int = 4
    version: int = VERSION
    without: tuple[int, ...] = ()  # cars that the seed would give and that are passed over

    def note(self) -> dict:
        """What pack.json holds."""
        return {**asdict(self), "without": sorted(set(self.without))}


@dataclass(frozen=True)
class CarOrder:
    """One car of a pack."""

    index: int
    id: str
    style: str
    paint: str
    year: int


def car_orders(order: Order) -> list[CarOrder]:
    """The cars of a pack: id, style, paint and year, all derived from the seed.

    Drawn in blocks, so that the first cars of a larger pack are the cars of a smaller one. A car
    that is left out makes room for the next one and changes no other.
    """
    cars: list[CarOrder] = []
    while len(cars) < order.cars + len(set(order.without)):
        rng = np.random.default_rng([order.seed, 1, len(cars)])
        styles, paints = pick_styles(BLOCK, rng), pick_paints(BLOCK, rng)
        for style, paint, year in zip(styles, paints, rng.integers(2008, 2018, BLOCK), strict=True):
            name = hashlib.sha256(f"studio {order.seed} {len(cars)}".encode()).hexdigest()[:12]
            cars.append(CarOrder(len(cars), name, style, paint, int(year)))
    return [car for car in cars if car.index not in order.without][: order.cars]


def render_car(order: Order, car: CarOrder, folder: Path) -> None:
    """Render the photos of one car that are missing from folder/{train,train_masks,train_parts}."""
    todo = [angle for angle in ANGLES if not _finished(folder, car.id, angle)]
    if not todo:
        return
    with tempfile.TemporaryDirectory(prefix="studio-") as meshes:
        stage, look = set_up(order, car, Path(meshes))
        plate = shoot_plate(stage, order.width, order.height, order.samples)
        for angle in todo:
            noise = np.random.default_rng([order.seed, 3, car.index, angle])
            picture, parts = shoot(stage, plate, angle, order.samples, int(noise.integers(2**31)))
            _save(folder, f"{car.id}_{angle:02d}", photo.develop(picture, noise, look), parts)


def set_up(order: Order, car: CarOrder, meshes: Path) -> tuple[Stage, dict]:
    """The car in its studio before its camera, with meshes written to a folder, and its look."""
    rng = np.random.default_rng([order.seed, 2, car.index])
    spec = draw_car(car.style, rng)
    finish = draw_finish(car.paint, spec.details["dirt"], rng)
    studio, camera = draw_studio(rng), draw_camera(rng, spec.length, spec.height)
    return Stage(build_car(spec), finish, studio, camera, meshes), photo.draw_look(rng)


def _paths(folder: Path, stem: str) -> tuple[Path, Path, Path]:
    return (
        folder / "train" / f"{stem}.jpg",
        folder / "train_masks" / f"{stem}_mask.gif",
        folder / "train_parts" / f"{stem}_parts.png",
    )


def _finished(folder: Path, car: str, angle: int) -> bool:
    return all(path.exists() for path in _paths(folder, f"{car}_{angle:02d}"))


def _save(folder: Path, stem: str, picture: np.ndarray, parts: np.ndarray) -> None:
    """Write photo, mask and parts, each in one step."""
    mask = Image.fromarray((parts > 0).astype(np.uint8), "P")
    mask.putpalette([0, 0, 0, 255, 255, 255])
    coloured = Image.fromarray(parts, "P")
    coloured.putpalette([value for colour in PALETTE for value in colour])
    jpeg = {"format": "JPEG", "quality": 90, "optimize": True}
    jobs = [(Image.fromarray(picture), jpeg), (mask, {"format": "GIF", "optimize": False}),
            (coloured, {"format": "PNG", "optimize": True})]  # fmt: skip
    for path, (image, options) in zip(_paths(folder, stem), jobs, strict=True):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, buffer.getvalue())


def write_pack(order: Order, folder: Path, workers: int = 1, progress: bool = True) -> None:
    """Render a pack into folder: train.zip, train_masks.zip, train_parts.zip, metadata.csv.

    Continues where an earlier call stopped. Raises CourseError for impossible numbers, for a
    folder that holds another pack, and when the renderer is missing.
    """
    _check(order, folder)
    work = folder / "unfinished"
    if _whole(order, folder):
        return
    renderer()
    work.mkdir(parents=True, exist_ok=True)
    cars = car_orders(order)
    _unpack(folder, work)
    _write(folder / "pack.json", (json.dumps(order.note()) + "\n").encode())
    _render_all(order, cars, work, workers, progress)
    stems = sorted(f"{car.id}_{angle:02d}" for car in cars for angle in ANGLES)
    for column, name in enumerate(ARCHIVES):
        _zip(folder / name, [_paths(work, stem)[column] for stem in stems], Path(name).stem)
    _write(folder / "metadata.csv", _metadata(cars))
    for path in sorted(work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    work.rmdir()


def _whole(order: Order, folder: Path) -> bool:
    """Whether the folder already holds exactly this pack, finished."""
    files = [folder / name for name in (*ARCHIVES, "metadata.csv", "pack.json")]
    if (folder / "unfinished").exists() or not all(file.exists() for file in files):
        return False
    return _read_note(folder) == order.note()


def _read_note(folder: Path) -> dict:
    """pack.json; notes from before cars could be left out say nothing about that."""
    return {"without": [], **json.loads((folder / "pack.json").read_text())}


def _unpack(folder: Path, work: Path) -> None:
    """Take what finished archives hold back into the work folder: a pack can change its cars."""
    for name in ARCHIVES:
        if not (folder / name).exists():
            continue
        with zipfile.ZipFile(folder / name) as archive:
            for entry in archive.namelist():
                target = work / Path(name).stem / Path(entry).name
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _write(target, archive.read(entry))


def _render_all(order: Order, cars: list[CarOrder], work: Path, workers: int, progress: bool):
    from tqdm.auto import tqdm

    bar = tqdm(total=len(cars), unit="car", disable=not progress)
    if workers <= 1:
        for car in cars:
            render_car(order, car, work)
            bar.update()
    else:
        with ProcessPoolExecutor(workers) as pool:
            for done in [pool.submit(render_car, order, car, work) for car in cars]:
                done.result()
                bar.update()
    bar.close()


def _check(order: Order, folder: Path) -> None:
    for name in ("cars", "width", "height", "samples"):
        if getattr(order, name) < (32 if name in ("width", "height") else 1):
            raise CourseError(
                f"the studio's {name}", expected="a positive number, at least 32 for a size",
                found=str(getattr(order, name)), mend="for example --cars 8 --size 288x192",
            )  # fmt: skip
    if any(index < 0 for index in order.without):
        raise CourseError(
            "the studio's without", expected="indices of cars, counted from 0",
            found=str(min(order.without)), mend="for example --without 12,45",
        )  # fmt: skip
    note = folder / "pack.json"
    if note.exists():
        before, free = _read_note(folder), ("cars", "without")
        changed = [k for k, v in order.note().items() if before.get(k) != v and k not in free]
        if changed:
            raise CourseError(
                str(folder), expected="an empty folder, or this very pack begun earlier",
                found="a pack with another " + ", ".join(changed),
                mend="choose another --out, or delete that folder first",
            )  # fmt: skip
    elif (folder / "train.zip").exists():
        raise CourseError(
            str(folder), expected="an empty folder, or a pack begun by this command",
            found="archives without pack.json", mend="choose another --out",
        )  # fmt: skip


def _metadata(cars: list[CarOrder]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    rows.writerow(["id", "year", "make", "model", "trim1", "trim2", "style", "paint"])
    for car in sorted(cars, key=lambda c: c.id):
        rows.writerow([car.id, car.year, "Studio", car.style.title(), "", "", car.style, car.paint])
    return text.getvalue().encode()


def _zip(path: Path, files: list[Path], folder: str) -> None:
    """Archive of files under folder/, stored as they are, with fixed stamps."""
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(f"{folder}/{file.name}", (2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(path)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


__all__ = ["CarOrder", "Order", "car_orders", "render_car", "set_up", "write_pack"]
