# SPDX-License-Identifier: Apache-2.0
"""Small model files for tests, made by hand."""

import json
import struct

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


def nbytes(dtype, shape):
    bits = BITS[dtype]
    for extent in shape:
        bits *= extent
    return bits // 8


def some(size, start=0):
    """Bytes that depend on their place."""
    block = bytes((start + 7 * n + n // 251) % 256 for n in range(min(size, 64256)))
    return (block * (size // max(len(block), 1) + 1))[:size]


def write(path, tensors, metadata=None):
    """A safetensors file of {name: (dtype, shape)} or {name: (dtype, shape, bytes)}; what it holds."""
    header, place, content = {}, 0, {}
    if metadata is not None:
        header["__metadata__"] = metadata
    for number, (name, (dtype, shape, *data)) in enumerate(tensors.items()):
        content[name] = data[0] if data else some(nbytes(dtype, shape), number)
        end = place + len(content[name])
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as to:
        to.write(struct.pack("<Q", len(text)) + text)
        for data in content.values():
            to.write(data)
    return content
