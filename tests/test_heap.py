"""Freed memory, as the system counts it, in processes of their own."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from unet_helpers import heap

# After a first large block has come and gone, glibc takes such blocks from its heap; the small
# block above the second one then keeps the heap from shrinking.
KEPT = """
import ctypes
import resource
from pathlib import Path
from unet_helpers.heap import return_large_blocks

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.free.restype = [ctypes.c_void_p], None

def block(size):
    address = libc.malloc(size)
    ctypes.memset(address, 1, size)
    return address

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

if {asked}:
    assert return_large_blocks()
libc.free(block(24 << 20))
large, small = block(20 << 20), [block(4000) for _ in range(300)]
before = resident()
libc.free(large)
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_large_blocks_go_back_to_the_system():
    given_back = []
    for asked in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", KEPT.format(asked=asked)], capture_output=True, text=True,
            check=True, cwd=Path(heap.__file__).parents[1],
        )  # fmt: skip
        given_back.append(int(done.stdout) / 2**20)
    assert given_back[0] < 1 and given_back[1] > 19


def test_elsewhere_nothing_changes(monkeypatch):
    def no_such_library(name):
        raise TypeError("bad argument type for built-in operation")  # what Windows says

    monkeypatch.setattr(heap.ctypes, "CDLL", no_such_library)
    assert heap.return_large_blocks() is False
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())  # a library without mallopt
    assert heap.return_large_blocks() is False
