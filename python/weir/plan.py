# SPDX-License-Identifier: Apache-2.0
"""weir.Plan: which bytes go where, for any number of models and files at once.

    plan = weir.Plan(framework="torch")
    plan.tensor(model, "h.0.attn.weight", slices=(0, 0, 512))
    plan.tensor(model, "h.0.mlp.weight", out=mine)
    plan.range("other.bin", 4096, 100, tag="head")
    arrays = plan.run()                # a dict by tag; or, in a coroutine: await plan

Nothing is read before the plan runs, and all of it is read together, in the order that suits the storage.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from typing import Any

from weir import _native, arrays, frameworks, sizes
from weir.errors import ArgumentError
from weir.loading import Loading
from weir.progress import Progress

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | _native.Model
Cut = tuple[int, int, int]


def opened(source: Source, context: _native.Context | None = None) -> _native.Model:
    """The model that is given, or the one that a URI names."""
    if isinstance(source, _native.Model):
        return source
    return _native.open(source, context=context)


def cut_of(slices: Any, shape: tuple[int, ...]) -> tuple[list[Cut] | None, tuple[int, ...]]:
    """What is cut, as ``(dim, start, stop)``, and the shape that is left.

    `slices` is None (nothing), one such triple, a list of them, or an index as in
    ``array[2:5, :, -1]`` (``numpy.s_`` makes one) without steps.
    """
    if slices is None:
        return None, shape
    if isinstance(slices, tuple) and len(slices) == 3 and all(type(n) is int for n in slices):
        slices = [slices]
    if isinstance(slices, list):
        return slices, _shape_after(shape, slices)
    from weir import slicing

    cut = slicing.lenient(slices, shape)
    if cut is None or cut.after is not None or cut.shape is None:
        raise ArgumentError(f"{slices!r} is no plain cut through a tensor of {list(shape)}")
    return list(slicing.dims_of(cut.box, shape)), cut.shape


def _shape_after(shape: tuple[int, ...], cuts: Iterable[Cut]) -> tuple[int, ...]:
    left = list(shape)
    for dim, start, stop in cuts:
        if not (0 <= dim < len(left) and 0 <= start <= stop <= shape[dim]):
            raise ArgumentError(f"({dim}, {start}, {stop}) cuts nothing out of {list(shape)}")
        left[dim] = stop - start
    return tuple(left)


def device_of(device: object) -> int | None:
    """The number of a CUDA device, for memory of weir's own; None: the host."""
    if device is None or str(device) == "cpu":
        return None
    kind, colon, number = str(device).partition(":")
    if isinstance(device, int) and device >= 0:
        return int(device)
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise ArgumentError(f'{device!r}: without a framework a device is "cpu" or "cuda:0"')
    return int(number or 0)


class Part:
    """One extent of a plan, and what becomes of it."""

    __slots__ = ("adapter", "array", "dtype", "kind", "shape", "tag", "watch")

    def __init__(self, tag: Any, dtype: str, shape: tuple[int, ...]) -> None:
        self.tag, self.dtype, self.shape = tag, dtype, shape
        self.adapter: frameworks.Adapter | None = None  # whose array it is
        self.array: Any = None  # that the bytes go to; None: to memory of weir's
        self.kind: Any = None  # of the view of that; None: the adapter makes it
        self.watch: Callable[[object], None] | None = None  # is told what owns the memory

    def give(self, buffer: Any) -> Any:
        """The array, once its bytes are there; the part lets go of it."""
        array, self.array = self.array, None
        if self.kind is not None:
            return arrays.wrap(buffer, self.kind)
        if self.adapter is None:
            return _native.Tensor(buffer, self.dtype, self.shape) if array is None else array
        if array is None:
            return self.adapter.borrow(_native.Tensor(buffer, self.dtype, self.shape))
        given = self.adapter.give(array)
        if self.watch:
            self.watch(self.adapter.owner(array, given))
        return given


def _place_out(array: Any, part: Part) -> Any:
    """Where the bytes of a part go in an array of the caller's."""
    shape = getattr(array, "shape", None)
    if shape is not None and tuple(shape) != part.shape:
        raise ArgumentError(f"{part.tag!r}: {list(part.shape)} does not fit into {list(shape)}")
    package = type(array).__module__.partition(".")[0]
    if package not in ("torch", "cupy"):
        return array  # a buffer, which the extension checks
    if not (array.is_contiguous() if package == "torch" else array.flags.c_contiguous):
        raise ArgumentError(f"{part.tag!r}: the array given is not contiguous")
    adapter = frameworks.find(package, array.device if package == "torch" else None)
    return into(adapter, array)


def into(adapter: frameworks.Adapter, array: Any) -> tuple[Any, ...]:
    """An array's memory, as the extension takes it."""
    place = adapter.place(array)
    if place.device is None:
        return place.address, place.nbytes, array
    return place.address, place.nbytes, array, place.device, place.stream


