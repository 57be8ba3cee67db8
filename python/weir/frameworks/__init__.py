# SPDX-License-Identifier: Apache-2.0
"""Frameworks: whose memory tensors land in, and whose arrays come out.

``framework="NAME"`` means the module ``weir.frameworks.NAME``, which is imported then and not
before.  Its class ``Adapter`` is what `Adapter` below describes.  Where no framework is named, weir
allocates, and hands out NumPy arrays that look at its memory (weir/arrays.py).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

from weir._native import Tensor
from weir.errors import ArgumentError, Unsupported

NAMES = ("numpy", "torch", "jax", "cupy")


class Place(Protocol):
    """Where an array's bytes are."""

    address: int
    nbytes: int
    device: int | None
    """Number of the CUDA device, or None for host memory."""
    stream: int
    """CUDA stream on which the memory was allocated, and which will read it."""


class Adapter(Protocol):
    """What a framework does for a load; made once for each, as ``Adapter(device)``."""

    name: str
    borrows: bool
    """Does what `borrow` gives always look at weir's memory, and have none of its own?"""

    def empty(self, dtype: str, shape: Sequence[int]) -> Any:
        """An array nobody has written to, of the framework's allocator.

        `dtype` is spelt as in files ("BF16").  Raises `weir.Unsupported` with a reason where the
        framework lacks the type.
        """

    def place(self, array: Any) -> Place:
        """Where to write its bytes.  The array is kept alive until nothing can write there."""

    def give(self, array: Any) -> Any:
        """What the caller gets, once the bytes are there."""

    def owner(self, array: Any, given: Any) -> object:
        """What lives exactly as long as the memory of what was given for an array."""

    def borrow(self, tensor: Tensor) -> Any:
        """An array that looks at weir's memory and keeps it alive; no copy where possible."""


def find(name: str, device: object = None) -> Adapter:
    """The adapter of a framework, for one device (None: its default, the CPU)."""
    if name not in NAMES:
        raise ArgumentError(f"framework {name!r}: known are {', '.join(NAMES)}")
    try:
        module = importlib.import_module(f"weir.frameworks.{name}")
    except ImportError as error:
        raise ArgumentError(f"framework {name!r} cannot be imported: {error}") from error
    adapter: Adapter = module.Adapter(device)
    return adapter


def empty(adapter: Adapter, name: str, dtype: str, shape: Sequence[int]) -> Any:
    """An array for the tensor of that name; a refusal says which tensor it was."""
    try:
        return adapter.empty(dtype, shape)
    except Unsupported as error:
        raise Unsupported(f"tensor {name!r}: {error.message}") from None
