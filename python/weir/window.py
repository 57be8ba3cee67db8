# SPDX-License-Identifier: Apache-2.0
"""A stream's arrays within a budget, where their memory is a framework's.

weir counts its own memory itself.  A framework's is allocated here, a piece for each tensor, as far as the
budget goes, and its reads are appended to a load that runs.  A piece counts until it is released: a weak
reference to whatever owns the memory says so, and so views that the caller took of an array count as well.
Of a framework whose memory cannot be watched an array counts until the next one is asked for.

Nothing waits for the caller to let go.  Where nothing is under way the next tensor is read in any case, so
a caller who keeps all of them gets them one at a time.
"""

from __future__ import annotations

import collections
import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weir import _native, sizes
from weir.loading import Loading
from weir.plan import Plan, cut_of


class Window:
    """What of a model is to be read next."""

    def __init__(
        self,
        model: _native.Model,
        framework: str,
        device: object,
        names: Iterable[str],
        slices: Mapping[str, Any] | None,
        budget: int | str | None,
    ) -> None:
        tensors = model.tensors
        self._model, self._framework, self._device = model, framework, device
        self._slices, self._budget = dict(slices or {}), sizes.parse(budget)
        self._names = sorted(  # the next one stands last
            names, key=lambda name: (tensors[name].shard, tensors[name].offset), reverse=True
        )
        self._flying: dict[str, int] = {}  # bytes that were not handed out yet
        self._kept: dict[int, tuple[weakref.ref[Any], int]] = {}  # that were, and live
        self._gone: collections.deque[weakref.ref[Any]] = collections.deque()  # from any thread
        self._left = self._budget

    def start(self, **options: Any) -> Loading:
        """Begins with as much as there is room for; options are those of `Plan.start`."""
        plan = self._more() or Plan(self._framework, self._device, context=self._model.context)
        loading = plan.start(open=True, **options)
        self._end(loading)
        return loading

    def taken(self, name: str, loading: Loading) -> None:
        """The caller asks for the next one: appends what there is room for now."""
        self._left += self._flying.pop(name, 0)  # what cannot be watched counts no more
        if plan := self._more():
            loading.append(plan)
            self._end(loading)

    def _end(self, loading: Loading) -> None:
        if not self._names:
            loading.end()

    def _more(self) -> Plan | None:
        """The next ones that fit; one at least where nothing is under way."""
        self._release()
        if not self._names or (self._flying and self._left < self._budget // 4):
            return None
        plan = Plan(self._framework, self._device, context=self._model.context)
        while self._names and (not self._flying or self._size(self._names[-1]) <= self._left):
            name = self._names.pop()
            before = plan.nbytes
            plan.tensor(self._model, name, slices=self._slices.get(name))
            plan.watch(name, self._watcher(name))
            self._flying[name] = plan.nbytes - before
            self._left -= self._flying[name]
        return plan if len(plan) else None

    def _size(self, name: str) -> int:
        info = self._model[name]
        _, shape = cut_of(self._slices.get(name), info.shape)
        return info.nbytes * math.prod(shape) // max(math.prod(info.shape), 1)

    def _watcher(self, name: str) -> Callable[[object], None]:
        def watch(owner: object) -> None:
            try:
                ref = weakref.ref(owner, self._gone.append)
            except TypeError:
                return
            self._kept[id(ref)] = ref, self._flying.pop(name)

        return watch

    def _release(self) -> None:
        while self._gone:
            self._left += self._kept.pop(id(self._gone.popleft()))[1]
