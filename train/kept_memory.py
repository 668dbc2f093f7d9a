"""Keep memory that a training step frees, so that the next step does not ask the system for it anew.

glibc maps every large block afresh and gives it back when it is freed. A step on the processor frees gigabytes in such
blocks, and clearing their pages for the next step took from a quarter to half of the time.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt, malloc.h
NEVER, NONE = -1, 0


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, to the end of the process. returns  whether the C library can: glibc does"""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, NONE)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
