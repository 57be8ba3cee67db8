# SPDX-License-Identifier: Apache-2.0
"""Names of readers to readers.

The three of the reader's package are taken from whichever distribution of it is installed, weir's or
another; any other reader with the same two calls is named by MODULE:FACTORY.
"""
import importlib
import os
from typing import Any, Protocol

NAMES = ("mock", "python", "cpp")
MIB = 1 << 20


class Reader(Protocol):
    """What is measured."""

    def read_chunked(self, path: str, dev_ptr: int, file_offset: int, total_length: int,
                     chunk_size: int = 0) -> int: ...

    def read_headers_batch(self, paths: list[str], num_threads: int = 8) -> dict[str, tuple[str, int, int]]: ...

    def close(self) -> None: ...


def known(name: str) -> bool:
    """Is there a reader of that name?  It need not be installed."""
    module, colon, factory = name.partition(":")
    return name in NAMES or bool(colon and module and factory)


def package() -> Any:
    """The reader's package; its own choice of a backend does not matter here."""
    os.environ.setdefault("FASTSAFETENSORS_BACKEND", "mock")
    try:
        return importlib.import_module("fastsafetensor_3fs_reader")
    except ImportError as error:
        raise RuntimeError(f"the readers are in a package of their own, which cannot be imported ({error}): "
                           "pip install fastsafetensor-3fs-reader") from error


def make(name: str, mount_point: str, entries: int, buffer_mib: float) -> Reader:
    """A reader; the sizes are its own where buffer_mib is 0."""
    sizes = {"entries": entries, "buffer_size": int(buffer_mib * MIB)} if buffer_mib else {}
    module, colon, factory = name.partition(":")
    if colon:
        made: Reader = getattr(importlib.import_module(module), factory)(mount_point=mount_point, **sizes)
    else:
        made = package().create_reader(name, mount_point=mount_point, **sizes)
    return made
