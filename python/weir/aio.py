# SPDX-License-Identifier: Apache-2.0
"""The same for coroutines: waiting is the event loop's, on a descriptor of weir's.

    tensors = await weir.aio.load("model.safetensors", framework="torch")
    async for name, array in weir.aio.stream(model, budget="2GiB"):
        ...
    arrays = await plan                             # or weir.aio.run(plan, progress=True)

Each load has a queue of its own, so any number run at once, in any number of event loops.  Cancelling the
task cancels the load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Any

from weir import _native
from weir.errors import Timeout
from weir.load import planned
from weir.loading import Loading, arrived
from weir.plan import Plan, Source
from weir.progress import INTERVAL, Progress
from weir.stream import begin
from weir.window import Window

_STALL = 60.0


async def open(source: Any, **options: Any) -> _native.Model:
    """`weir.open`, on a thread: a dead file server does not hold up the loop."""
    return await asyncio.to_thread(_native.open, source, **options)


async def _readable(descriptor: int, seconds: float) -> None:
    """Until the descriptor is readable, or some seconds have passed."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def ready() -> None:
        # Once: a reader that stays would keep the loop spinning while its task is busy elsewhere.
        loop.remove_reader(descriptor)
        if not waiter.done():
            waiter.set_result(None)

    loop.add_reader(descriptor, ready)
    try:
        await asyncio.wait((waiter,), timeout=seconds)
    finally:
        loop.remove_reader(descriptor)


class _Drain:
    """Completions of one load."""

    def __init__(self, loading: Loading, queue: _native.Queue, stall: float | None) -> None:
        self._loading, self._queue = loading, queue
        self._descriptor = queue.fileno()
        self._stall = _STALL if stall is None else stall
        self._moved = -1, time.monotonic()

    def _check_moving(self) -> None:
        """weir watches what it has under way; this is for what cannot begin."""
        done, now = self._loading.progress()[0], time.monotonic()
        if done != self._moved[0]:
            self._moved = done, now
        elif now - self._moved[1] > self._stall + 1:
            raise Timeout(f"no progress for {self._stall:g} s: are all arrays of a budget kept?")

    async def wait(self) -> list[_native.Done]:
        """The next completions, at least one."""
        while True:
            try:
                return self._queue.wait(timeout=0)
            except Timeout:
                self._check_moving()
            await _readable(self._descriptor, INTERVAL if self._loading.telling else 1.0)
            self._loading.tell()


async def arrivals(
    plan: Plan,
    *,
    budget: int | str | None = None,
    timeout: float | None = None,
    stall: float | None = None,
    progress: Progress = None,
) -> AsyncIterator[tuple[Any, Any]]:
    """Starts a plan: its ``(tag, array)`` in the order in which they arrive."""
    queue = _native.Queue(plan.context)
    loading = plan.start(
        queue=queue, budget=budget, timeout=timeout, stall=stall, progress=progress
    )
    arriving = _arriving(loading, queue, stall, len(plan), None)
    try:
        async for pair in arriving:
            yield pair
            del pair
    finally:
        await arriving.aclose()


async def _arriving(
    loading: Loading,
    queue: _native.Queue,
    stall: float | None,
    left: int,
    window: Window | None,
) -> AsyncGenerator[tuple[Any, Any], None]:
    """All that arrives of a load, with what a window adds to it meanwhile."""
    drain = _Drain(loading, queue, stall)
    try:
        while left:
            dones = await drain.wait()
            left -= len(dones)
            dones.reverse()
            while dones:
                name = dones[-1].tag.tag
                yield arrived(dones.pop())
                if window:
                    window.taken(name, loading)
            loading.tell()
    finally:
        loading.cancel()
        # What is under way comes back in a moment, or never: neither is the loop's business.
        await asyncio.shield(asyncio.to_thread(loading.close))


async def run(
    plan: Plan,
    *,
    budget: int | str | None = None,
    timeout: float | None = None,
    stall: float | None = None,
    progress: Progress = None,
) -> dict[Any, Any]:
    """`Plan.run`; ``await plan`` is this without options."""
    plan.must_fit(budget)
    found: dict[Any, Any] = dict.fromkeys(plan.tags)
    options = {"budget": budget, "timeout": timeout, "stall": stall, "progress": progress}
    arriving = arrivals(plan, **options)  # type: ignore[arg-type]
    try:
        async for tag, array in arriving:
            found[tag] = array
    finally:
        await arriving.aclose()  # type: ignore[attr-defined]
    return found


async def _opened(source: Source, context: _native.Context | None) -> _native.Model:
    return source if isinstance(source, _native.Model) else await open(source, context=context)


async def load(
    source: Source,
    *,
    framework: str | None = None,
    device: object = None,
    names: Iterable[str] | None = None,
    slices: Mapping[str, Any] | None = None,
    out: Mapping[str, Any] | None = None,
    align: int = 0,
    budget: int | str | None = None,
    timeout: float | None = None,
    progress: Progress = None,
    context: _native.Context | None = None,
) -> dict[str, Any]:
    """`weir.load`."""
    plan = planned(
        await _opened(source, context), framework, device, names, slices, out, align, context
    )
    return await run(plan, budget=budget, timeout=timeout, progress=progress)


async def stream(
    source: Source,
    *,
    framework: str | None = None,
    device: object = None,
    names: Iterable[str] | None = None,
    slices: Mapping[str, Any] | None = None,
    budget: int | str | None = None,
    borrow: bool = True,
    align: int = 0,
    timeout: float | None = None,
    progress: Progress = None,
    context: _native.Context | None = None,
) -> AsyncIterator[tuple[str, Any]]:
    """`weir.stream`; `borrow` is the default here."""
    model = await _opened(source, context)
    names = list(model.tensors if names is None else names)
    queue = _native.Queue(model.context)
    loading, window = begin(
        model, framework, device, names, slices, budget, borrow, align,
        queue=queue, timeout=timeout, progress=progress,
    )  # fmt: skip
    arriving = _arriving(loading, queue, None, len(names), window)
    try:
        async for name, array in arriving:
            yield name, array
            del array
    finally:
        await arriving.aclose()
