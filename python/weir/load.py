# SPDX-License-Identifier: Apache-2.0
"""weir.load(): tensors of a model, all of them or some, whole or cut, into a dict."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weir import _native, arrays, frameworks

Source = str | os.PathLike[str] | list[str] | tuple[str, ...] | _native.Model


def opened(source: Source, context: _native.Context | None = None) -> _native.Model:
    """The model that is given, or the one that a URI names."""
    if isinstance(source, _native.Model):
        return source
    return _native.open(source, context=context)


def load(
    source: Source,
    *,
    framework: str | None = None,
    device: object = None,
    names: Iterable[str] | None = None,
    context: _native.Context | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Tensors of a model as a dict of arrays.

    Without a framework these are NumPy arrays over weir's own memory; with one, the memory is of the
    framework's allocator.  They own their memory: closing the model does not hurt them.
    """
    model = opened(source, context)
    tensors = model.tensors
    wanted = list(tensors if names is None else names)
    adapter = frameworks.find(framework, device) if framework else None
    plan = _native.Plan(model.context)
    found: dict[str, Any] = dict.fromkeys(wanted)
    for name in wanted:
        info = tensors[name]
        into = None
        if adapter:
            found[name] = array = adapter.empty(info.dtype, info.shape)
            place = adapter.place(array)
            into = (place.address, place.nbytes, array)
        plan.tensor(model, name, into=into)
    _run(plan, timeout, lambda done: _settle(found, done, tensors, adapter))
    return found


def _settle(
    found: dict[str, Any],
    done: _native.Done,
    tensors: Mapping[str, _native.TensorInfo],
    adapter: frameworks.Adapter | None,
) -> None:
    if done.error:
        raise done.error
    info = tensors[done.tag]
    if adapter:
        found[done.tag] = adapter.give(found[done.tag])
    else:
        found[done.tag] = arrays.wrap(done.buffer, info.dtype, info.shape)


def _run(plan: _native.Plan, timeout: float | None, settle: Callable[[Any], None]) -> None:
    transfer = plan.start(timeout=timeout)
    try:
        while dones := transfer.wait():
            for done in dones:
                settle(done)
    except BaseException:
        transfer.cancel()
        del transfer  # finishes; what is still lent stays alive
        raise
    transfer.finish()
