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
from collections.abc import Iterator
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

    def read(self, path: str, fd: int, offset: int, length: int, piece: int, target: Target,
             deadline: float | None) -> None:  # fmt: skip
        """Exactly those bytes of the registered file to the target, or an error."""
        free, flying, at, end = list(range(self.depth)), 0, offset, offset + length
        piece = min(piece, self.slot)
        while at < end or flying:
            while at < end and free:
                flying += self._ask(fd, _Piece(free.pop(), at, min(piece, end - at), False))
                at += min(piece, end - at)
            for iov in self._wait(path, deadline):
                rest = self._take(path, fd, iov.userdata, iov.result, offset, target)
                if rest:
                    self._ask(fd, rest)
                else:
                    free.append(iov.userdata.slot)
                    flying -= 1

    def _ask(self, fd: int, piece: _Piece) -> int:
        start = piece.slot * self.slot
        self._ring.prepare(self._iov[start : start + piece.length], True, fd, piece.offset, piece)
        return 1

    def _wait(self, path: str, deadline: float | None) -> list[Any]:
        left = _STALL if deadline is None else max(0.0, deadline - time.monotonic())
        self._ring.submit()
        try:
            done = self._ring.wait(min_results=1, timeout=timedelta(seconds=left))
        except TimeoutError:
            done = []
        if not done:
            raise weir.Timeout(f"{path}: no answer from 3FS within {left:.1f} s", object=path)
        return done

    def _take(self, path: str, fd: int, piece: _Piece, result: int, start: int, target: Target) -> _Piece | None:
        """Copies what came; what is still to be asked for, or None."""
        if result < 0:
            raise weir.Error(f"{path}: reading {piece.length} bytes at {piece.offset}: {os.strerror(-result)}",
                             object=path, offset=piece.offset, length=piece.length, errno=-result)  # fmt: skip
        got = min(result, piece.length)
        target.put(piece.offset - start, self._base + piece.slot * self.slot, got)
        rest = _Piece(piece.slot, piece.offset + got, piece.length - got, got == 0)
        if rest.length == 0:
            return None
        if not (piece.again and got == 0):
            return rest
        if os.fstat(fd).st_size < rest.offset + rest.length:
            raise weir.Error(f"{path}: became shorter while it was read", code="CHANGED", object=path,
                             offset=rest.offset, errno=errno.ESTALE)  # fmt: skip
        target.zero(rest.offset - start, rest.length)
        return None


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