class Plan:
    """Which bytes go where.

    framework, device: whose memory the arrays are in; None: NumPy arrays over weir's own memory, and on
    a device ("cuda:0") `weir.Tensor`, which other packages take by DLPack.
    borrow: the framework's arrays look at weir's memory, too.
    """

    def __init__(
        self,
        framework: str | None = None,
        device: object = None,
        *,
        borrow: bool = False,
        context: _native.Context | None = None,
    ) -> None:
        self._borrow = borrow
        self._adapter = frameworks.find(framework, device) if framework else None
        self._device = None if framework else device_of(device)
        self._context = context
        self._native: _native.Plan | None = None
        self._parts: dict[Hashable, Part] = {}

    def _own(self, context: _native.Context) -> _native.Plan:
        if self._native is None:
            self._native = _native.Plan(self._context or context)
        return self._native

    def _place(self, part: Part, out: Any) -> Any:
        """Where a part goes; remembers the part."""
        if part.tag in self._parts:
            raise ArgumentError(f"two parts of a plan are called {part.tag!r}")
        where = None
        if out is not None:
            where, part.array = _place_out(out, part), out
        elif self._device is not None:
            where = self._device
        elif self._adapter is None:
            part.kind = arrays.kind(str(part.tag), part.dtype, part.shape)
        else:
            part.adapter = self._adapter
            if not self._borrow:
                part.array = frameworks.empty(
                    self._adapter, str(part.tag), part.dtype, part.shape
                )
                where = into(self._adapter, part.array)
        self._parts[part.tag] = part
        return where

    def tensor(
        self,
        model: _native.Model,
        name: str,
        *,
        slices: Any = None,
        out: Any = None,
        tag: Hashable = None,
        align: int = 0,
    ) -> None:
        """A tensor, or the part of it that `slices` leaves (see `cut_of`).

        out: an array or buffer of the caller's for the bytes.  tag: its key in what comes out; its name
        unless given.  align: of memory that weir allocates; more than the file has costs a copy.
        """
        info = model[name]
        cuts, shape = cut_of(slices, info.shape)
        part = Part(name if tag is None else tag, info.dtype, shape)
        native = self._own(model.context)
        where = self._place(part, out)
        try:
            native.tensor(model, name, into=where, tag=part, slices=cuts or None, align=align)
        except BaseException:
            del self._parts[part.tag]
            raise

    def tensors(
        self,
        model: _native.Model,
        names: Iterable[str] | None = None,
        *,
        slices: Mapping[str, Any] | None = None,
        out: Mapping[str, Any] | None = None,
        align: int = 0,
    ) -> None:
        """Several tensors of a model; all of them where no names are given."""
        if isinstance(names, str):
            raise ArgumentError(f"names {names!r}: a list of names is wanted, and this is a text")
        slices, out = slices or {}, out or {}
        wanted = list(model.tensors if names is None else names)
        for given, what in ((slices, "a cut"), (out, "memory")):
            for name in set(given).difference(wanted):
                raise ArgumentError(f"{what} for {name!r}, which is not loaded")
        for name in wanted:
            self.tensor(model, name, slices=slices.get(name), out=out.get(name), align=align)

    def range(
        self,
        source: str | os.PathLike[str] | _native.Object,
        offset: int,
        length: int,
        *,
        out: Any = None,
        tag: Hashable = None,
    ) -> None:
        """Bytes of a file, as an array of U8.  tag: the range's number in the plan unless given."""
        if not isinstance(source, _native.Object):
            source = _native.open_object(source, context=self._context)
        part = Part(len(self._parts) if tag is None else tag, "U8", (length,))
        native = self._own(source.context)
        where = self._place(part, out)
        try:
            native.range(source, offset, length, into=where, tag=part)
        except BaseException:
            del self._parts[part.tag]
            raise

    def watch(self, tag: Hashable, watch: Callable[[object], None]) -> None:
        """`watch` is called with what owns the memory of a framework's array, when that arrives."""
        self._parts[tag].watch = watch

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def nbytes(self) -> int:
        """Of all its parts."""
        return self._native.nbytes if self._native else 0

    def start(
        self,
        *,
        queue: _native.Queue | None = None,
        budget: int | str | None = None,
        timeout: float | None = None,
        stall: float | None = None,
        progress: Progress = None,
        open: bool = False,
    ) -> Loading:
        """Starts it; what comes out is iterated over.  A plan is started once.

        open: other plans will be appended.
        """
        transfer = self.native.start(
            queue=queue, budget=sizes.parse(budget), timeout=timeout, stall=stall, open=open
        )
        return Loading(transfer, progress)

    @property
    def native(self) -> _native.Plan:
        """As the extension has it."""
        return self._own(self._context or _native.default_context())

    @property
    def context(self) -> _native.Context:
        """Of all that it reads."""
        return self.native.context

    def must_fit(self, budget: int | str | None) -> None:
        """Raises where what comes out, all of it at once and in weir's memory, is more than the budget."""
        limit = sizes.parse(budget)
        if limit < self.nbytes and limit and all(part.array is None for part in self._parts.values()):
            raise ArgumentError(
                f"the budget is {limit} bytes, and {self.nbytes} bytes of weir's memory are to be there"
                " at the end: give more, name a framework, or take them one by one (weir.stream)"
            )

    def run(
        self,
        *,
        budget: int | str | None = None,
        timeout: float | None = None,
        stall: float | None = None,
        progress: Progress = None,
    ) -> dict[Any, Any]:
        """Carries it out: a dict of arrays by tag, in the order in which they were planned."""
        self.must_fit(budget)
        found: dict[Any, Any] = dict.fromkeys(self._parts)
        loading = self.start(budget=budget, timeout=timeout, stall=stall, progress=progress)
        loading.into(found)
        return found

    def __await__(self) -> Generator[Any, None, dict[Any, Any]]:
        from weir import aio

        return aio.run(self).__await__()

    @property
    def tags(self) -> tuple[Any, ...]:
        """Of its parts, in their order."""
        return tuple(self._parts)
