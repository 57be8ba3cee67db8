# SPDX-License-Identifier: Apache-2.0
"""What the Python tests share."""

from types import SimpleNamespace

import files
import pytest

TENSORS = {
    "a": ("F32", (64, 32)),
    "b": ("F16", (3, 5, 7)),
    "c": ("I64", ()),
    "empty": ("F32", (0, 4)),
    "große": ("U8", (100_000,)),
}


@pytest.fixture
def small(tmp_path):
    """A file of a few tensors: its path, and the bytes of each."""
    path = tmp_path / "small.safetensors"
    content = files.write(path, TENSORS, {"format": "pt", "who": "tests"})
    return SimpleNamespace(path=path, content=content, tensors=TENSORS)
