"""One photo of 1918×1280 with the shipped network: seconds and peak memory, at half and full scale.

Each way is a process of its own with two threads: it loads the network, reads photos of the
built-in pack one after the other from their JPEG files, and gives a mask of the photo's own size.
As in the commands `predict` and `submit`, freed maps go back to the system (see `heap`).
Seconds are the median over photos, reading included, after one photo to warm up. The peak is what
the system counts as resident, Python and PyTorch included. The run-length text is that of a true
mask.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.benchmarks.memory import peak_mb
from unet_helpers.environment import course_root
from unet_helpers.heap import return_large_blocks
from unet_helpers.sources import extract_pair, open_source

PHOTOS, THREADS = 6, 2
HALF = (640, 960)
WINDOW, BATCH = (512, 768), 1
WAYS = ("half", "windows")
MARKS = {"half": (2.0, 900), "windows": (8.0, 1200)}  # seconds and MiB
RLE_MARK = 5.0  # milliseconds
MB_TO_MIB = 1e6 / 2**20


def measure(real: Path) -> dict[str, float]:
    """Both ways and the run-length text; under a minute on two cores."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        pair = open_source(course_root() / "data" / "studio" / "fullres")
        unpacked = extract_pair(pair, Path(folder), progress=False)
        for way in WAYS:
            figures |= {f"{way}_{key}": value for key, value in _run_apart(unpacked, way).items()}
        figures |= _time_rle(next((unpacked / "train_masks").iterdir()))
    return figures


def _run_apart(unpacked: Path, way: str) -> dict[str, float]:
    call = [sys.executable, "-m", "tools.benchmarks.fullres", str(unpacked / "train"), way]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, cwd=course_root(), check=True)
    return json.loads(done.stdout.splitlines()[-1])


def predict_all(folder: Path, way: str) -> dict[str, float]:
    """Masks of the first photos of a folder, in this process."""
    import torch

    from unet_helpers.checkpoint import load_model
    from unet_helpers.decode import read_photo
    from unet_helpers.inference import predict_mask
    from unet_helpers.windows import mask_by_windows

    torch.set_num_threads(THREADS)
    return_large_blocks()
    model, _ = load_model(course_root() / "data" / "weights" / "studio.safetensors")
    seconds = []
    for path in sorted(folder.glob("*.jpg"))[:PHOTOS]:
        start = time.perf_counter()
        photo = read_photo(path)
        if way == "half":
            mask = predict_mask(model, photo, HALF)
        else:
            mask = mask_by_windows(model, photo, WINDOW, batch_size=BATCH)
        seconds.append(time.perf_counter() - start)
        if mask.shape != photo.shape[:2]:
            raise SystemExit(f"{path.name}: a mask of {mask.shape} for a photo of {photo.shape}")
    timed = statistics.median(seconds[1:])
    return {"seconds": timed, "first_seconds": seconds[0], "peak_mib": peak_mb() * MB_TO_MIB}


def _time_rle(path: Path) -> dict[str, float]:
    from unet_helpers.decode import read_mask
    from unet_helpers.rle import rle_decode, rle_encode

    mask, times = read_mask(path), {"encode": [], "decode": []}
    for _ in range(21):
        start = time.perf_counter()
        text = rle_encode(mask)
        middle = time.perf_counter()
        rle_decode(text, mask.shape)
        times["encode"].append(middle - start)
        times["decode"].append(time.perf_counter() - middle)
    return {f"rle_{name}_ms": 1000 * statistics.median(values) for name, values in times.items()}


def report(figures: dict[str, float]) -> str:
    """The figures beside what is asked of them."""
    lines = ["One photo of 1918×1280, shipped network, two threads (asked: at most):"]
    names = {"half": f"at {HALF[1]}×{HALF[0]}", "windows": f"by windows of {WINDOW[1]}×{WINDOW[0]}"}
    for way, (seconds, mib) in MARKS.items():
        lines.append(
            f"  {names[way]:<24}{figures[f'{way}_seconds']:.2f} s ({seconds:g} s), "
            f"{figures[f'{way}_peak_mib']:.0f} MiB ({mib} MiB), "
            f"first photo {figures[f'{way}_first_seconds']:.2f} s"
        )
    lines.append(
        f"  run-length text         {figures['rle_encode_ms']:.2f} ms ({RLE_MARK:g} ms), "
        f"back {figures['rle_decode_ms']:.2f} ms"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(predict_all(Path(sys.argv[1]), sys.argv[2])))
