# SPDX-License-Identifier: Apache-2.0
"""What an index expression such as ``part[2:5, :, -1]`` asks of a file.

An expression becomes a `Cut`: the box of elements that has to be read, and what is left to do with
the array that comes out of it.  Nothing is read here.

There are two rule books, as in the safetensors package.  `strict` is its own: integers, slices with
a positive step, one ellipsis; bounds must lie inside the tensor.  `lenient` is PyTorch's, which
that package uses for PyTorch: what is not a plain cut there (masks, lists) is left to PyTorch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple, NoReturn

Box = tuple[tuple[int, int], ...]

_UNSIGNED_MAX = 2**64 - 1
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1


class Cut(NamedTuple):
    """What to read of a tensor, and what to do then."""

    box: Box
    """``(start, stop)`` for each dimension."""
    after: tuple[Any, ...] | None
    """An index for the array of that box; None where it is the answer already."""
    shape: tuple[int, ...] | None
    """Its shape then, where `after` only drops dimensions of one element; else None."""


def whole(shape: Sequence[int]) -> Box:
    """The box of everything."""
    return tuple((0, size) for size in shape)


def box_shape(box: Box) -> tuple[int, ...]:
    """How many elements it has along each dimension."""
    return tuple(stop - start for start, stop in box)


def dims_of(box: Box, shape: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
    """``(dim, start, stop)`` of the dimensions that are cut."""
    return tuple(
        (dim, start, stop)
        for dim, (start, stop) in enumerate(box)
        if (start, stop) != (0, shape[dim])
    )


# ---- Parts that both rule books share ----


def _finish(box: list[tuple[int, int]], after: list[Any]) -> Cut:
    """A cut; `after` has for each dimension 0 (drop it), a step of a slice, or None (a new one)."""
    if any(item is None or (item != 0 and item.step != 1) for item in after):
        return Cut(tuple(box), tuple(after), None)
    kept = (run for run, item in zip(box, after, strict=True) if item != 0)
    return Cut(tuple(box), None, box_shape(tuple(kept)))


def _stepped(start: int, stop: int, step: int) -> tuple[tuple[int, int], slice]:
    """The smallest run that holds every step-th element, and the slice that picks those out."""
    if stop <= start:
        return (start, start), slice(None, None, 1)
    count = (stop - start - 1) // step + 1
    return (start, start + (count - 1) * step + 1), slice(None, None, step if count > 1 else 1)


# ---- safetensors' own rules ----


class _Strict:
    """One expression under the strict rules."""

    def __init__(self, shape: Sequence[int], refuse: Callable[[str], NoReturn]) -> None:
        self.shape = shape
        self.refuse = refuse

    def items(self, index: Any) -> list[Any]:
        """One item for each dimension that is named."""
        if isinstance(index, list):
            if index:
                self.refuse("Non empty lists are not implemented")
            index = slice(0, 0)
        items = list(index) if isinstance(index, tuple) else [index]
        dots = [at for at, item in enumerate(items) if item is Ellipsis]
        if len(dots) > 1:
            self.refuse("Only one ellipsis (...) is allowed in slice index")
        for at in dots:
            missing = max(0, len(self.shape) - len(items) + 1)
            items[at : at + 1] = [slice(None)] * missing
        return items

    def number(self, dim: int, item: Any) -> Any:
        """An integer counted from the start, or ``(start, stop, step)`` without a sign."""
        if isinstance(item, slice):
            return self._slice(item)
        try:
            number = operator.index(item)
        except TypeError:
            number = None
        if number is None or not _INT_MIN <= number <= _INT_MAX:
            self.refuse(
                f"Unsupported slice index at position {dim}: expected slice, int, or ellipsis"
            )
        size = self.shape[dim] if dim < len(self.shape) else 0
        if number < -size:
            self.refuse(f"Invalid index {number} for dimension {dim} of size {size}")
        return number + size if number < 0 else number

    def _slice(self, item: slice) -> tuple[int | None, int | None, int]:
        start, stop = _unsigned(item.start), _unsigned(item.stop)
        step = 1 if item.step is None else operator.index(item.step)
        if not _LONG_MIN <= step <= _LONG_MAX:
            raise OverflowError("Python int too large to convert to C long")
        if step < 1:
            self.refuse(f"Slice step must be a positive integer, got {step}")
        return start, stop, step

    def hold(self, items: list[Any]) -> Cut:
        """Holds every item against the shape, the last one first."""
        if len(items) > len(self.shape):
            self._bad(items, "more slicing indexes than dimensions in tensor")
        bound = [self._bound(dim, items) for dim in reversed(range(len(items)))][::-1]
        bound += [_stepped(0, size, 1) for size in self.shape[len(items) :]]
        return _finish([run for run, _ in bound], [pick for _, pick in bound])

    def _bound(self, dim: int, items: list[Any]) -> tuple[tuple[int, int], Any]:
        size, item = self.shape[dim], items[dim]
        start, stop, step = (item, item + 1, 1) if isinstance(item, int) else item
        start = start or 0
        stop = size if stop is None else stop
        if start >= size or stop > size:
            index = start if start >= size else stop - 1
            self._bad(
                items, f"index {index} out of bounds for tensor dimension #{dim} of size {size}"
            )
        return ((item, stop), 0) if isinstance(item, int) else _stepped(start, stop, step)

    def _bad(self, items: list[Any], reason: str) -> NoReturn:
        text = ", ".join(_spelt(item) for item in items)
        self.refuse(f"Error during slicing [{text}] with shape {list(self.shape)}: {reason}")


def _unsigned(number: Any) -> int | None:
    if number is None:
        return None
    value = operator.index(number)
    if value < 0:
        raise OverflowError("can't convert negative int to unsigned")
    if value > _UNSIGNED_MAX:
        raise OverflowError("int too big to convert")
    return value


def _spelt(item: Any) -> str:
    if isinstance(item, int):
        return str(item)
    start, stop = ("" if bound is None else str(bound) for bound in item[:2])
    return f"{start}:{stop}" if item[2] == 1 else f"{start}:{stop}:{item[2]}"


def strict(index: Any, shape: Sequence[int], refuse: Callable[[str], NoReturn]) -> Cut:
    """The cut of an expression under safetensors' own rules.

    `refuse` raises the error for what those rules do not allow.  Bounds of slices that are negative
    or beyond 64 bits raise OverflowError, and those that are no integers TypeError, as there.
    """
    rules = _Strict(shape, refuse)
    return rules.hold([rules.number(dim, item) for dim, item in enumerate(rules.items(index))])


# ---- PyTorch's rules ----


def lenient(index: Any, shape: Sequence[int]) -> Cut | None:
    """The cut of an expression under PyTorch's rules.

    None where it is not a plain cut of a tensor of this shape: let PyTorch say what it means.
    """
    items = index if isinstance(index, tuple) else (index,)
    expanded = _expand(items, len(shape))
    if expanded is None:
        return None
    box: list[tuple[int, int]] = []
    after: list[Any] = []
    for item in expanded:
        if item is None:
            after.append(None)
            continue
        bound = _clamp(item, shape[len(box)])
        if bound is None:
            return None
        box.append(bound[0])
        after.append(bound[1])
    return _finish(box, after)


def _expand(items: tuple[Any, ...], rank: int) -> list[Any] | None:
    """One item for each dimension and each new one."""
    if any(not _plain(item) for item in items) or items.count(Ellipsis) > 1:
        return None
    dims = sum(1 for item in items if item is not None and item is not Ellipsis)
    if dims > rank:
        return None
    missing = [slice(None)] * (rank - dims)
    expanded: list[Any] = []
    for item in items:
        if item is Ellipsis:
            expanded += missing
            missing = []
        else:
            expanded.append(item)
    return expanded + missing


def _plain(item: Any) -> bool:
    if isinstance(item, Integral):
        return not isinstance(item, bool)  # for PyTorch, a mask
    return item is None or item is Ellipsis or isinstance(item, slice)


def _clamp(item: Any, size: int) -> tuple[tuple[int, int], Any] | None:
    if isinstance(item, Integral):
        at = operator.index(item)
        at = at + size if at < 0 else at
        return ((at, at + 1), 0) if 0 <= at < size else None
    try:
        start, stop, step = item.indices(size)
    except (TypeError, ValueError):
        return None
    return _stepped(start, stop, step) if step > 0 else None
