# SPDX-License-Identifier: Apache-2.0
"""Every piece of Python in docs/python.md runs as it stands there (with the CPU for a GPU)."""

import asyncio
import re

import files
import pytest
import table

import weir

PIECES = re.findall(r"^```python\n(.*?)^```$", table.PAGE.read_text(), re.MULTILINE | re.DOTALL)

BEFORE = """
import ml_dtypes
import numpy
import weir
model = weir.open("model.safetensors")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tensors = {
        "embedding": ("BF16", (4096, 64)),
        "h.0.weight": ("F32", (1024, 16)),
        "h.1.weight": ("F32", (1024, 16)),
    }
    files.write("model.safetensors", tensors, {"format": "pt"})


@pytest.mark.parametrize("number", range(len(PIECES)))
def test_the_manual_runs(here, number):
    piece = PIECES[number].replace('"cuda:0"', '"cpu"')
    names = {}
    exec(BEFORE + piece, names)  # noqa: S102 - that is the point
    if "async def main" in piece:
        asyncio.run(names["main"]())


def test_what_the_comments_promise(here):
    model = weir.open("model.safetensors")
    assert (model["embedding"].dtype, model["embedding"].shape) == ("BF16", (4096, 64))
    assert model.metadata == {"format": "pt"}
    with weir.safe_open("model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert len(PIECES) >= 9
