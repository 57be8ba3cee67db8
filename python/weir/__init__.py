# SPDX-License-Identifier: Apache-2.0
"""weir moves tensors from storage to memory at the speed of the hardware.

    model = weir.open("model.safetensors")      # names, shapes, dtypes: headers only
    tensors = weir.load(model)                  # a dict of NumPy arrays
    tensors = weir.load(model, framework="torch", device="cuda:0")

Importing weir starts no thread, opens nothing and imports no framework.
"""

from weir._native import Buffer, Context, Done, Model, Object, Queue, Shard, TensorInfo, Transfer
from weir._native import default_context, features, open, open_object, version
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

__version__ = version()

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
    "Queue",
    "Shard",
    "TensorInfo",
    "Timeout",
    "Transfer",
    "Unsupported",
    "default_context",
    "features",
    "load",
    "open",
    "open_object",
    "version",
]
