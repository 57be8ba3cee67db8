# SPDX-License-Identifier: Apache-2.0
"""Huge pages for large arrays that other libraries allocate.

Fresh memory costs a fault for each page that is first written to: with pages of 4 KiB, more time
than reading takes.  NumPy asks for huge pages itself.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

_PAGE = 4096
_WORTH_IT = 4 << 20
_MADV_HUGEPAGE = 14


@functools.cache
def _madvise() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


def advise(address: int, nbytes: int) -> None:
    """Asks for huge pages in that memory, if it is large; the kernel may answer what it likes."""
    if nbytes >= _WORTH_IT:
        start = -(-address // _PAGE) * _PAGE
        end = (address + nbytes) // _PAGE * _PAGE
        _madvise()(start, end - start, _MADV_HUGEPAGE)
