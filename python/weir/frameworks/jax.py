# SPDX-License-Identifier: Apache-2.0
"""JAX arrays, for ``framework="jax"``.

JAX's arrays are never written to once they exist.  On the CPU, the bytes are read into memory that
is aligned as XLA wants it, which JAX then takes over without a copy.  On a GPU they are read into a
fresh array, before anybody else sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from weir._native import Tensor
from weir.frameworks import dtypes
from weir.frameworks import numpy as host

_XLA_ALIGN = 64


def native(dtype: str) -> np.dtype[Any]:
    """JAX's type for one of the format's: NumPy's, or that of ml_dtypes."""
    kind = host.native(dtype)
    if jax.dtypes.canonicalize_dtype(kind) != kind:
        dtypes.refuse(
            f"JAX would cut {dtype} to 32 bits: set the option jax_enable_x64, or name another "
            "framework"
        )
    return kind


def _parse(device: object) -> jax.Device:
    if device is None:
        return jax.devices()[0]
    if isinstance(device, jax.Device):
        return device
    kind, _, number = str(device).partition(":")
    index = int(number) if number.isdigit() else 0
    if number and not number.isdigit():
        dtypes.refuse_device("JAX", device, 'devices are spelt as in "cpu" or "cuda:0"')
    try:
        found = jax.devices(kind)
    except RuntimeError as error:
        dtypes.refuse_device("JAX", device, str(error).split("\n")[0])
    if index >= len(found):
        dtypes.refuse_device("JAX", device, f"it finds {len(found)} of them")
    return found[index]


class Adapter:
    """See `weir.frameworks`."""

    name = "JAX"
    borrows = False  # it copies what is not aligned as XLA wants it

    def __init__(self, device: object = None) -> None:
        self.device = _parse(device)
        self._on_host = self.device.platform == "cpu"

    def empty(self, dtype: str, shape: Sequence[int]) -> Any:
        kind = native(dtype)
        shape = dtypes.layout(self.name, dtype, shape)
        if self._on_host:
            return host.aligned(shape, kind, _XLA_ALIGN)
        with jax.default_device(self.device):
            return jnp.empty(shape, kind).block_until_ready()

    def place(self, array: Any) -> dtypes.Place:
        if self._on_host:
            return dtypes.Place(host.address(array), array.nbytes)
        pointer = array.unsafe_buffer_pointer() if array.nbytes else 0
        return dtypes.Place(pointer, array.nbytes, self.device.local_hardware_id, 0)

    def give(self, array: Any) -> jax.Array:
        return jax.device_put(array, self.device, may_alias=True) if self._on_host else array

    def owner(self, array: Any, given: Any) -> object:
        return array if self._on_host else given

    def borrow(self, tensor: Tensor) -> jax.Array:
        """On the CPU without a copy where the memory is aligned as XLA wants it."""
        return jax.device_put(host.view(tensor), self.device, may_alias=self._on_host)
