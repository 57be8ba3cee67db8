# SPDX-License-Identifier: Apache-2.0
"""PyTorch tensors from and to safetensors files: the functions of `safetensors.torch`, on weir."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise

import torch

from weir import saving
from weir.errors import Error, Unsupported
from weir.frameworks.dtypes import DTYPES
from weir.safe import safe_open

__all__ = ["load", "load_file", "save", "save_file"]

Tensors = Mapping[str, torch.Tensor]

_NAMES = {f"torch.{entry.torch}": dtype for dtype, entry in DTYPES.items() if entry.torch}


def load_file(
    filename: str | os.PathLike[str],
    device: str | int = "cpu",
    *,
    backend: str = "mmap",
) -> dict[str, torch.Tensor]:
    """All tensors of a file, by name, in the order of their bytes."""
    with safe_open(filename, "pt", device, backend=backend) as file:
        return file.get_tensors()


def load(data: bytes) -> dict[str, torch.Tensor]:
    """The same of a file's content, on the CPU."""
    with saving.as_file(data) as path:
        return load_file(path)


def save_file(
    tensors: Tensors,
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes tensors to a file, which appears under its name when it is whole.

    They have to be dense and contiguous, and share no memory (ValueError, RuntimeError).
    """
    _check(tensors)
    saving.to_file((_entry(*item) for item in tensors.items()), filename, metadata)


def save(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """The same as bytes."""
    _check(tensors)
    return saving.to_bytes((_entry(*item) for item in tensors.items()), metadata)


def _check(tensors: Tensors) -> None:
    if not isinstance(tensors, Mapping):
        raise ValueError(f"expected tensors by name, not {type(tensors)}")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"tensor {name!r} is a {type(tensor)}")
        if tensor.layout != torch.strided:
            raise ValueError(f"tensor {name!r} is sparse: make it dense with to_dense()")
        if not tensor.is_contiguous():
            raise ValueError(f"tensor {name!r} is not contiguous: pack it with contiguous()")
    _check_shared(tensors)


def _check_shared(tensors: Tensors) -> None:
    """A file would hold shared memory twice, and its reader would have two tensors of one."""
    runs = sorted(
        (str(tensor.device), tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes, name)
        for name, tensor in tensors.items()
        if tensor.nbytes and tensor.device.type != "meta"
    )
    for (device, _, end, name), (other_device, start, _, other) in pairwise(runs):
        if device == other_device and start < end:
            raise Error(
                f"tensors {name!r} and {other!r} share memory: save one of them", code="ARG"
            )


def _entry(name: str, tensor: torch.Tensor) -> saving.Entry:
    dtype = _NAMES.get(str(tensor.dtype))
    if dtype is None:
        raise Unsupported(f"tensor {name!r}: files have no type for {tensor.dtype}")
    shape = tuple(tensor.shape)
    if DTYPES[dtype].bits < 8:
        shape = (*shape[:-1], shape[-1] * 8 // DTYPES[dtype].bits)
    whole = tensor.detach().resolve_conj().resolve_neg()

    def data() -> memoryview:
        if not whole.nbytes:
            return memoryview(b"")
        return memoryview(whole.cpu().reshape(-1).view(torch.uint8).numpy())

    device, place = whole.device, None
    if device.type == "cuda" and whole.nbytes:
        stream = torch.cuda.current_stream(device).cuda_stream
        place = whole.data_ptr(), whole.nbytes, whole, device.index, stream
    return saving.Entry(name, dtype, shape, whole.nbytes, data, device.type != "cpu", place)
