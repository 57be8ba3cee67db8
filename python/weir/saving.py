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
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from weir import _native
from weir.errors import ArgumentError, Error
from weir.frameworks.dtypes import DTYPES

_METADATA = "__metadata__"
_WINDOW = 64 << 20
"""Bytes of copies that there are at a time, besides the last one."""
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES)}


class Entry(NamedTuple):
    """One tensor to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    data: Callable[[], memoryview]
    """Its bytes in memory of the host."""
    copies: bool = False
    """Does `data` make them?  Then few are asked for at a time."""
    place: tuple[Any, ...] | None = None
    """Where they are, for `Plan.write`: memory of a device, which weir reads itself."""


def _checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    pairs = dict(metadata or {})
    if not all(isinstance(word, str) for pair in pairs.items() for word in pair):
        raise ArgumentError("metadata is strings by strings")
    return pairs


def _ordered(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (-_RANK[entry.dtype], entry.name))


def _header(entries: Iterable[Entry], metadata: Mapping[str, str] | None) -> bytes:
    fields: dict[str, object] = {}
    if metadata is not None:
        fields[_METADATA] = _checked_metadata(metadata)
    at = 0
    for entry in entries:
        if entry.name == _METADATA:
            raise ArgumentError(f"no tensor can be called {_METADATA}")
        end = at + entry.nbytes
        fields[entry.name] = {
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": (at, end),
        }
        at = end
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def to_bytes(entries: Iterable[Entry], metadata: Mapping[str, str] | None) -> bytes:
    """The file's content."""
    ordered = _ordered(entries)
    return b"".join([_header(ordered, metadata), *(entry.data() for entry in ordered)])


def to_file(
    entries: Iterable[Entry], path: str | os.PathLike[str], metadata: Mapping[str, str] | None
) -> None:
    """The file, in place of the one that had its name, or that a link of this name leads to.

    Its bytes are read where they are, by weir's lanes and without the interpreter's lock.  They go to
    a temporary beside it, which gets the name once all are there.  A device, a pipe, what has no name of
    its own: is written to, and stays what it is.
    """
    ordered = _ordered(entries)
    header = _header(ordered, metadata)
    real = os.path.realpath(os.fsdecode(path))
    if os.path.exists(path) and not (os.path.isfile(real) and os.path.samefile(path, real)):
        with open(path, "wb") as file:
            file.write(header)
            file.writelines(entry.data() for entry in ordered)
        return
    target = _native.create_object(real, len(header) + sum(entry.nbytes for entry in ordered))
    try:
        for plan in _plans(target, header, ordered):
            _run(plan)
        target.commit()
    except BaseException:
        with contextlib.suppress(Error):
            target.abort()
        raise


def _plans(
    target: _native.Object, header: bytes, entries: Iterable[Entry]
) -> Iterator[_native.Plan]:
    """One, where all bytes are there already; what has to be made first is made piece by piece."""
    plan, made, at = _native.Plan(target.context), 0, len(header)
    plan.write(target, 0, header)
    for entry in entries:
        if made >= _WINDOW:
            yield plan
            plan, made = _native.Plan(target.context), 0
        if entry.nbytes:
            plan.write(target, at, entry.place or entry.data())
            made += entry.nbytes if entry.copies else 0
            at += entry.nbytes
    yield plan


def _run(plan: _native.Plan) -> None:
    transfer = plan.start()
    try:
        while dones := transfer.wait():
            for done in dones:
                if done.error:
                    raise done.error.fresh()
    finally:
        transfer.finish()


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
