"""glibc's allocator, told to keep what PyTorch frees. Knows nothing of training; without glibc it does nothing."""

import ctypes
import sys

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """By default every activation of a megabyte is mapped anew and faulted in page by page, in every step: a third of
    a CNN's training time on the CPU (docs/performance.md). Returns whether the allocator took the advice."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    accepted = [
        mallopt(M_MMAP_THRESHOLD, 32 << 20),  # the largest that glibc accepts
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1),
        mallopt(M_TOP_PAD, 64 << 20),
    ]
    return all(accepted)
