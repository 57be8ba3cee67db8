# SPDX-License-Identifier: Apache-2.0
"""The NumPy column of the table of types in docs/python.md, cell by cell."""

import sys

import files
import numpy as np
import pytest
import table

import weir
from weir.frameworks import numpy as adapter

TABLE = table.read()
DTYPES = list(files.BITS)


@pytest.fixture
def without_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    adapter._extension.cache_clear()
    yield
    adapter._extension.cache_clear()


def test_the_table_has_every_type():
    assert list(TABLE) == DTYPES == list(weir._native.dtypes())
    assert all(len(row) == 4 for row in TABLE.values())


def expected(cell, dtype):
    """The type that the cell promises; skips where the package it comes from is missing."""
    package, _, name = cell.kind.rpartition(".")
    return np.dtype(getattr(pytest.importorskip(package), name) if package else name)


def shapes_of(dtype):
    return [(3, 8), (8,), (0, 8), (1, 4, 4)] + ([()] if files.BITS[dtype] >= 8 else [])


@pytest.mark.parametrize("framework", [None, "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_C_61_numpy_cell(tmp_path, dtype, framework):
    cell = TABLE[dtype]["NumPy"]
    kind = expected(cell, dtype)
    path = tmp_path / "m.safetensors"
    # One byte first, so that nothing behind it is aligned in the file.
    tensors = {"odd": ("BOOL", (1,)), **{str(shape): (dtype, shape) for shape in shapes_of(dtype)}}
    if dtype == "BOOL":
        tensors = {name: (*what, bytes(files.nbytes(*what))) for name, what in tensors.items()}
    content = files.write(path, tensors)
    arrays = weir.load(path, framework=framework)
    for name, (_, shape, *_) in tensors.items():
        array = arrays[name]
        assert array.tobytes() == content[name]
        if name != "odd":
            assert array.dtype == kind
            assert array.flags.aligned and array.flags.writeable
            packed = (*shape[:-1], shape[-1] * files.BITS[dtype] // 8) if cell.packed else shape
            assert array.shape == packed


@pytest.mark.parametrize("dtype", [d for d in DTYPES if TABLE[d]["NumPy"].message])
def test_numpy_cell_refused_without_ml_dtypes(tmp_path, dtype, without_ml_dtypes):
    cell = TABLE[dtype]["NumPy"]
    path = tmp_path / "m.safetensors"
    files.write(path, {"t": (dtype, (4,)), "u": ("U8", (4,))})
    said = cell.message.format(dtype=dtype, name=cell.kind.rpartition(".")[2])
    for framework in (None, "numpy"):
        with pytest.raises(weir.Unsupported) as caught:
            weir.load(path, framework=framework)
        assert str(caught.value) == f"tensor 't': {said}"
        assert list(weir.load(path, names=["u"], framework=framework)) == ["u"]


@pytest.mark.parametrize("dtype", [d for d in DTYPES if files.BITS[d] < 8])
def test_rows_that_do_not_fill_bytes_are_refused(tmp_path, dtype):
    path = tmp_path / "m.safetensors"
    files.write(path, {"t": (dtype, (4, 1))})
    said = table.message("E").format(package="NumPy", dtype=dtype, shape=[4, 1])
    for framework in (None, "numpy"):
        with pytest.raises(weir.Unsupported) as caught:
            weir.load(path, framework=framework)
        assert str(caught.value) == f"tensor 't': {said}"


def test_numpy_is_on_the_cpu():
    with pytest.raises(weir.ArgumentError, match="cuda:0"):
        adapter.Adapter("cuda:0")
