# SPDX-License-Identifier: Apache-2.0
"""weir.load(): tensors of a model, all of them or some, whole or cut, into a dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from weir import _native
from weir.plan import Plan, Source, opened
from weir.progress import Progress


def planned(
    source: Source,
    framework: str | None,
    device: object,
    names: Iterable[str] | None,
    slices: Mapping[str, Any] | None,
    out: Mapping[str, Any] | None,
    align: int,
    context: _native.Context | None,
) -> Plan:
    """The plan of a load."""
    model = opened(source, context)
    plan = Plan(framework, device, context=model.context)
    plan.tensors(model, names, slices=slices, out=out, align=align)
    return plan


def load(
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
    """Tensors of a model as a dict of arrays.

    source     a model, or the URI of one: a file, a directory, an index, a list of files
    framework  "numpy", "torch", "jax" or "cupy": the memory is of its allocator.  None: NumPy arrays that
               look at weir's own memory, without a copy
    device     of the framework, as it spells them; None: its default.  Without one, "cuda:0": weir's own
               memory there, as `weir.Tensor`, which any package takes by DLPack
    names      which tensors; None: all
    slices     parts of some: ``{"name": (dim, start, stop)}``, a list of such, or ``numpy.s_[2:5, :]``;
               just those bytes are read
    out        memory for some: ``{"name": array}``, contiguous and of the tensor's shape
    align      of memory that weir allocates; more than the file has costs a copy
    budget     bytes that may be in weir's hands at once: 2**31 or "2GiB".  Arrays count where their
               memory is weir's (no framework), and have to fit; a framework's do not
    timeout    seconds for all of it
    progress   True: a bar on a terminal; "bar": in any case; a function: see weir.progress

    The arrays own their memory: closing the model does not hurt them.  The first failure is raised.
    """
    plan = planned(source, framework, device, names, slices, out, align, context)
    return plan.run(budget=budget, timeout=timeout, progress=progress)
