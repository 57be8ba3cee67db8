# SPDX-License-Identifier: Apache-2.0
"""The native reader of the package that this one replaces: the same calls, by descriptors, on weir's."""

from __future__ import annotations

import os
import threading

import weir

from .._native_reader import NativeFileReader


def check_library() -> bool:
    return True


class ThreeFSReader:
    """Opens files, reads ranges of them by descriptor, and headers by path."""

    def __init__(
        self,
        mount_point: str,
        entries: int = 64,
        io_depth: int = 0,
        buffer_size: int = 67108864,
    ) -> None:
        self._reader = NativeFileReader(mount_point, buffer_size, "rings")
        self._lock = threading.Lock()
        self._fd_of: dict[str, int] = {}
        self._path_of: dict[int, str] = {}

    @property
    def mount_point(self) -> str:
        return self._reader.mount_point

    @property
    def iov_base(self) -> int:
        return self._reader.iov_base

    @property
    def iov_length(self) -> int:
        return self._reader.iov_length

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """The descriptor under which a path is read from here on; the same one each time."""
        with self._lock:
            if path not in self._fd_of:
                fd = os.open(path, flags | os.O_CLOEXEC)
                self._fd_of[path], self._path_of[fd] = fd, path
            return self._fd_of[path]

    def get_fd(self, path: str) -> int:
        """The descriptor of a path that was opened, or whose header was read."""
        with self._lock:
            known = path in self._fd_of
        if not known and not self._reader.has_fd(path):
            raise weir.Error(f"no fd for path: {path}", code="NOTFOUND", object=path)
        return self.open(path)

    def close_all(self) -> None:
        with self._lock:
            fds, self._fd_of, self._path_of = list(self._path_of), {}, {}
        for fd in fds:
            os.close(fd)
        self._reader.close()

    def read_chunked(
        self, fd: int, dev_ptr: int, file_offset: int, total_length: int, chunk_size: int = 0
    ) -> int:
        with self._lock:
            path = self._path_of.get(fd)
        if path is None:
            raise weir.Error(f"{fd} is no descriptor of this reader", code="CLOSED")
        return self._reader.read_chunked(path, dev_ptr, file_offset, total_length, chunk_size)

    def read_chunked_pipelined(
        self,
        fd: int,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = True,
    ) -> int:
        return self.read_chunked(fd, dev_ptr, file_offset, total_length, chunk_size)

    def open_and_read_headers(
        self, paths: list[str], num_threads: int = 8
    ) -> list[tuple[str, str, int, int]]:
        """(path, JSON text, where the data begins, size of the file) for each path."""
        found = self._reader.read_headers_batch(paths, num_threads)
        return [(path, *found[path]) for path in paths]

    def __del__(self) -> None:
        if hasattr(self, "_path_of"):
            self.close_all()
