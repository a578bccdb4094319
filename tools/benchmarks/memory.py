"""Peak memory of a training run on all 3,200 real pairs against one on 320 of them.

Each run is a process of its own: one epoch at 128×192, features 16 to 128, the cache built on the
way, every pair read. The peak is what the system counts as resident, mapped pages of the cache
included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from unet_helpers.sources import extract_pair, open_source

HEIGHT, WIDTH, FEATURES, BATCH, VAL_IMAGES = 128, 192, (16, 32, 64, 128), 8, 16
SMALL_CARS = 20  # of 200: a tenth of the pairs


def measure(real: Path) -> dict[str, float]:
    """Both runs, the small one first; a few minutes on two cores."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = extract_pair(open_source(real), Path(folder) / "pairs", progress=False)
        few, many = (
            _run_apart(unpacked, Path(folder) / name, cars)
            for name, cars in (("few", SMALL_CARS), ("many", None))
        )
    return {
        "ratio": many["peak_mb"] / few["peak_mb"],
        "peak_mb": many["peak_mb"],
        "peak_mb_tenth": few["peak_mb"],
        "pairs": many["pairs"],
        "pairs_tenth": few["pairs"],
        "cache_mb": many["cache_mb"],
    }


def _run_apart(unpacked: Path, work: Path, cars: int | None) -> dict[str, float]:
    call = [sys.executable, "-m", "tools.benchmarks.memory", unpacked, work, str(cars or 0)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, cwd=root, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would also count the process that started this one
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024) / 1e6


def train_once(unpacked: Path, work: Path, cars: int | None) -> dict[str, float]:
    """One epoch on `cars` cars (None: all), in this process."""
    from unet_helpers.checkpoint import model_from_config
    from unet_helpers.config import TrainConfig
    from unet_helpers.dataset import CarvanaDataset, eval_transform, make_loader, train_transform
    from unet_helpers.training import fit

    config = TrainConfig(
        height=HEIGHT, width=WIDTH, features=FEATURES, batch_size=BATCH, epochs=1, device="cpu"
    )
    folders = (unpacked / "train", unpacked / "train_masks")
    options = {"cache_dir": work / "cache", "progress": False}
    train = CarvanaDataset(*folders, train_transform(HEIGHT, WIDTH), cars=cars, **options)
    val = CarvanaDataset(*folders, eval_transform(HEIGHT, WIDTH), stems=train.stems[:VAL_IMAGES])
    loaders = make_loader(train, BATCH, shuffle=True), make_loader(val, BATCH)
    fit(model_from_config(config), *loaders, config, work / "run", progress=False)
    cached = sum(path.stat().st_size for path in (work / "cache").glob("*.npy"))
    return {"peak_mb": peak_mb(), "pairs": len(train), "cache_mb": cached / 1e6}


def report(figures: dict[str, float]) -> str:
    """The figures as one line."""
    return (
        f"Memory: {figures['peak_mb']:.0f} MB at most on {figures['pairs']} pairs, "
        f"{figures['peak_mb_tenth']:.0f} MB on {figures['pairs_tenth']}: "
        f"{figures['ratio']:.2f}× (the cache holds {figures['cache_mb']:.0f} MB)"
    )


if __name__ == "__main__":
    print(json.dumps(train_once(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) or None)))
