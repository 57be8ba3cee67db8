# SPDX-License-Identifier: Apache-2.0
"""Reading and writing files of 3FS through rings: memory, its registration, whole files.

    shm = SharedMemory(create=True, size=1 << 20)
    iov = make_iovec(shm, mount)
    shm.unlink()                                       # the mount has it now
    ring = make_ioring(mount, 64)
    fd = os.open(path, os.O_RDONLY)
    register_fd(fd)
    ring.prepare(iov[:4096], True, fd, 0)
    done = ring.submit().wait(min_results=1)[0]        # done.result bytes are in shm.buf
    deregister_fd(fd)
    os.close(fd)

The native classes are in hf3fs_py_usrbio, here h3fio; iovec and ioring of this module hold one
each.
"""

from __future__ import annotations

import errno
import multiprocessing.shared_memory
import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import uuid4

import hf3fs_py_usrbio as h3fio
from hf3fs_py_usrbio import (
    deregister_fd,
    extract_mount_point,
    force_fsync,
    hardlink,
    punch_hole,
    register_fd,
)

__all__ = [
    "IorPriority",
    "deregister_fd",
    "extract_mount_point",
    "force_fsync",
    "h3fio",
    "hardlink",
    "ioring",
    "iovec",
    "make_ioring",
    "make_iovec",
    "punch_hole",
    "read_file",
    "register_fd",
]

Callback = Callable[[memoryview, int], Any]


class iovec:
    """Memory that a mount knows by a link of ours.  iovec[a:b] is native, and what prepare() takes.

    The link goes with the object, in the process that made it.  Slices and memoryviews are good for
    as long as they are held.
    """

    def __init__(self, iov: h3fio.iovec, link: str) -> None:
        self.iov = iov
        self.link = link
        self._pid = os.getpid()

    def unlink(self, *, _getpid: Any = os.getpid, _unlink: Any = os.unlink) -> None:
        """Takes the link away: the mount forgets the memory.  Once more does nothing."""
        if getattr(self, "_pid", None) != _getpid():
            return  # half made, gone already, or the parent's
        self._pid = 0
        try:
            _unlink(self.link)
        except OSError:
            pass  # the mount is gone, and its links with it

    def __del__(self) -> None:
        self.unlink()

    def __getitem__(self, key: slice) -> h3fio.iovec:
        return self.iov[key]

    def __setitem__(self, key: slice | int, value: Any) -> None:
        self.iov[key] = value


class ioring:
    """A ring; as the native one, but prepare() takes iovecs of this module too."""

    def __init__(self, ior: h3fio.ioring) -> None:
        self.ior = ior

    @staticmethod
    def size_for_entries(entries: int) -> int:
        """Bytes of memory that a ring takes."""
        return h3fio.ioring.size_for_entries(entries)

    @property
    def entries(self) -> int:
        """How many requests may be under way."""
        return self.ior.entries

    def prepare(
        self, iov: iovec | h3fio.iovec, read: bool, fd: int, off: int, userdata: Any = None
    ) -> ioring:
        """Puts a request in: as many bytes as iov is long, at off of the registered file fd."""
        self.ior.prepare(iov.iov if isinstance(iov, iovec) else iov, read, fd, off, userdata)
        return self

    def submit(self) -> ioring:
        """Tells the daemon that there are requests."""
        self.ior.submit()
        return self

    def wait(
        self,
        *,
        max_results: int = 0,
        min_results: int = 0,
        timeout: timedelta | float | None = None,
    ) -> list[h3fio.iovec]:
        """The native iovecs whose requests have ended, each with result and userdata."""
        return self.ior.wait(max_results=max_results, min_results=min_results, timeout=timeout)

    def destroy(self) -> None:
        """Ends the ring.  Once more does nothing."""
        self.ior.destroy()


class IorPriority:
    """Priorities, for those who name one; rings of Python are all of normal priority."""

    HIGH = -1
    NORMAL = 0
    LOW = 1


