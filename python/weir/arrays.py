# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays that look at weir's memory, without a copy.

An array's base is the `weir.Buffer` with its bytes; when the last array that looks at it goes, the
memory goes back to weir's pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NUMPY = {
    "BOOL": "bool",
    "U8": "u1",
    "I8": "i1",
    "I16": "i2",
    "U16": "u2",
    "F16": "f2",
    "I32": "i4",
    "U32": "u4",
    "F32": "f4",
    "C64": "c8",
    "F64": "f8",
    "I64": "i8",
    "U64": "u8",
}


def wrap(buffer: Any, dtype: str, shape: Sequence[int]) -> Any:
    """The bytes of a buffer as an array."""
    import numpy as np

    return np.frombuffer(buffer, _NUMPY[dtype]).reshape(shape)
