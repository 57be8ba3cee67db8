# SPDX-License-Identifier: Apache-2.0
"""weir.stream(): one tensor after the other, as they arrive, within a budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weir import _native, frameworks
from weir.loading import Loading
from weir.plan import Plan, Source, opened
from weir.progress import Progress
from weir.window import Window


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

    budget  bytes of arrays that are under way, or in your hands: one counts until the last array goes
            that looks at its memory, so do not keep them all.  Where the memory is weir's (without a
            framework, or with `borrow`) nothing more comes once it is used up; where it is the
            framework's, what is kept beyond it comes one at a time
    borrow  with a framework: its arrays look at weir's memory, and none of its own is allocated.  With
            a budget that holds on the CPU for NumPy and PyTorch; others would copy, and get their own

    The rest is as in `weir.load`.  Reading begins with the call; leaving the loop early ends it.
    """
    loading, window = begin(
        opened(source, context), framework, device, names, slices, budget, borrow, align,
        timeout=timeout, progress=progress,
    )  # fmt: skip
    return _drain(loading, window) if window else iter(loading)


def begin(
    model: _native.Model,
    framework: str | None,
    device: object,
    names: Iterable[str] | None,
    slices: Mapping[str, Any] | None,
    budget: int | str | None,
    borrow: bool,
    align: int,
    **options: Any,
) -> tuple[Loading, Window | None]:
    """The load of a stream, and its window, where weir does not count the memory of its arrays."""
    names = model.tensors if names is None else names
    if framework and budget is not None:
        if not (borrow and frameworks.find(framework, device).borrows):
            window = Window(model, framework, device, names, slices, budget)
            return window.start(**options), window
    plan = Plan(framework, device, borrow=borrow, context=model.context)
    plan.tensors(model, names, slices=slices, align=align)
    return plan.start(budget=budget, **options), None


def _drain(loading: Loading, window: Window) -> Iterator[tuple[str, Any]]:
    for name, array in loading:
        yield name, array
        del array
        window.taken(name, loading)
