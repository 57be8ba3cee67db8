# SPDX-License-Identifier: Apache-2.0
"""The backend "cpp": weir's engine, with rings for what lies on 3FS.

The name is that of the package it replaces; the reader is weir's native one.
"""

from __future__ import annotations

import operator

from . import _environment
from ._native_reader import NativeFileReader


def check_library() -> bool:
    """Can it be used?  It needs no library but weir's."""
    return True


class ThreeFSFileReaderCpp(NativeFileReader):
    """Reads files on 3FS by rings, others as files.

    mount_point is kept for the caller: where a path lies is found out from the path.  entries and io_depth
    are hints that are not needed: queues are as deep as the storage likes.  buffer_size is how large
    the memory at `iov_base` is; reading does not pass through it.
    """

    def __init__(
        self,
        mount_point: str,
        entries: int = 64,
        io_depth: int = 0,
        buffer_size: int = 64 * 1024 * 1024,
    ) -> None:
        self.entries, self.io_depth = operator.index(entries), operator.index(io_depth)
        super().__init__(mount_point, buffer_size, "rings")
        self.fallback = _environment.fallback("never")

    def read_chunked(
        self,
        path: str,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = True,
    ) -> int:
        if not isinstance(path, (str, bytes)):
            raise TypeError(f"a path is str or bytes here, not {type(path).__name__}")
        return super().read_chunked(path, dev_ptr, file_offset, total_length, chunk_size)

    read_chunked.__doc__ = NativeFileReader.read_chunked.__doc__
