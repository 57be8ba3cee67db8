# SPDX-License-Identifier: Apache-2.0
"""weir.stream(): one tensor after the other, as they arrive, within a budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weir import _native, sizes
from weir.loading import Loading
from weir.plan import Plan, Source, opened
from weir.progress import Progress


def stream(
    source: Source,
    *,
    framework: str | None = None,
    device: object = None,
    names: Iterable[str] | None = None,
    slices: Mapping[str, Any] | None = None,
    budget: int | str | None = None,
    borrow: bool = False,
    align: int = 0,
    timeout: float | None = None,
    progress: Progress = None,
    context: _native.Context | None = None,
) -> Iterator[tuple[str, Any]]:
    """Tensors of a model as ``(name, array)``, in the order in which they arrive.

    budget  bytes that are under way or delivered and not yet given back.  Without a framework, or with
            `borrow`, the memory is weir's: an array's memory comes back when the last array that looks
            at it goes, so do not keep them all.  Otherwise it is the framework's, and an array counts
            until the next one is asked for
    borrow  with a framework: its arrays look at weir's memory, and none of its own is allocated

    The rest is as in `weir.load`.  Reading begins with the call; leaving the loop early ends it.
    """
    model = opened(source, context)
    wanted = list(model.tensors if names is None else names)
    if framework and not borrow and budget is not None:
        window = _Window(model, framework, device, wanted, dict(slices or {}), sizes.parse(budget))
        return window.arrivals(timeout, progress)
    plan = Plan(framework, device, borrow=borrow, context=model.context)
    plan.tensors(model, wanted, slices=slices, align=align)
    return iter(plan.start(budget=budget, timeout=timeout, progress=progress))


class _Window:
    """Arrays of a framework's are allocated as others have been taken, and their reads appended."""

    def __init__(
        self,
        model: _native.Model,
        framework: str,
        device: object,
        names: list[str],
        slices: dict[str, Any],
        budget: int,
    ) -> None:
        tensors = model.tensors
        self._model, self._framework, self._device = model, framework, device
        self._slices, self._budget = slices, budget
        names.sort(key=lambda name: (tensors[name].shard, tensors[name].offset), reverse=True)
        self._names = names  # the next one stands last
        self._held: dict[str, int] = {}  # bytes of each that was not taken yet
        self._left = budget

    def _next_plan(self) -> Plan:
        """As much as there is room for; one tensor at least where nothing else is under way."""
        plan = Plan(self._framework, self._device, context=self._model.context)
        while self._names and (self._left > 0 or not self._held):
            name = self._names[-1]
            size = self._model[name].nbytes
            if size > self._left and self._held:
                break
            before = plan.nbytes
            plan.tensor(self._model, name, slices=self._slices.get(name))
            self._names.pop()
            self._held[name] = plan.nbytes - before
            self._left -= self._held[name]
        return plan

    def _take(self, loading: Loading, name: str) -> None:
        self._left += self._held.pop(name)
        if self._names and (self._left >= self._budget // 4 or not self._held):
            plan = self._next_plan()
            if len(plan):
                loading.append(plan)
            if not self._names:
                loading.end()

    def arrivals(self, timeout: float | None, progress: Progress) -> Iterator[tuple[str, Any]]:
        loading = self._next_plan().start(timeout=timeout, progress=progress, open=True)
        if not self._names:
            loading.end()
        return self._drain(loading)

    def _drain(self, loading: Loading) -> Iterator[tuple[str, Any]]:
        for name, array in loading:
            yield name, array
            del array
            self._take(loading, name)
