# SPDX-License-Identifier: Apache-2.0
"""Ranges of one object on their way to memory that somebody else owns.

For the plug-ins of packages that allocate memory themselves and name an address. A RangeRead opens
the object, starts one transfer of any number of pieces, and lets any thread wait for the bytes of a
range. One thread at a time takes completions; the others that wait look again when it has some.

The memory stays its owner's. What finish() cannot end at once (a file server that hangs keeps its
requests) may still be written: then the transfer holds what lend() was given until that is over,
and without such an owner finish() goes on waiting, since its caller will free the memory when it
returns."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from weir import _native
from weir.errors import Error, from_native

__all__ = ["Piece", "RangeRead"]

# How long finish() waits for memory to be released before it looks whether somebody keeps it.
PATIENCE = 60.0


class Piece(NamedTuple):
    """[start, end) of the object, and the address of its first byte."""

    start: int
    end: int
    address: int


class Loan:
    """Stands for the memory in the transfer's books; while it lives, so do the owners that it was
    given."""

    def __init__(self) -> None:
        self.owners: list[Any] = []

    def __del__(self) -> None:
        for owner in self.owners:
            owner.release()


class RangeRead:
    """One object's ranges under way. Any thread may call anything, any number of times."""

    def __init__(
        self, uri: str, *, nbytes: int, direct: str = "auto", context: _native.Context | None = None
    ) -> None:
        """Opens the object, which must be of nbytes: it was looked at before, and must not have
        changed since."""
        self.uri = uri
        self._context = context
        self._object: Any = _native.open_object(uri, direct=direct, context=context)
        size = self._object.stat().nbytes
        if size != nbytes:
            raise self._error(
                "CHANGED", f"has {size} bytes, and had {nbytes} when its header was read"
            )
        self._pieces: Sequence[Piece] = ()
        self._ends: list[int] = []
        self._states: list[Any] = []  # None: under way; True: there; an exception
        self._loan: Loan | None = Loan()
        self._transfer: Any = None
        self._taking = threading.Lock()
        self._ending = threading.Lock()
        self._ended = False

    def start(self, pieces: Sequence[Piece], cuda: tuple[int, int] | None = None) -> None:
        """Starts to read the pieces, which are in order and apart. When this fails, nothing is
        under way.

        cuda: the device whose memory this is, and the stream whose work on it comes first."""
        plan = _native.Plan(self._context)
        for number, piece in enumerate(pieces):
            length = piece.end - piece.start
            into = (piece.address, length, self._loan, *(cuda or ()))
            plan.range(self._object, piece.start, length, into=into, tag=number)
        self._pieces = pieces
        self._ends = [piece.end for piece in pieces]
        self._states = [None] * len(pieces)
        if pieces:
            self._transfer = plan.start()

    def lend(self, owner: Any) -> None:
        """owner.acquire() now, and owner.release() once nothing can write to the memory any
        more."""
        if self._loan is not None and self._transfer is not None:
            self._loan.owners.append(owner.acquire())

    def wait(self, start: int, end: int) -> None:
        """Returns when [start, end) of the object is there; raises what failed, ValueError for what
        nobody reads."""
        number = bisect_right(self._ends, start)
        while start < end:
            if number == len(self._pieces) or self._pieces[number].start > start:
                raise ValueError(
                    f"{self.uri}: bytes from {start} are not read: they are in none of the ranges"
                )
            self._wait_piece(number)
            start = self._pieces[number].end
            number += 1

    def wait_all(self) -> None:
        """Returns when all pieces are there; raises the first failure."""
        for number in range(len(self._pieces)):
            self._wait_piece(number)

    def finish(self) -> None:
        """Cancels what is under way and returns when nothing writes to the memory any more."""
        self._ended = True
        with self._ending:
            if self._transfer is not None:
                self._end()
            self._transfer = self._loan = self._object = None

    def _end(self) -> None:
        kept = self._loan is not None and self._loan.owners
        while True:
            try:
                self._transfer.finish(timeout=PATIENCE)
                return
            except Error as failure:
                # What failed was told to who waited for it; what was cancelled, nobody waits for.
                if failure.code != "LENT" or kept:
                    return

    def _wait_piece(self, number: int) -> None:
        while self._states[number] is None:
            with self._taking:
                if self._states[number] is None:
                    self._take()
        if self._states[number] is not True:
            raise self._states[number]

    def _take(self) -> None:
        transfer = self._transfer
        try:
            taken = transfer.wait() if transfer is not None else []
        except Error:
            if not self._ended:
                raise
            taken = []  # finish() lets everybody out of a wait
        if not taken:
            raise self._cancelled()
        for done in taken:
            if not done.released:
                self._states[done.tag] = done.error or True

    def _cancelled(self) -> Error:
        return self._error("CANCELLED", "the read was ended before these bytes had arrived")

    def _error(self, code: str, text: str) -> Error:
        return from_native(code, f"{self.uri}: {text}", self.uri)
