# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays that look at weir's memory, without a copy.

An array's base is the `weir.Buffer` with its bytes; when the last array that looks at it goes, the
memory goes back to weir's pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weir.errors import Unsupported

def kind(name: str, dtype: str, shape: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """NumPy's type, and the array's shape; `weir.Unsupported` where NumPy cannot hold that tensor."""
    from weir.frameworks import dtypes, numpy

    try:
        return numpy.native(dtype), dtypes.layout("NumPy", dtype, shape)
    except Unsupported as error:
        raise Unsupported(f"tensor {name!r}: {error.message}") from None


def wrap(buffer: Any, kind: tuple[Any, tuple[int, ...]]) -> Any:
    """The bytes of a buffer as an array."""
    import numpy as np

    array = np.frombuffer(buffer, kind[0])
    return array if len(kind[1]) == 1 else array.reshape(kind[1])
