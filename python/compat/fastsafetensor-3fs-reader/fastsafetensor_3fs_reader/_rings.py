# SPDX-License-Identifier: Apache-2.0
"""Reads through rings of `hf3fs_fuse.io`: a lane has registered memory and a ring, and serves one read at a time.

Many requests are under way at once, each with a slot of its own; a slot is used again as soon as its bytes
are copied out.  A request that comes back short is asked on; what then brings nothing is a hole.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

import weir

from ._device import Target

_SLOT = 512 << 10
_LANE_MAX = 8 << 20
_LANE_MIN = 64 << 10
_LANES = 8
_STALL = 60.0  # seconds without any progress
_LOOK = 0.05  # how often a read that waits looks whether it was cancelled


class Job(NamedTuple):
    """One read: where from, where to, and until when."""

    path: str
    fd: int
    offset: int
    length: int
    piece: int  # no request is larger
    target: Target
    deadline: float | None
    cancelled: Callable[[], bool]


class _Piece(NamedTuple):
    """Bytes that a slot is for; again: asked for a second time, after nothing or too little came."""

    slot: int
    offset: int
    length: int
    again: bool


class Lane:
    """Registered memory, cut into slots, and a ring."""

    def __init__(self, client: Any, mount: str, entries: int, io_depth: int, size: int) -> None:
        size = max(_LANE_MIN, min(size, _LANE_MAX))
        self.depth = max(1, min(entries, 16))
        self.slot = min(_SLOT, size // self.depth)
        self._memory = SharedMemory(create=True, size=size)
        self._iov = self._ring = None
        try:
            self._iov = client.make_iovec(self._memory, mount)
            # More than one at a time is our business: the daemon is not to wait for a full batch.
            self._ring = client.make_ioring(mount, entries, for_read=True, io_depth=min(io_depth, 0))
            first = ctypes.c_char.from_buffer(self._memory.buf)
            self._base = ctypes.addressof(first)
            del first
        except BaseException:
            self.close()
            raise
        finally:
            self._memory.unlink()

    def close(self) -> None:
        if self._ring is not None:
            self._ring.destroy()
        self._ring = self._iov = None
        self._memory.close()

    def read(self, job: Job) -> None:
        """Exactly those bytes of the registered file to the target, or an error."""
        free, flying, at, end = list(range(self.depth)), 0, job.offset, job.offset + job.length
        piece = min(job.piece, self.slot)
        while at < end or flying:
            while at < end and free:
                self._ask(job, _Piece(free.pop(), at, min(piece, end - at), False))
                flying, at = flying + 1, at + min(piece, end - at)
            for iov in self._wait(job):
                rest = self._take(job, iov.userdata, iov.result)
                if rest:
                    self._ask(job, rest)
                else:
                    free.append(iov.userdata.slot)
                    flying -= 1

    def _ask(self, job: Job, piece: _Piece) -> None:
        start = piece.slot * self.slot
        self._ring.prepare(self._iov[start : start + piece.length], True, job.fd, piece.offset, piece)

    def _wait(self, job: Job) -> list[Any]:
        until = time.monotonic() + _STALL if job.deadline is None else job.deadline
        self._ring.submit()
        while True:
            left = until - time.monotonic()
            try:
                done = self._ring.wait(min_results=1, timeout=timedelta(seconds=max(0, min(left, _LOOK))))
            except TimeoutError:
                done = []
            if done:
                return done
            if job.cancelled():
                raise weir.Cancelled(f"{job.path}: reading was cancelled", object=job.path)
            if left <= 0:
                raise weir.Timeout(f"{job.path}: no answer from 3FS in time", object=job.path)

    def _take(self, job: Job, piece: _Piece, result: int) -> _Piece | None:
        """Copies what came; what is still to be asked for, or None."""
        if result < 0:
            raise self._failed(job, piece, -result)
        got, start = min(result, piece.length), piece.offset - job.offset
        job.target.put(start, self._base + piece.slot * self.slot, got)
        rest = _Piece(piece.slot, piece.offset + got, piece.length - got, got == 0)
        if rest.length == 0:
            return None
        if got or not piece.again:
            return rest
        if os.fstat(job.fd).st_size < rest.offset + rest.length:
            raise self._failed(job, rest, errno.ESTALE)
        job.target.zero(start, rest.length)
        return None

    def _failed(self, job: Job, piece: _Piece, number: int) -> weir.Error:
        what = f"{job.path}: reading {piece.length} bytes at {piece.offset}: {os.strerror(number)}"
        return weir.Error(what, code="CHANGED" if number == errno.ESTALE else "IO", object=job.path,
                          offset=piece.offset, length=piece.length, errno=number)  # fmt: skip


class Lanes:
    """As many lanes as there are reads at once, up to a limit; kept until close()."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._lock = threading.Condition()
        self._idle: list[Lane] = []
        self._count = 0

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """One for this read alone; one that failed in the middle is not used again."""
        lane = self._get()
        try:
            yield lane
        except BaseException:
            lane.close()
            self._put(None)
            raise
        self._put(lane)

    def _get(self) -> Lane:
        with self._lock:
            while not self._idle and self._count >= _LANES:
                self._lock.wait()
            if self._idle:
                return self._idle.pop()
            self._count += 1
        try:
            return self._make()
        except BaseException:
            self._put(None)
            raise

    def _put(self, lane: Lane | None) -> None:
        with self._lock:
            if lane is None:
                self._count -= 1
            else:
                self._idle.append(lane)
            self._lock.notify()

    def close(self) -> None:
        """Ends the lanes that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for lane in idle:
            lane.close()