def make_iovec(
    shm: multiprocessing.shared_memory.SharedMemory,
    hf3fs_mount_point: str,
    block_size: int = 0,
    numa: int = -1,
) -> iovec:
    """Registers shared memory with a mount.

    Afterwards shm.unlink() is right, and shm.close() whenever it suits.  block_size: register in
    blocks of that many bytes, which no request may cross; 0: as one.  numa: bind to that node.
    """
    key = str(uuid4())
    target = os.path.normpath(f"/dev/shm/{shm.name}")
    link = f"{hf3fs_mount_point}/3fs-virt/iovs/{key}{f'.b{block_size}' if block_size > 0 else ''}"
    os.symlink(target, link)
    try:
        memory: Any = shm.buf  # None after a close, which iovec refuses
        return iovec(h3fio.iovec(memory, key, hf3fs_mount_point, block_size, numa), link)
    except BaseException:
        os.unlink(link)
        raise


def make_ioring(
    hf3fs_mount_point: str,
    entries: int,
    for_read: bool = True,
    io_depth: int = 0,
    priority: int | None = None,
    timeout: int | None = None,
    numa: int = -1,
    flags: int = 0,
) -> ioring:
    """A ring for reads, or one for writes, with room for that many entries.

    io_depth: 0, what is prepared is taken at once; above 0, that many at a time, and an
    incomplete batch waits for timeout milliseconds (None and 0: for ever); below 0, at most that
    many at once.
    flags: 1, bytes that are not on all replicas yet will do; 2, a hole is an error.
    """
    return ioring(
        h3fio.ioring(hf3fs_mount_point, entries, for_read, io_depth, priority, timeout, numa, flags)
    )


def read_file(
    fn: str | os.PathLike[str],
    hf3fs_mount_point: str | None = None,
    block_size: int = 1 << 30,
    off: int = 0,
    priority: int | None = None,
    cb: Callback | None = None,
) -> bytes | None:
    """A file's bytes from off on, read through a ring in blocks.

    With cb, each block goes to cb(view, offset) instead, and None is returned.  The view is good
    until cb returns: the next block lands in the same memory.  cb may return the offset to go on at
    (an int), or something true to end.
    """
    blocks: list[bytes] = []
    with ExitStack() as stack:
        fd = os.open(fn, os.O_RDONLY)
        stack.callback(os.close, fd)
        register_fd(fd)
        stack.callback(deregister_fd, fd)
        mount = extract_mount_point(fn) if hf3fs_mount_point is None else hf3fs_mount_point
        if mount is None:
            raise OSError(errno.EBADF, "not on a mount of 3FS", fn)
        iov = _memory(stack, mount, block_size)
        ior = make_ioring(mount, 1, priority=priority)
        stack.callback(ior.destroy)
        while True:
            length = _read_block(ior, iov, fd, off, fn)
            if length == 0:
                break
            after = None
            if cb:
                after = cb(memoryview(iov[:length]), off)
            else:
                blocks.append(bytes(iov[:length]))
            if type(after) is int:
                off = after
                continue
            if after or length < block_size:
                break
            off += length
    return None if cb else blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _memory(stack: ExitStack, mount: str, size: int) -> iovec:
    """Registered memory, nameless already; it ends with what is on the stack."""
    shm = multiprocessing.shared_memory.SharedMemory(create=True, size=size)
    stack.callback(shm.close)
    try:
        iov = make_iovec(shm, mount)
    finally:
        shm.unlink()
    stack.callback(iov.unlink)
    return iov


def _read_block(ior: ioring, iov: iovec, fd: int, off: int, fn: Any) -> int:
    """How many bytes of the file are in the memory now."""
    ior.prepare(iov[:], True, fd, off)
    result = ior.submit().wait(min_results=1)[0].result
    if result < 0:
        raise OSError(-result, os.strerror(-result), fn)
    room = memoryview(iov[:]).nbytes
    if result == room:
        return result
    # It may have ended in a hole, which a daemon need not fill in, and not at the end of the file.
    length = max(result, min(room, os.fstat(fd).st_size - off))
    with memoryview(iov[result:length]) as hole:
        hole[:] = bytes(hole.nbytes)
    return length
