"""What becomes of the memory of arrays that are no longer needed."""

from __future__ import annotations

import ctypes

__all__ = ["return_large_blocks"]

M_MMAP_THRESHOLD = -3  # its number in glibc's malloc.h


def return_large_blocks(least: int = 4 * 2**20) -> bool:
    """Let freed blocks of `least` bytes and more go back to the system at once; whether that works.

    glibc, Linux's usual C library, keeps freed blocks of up to 32 MiB for the next array, and the
    maps that a large photo has at many sizes leave gaps that fit none of them. Getting each block
    from the system anew takes a little time: worth it where a large photo must fit into memory,
    not for training. It holds for the whole process. Elsewhere nothing changes: False.
    Source: the manual page mallopt(3), M_MMAP_THRESHOLD.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such library (Windows)
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, least))
