# SPDX-License-Identifier: Apache-2.0
"""PyTorch tensors, for ``framework="torch"``.

A tensor's memory is PyTorch's own (``torch.empty`` on the device), and holds that tensor only.  On
the CPU and on CUDA devices the bytes are read straight into it; for other devices they are read to
the CPU and moved by PyTorch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from weir._native import Tensor
from weir.frameworks import dtypes, pages


@functools.cache
def native(dtype: str) -> torch.dtype:
    """PyTorch's type for one of the format's; ``uint8`` for packed ones that it lacks."""
    name = dtypes.find(dtype).torch
    if name is None:
        return torch.uint8
    kind = getattr(torch, name, None)
    if kind is None:
        dtypes.refuse(f"PyTorch {torch.__version__} has no {dtype}: a newer one has torch.{name}")
    return kind


def _parse(device: object) -> torch.device:
    if device is None:
        return torch.device("cpu")
    try:
        return torch.device(device)
    except (RuntimeError, TypeError, ModuleNotFoundError) as error:
        dtypes.refuse_device("PyTorch", str(device), str(error).split("\n")[0])


def _cuda(device: torch.device) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        dtypes.refuse_device("PyTorch", str(device), "it finds no CUDA device on this machine")
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= count:
        dtypes.refuse_device("PyTorch", str(device), f"it finds {count} CUDA device(s)")
    return torch.device("cuda", index)


def _other(device: torch.device) -> None:
    """Devices that PyTorch alone can reach: it says whether they are there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        dtypes.refuse_device("PyTorch", str(device), str(error).split("\n")[0])


class Adapter:
    """See `weir.frameworks`."""

    name = "PyTorch"

    def __init__(self, device: object = None) -> None:
        self.device = _parse(device)
        if self.device.type == "meta":
            dtypes.refuse_device(self.name, device, "its tensors have no memory")
        if self.device.type == "cuda":
            self.device = _cuda(self.device)
        self._home = self.device
        if self.device.type not in ("cpu", "cuda"):
            _other(self.device)
            self._home = torch.device("cpu")
        self.borrows = self.device.type == "cpu"

    def empty(self, dtype: str, shape: Sequence[int]) -> torch.Tensor:
        kind = native(dtype)
        shape = dtypes.layout(self.name, dtype, shape)
        array = torch.empty(shape, dtype=kind, device=self._home)
        if self._home.type == "cpu":
            pages.advise(array.data_ptr(), array.nbytes)
        return array

    def place(self, array: torch.Tensor) -> dtypes.Place:
        if self._home.type != "cuda":
            return dtypes.Place(array.data_ptr(), array.nbytes)
        stream = torch.cuda.current_stream(self._home).cuda_stream
        return dtypes.Place(array.data_ptr(), array.nbytes, self._home.index, stream)

    def give(self, array: torch.Tensor) -> torch.Tensor:
        return array if self._home == self.device else array.to(self.device)

    def owner(self, array: torch.Tensor, given: torch.Tensor) -> object:
        return given.untyped_storage()  # views of it share that

    def borrow(self, tensor: Tensor) -> torch.Tensor:
        kind, array = native(tensor.dtype), torch.from_dlpack(tensor)
        return (array if array.dtype == kind else array.view(kind)).to(self.device)
