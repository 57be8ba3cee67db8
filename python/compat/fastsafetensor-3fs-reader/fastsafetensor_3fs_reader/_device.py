# SPDX-License-Identifier: Apache-2.0
"""Copies from host memory to an address whose kind is found out: by the CUDA driver, where there is one.

The driver answers with one number and has no error state of the application to disturb.  What it does not
know is host memory.
"""

from __future__ import annotations

import ctypes
import functools

_CONTEXT, _MEMORY_TYPE = 1, 2  # attributes of a pointer
_DEVICE = 2  # a memory type; managed memory is of it, too


@functools.cache
def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _context_of(address: int) -> ctypes.c_void_p | None:
    """The context that memory of a device belongs to; None for host memory."""
    driver, pointer = _driver(), ctypes.c_uint64(address)
    kind, context = ctypes.c_uint(0), ctypes.c_void_p()
    if driver is None or driver.cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, pointer):
        return None
    if kind.value != _DEVICE:
        return None
    _check(driver.cuPointerGetAttribute(ctypes.byref(context), _CONTEXT, pointer), "asking for the context")
    return context


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what} failed with CUDA error code {status}")


class Target:
    """Where bytes go: asked once what kind of memory it is, then written to in pieces."""

    def __init__(self, address: int) -> None:
        self.address = address
        self._context = _context_of(address) if address else None

    def put(self, offset: int, source: int, length: int) -> None:
        """Copies length bytes from the address source to offset; nowhere where there is no address."""
        if not self.address:
            return
        if self._context is None:
            ctypes.memmove(self.address + offset, source, length)
        else:
            self._put_on_device(offset, source, length)

    def zero(self, offset: int, length: int) -> None:
        zeros = (ctypes.c_char * length)()
        self.put(offset, ctypes.addressof(zeros), length)

    def _put_on_device(self, offset: int, source: int, length: int) -> None:
        driver = _driver()
        _check(driver.cuCtxPushCurrent_v2(self._context), "entering the context")
        try:
            to = ctypes.c_uint64(self.address + offset)
            status = driver.cuMemcpyHtoD_v2(to, ctypes.c_void_p(source), ctypes.c_size_t(length))
        finally:
            driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        _check(status, "the copy to the device")
