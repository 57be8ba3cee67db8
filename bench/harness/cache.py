# SPDX-License-Identifier: Apache-2.0
"""What of a file is in the page cache, and putting it there or not.

Cold means cold: dropped with POSIX_FADV_DONTNEED and then looked at with cachestat, or with mincore
where the kernel has no cachestat. Both answer truthfully only to the file's owner (and to root). The
caches of the whole machine are never dropped.
"""
import ctypes
import mmap
import os
import random

LIBC = ctypes.CDLL(None, use_errno=True)
CACHESTAT = 451  # the same number on all architectures
PAGE = mmap.PAGESIZE
COLD_SHARE = 0.001  # resident share below which a range counts as cold, and missing share for warm


class Range(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("length", ctypes.c_uint64)]


class Stat(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recent")]


def resident_bytes(path, offset=0, length=0):
    """How much of the range is in the page cache."""
    length = length or os.path.getsize(path) - offset
    fd = os.open(path, os.O_RDONLY)
    try:
        stat = Stat()
        if LIBC.syscall(CACHESTAT, fd, ctypes.byref(Range(offset, length)), ctypes.byref(stat), 0) == 0:
            return min(stat.cached * PAGE, length)
        return mincore_bytes(fd, offset, length)
    finally:
        os.close(fd)


def mincore_bytes(fd, offset, length):
    begin = offset & ~(PAGE - 1)
    size = offset + length - begin
    pages = (size + PAGE - 1) // PAGE
    flags = (ctypes.c_ubyte * pages)()
    LIBC.mmap.restype = ctypes.c_void_p
    at = LIBC.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, fd, ctypes.c_long(begin))
    if at in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    try:
        if LIBC.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), flags):
            raise OSError(ctypes.get_errno(), "mincore")
    finally:
        LIBC.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size))
    return min(sum(byte & 1 for byte in bytes(flags)) * PAGE, length)


def forget(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def drop(path, offset=0, length=0):
    """Makes the range cold, or raises. The whole file is dropped: the cache keeps pages in larger units,
    and one that only partly lies in a range would stay."""
    length = length or os.path.getsize(path) - offset
    for _ in range(5):
        forget(path)
        left = resident_bytes(path, offset, length)
        if left <= COLD_SHARE * length:
            return
        os.sync()  # a page that is not written yet cannot be dropped
    raise RuntimeError(f"{path}: {left} of {length} bytes stay in the page cache")


def read_range(fd, offset, length, block=1 << 20):
    while length > 0:
        got = len(os.pread(fd, min(block, length), offset))
        if got == 0:
            break
        offset += got
        length -= got


def warm(path, offset=0, length=0):
    """Reads the range into the page cache, and checks that it is there."""
    length = length or os.path.getsize(path) - offset
    fd = os.open(path, os.O_RDONLY)
    try:
        for _ in range(3):
            if length - resident_bytes(path, offset, length) <= COLD_SHARE * length:
                return
            read_range(fd, offset, length)
    finally:
        os.close(fd)
    raise RuntimeError(f"{path}: does not stay in the page cache (too little memory?)")


def warm_part(path, offset, length, run, share, seed):
    """Drops the range, then caches a share of it in runs of `run` bytes at random places. Returns the
    bytes that are in the cache afterwards. Read-ahead is off, so that neighbours stay cold."""
    drop(path, offset, length)
    runs = list(range(offset, offset + length, run))
    random.Random(seed).shuffle(runs)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for at in runs[: int(len(runs) * share)]:
            read_range(fd, at, min(run, offset + length - at), run)
    finally:
        os.close(fd)
    return resident_bytes(path, offset, length)
