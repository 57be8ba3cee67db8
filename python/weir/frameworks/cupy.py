# SPDX-License-Identifier: Apache-2.0
"""CuPy arrays, for ``framework="cupy"``.

Their memory is of CuPy's pool on the device, and the bytes are read straight into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy

from weir._native import Tensor
from weir.frameworks import dtypes
from weir.frameworks import numpy as host


def native(dtype: str) -> Any:
    """CuPy's type for one of the format's; ``uint8`` for packed ones."""
    entry = dtypes.find(dtype)
    if entry.ml_dtypes is not None:
        dtypes.refuse(f"CuPy has no {dtype}: name another framework")
    return cupy.dtype(entry.numpy or "uint8")


def _parse(device: object) -> int:
    kind, _, number = str(device).partition(":")
    if isinstance(device, int):
        index = device
    elif kind in ("cuda", "gpu") and (number.isdigit() or not number):
        index = int(number) if number else cupy.cuda.Device().id
    else:
        dtypes.refuse_device("CuPy", device, 'devices are spelt as in "cuda:0"')
    count = cupy.cuda.runtime.getDeviceCount()
    if not 0 <= index < count:
        dtypes.refuse_device("CuPy", device, f"it finds {count} device(s)")
    return index


class Adapter:
    """See `weir.frameworks`."""

    name = "CuPy"
    borrows = False

    def __init__(self, device: object = None) -> None:
        try:
            self.device = _parse("cuda" if device is None else device)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            dtypes.refuse_device(self.name, device, str(error))

    def empty(self, dtype: str, shape: Sequence[int]) -> Any:
        kind = native(dtype)
        with cupy.cuda.Device(self.device):
            return cupy.empty(dtypes.layout(self.name, dtype, shape), kind)

    def place(self, array: Any) -> dtypes.Place:
        with cupy.cuda.Device(self.device):
            stream = cupy.cuda.get_current_stream().ptr
        return dtypes.Place(array.data.ptr, array.nbytes, self.device, stream)

    def give(self, array: Any) -> Any:
        return array

    def owner(self, array: Any, given: Any) -> object:
        return given  # views of it refer to it

    def borrow(self, tensor: Tensor) -> Any:
        """A copy: weir's memory is the host's."""
        native(tensor.dtype)
        with cupy.cuda.Device(self.device):
            return cupy.asarray(host.view(tensor))
