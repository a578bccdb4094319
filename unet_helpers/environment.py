"""Where the course runs and what fits there: folders, device, precision, workers, profile, seed.

torch is imported inside the functions, so that `python -m unet_helpers check` still answers when
torch itself cannot be imported.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import random
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIB = 1024**3


class CourseError(Exception):
    """A failure the learner can mend: subject, what was expected, what was found, the way out.

    `CourseError("train.zip", expected="a zip file", found="a web page", mend="download it again")`
    reads "train.zip: expected a zip file; found a web page. What to do: download it again."
    """

    def __init__(
        self,
        subject: object,
        *,
        expected: object = None,
        found: object = None,
        mend: object = None,
    ) -> None:
        self.subject, self.expected, self.found, self.mend = subject, expected, found, mend
        text = str(subject)
        if expected is None and found is None and mend is None:
            # A DataLoader rebuilds a worker's exception from one string, traceback included.
            # The learner needs the message at its end.
            text = text.rpartition("CourseError: ")[2].strip()
        else:
            parts = [
                f"expected {expected}" if expected is not None else "",
                f"found {found}" if found is not None else "",
            ]
            said = "; ".join(part.rstrip(".") for part in parts if part)
            text = f"{text}: {said}." if said else f"{text}."
            if mend is not None:
                text += f" What to do: {str(mend).rstrip('.')}."
        super().__init__(text)


def course_root() -> Path:
    """Folder that holds `unet_helpers/` and the built-in pack `data/studio/` (the checkout)."""
    return Path(__file__).resolve().parents[1]


def _home() -> Path:
    """Folder for what the course writes: UNET_COURSE_HOME (hosted services), else the checkout."""
    home = os.environ.get("UNET_COURSE_HOME")
    return Path(home).expanduser().resolve() if home else course_root()


def data_dir() -> Path:
    """Folder for downloads and prepared data; not created here."""
    return _home() / "data"


def runs_dir() -> Path:
    """Folder for training runs: UNET_COURSE_RUNS, else beside the data; not created here."""
    kept = os.environ.get("UNET_COURSE_RUNS")
    return Path(kept).expanduser().resolve() if kept else _home() / "runs"


def prepared_dir(source: str | Path = "studio") -> Path:
    """Prepared folder of a source: data/prepared/<"studio", "kaggle" or the folder's own name>."""
    text = str(source)
    if text in ("studio", "kaggle"):
        return data_dir() / "prepared" / text
    name = Path(text).expanduser().resolve().name or "folder"
    # A learner's own folder may be called "studio"; the built-in pack's split stays apart.
    return data_dir() / "prepared" / (f"{name}-folder" if name in ("studio", "kaggle") else name)


def where() -> str:
    """Where the code runs: "local", "colab", "kaggle" or "gradient"."""
    # Kaggle first: its images are built on Colab's and carry some of Colab's marks.
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
        return "kaggle"
    if os.environ.get("COLAB_RELEASE_TAG") or "google.colab" in sys.modules:
        return "colab"
    if any(name.startswith("PAPERSPACE_") for name in os.environ):
        return "gradient"
    return "local"


def quick() -> bool:
    """Whether the quick mode is on (UNET_COURSE_QUICK=1): same cells, smaller numbers."""
    return os.environ.get("UNET_COURSE_QUICK", "").lower() in ("1", "true", "yes")


