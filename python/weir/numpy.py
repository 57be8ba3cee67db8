# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays from and to safetensors files: the functions of `safetensors.numpy`, on weir."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from weir import saving
from weir.errors import Unsupported
from weir.frameworks.dtypes import DTYPES
from weir.safe import safe_open

__all__ = ["load", "load_file", "save", "save_file"]

Array = np.ndarray[Any, Any]

_NAMES = {entry.numpy or entry.ml_dtypes: dtype for dtype, entry in DTYPES.items()}


def load_file(filename: str | os.PathLike[str], *, backend: str = "mmap") -> dict[str, Array]:
    """All tensors of a file, by name, in the order of their bytes."""
    with safe_open(filename, "numpy", backend=backend) as file:
        return file.get_tensors()


def load(data: bytes) -> dict[str, Array]:
    """The same of a file's content."""
    with saving.as_file(data) as path:
        return load_file(path)


def save_file(
    tensor_dict: Mapping[str, Array],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes arrays to a file, which appears under its name when it is whole."""
    saving.to_file(map(_entry, tensor_dict.items()), filename, metadata)


def save(tensor_dict: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The same as bytes."""
    return saving.to_bytes(map(_entry, tensor_dict.items()), metadata)


def _entry(item: tuple[str, Array]) -> saving.Entry:
    name, array = item
    dtype = _NAMES.get(array.dtype.name)
    if dtype is None:
        raise Unsupported(f"tensor {name!r}: files have no type for {array.dtype}")
    kind = array.dtype.newbyteorder("<")
    copies = array.dtype != kind or not array.flags.c_contiguous

    def data() -> memoryview:
        packed = np.ascontiguousarray(array, kind)
        return packed.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")

    return saving.Entry(name, dtype, array.shape, array.nbytes, data, copies)
