# SPDX-License-Identifier: Apache-2.0
"""weir moves tensors from storage to memory at the speed of the hardware.

    model = weir.open("model.safetensors")      # names, shapes, dtypes: headers only
    tensors = weir.load(model)                  # a dict of NumPy arrays
    tensors = weir.load(model, framework="torch", device="cuda:0", progress=True)
    for name, array in weir.stream(model, budget="2GiB"):
        ...
    tensors = await weir.aio.load(model)        # import weir.aio

Importing weir starts no thread, opens nothing and imports no framework.
"""

from typing import TYPE_CHECKING

from weir._native import Buffer, Context, Done, Model, Object, Queue, Shard, Tensor, TensorInfo
from weir._native import Transfer, default_context, features, open, open_object, version
from weir.errors import (
    ArgumentError,
    Cancelled,
    Closed,
    ContentError,
    Denied,
    Error,
    Lent,
    NoMemory,
    NotFound,
    Timeout,
    Unsupported,
)
from weir.load import load
from weir.plan import Plan
from weir.stream import stream

if TYPE_CHECKING:
    from weir.safe import safe_open as safe_open

__version__ = version()


def __getattr__(name: str) -> object:
    """What not every program needs is imported when it is asked for."""
    if name != "safe_open":
        raise AttributeError(f"module 'weir' has no attribute {name!r}")
    from weir.safe import safe_open

    return safe_open


__all__ = [
    "ArgumentError",
    "Buffer",
    "Cancelled",
    "Closed",
    "ContentError",
    "Context",
    "Denied",
    "Done",
    "Error",
    "Lent",
    "Model",
    "NoMemory",
    "NotFound",
    "Object",
    "Plan",
    "Queue",
    "Shard",
    "Tensor",
    "TensorInfo",
    "Timeout",
    "Transfer",
    "Unsupported",
    "default_context",
    "features",
    "load",
    "open",
    "open_object",
    "safe_open",
    "stream",
    "version",
]