def pick_device(name: str = "auto") -> torch.device:
    """Device to compute on.

    name: "auto" (cuda, then mps, then cpu), "cpu", "cuda", "cuda:1", "mps".
    Raises CourseError when the named device is not on this machine: nothing falls back in silence.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise CourseError(
            f"device={name}",
            expected="auto, cpu, cuda, cuda:<number> or mps",
            found=repr(name),
            mend="use device=auto to take the best device of this machine",
        )
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= (device.index or 0):
            raise CourseError(
                f"device={name}",
                expected="a GPU that this torch can use",
                found=f"{count} of them (torch {torch.__version__})",
                mend="use device=auto or device=cpu; on a machine with a GPU, check its driver "
                "with nvidia-smi; on Colab choose Runtime, Change runtime type, T4 GPU",
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise CourseError(
            f"device={name}",
            expected="an Apple GPU that this torch can use",
            found="none",
            mend="use device=auto or device=cpu",
        )
    return device


@dataclass(frozen=True)
class Precision:
    """How the forward pass computes: "fp32", "bf16" or "fp16" on a device type."""

    name: str
    device_type: str
    dtype: torch.dtype
    use_scaler: bool

    def autocast(self) -> AbstractContextManager:
        """Context for the forward pass and the loss; under fp32 it does nothing."""
        import torch

        if self.name == "fp32":
            return torch.autocast(self.device_type, enabled=False)
        return torch.autocast(self.device_type, dtype=self.dtype)


def pick_precision(device: torch.device | str, name: str = "auto") -> Precision:
    """Precision that fits the device.

    "auto": CPU fp32; CUDA bf16 where the GPU computes it natively (Ampere and later), else fp16
    with a GradScaler; MPS fp32. The MPS choice is the safe one: fp16 gradients need a GradScaler,
    which torch has for MPS only in recent versions, above the floor of this course.
    Raises CourseError for a precision the device does not have.
    """
    import torch

    kind = torch.device(device).type
    # Older GPUs emulate bf16 in software and are slower than in fp32: they do not count.
    native_bf16 = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    offered = {
        "cpu": ("fp32", "bf16", "fp16"),
        "cuda": ("bf16", "fp16", "fp32") if native_bf16 else ("fp16", "fp32"),
    }.get(kind, ("fp32",))
    chosen = offered[0] if name == "auto" else name
    if chosen not in offered:
        raise CourseError(
            f"precision={name}",
            expected=f"auto or one of {', '.join(offered)} on this {kind} device",
            found=repr(name),
            mend="use precision=auto",
        )
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[chosen]
    return Precision(chosen, kind, dtype, use_scaler=chosen == "fp16")


def cpu_count() -> int:
    """CPU cores this process may use (in a container fewer than the machine has)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def running_in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel (Colab's and Kaggle's included)."""
    if "IPython" not in sys.modules or importlib.util.find_spec("IPython") is None:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def pick_workers(device: torch.device | str | None = None, in_notebook: bool | None = None) -> int:
    """Number of DataLoader workers.

    0 in a notebook wherever workers are not forked (Windows, macOS, and Linux from Python 3.14):
    there a worker starts afresh and cannot find the classes a notebook defines. 0 when the CPU
    trains: the network needs every core, and the cached data set costs it little. Otherwise all
    cores but one, at most 8.
    """
    if in_notebook is None:
        in_notebook = running_in_notebook()
    method = (
        multiprocessing.get_start_method(allow_none=True)
        or multiprocessing.get_all_start_methods()[0]
    )
    if in_notebook and (sys.platform in ("win32", "darwin") or method != "fork"):
        return 0
    kind = str(pick_device() if device is None else device).partition(":")[0]
    return 0 if kind == "cpu" else min(max(cpu_count() - 1, 1), 8)


@dataclass(frozen=True)
class Profile:
    """What fits a device in a lesson's time.

    height, width: training size in pixels, 2:3 like the photos. cars: how many training cars to
    use at most (None: all).
    """

    name: str
    height: int
    width: int
    features: tuple[int, ...]
    epochs: int
    batch_size: int
    cars: int | None = None


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", 64, 96, (8, 16, 32, 64), epochs=1, batch_size=8, cars=4),
        Profile("cpu", 128, 192, (16, 32, 64, 128), epochs=4, batch_size=8),
        Profile("mps", 160, 240, (32, 64, 128, 256), epochs=6, batch_size=8),
        Profile("small-gpu", 160, 240, (32, 64, 128, 256), epochs=8, batch_size=16),
        Profile("gpu", 256, 384, (64, 128, 256, 512), epochs=8, batch_size=16),
        Profile("big-gpu", 512, 768, (64, 128, 256, 512), epochs=12, batch_size=16),
    )
}


def pick_profile(device: torch.device | str) -> Profile:
    """Profile for a device: "quick" in quick mode, else by kind and, on CUDA, by memory.

    CUDA: "small-gpu" under 8 GiB, "gpu" (a T4 has 15 GiB) under 30 GiB, "big-gpu" from there on.
    """
    import torch

    if quick():
        return PROFILES["quick"]
    device = torch.device(device)
    if device.type != "cuda":
        return PROFILES["mps" if device.type == "mps" else "cpu"]
    memory = torch.cuda.get_device_properties(device).total_memory
    if memory < 7.5 * GIB:  # cards sold as "8 GB" report a little less
        return PROFILES["small-gpu"]
    return PROFILES["gpu" if memory < 30 * GIB else "big-gpu"]


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random numbers (CPU and every GPU)."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
