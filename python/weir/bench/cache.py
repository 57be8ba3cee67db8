# SPDX-License-Identifier: Apache-2.0
"""Files out of the page cache, into it, and how much of them stands there."""
import os
from collections.abc import Sequence

SAMPLES = 64
STEP = 8 << 20


def drop(path: str) -> None:
    """Out of the cache, as far as the kernel follows: what others map stays."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def fill(path: str) -> None:
    """Into the cache: read once."""
    with open(path, "rb", buffering=0) as file:
        while file.read(STEP):
            pass


def share(path: str) -> float:
    """Which part of the file stands in the cache, of SAMPLES places that are looked at without reading."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(handle).st_size
        places = [size * n // SAMPLES for n in range(min(SAMPLES, size))]
        byte = bytearray(1)
        there = 0
        for place in places:
            try:
                there += os.preadv(handle, [byte], place, os.RWF_NOWAIT)
            except BlockingIOError:
                pass
            except OSError:
                return float("nan")  # a file system that does not tell
        return there / len(places) if places else 0.0
    finally:
        os.close(handle)


def prepare(paths: Sequence[str], mode: str) -> float:
    """Before an iteration; returns the mean share that stands in the cache then."""
    if mode == "cold":
        os.sync()
    for path in paths:
        if mode == "cold":
            drop(path)
        elif mode == "warm":
            fill(path)
    shares = [share(path) for path in paths]
    return sum(shares) / len(shares)
