# SPDX-License-Identifier: Apache-2.0
"""The element types of the format, and what each array package calls them.

The table of docs/python.md says the same; a test holds the two together.

Elements of less than a byte stay packed, as the file has them.  PyTorch has a type for pairs of F4;
elsewhere packed elements are bytes: an array of ``uint8`` whose last dimension counts bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from weir.errors import ArgumentError, Unsupported


class Dtype(NamedTuple):
    """One type, and its name in each package; None where that has none."""

    bits: int
    numpy: str | None
    ml_dtypes: str | None
    torch: str | None


DTYPES: dict[str, Dtype] = {
    "BOOL": Dtype(8, "bool", None, "bool"),
    "F4": Dtype(4, None, None, "float4_e2m1fn_x2"),
    "F6_E2M3": Dtype(6, None, None, None),
    "F6_E3M2": Dtype(6, None, None, None),
    "U8": Dtype(8, "uint8", None, "uint8"),
    "I8": Dtype(8, "int8", None, "int8"),
    "F8_E5M2": Dtype(8, None, "float8_e5m2", "float8_e5m2"),
    "F8_E4M3": Dtype(8, None, "float8_e4m3fn", "float8_e4m3fn"),
    "F8_E8M0": Dtype(8, None, "float8_e8m0fnu", "float8_e8m0fnu"),
    "F8_E4M3FNUZ": Dtype(8, None, "float8_e4m3fnuz", "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": Dtype(8, None, "float8_e5m2fnuz", "float8_e5m2fnuz"),
    "I16": Dtype(16, "int16", None, "int16"),
    "U16": Dtype(16, "uint16", None, "uint16"),
    "F16": Dtype(16, "float16", None, "float16"),
    "BF16": Dtype(16, None, "bfloat16", "bfloat16"),
    "I32": Dtype(32, "int32", None, "int32"),
    "U32": Dtype(32, "uint32", None, "uint32"),
    "F32": Dtype(32, "float32", None, "float32"),
    "C64": Dtype(64, "complex64", None, "complex64"),
    "F64": Dtype(64, "float64", None, "float64"),
    "I64": Dtype(64, "int64", None, "int64"),
    "U64": Dtype(64, "uint64", None, "uint64"),
}


def packed_shape(shape: Sequence[int], bits: int) -> tuple[int, ...] | None:
    """The shape with its last dimension in bytes; None where a row does not fill whole bytes."""
    if bits % 8 == 0:
        return tuple(shape)
    if not shape or shape[-1] * bits % 8:
        return None
    return (*shape[:-1], shape[-1] * bits // 8)


class Place(NamedTuple):
    """Where an array's bytes are to be written."""

    address: int
    nbytes: int
    device: int | None = None
    """The CUDA device's number; None for memory of the host."""
    stream: int = 0
    """The CUDA stream whose work has to end before."""


def find(dtype: str) -> Dtype:
    """The entry of one type; refused where the format has no such type."""
    entry = DTYPES.get(dtype)
    if entry is None:
        refuse(f"elements of type {dtype} belong to no array package; read the bytes instead")
    return entry


def layout(package: str, dtype: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of the array for a tensor of that shape."""
    packed = packed_shape(shape, DTYPES[dtype].bits)
    if packed is None:
        refuse(f"{package} cannot hold {dtype} {list(shape)}: its rows do not fill whole bytes")
    return packed


def refuse(message: str) -> NoReturn:
    """What is not possible here."""
    raise Unsupported(message)


def refuse_device(package: str, device: object, reason: str) -> NoReturn:
    """A device that cannot be had."""
    raise ArgumentError(f"{package} has no device {device!r}: {reason}")
