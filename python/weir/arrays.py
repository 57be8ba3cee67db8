# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays that look at weir's memory, without a copy.

An array's base is the `weir.Buffer` with its bytes; when the last array that looks at it goes, the
memory goes back to weir's pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def wrap(buffer: Any, dtype: str, shape: Sequence[int]) -> Any:
    """The bytes of a buffer as an array, of the types that ``framework="numpy"`` has."""
    import numpy as np

    from weir.frameworks import dtypes
    from weir.frameworks.numpy import native

    kind = native(dtype)
    return np.frombuffer(buffer, kind).reshape(dtypes.layout("NumPy", dtype, shape))
