"""The cache against decoding anew; stale, truncated and half-built caches; two builders at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from make_pairs import draw_car, gif_bytes, jpeg_bytes, make_items

from unet_helpers import cache as cache_module
from unet_helpers.cache import open_cache
from unet_helpers.decode import read_pair
from unet_helpers.environment import CourseError
from unet_helpers.pairs import find_pairs

SIZE = (32, 48)


@pytest.fixture
def folders(tmp_path) -> Path:
    """A folder with images/ and masks/ of two cars."""
    write_items(tmp_path, make_items(cars=2, height=64, width=96, angles=4))
    return tmp_path


def write_items(folder: Path, items) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    for stem, jpeg, gif in items:
        (folder / "images" / f"{stem}.jpg").write_bytes(jpeg)
        (folder / "masks" / f"{stem}_mask.gif").write_bytes(gif)


def opened(folder: Path, **options):
    pairs = find_pairs(folder / "images", folder / "masks")
    return open_cache(pairs, SIZE, folder / "cache", progress=False, **options)


def cache_files(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "cache").iterdir() if p.suffix != ".lock")


def state(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def assert_as_decoded(folder: Path, cache) -> None:
    pairs = find_pairs(folder / "images", folder / "masks")
    assert len(cache) == len(pairs)
    for index, pair in enumerate(pairs):
        for cached, decoded in zip(cache[index], read_pair(pair, SIZE), strict=True):
            np.testing.assert_array_equal(cached, decoded)
            assert cached.dtype == np.uint8
            assert cached.flags.writeable


def test_cache_holds_what_decoding_gives(folders):
    cache = opened(folders)
    assert_as_decoded(folders, cache)
    cache[0][0][:] = 0  # a copy: writing to it must not reach the file
    assert_as_decoded(folders, opened(folders))


def test_second_opening_reads_no_picture(folders):
    opened(folders)
    (built,) = cache_files(folders)
    before = state(built)
    for path in [*(folders / "images").iterdir(), *(folders / "masks").iterdir()]:
        stamp = path.stat()
        path.write_bytes(b"\0" * stamp.st_size)  # the same stamp: only decoding would notice
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    cache = opened(folders)
    assert state(built) == before
    assert cache[0][0].any()


def test_survives_pickling_and_a_change_of_folder(folders, monkeypatch):
    cache = opened(folders)
    cache[0]
    copy = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 10_000
    assert_as_decoded(folders, copy)


@pytest.mark.parametrize("change", ["content", "bytes", "time", "added", "removed"])
def test_stale_cache_is_rebuilt_and_the_old_one_removed(folders, change):
    opened(folders)
    (old,) = cache_files(folders)
    image = sorted((folders / "images").iterdir())[0]
    mask = sorted((folders / "masks").iterdir())[0]
    photo, drawn = draw_car(np.random.default_rng(9), 1.0, 64, 96, (10, 200, 10))
    if change == "content":
        image.write_bytes(jpeg_bytes(photo))
    elif change == "bytes":  # a tool that keeps the time: only the size tells
        stamp = image.stat()
        image.write_bytes(jpeg_bytes(photo))
        os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    elif change == "time":
        os.utime(mask, ns=(0, 1_500_000_000_000_000_000))
    elif change == "added":
        (folders / "images" / "zz.jpg").write_bytes(jpeg_bytes(photo))
        (folders / "masks" / "zz_mask.gif").write_bytes(gif_bytes(drawn))
    else:
        image.unlink(), mask.unlink()
    cache = opened(folders)
    assert_as_decoded(folders, cache)
    assert cache_files(folders) == [cache.path]
    assert cache.path != old


def test_another_size_or_selection_has_its_own_file(folders):
    pairs = find_pairs(folders / "images", folders / "masks")
    whole = opened(folders)
    part = open_cache(pairs[:3], SIZE, folders / "cache", selection="first", progress=False)
    small = open_cache(pairs, (16, 24), folders / "cache", progress=False)
    assert {whole.path, part.path, small.path} == set(cache_files(folders))
    assert [len(c) for c in (whole, part, small)] == [8, 3, 8]
    assert small[5][0].shape == (16, 24, 3)
    np.testing.assert_array_equal(part[2][0], whole[2][0])
    kept = state(whole.path)
    assert state(opened(folders).path) == kept


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_truncated_cache_is_rebuilt(folders, left):
    path = opened(folders).path
    os.truncate(path, left if left >= 0 else path.stat().st_size - 1)
    assert_as_decoded(folders, opened(folders))


def test_cache_of_another_shape_under_the_same_name_is_rebuilt(folders):
    path = opened(folders).path
    np.save(path, np.zeros(10_000, np.uint8))
    assert_as_decoded(folders, opened(folders))


def build(folder: Path, started, results) -> None:
    started.wait()
    decoded = []
    plain = cache_module.read_pair
    cache_module.read_pair = lambda *a: (decoded.append(1), time.sleep(0.02), plain(*a))[2]
    found = opened(folder)
    results.put((os.getpid(), len(decoded), [int(found[i][0].sum()) for i in range(len(found))]))


def test_two_processes_build_one_cache(folders):
    """Both start at once; one decodes every pair, the other waits and decodes none."""
    context = multiprocessing.get_context("spawn")
    started, results = context.Event(), context.Queue()
    workers = [context.Process(target=build, args=(folders, started, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    started.set()
    first, second = (results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert first[0] != second[0]
    assert sorted([first[1], second[1]]) == [0, 8]
    assert first[2] == second[2]
    assert_as_decoded(folders, opened(folders))
    assert len(cache_files(folders)) == 1


def build_slowly(folder: Path, decoded) -> None:
    plain = cache_module.read_pair

    def slow(*arguments):
        if decoded.value == 4:
            time.sleep(600)
        decoded.value += 1
        return plain(*arguments)

    cache_module.read_pair = slow
    opened(folder)


def test_killed_build_leaves_no_cache_and_the_next_one_cleans_up(folders):
    context = multiprocessing.get_context("spawn")
    decoded = context.Value("i", 0)
    worker = context.Process(target=build_slowly, args=(folders, decoded))
    worker.start()
    while decoded.value < 4 and worker.is_alive():
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert [p.suffix for p in cache_files(folders)] == [".tmp"]
    cache = opened(folders)
    assert_as_decoded(folders, cache)
    assert cache_files(folders) == [cache.path]


def test_damaged_pair_is_named_and_nothing_half_written_stays(folders):
    victim = sorted((folders / "images").iterdir())[5]
    victim.write_bytes(victim.read_bytes()[:500])
    with pytest.raises(CourseError, match=victim.name):
        opened(folders)
    assert cache_files(folders) == []


def test_full_disk_is_seen_before_anything_is_written(folders, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(CourseError, match="free disk"):
        opened(folders)
    assert cache_files(folders) == []


def test_disk_that_fills_up_while_writing(folders):
    """The system refuses the bytes past a limit; an old cache of other files is still there."""
    old = opened(folders, selection="other").path
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from test_cache import opened; from unet_helpers.environment import CourseError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: opened(Path(sys.argv[1]))\n"
        "except CourseError as error: print(error)\n"
        "else: print('no error')\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(folders)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        check=True,
    ).stdout
    assert "What to do" in said, said
    assert cache_files(folders) == [old]


def test_cache_folder_that_cannot_be_made(folders):
    (folders / "cache").write_text("a file is in the way")
    with pytest.raises(CourseError, match="cache"):
        opened(folders)
    assert (folders / "cache").read_text() == "a file is in the way"


def test_memory_stays_flat(tmp_path, monkeypatch):
    """Reading 60 MB of records adds less than a tenth of it to the process's memory."""
    write_items(tmp_path, make_items(cars=1, height=64, width=96, angles=4))
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    monkeypatch.setattr(cache_module, "TOUCHED_LIMIT", 2**20)
    cache = open_cache(pairs * 80, (200, 240), tmp_path / "cache", progress=False)
    assert cache.path.stat().st_size > 60e6
    cache[0]
    before = psutil.Process().memory_info().rss
    peak = before
    for index in range(len(cache)):
        cache[index]
        peak = max(peak, psutil.Process().memory_info().rss)
    assert peak - before < 6e6
