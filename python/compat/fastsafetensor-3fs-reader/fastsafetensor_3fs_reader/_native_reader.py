# SPDX-License-Identifier: Apache-2.0
"""What the readers on weir's engine have in common: all but their constructors."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import weir
from weir import _native

from . import _environment
from ._mount_utils import extract_mount_point
from .interface import FileReaderInterface

logger = logging.getLogger(__name__)

# What a fallback is called here, and in the engine.
_POLICY = {"never": "rings", "warn": "rings", "ok": "fallback"}


class NativeFileReader(FileReaderInterface):
    """A reader on weir's engine; safe to use from any number of threads.

    Nothing that one call needs is shared with another, so concurrent reads do not wait for each other.  A
    reader belongs to its process: a forked child makes its own.
    """

    def __init__(self, mount_point: str, buffer_size: int, policy: str) -> None:
        self._mount_point = mount_point
        self._reader = _native.Reader(buffer_size, policy=policy, timeout=_environment.timeout())
        self._fallback = "never"
        self._fallback_reason = ""

    def read_chunked(
        self,
        path: str,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = False,
    ) -> int:
        began = time.perf_counter() if _environment.debug() else 0.0
        try:
            got = self._reader.read_chunked(path, dev_ptr, file_offset, total_length, chunk_size)
        except weir.Error as error:
            if not self._gives_up_rings(path, error):
                raise
            got = self._reader.read_chunked(path, dev_ptr, file_offset, total_length, chunk_size)
        if began:
            self._told(f"read_chunked {path!r} offset {file_offset}: {got} of {total_length} bytes", began)
        return got

    def read_headers_batch(
        self, paths: list[str], num_threads: int = 8
    ) -> dict[str, tuple[str, int, int]]:
        began = time.perf_counter() if _environment.debug() else 0.0
        try:
            found = self._reader.read_headers_batch(paths, num_threads)
        except weir.Error as error:
            if not self._gives_up_rings(error.filename or "", error):
                raise
            found = self._reader.read_headers_batch(paths, num_threads)
        if began:
            self._told(f"read_headers_batch: {len(found)} files", began)
        return found

    def close(self) -> None:
        self._reader.close()

    def cancel(self) -> None:
        """Ends every call under way in other threads; they raise an error whose errno is ECANCELED."""
        self._reader.cancel()

    def has_fd(self, path: str) -> bool:
        """Is the file open?"""
        return self._reader.has(path)

    @property
    def mount_point(self) -> str:
        return self._mount_point

    @property
    def iov_base(self) -> int:
        """Address of iov_length bytes of memory that the caller may use; backed where it is touched.

        Once it has been asked for, a read to address 0 leaves its last window there.
        """
        return self._reader.window

    @property
    def iov_length(self) -> int:
        return self._reader.window_bytes

    @property
    def timeout(self) -> float | None:
        """Seconds that a call may take before it raises TimeoutError; None: as long as something moves."""
        return self._reader.timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._reader.timeout = seconds

    @property
    def fallback(self) -> str:
        """Where a file on 3FS cannot be read by rings: "never" raises, "warn" and "ok" read it as a file."""
        return self._fallback

    @fallback.setter
    def fallback(self, name: str) -> None:
        self._fallback = _environment.checked_fallback(name)
        self._reader.policy = _POLICY[name]

    def statistics(self) -> dict[str, Any]:
        """Reads, headers and opens so far, bytes by the way they came, and why rings were given up."""
        return {**self._reader.counters(), "fallback_reason": self._fallback_reason}

    def _gives_up_rings(self, path: str, error: weir.Error) -> bool:
        """Shall a read that failed on 3FS be tried as one of a file?  Says so, once for each reader."""
        if self._fallback != "warn" or isinstance(error, (FileNotFoundError, TimeoutError, ValueError)):
            return False
        if error.code in ("CANCELLED", "CLOSED", "CHANGED") or not extract_mount_point(path):
            return False
        logger.warning("%s: is read without rings from now on: %s", path, error)
        self._fallback_reason = str(error)
        self._reader.policy = "fallback"
        return True

    def _told(self, what: str, began: float) -> None:
        took = (time.perf_counter() - began) * 1e3
        print(f"[ThreeFSReader_v2] {what}, {took:.3f} ms", file=sys.stderr)

    def __enter__(self) -> "NativeFileReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
