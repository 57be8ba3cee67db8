# SPDX-License-Identifier: Apache-2.0
"""A plan under way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from weir import _native
from weir.errors import Error, Timeout
from weir.progress import INTERVAL, Progress, Told

if TYPE_CHECKING:
    from weir.plan import Plan

_PARTING = 2.0
"""Seconds that a load which failed waits for its requests to come back."""


def arrived(done: _native.Done) -> tuple[Any, Any]:
    """The ``(tag, array)`` of a completion: nobody else holds its memory once that is dropped."""
    if done.error:
        raise done.error.fresh()
    part = done.tag
    return part.tag, part.give(done.buffer)


class Loading:
    """Iterate over it for ``(tag, array)`` in the order in which they arrive.

    The first failure is raised, and ends it.  Left early, it is cancelled.  Memory that may still be
    written then is kept alive until it may not.
    """

    def __init__(self, transfer: _native.Transfer, progress: Progress = None) -> None:
        self._transfer = transfer
        self._told = Told(progress)
        self.tell()

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        with self:
            while dones := self.wait():
                dones.reverse()
                while dones:
                    yield arrived(dones.pop())

    def into(self, found: dict[Any, Any]) -> None:
        """Puts all that comes into a dict."""
        with self:
            while dones := self.wait():
                for done in dones:
                    tag, array = arrived(done)
                    found[tag] = array

    def wait(self) -> list[_native.Done]:
        """The next completions; empty at the end."""
        if not self._told.tell:
            return self._transfer.wait()
        dones = self._wait_telling()
        self.tell()
        return dones

    def _wait_telling(self) -> list[_native.Done]:
        while True:
            until = time.monotonic() + INTERVAL
            try:
                return self._transfer.wait(timeout=INTERVAL)
            except Timeout:
                if time.monotonic() < until:
                    raise
            self.tell()

    @property
    def telling(self) -> bool:
        """Does anybody want to know how far it is?"""
        return self._told.tell is not None

    def tell(self) -> None:
        """Tells them."""
        if self._told.tell:
            self._told.tell(*self._transfer.progress())

    def append(self, plan: Plan) -> None:
        """More for one that was started with ``open=True``."""
        self._transfer.append(plan.native)

    def end(self) -> None:
        """No more will come."""
        self._transfer.end()

    def cancel(self) -> None:
        """Asks it to end; what has not begun fails with `weir.Cancelled`."""
        self._transfer.cancel()

    def progress(self) -> tuple[int, int]:
        """Bytes that are there, and in all."""
        return self._transfer.progress()

    def counters(self) -> dict[str, int]:
        """What it has done so far."""
        return self._transfer.counters()

    def close(self) -> None:
        """Ends it; waits a little for what is under way, and leaves behind what is stuck."""
        self._told.close()
        with contextlib.suppress(Error):
            self._transfer.finish(timeout=_PARTING)

    def __enter__(self) -> Loading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._told.close()
            self._transfer.finish()
        else:
            self.close()
