"""The memory of a process that trains on a CPU."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from isojepa.machine import memory_bytes

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # mallopt(3)
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; where glibc's own adaptation ends
DEFAULT_MMAP_MAX = 65536
LARGE_PAGE = 2 << 20  # bytes
WILL_USE_LARGE_PAGES = 14  # MADV_HUGEPAGE of madvise(2)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what one update frees for the next, in large pages where the kernel has them.

    glibc hands large tensors back to the kernel as they are freed, which clears each page of the
    next one again. Here it grows its heap once, by half of what it may take (of addresses:
    pages are taken as they are used), and gives the rest back at the end. Without glibc nothing
    happens.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "gnu_get_libc_version"):
        yield
        return
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, -1)
    _grow_heap(libc, memory_bytes() // 2)
    try:
        yield
    finally:
        libc.mallopt(MMAP_MAX, DEFAULT_MMAP_MAX)
        libc.mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        libc.mallopt(TRIM_THRESHOLD, 2 * LARGEST_MMAP_THRESHOLD)
        libc.malloc_trim(0)


def _grow_heap(libc: ctypes.CDLL, size: int) -> None:
    """Make room for `size` bytes and ask for large pages; where it is refused, go without."""
    libc.malloc.restype = ctypes.c_void_p
    start = libc.malloc(ctypes.c_size_t(size))
    if start is None:
        return
    first = -(-start // LARGE_PAGE) * LARGE_PAGE
    length = (start + size) // LARGE_PAGE * LARGE_PAGE - first
    libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), WILL_USE_LARGE_PAGES)
    libc.free(ctypes.c_void_p(start))
