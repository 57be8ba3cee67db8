# SPDX-License-Identifier: Apache-2.0
"""Writing safetensors files: what `weir.numpy` and `weir.torch` share.

Tensors stand in the order in which safetensors puts them (the widest types first, then by name),
back to back, behind a header that is filled up to a multiple of 8 bytes.  So the same tensors make
the same file.  A file appears under its name when it is whole, and not before.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from weir.errors import ArgumentError
from weir.frameworks.dtypes import DTYPES

_METADATA = "__metadata__"
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES)}


class Entry(NamedTuple):
    """One tensor to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def _checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    pairs = dict(metadata or {})
    if not all(isinstance(word, str) for pair in pairs.items() for word in pair):
        raise ArgumentError("metadata is strings by strings")
    return pairs


def _header(entries: Iterable[Entry], metadata: Mapping[str, str] | None) -> bytes:
    fields: dict[str, object] = {}
    if metadata is not None:
        fields[_METADATA] = _checked_metadata(metadata)
    at = 0
    for entry in entries:
        if entry.name == _METADATA:
            raise ArgumentError(f"no tensor can be called {_METADATA}")
        end = at + entry.data.nbytes
        fields[entry.name] = {
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": (at, end),
        }
        at = end
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _pieces(entries: Iterable[Entry], metadata: Mapping[str, str] | None) -> Iterator[memoryview]:
    """All of a file, in order."""
    ordered = sorted(entries, key=lambda entry: (-_RANK[entry.dtype], entry.name))
    yield memoryview(_header(ordered, metadata))
    for entry in ordered:
        yield entry.data


def to_bytes(entries: Iterable[Entry], metadata: Mapping[str, str] | None) -> bytes:
    """The file's content."""
    return b"".join(_pieces(entries, metadata))


def to_file(
    entries: Iterable[Entry], path: str | os.PathLike[str], metadata: Mapping[str, str] | None
) -> None:
    """The file, in place of the one that had its name, or that a link of this name leads to.

    A device, a pipe, what has no name of its own: is written to, and stays what it is.
    """
    pieces = list(_pieces(entries, metadata))
    target = os.path.realpath(os.fsdecode(path))
    if os.path.exists(path) and not (os.path.isfile(target) and os.path.samefile(path, target)):
        with open(path, "wb") as file:
            file.writelines(pieces)
        return
    handle, temporary = tempfile.mkstemp(prefix=".weir-", dir=os.path.dirname(target))
    try:
        with open(handle, "wb") as file:
            file.writelines(pieces)
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    """This process'; Linux tells it without changing it."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


@contextlib.contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """The path of a file in memory with that content."""
    handle = os.memfd_create("weir-load", os.MFD_CLOEXEC)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
