"""What the tests share: the real photos where they are at hand, and small made-up archive pairs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Threads that wait spin by default, and two test processes then take turns at doing nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # several tests at a time: a thread for each is enough
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from make_pairs import MadePair, make_archive_pair  # noqa: E402


def pytest_xdist_auto_num_workers() -> int:
    """How many tests ``-n auto`` runs side by side: one more than there are cores, at most four.

    One more, since many a test waits for a process, a page or a kernel that it has started; at most
    four, since each of them loads torch.
    """
    from unet_helpers.environment import cpu_count

    return min(cpu_count() + 1, 4)


@pytest.fixture(scope="session")
def real_carvana() -> Path:
    """Folder of real Carvana photos; absent: skipped with a reason, and under CI=true a failure."""
    folder = REPOSITORY.parent / "shared" / "carvana"
    if (folder / "train.zip").is_file() and (folder / "train_masks.zip").is_file():
        return folder
    reason = "the real photos are not beside the repository (../shared/carvana/train.zip)"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def tiny_pair(tmp_path: Path) -> MadePair:
    """A fresh archive pair of three made-up cars, 48 photos at 64×96, in `tmp_path/tiny`."""
    return make_archive_pair(tmp_path / "tiny")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks are faster on one thread, and the machine is shared."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
