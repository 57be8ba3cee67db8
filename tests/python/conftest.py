# SPDX-License-Identifier: Apache-2.0
"""What the Python tests share.

Each file of them runs in mounts and a /dev/shm of its own, so what is left there is its own."""

import os
import sys
from types import SimpleNamespace

import files
import pytest

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(__file__)), "integration"))
import cli_lib  # noqa: E402

cli_lib.alone()

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
