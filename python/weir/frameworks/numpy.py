# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays, for ``framework="numpy"``.

Types that NumPy lacks come from ml_dtypes; without that package a tensor of such a type is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from weir._native import Tensor
from weir.frameworks import dtypes


@functools.cache
def _extension(name: str) -> np.dtype[Any] | None:
    try:
        import ml_dtypes
    except ImportError:
        return None
    kind = getattr(ml_dtypes, name, None)
    return np.dtype(kind) if kind is not None else None


def native(dtype: str) -> np.dtype[Any]:
    """NumPy's type for one of the format's; ``uint8`` for packed ones."""
    entry = dtypes.find(dtype)
    if entry.ml_dtypes is None:
        return np.dtype(entry.numpy or "uint8")
    kind = _extension(entry.ml_dtypes)
    if kind is None:
        _extension.cache_clear()  # it may be installed meanwhile
        dtypes.refuse(f"NumPy has no {dtype}: install ml_dtypes, which has {entry.ml_dtypes}")
    return kind


def aligned(shape: Sequence[int], kind: np.dtype[Any], align: int) -> np.ndarray[Any, Any]:
    """An array that nobody has written to, at an address that is a multiple of `align`."""
    size = kind.itemsize * int(np.prod(shape, dtype=np.uint64))
    room = np.empty(size + align, np.uint8)
    start = -address(room) % align
    return room[start : start + size].view(kind).reshape(shape)


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


def view(tensor: Tensor) -> np.ndarray[Any, Any]:
    """An array over a tensor's memory, which it keeps alive."""
    flat: np.ndarray[Any, Any] = np.frombuffer(memoryview(tensor.buffer), native(tensor.dtype))
    return flat.reshape(dtypes.layout("NumPy", tensor.dtype, tensor.shape))


class Adapter:
    """See `weir.frameworks`."""

    name = "NumPy"
    borrows = True

    def __init__(self, device: object = None) -> None:
        if device is not None and str(device) != "cpu":
            dtypes.refuse_device(self.name, device, 'it has "cpu" only')

    def empty(self, dtype: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        kind = native(dtype)
        return np.empty(dtypes.layout(self.name, dtype, shape), kind)

    def place(self, array: np.ndarray[Any, Any]) -> dtypes.Place:
        return dtypes.Place(address(array), array.nbytes)

    def give(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return array

    def owner(self, array: Any, given: Any) -> object:
        return given  # views of it refer to it

    def borrow(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        return view(tensor)
