"""Which cars of a seed to pass over, so that sizes vary as they do in the real set.

    python -m tools.studio.choose ../shared/carvana --of 92                 # by silhouettes
    python -m tools.studio.choose ../shared/carvana --of 92 --packs A B     # among finished cars

A few dozen drawn cars have by chance a wider or narrower spread of sizes than two hundred
photographed ones. This looks, among the first cars of a seed, for those whose means and spreads of
area and box are, angle by angle, within a tenth of the real set's, and prints what
`python -m tools.studio` wants. Sizes come from silhouettes, drawn for the purpose at half size, or
from the masks of packs that are rendered: then only cars in these are chosen. Only aggregates of
the real masks are looked at, and no network is asked. Simulated annealing (Kirkpatrick et al.
1983), one car against another; convertibles, vans and coupes stay, since there are few of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from .camera import ANGLES
from .labels import tidy, vote
from .measure import box, read_masks
from .render import Stage, renderer
from .writer import Order, car_orders, set_up

RARE = ("convertible", "van", "coupe")
MARGIN = 0.097  # of the tenth
FINE = 2  # rays per pixel and direction
STEPS, RUNS = 100_000, 12
HOT, COLD = 0.05, 2e-5


def sizes_of(order: Order, index: int) -> np.ndarray:
    """Sizes (16, 5) of one car at its 16 angles: area, left, right, top, bottom, as shares."""
    renderer()
    with tempfile.TemporaryDirectory(prefix="studio-") as meshes:
        stage, _ = set_up(order, car_orders(order)[index], Path(meshes))
        return np.array([box(silhouette(stage, angle, order)) for angle in ANGLES])


def real_sizes(folder: Path) -> np.ndarray:
    """Sizes (cars, 16, 5) of the cars in folder/train_masks.zip."""
    masks = read_masks(folder)
    return np.array([[box(mask) for mask in masks[angle]] for angle in ANGLES]).swapaxes(0, 1)


def silhouette(stage: Stage, angle: int, order: Order) -> np.ndarray:
    """Mask (H, W) bool of one angle by first hits alone, without any light."""
    crop = stage.box_in_picture(angle, order.width, order.height)
    fine = tuple(FINE * value for value in crop)
    sensor = stage.sensor(order.width * FINE, order.height * FINE, fine)
    parts, _ = vote(stage.first_hits(stage.scene(angle), sensor)["label"], FINE)
    whole = np.zeros((order.height, order.width), np.uint8)
    left, top, wide, high = crop
    whole[top : top + high, left : left + wide] = parts
    return tidy(whole) > 0


def excess(sizes: np.ndarray, real: np.ndarray) -> float:
    """How far means and spreads of sizes (cars, 16, 5) are beyond MARGIN of real ones, summed."""
    off = [np.abs(part(sizes, axis=0) / part(real, axis=0) - 1) for part in (np.mean, np.std)]
    return float(sum(np.clip(o - MARGIN, 0, None).sum() for o in off))


def finished_sizes(order: Order, folders: list[Path]) -> dict[int, np.ndarray]:
    """Sizes (16, 5) by index, of those cars of an order that are in one of the packs."""
    indices, found = {car.id: car.index for car in car_orders(order)}, {}
    for folder in folders:
        with zipfile.ZipFile(folder / "train_masks.zip") as archive:
            ids = sorted({Path(name).name[:12] for name in archive.namelist()})
        for id_, sizes in zip(ids, real_sizes(folder), strict=True):
            if id_ in indices:
                found[indices[id_]] = sizes
    return dict(sorted(found.items()))


def choose(sizes: np.ndarray, real: np.ndarray, cars: int, fixed: set[int]) -> list[int]:
    """Indices of `cars` out of sizes (N, 16, 5) whose statistics are nearest to real (M, 16, 5).

    fixed: indices below `cars` that must stay. The best of RUNS searches, each with a seed of its
    own: the same every time.
    """
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(partial(anneal, sizes, real, cars, fixed, STEPS), range(RUNS))
        return sorted(min(found)[1])


def anneal(sizes, real, cars: int, fixed: set[int], steps: int, seed: int):
    """(excess, indices) of the best choice that one search meets; it starts with the first cars."""
    rng, chosen, heat = np.random.default_rng(seed), list(range(cars)), HOT
    now = excess(sizes[chosen], real)
    best = now, chosen
    for _ in range(steps if len(sizes) > cars else 0):
        heat *= (COLD / HOT) ** (1 / steps)
        place, index = rng.integers(cars), int(rng.integers(len(sizes)))
        if chosen[place] in fixed or index in chosen:
            continue
        other = [*chosen[:place], index, *chosen[place + 1 :]]
        then = excess(sizes[other], real)
        if then < now or rng.random() < np.exp((now - then) / heat):
            chosen, now = other, then
        best = min(best, (now, chosen))
    return best


def main(arguments: list[str] | None = None) -> None:
    from tqdm.auto import tqdm

    parser = argparse.ArgumentParser(prog="python -m tools.studio.choose", description=__doc__)
    parser.add_argument("real", type=Path, help="folder with the real train_masks.zip")
    parser.add_argument("--cars", type=int, default=64)
    parser.add_argument("--of", type=int, default=92, help="cars to choose from")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--packs", type=Path, nargs="+", default=[], help="choose among these")
    options = parser.parse_args(arguments)
    order = Order(options.of, 240, 160, options.seed)
    if options.packs:
        found = finished_sizes(order, options.packs)
    else:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(partial(sizes_of, order), range(options.of))
            found = dict(enumerate(tqdm(drawn, total=options.of, unit="car")))
    indices, sizes, real = list(found), np.array(list(found.values())), real_sizes(options.real)
    rare = {car.index for car in car_orders(order)[: options.cars] if car.style in RARE}
    places = choose(sizes, real, options.cars, {indices.index(i) for i in rare if i in found})
    print(f"beyond the margin, summed: {excess(sizes[: options.cars], real):.3f} as they come, "
          f"{excess(sizes[places], real):.3f} as chosen")  # fmt: skip
    chosen = {indices[place] for place in places}
    left_out = [index for index in range(max(chosen) + 1) if index not in chosen]
    print("--without " + ",".join(map(str, left_out)) if left_out else "nothing to leave out")


if __name__ == "__main__":
    main()
