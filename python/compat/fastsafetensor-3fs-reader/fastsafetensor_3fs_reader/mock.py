# SPDX-License-Identifier: Apache-2.0
"""The backend "mock": the same engine, on files only, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ._native_reader import NativeFileReader

_WINDOW = 64 * 1024 * 1024


class _OpenFiles(Mapping[str, str]):
    """What is open, by path."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __getitem__(self, path: str) -> str:
        if not self._reader.has(path):
            raise KeyError(path)
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.paths())

    def __len__(self) -> int:
        return len(self._reader.paths())


class MockFileReader(NativeFileReader):
    """Reads every path as a file; no 3FS, no GPU, and no other keyword than mount_point matters."""

    def __init__(self, mount_point: str = "", **kwargs: Any) -> None:
        super().__init__(mount_point, _window_of(kwargs), "files")

    @property
    def _fd_map(self) -> Mapping[str, str]:
        return _OpenFiles(self._reader)


def _window_of(kwargs: dict[str, Any]) -> int:
    """buffer_size where it makes sense; it was never looked at."""
    size = kwargs.get("buffer_size")
    return size if isinstance(size, int) and size > 0 else _WINDOW
