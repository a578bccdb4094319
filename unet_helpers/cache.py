"""Decoded pairs on disk: built once, read as raw pixels ever after.

One file holds every photo and mask of a folder at one size, uint8, so a second epoch touches no
JPEG and no GIF. It is a NumPy file (`np.load(path, mmap_mode="r")` opens it) with one record for
each pair: a field "photo" (H, W, 3) and a field "mask" (H, W).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock

from unet_helpers.archives import check_free_disk, writing_to
from unet_helpers.decode import read_pair
from unet_helpers.files import write_atomically
from unet_helpers.pairs import Pair
from unet_helpers.progress import progress_bar

FORMAT = 1  # raise it when decode.py changes what it returns: old caches are then rebuilt
# Pages of a memory map count as the process's own memory once they are touched. After this many
# bytes the map is opened anew, which gives them back (the system keeps the file cached anyway).
TOUCHED_LIMIT = 32 * 2**20


class PairCache:
    """Read-only view of a cache file: `cache[i]` -> photo uint8 (H, W, 3), mask uint8 (H, W).

    Both are copies that may be written to. Memory stays flat however long the file is. Safe to
    pickle and to use in loader workers: every process opens the file for itself.
    """

    def __init__(self, path: Path, count: int, size: tuple[int, int]) -> None:
        self.path, self.count, self.size = path, count, size
        self._records: np.ndarray | None = None
        self._touched = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self._records is None or self._touched >= TOUCHED_LIMIT:
            self._records = None  # closes the old map before the new one is opened
            self._records, self._touched = np.load(self.path, mmap_mode="r"), 0
        record = self._records[index]
        self._touched += record.nbytes
        return np.array(record["photo"]), np.array(record["mask"])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_records": None, "_touched": 0}


def record_type(size: tuple[int, int]) -> np.dtype:
    """One pair in the file: photo, then mask, without padding."""
    return np.dtype([("photo", np.uint8, (*size, 3)), ("mask", np.uint8, tuple(size))])


def open_cache(
    pairs: Sequence[Pair],
    size: tuple[int, int],
    cache_dir: str | Path,
    *,
    selection: str = "all",
    read: Callable[[Pair], tuple[np.ndarray, np.ndarray]] | None = None,
    progress: bool = True,
) -> PairCache:
    """The cache of these pairs at `size` (height, width), built first if there is none.

    The file's name holds two digests: of the source (folders, size, selection) and of every
    file's name, bytes and modification time. A changed, added or removed file gives another name,
    so the cache is rebuilt and the stale one removed; a truncated one is rebuilt in place. Of
    several processes that ask at once, one builds and the others wait for it. selection: name of
    the choice when `pairs` are only some of the folder's. read: reads a pair (None: `read_pair` at
    this size); another way of reading needs another selection. Raises CourseError when the folder
    cannot be written to, when the disk is full (nothing half-written stays), and for a pair that
    cannot be read.
    """
    cache_dir, kind = Path(cache_dir), record_type(size)
    source, stamps = _source(pairs, size, selection), _stamps(pairs)
    path = cache_dir / f"{source}_{stamps}.npy"
    if not is_whole(path, len(pairs), kind):
        with _one_at_a_time(cache_dir, f".{source}.lock") as alone:
            if alone:
                _remove_strays(cache_dir, source)
            if not is_whole(path, len(pairs), kind):  # another process may have built it meanwhile
                read = read or (lambda pair: read_pair(pair, size))
                _build(path, pairs, size, read, progress)
                _remove_stale(path, source)
    return PairCache(path, len(pairs), tuple(size))


def _source(pairs: Sequence[Pair], size: tuple[int, int], selection: str) -> str:
    """First half of the file's name: what is cached, whatever state it is in."""
    folders = [pairs[0].image.parent, pairs[0].mask.parent]
    digest = _digest([*(str(folder.resolve()) for folder in folders), selection])
    return f"{folders[0].name}_{size[0]}x{size[1]}_{digest}"


def _stamps(pairs: Sequence[Pair]) -> str:
    """Second half of the file's name: the state of every file, and of the code that decodes it."""
    return _digest([FORMAT, *((p.stem, *_stamp(p.image), *_stamp(p.mask)) for p in pairs)])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        return path.name, -1, -1  # reading it, later, says what is wrong
    return path.name, status.st_size, status.st_mtime_ns


def is_whole(path: Path, count: int, kind: np.dtype) -> bool:
    """Whether `path` is a cache file of `count` records, complete to its last byte."""
    try:
        records = np.load(path, mmap_mode="r")  # refuses a file shorter than its header says
    except (OSError, ValueError, EOFError, SyntaxError):
        return False
    return records.shape == (count,) and records.dtype == kind


@contextmanager
def _one_at_a_time(folder: Path, name: str) -> Iterator[bool]:
    """Hold the lock `name`, waiting for it if need be; yields whether it is held.

    Some network drives have no locks. Two processes may then build the same cache; as it is put
    in place by a rename, that costs time and nothing else.
    """
    lock = FileLock(folder / name)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except NotImplementedError:
            lock = None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _build(
    path: Path, pairs: Sequence[Pair], size: tuple[int, int], read: Callable, progress: bool
) -> None:
    """Decode every pair into a file beside `path`, which is renamed to it when it is whole."""
    kind = record_type(size)
    check_free_disk(path.parent, len(pairs) * kind.itemsize)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False}
    said = f"caching {pairs[0].image.parent.name} at {size[0]}×{size[1]}"

    def write(file: BinaryIO) -> None:
        # Written as a stream: on a full disk that raises an error, where a memory map would crash.
        np.lib.format.write_array_header_2_0(file, header | {"shape": (len(pairs),)})
        for pair in progress_bar(pairs, said, unit="pair", disable=not progress):
            for pixels in read(pair):
                file.write(np.ascontiguousarray(pixels))

    write_atomically(path, write)


def _remove_strays(folder: Path, source: str) -> None:
    """Remove what a killed build left; whoever holds the lock knows that none is running."""
    for stray in folder.glob(f".{source}_*.tmp"):
        stray.unlink(missing_ok=True)


def _remove_stale(path: Path, source: str) -> None:
    """Remove the caches of earlier states of the same source."""
    for stale in path.parent.glob(f"{source}_*.npy"):
        if stale != path:
            with suppress(PermissionError):  # Windows: still open elsewhere; the next build's turn
                stale.unlink(missing_ok=True)
