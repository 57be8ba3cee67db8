# SPDX-License-Identifier: Apache-2.0
"""What every reader can do."""

from __future__ import annotations

from abc import ABC, abstractmethod


class FileReaderInterface(ABC):
    """Reads ranges of files into addresses, and headers of safetensors files.

    A path is the key under which a file stays open until `close()`.  Every failure is an `OSError` and a
    `RuntimeError`, with `errno` and `filename`; what is wrong with a file's header is a `ValueError` too.
    """

    @abstractmethod
    def read_chunked(
        self,
        path: str,
        dev_ptr: int,
        file_offset: int,
        total_length: int,
        chunk_size: int = 0,
        pipelined: bool = False,
    ) -> int:
        """Reads total_length bytes from file_offset to the address dev_ptr; returns how many arrived.

        That is fewer only where the file ends.  The address is of host or GPU memory and must have room
        for all of them; 0 counts the bytes and drops them.  chunk_size and pipelined are hints.
        """

    @abstractmethod
    def read_headers_batch(
        self, paths: list[str], num_threads: int = 8
    ) -> dict[str, tuple[str, int, int]]:
        """Reads the headers of many files at once.

        Returns path: (header as JSON text, offset at which the data begins, size of the file).
        """

    @abstractmethod
    def close(self) -> None:
        """Closes every file.  Closing twice is fine, and reading again opens again."""
