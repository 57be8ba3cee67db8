# SPDX-License-Identifier: Apache-2.0
"""The table of types in docs/python.md: its PyTorch, JAX and CuPy columns, cell by cell.

CuPy needs a GPU even to be imported; where it is missing, a stand-in of NumPy's takes its place, so
that at least our side of that column is held to the page.
"""

import importlib
import sys
import types

import files
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import table
import torch
from test_dtypes import test_C_61_numpy_cell  # noqa: F401 - here ml_dtypes is there

import weir
from weir.frameworks import jax as on_jax
from weir.frameworks import torch as on_torch

TABLE = table.read()
DTYPES = list(files.BITS)


def write(path, dtype):
    """Every kind of shape, none aligned in the file: all of them, and what each holds."""
    shapes = [(3, 8), (8,), (0, 8), (1, 4, 4)] + ([()] if files.BITS[dtype] >= 8 else [])
    tensors = {"odd": ("U8", (1,)), **{str(shape): (dtype, shape) for shape in shapes}}
    if dtype == "BOOL":
        bools = {name: (*what, bytes(files.nbytes(*what))) for name, what in tensors.items()}
        tensors = {**bools, "odd": tensors["odd"]}
    content = files.write(path, tensors)
    return {str(shape): shape for shape in shapes}, content


def packed_shape(cell, dtype, shape):
    return (*shape[:-1], shape[-1] * files.BITS[dtype] // 8) if cell.packed else shape


# ---- PyTorch ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_C_61_torch_cell(tmp_path, dtype):
    cell = TABLE[dtype]["PyTorch"]
    shapes, content = write(tmp_path / "m", dtype)
    tensors = weir.load(tmp_path / "m", framework="torch")
    for name, shape in shapes.items():
        tensor = tensors[name]
        assert tensor.dtype is getattr(torch, cell.kind)
        assert tuple(tensor.shape) == packed_shape(cell, dtype, shape)
        assert tensor.is_contiguous() and tensor.storage_offset() == 0
        assert bytes(tensor.untyped_storage()) == content[name]  # and holds that tensor only


@pytest.mark.parametrize("dtype", [d for d in DTYPES if TABLE[d]["PyTorch"].message])
def test_torch_cell_refused_by_an_older_one(tmp_path, dtype, monkeypatch):
    cell = TABLE[dtype]["PyTorch"]
    monkeypatch.setattr(on_torch, "torch", types.SimpleNamespace(__version__="1.10", uint8=None))
    said = cell.message.format(version="1.10", dtype=dtype, name=cell.kind)
    on_torch.native.cache_clear()
    with pytest.raises(weir.Unsupported) as caught:
        on_torch.native(dtype)
    assert str(caught.value) == said
    monkeypatch.undo()
    on_torch.native.cache_clear()


@pytest.mark.parametrize("package", ["PyTorch", "JAX"])
@pytest.mark.parametrize("dtype", [d for d in DTYPES if files.BITS[d] < 8])
def test_rows_that_do_not_fill_bytes_are_refused(tmp_path, dtype, package):
    files.write(tmp_path / "m", {"t": (dtype, (4, 1))})
    said = table.message("E").format(package=package, dtype=dtype, shape=[4, 1])
    with pytest.raises(weir.Unsupported) as caught:
        weir.load(tmp_path / "m", framework="torch" if package == "PyTorch" else "jax")
    assert str(caught.value) == f"tensor 't': {said}"


def test_a_torch_tensor_is_of_torchs_allocator(tmp_path):
    files.write(tmp_path / "m", {"a": ("F32", (1000,))})
    tensor = weir.load(tmp_path / "m", framework="torch")["a"]
    assert tensor.untyped_storage().nbytes() == 4000
    assert tensor.untyped_storage().resizable()  # storages over foreign memory are not


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:99"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_cuda_device_is_a_clear_error(tmp_path, device):
    files.write(tmp_path / "m", {"a": ("F32", (2,))})
    with pytest.raises(RuntimeError, match="finds no CUDA device on this machine") as caught:
        weir.load(tmp_path / "m", framework="torch", device=device)
    assert isinstance(caught.value, weir.ArgumentError)


@pytest.mark.parametrize("device", ["bogus", "meta", "cuda:x", 1.5, "mps", "xpu:0"])
def test_torch_devices_that_cannot_be(tmp_path, device):
    files.write(tmp_path / "m", {"a": ("F32", (2,))})
    with pytest.raises(weir.ArgumentError, match="PyTorch has no device"):
        weir.load(tmp_path / "m", framework="torch", device=device)


def test_for_other_devices_torch_moves_the_tensor(monkeypatch):
    monkeypatch.setattr(on_torch, "_parse", lambda device: torch.device("vulkan"))
    monkeypatch.setattr(on_torch, "_other", lambda device: None)
    adapter = on_torch.Adapter("vulkan")
    array = adapter.empty("F32", (2, 3))
    assert array.device.type == "cpu" and adapter.place(array).device is None
    adapter.device = torch.device("meta")
    assert adapter.give(array).device.type == "meta"


# ---- JAX ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_C_61_jax_cell(tmp_path, dtype):
    cell = TABLE[dtype]["JAX"]
    shapes, content = write(tmp_path / "m", dtype)
    with jax.enable_x64(cell.message is not None):
        arrays = weir.load(tmp_path / "m", framework="jax")
    for name, shape in shapes.items():
        array = arrays[name]
        assert isinstance(array, jax.Array)
        assert array.dtype == getattr(jnp, cell.kind + "_" * (cell.kind == "bool"))
        assert array.shape == packed_shape(cell, dtype, shape)
        assert np.asarray(array).tobytes() == content[name]


@pytest.mark.parametrize("dtype", [d for d in DTYPES if TABLE[d]["JAX"].message])
def test_jax_cell_refused_without_the_option(tmp_path, dtype):
    write(tmp_path / "m", dtype)
    with jax.enable_x64(False), pytest.raises(weir.Unsupported) as caught:
        weir.load(tmp_path / "m", framework="jax")
    assert str(caught.value).endswith(TABLE[dtype]["JAX"].message.format(dtype=dtype))


@pytest.mark.parametrize("dtype", ["BOOL", "U8", "F16", "BF16", "F8_E4M3", "F32", "C64"])
def test_jax_takes_the_memory_over(dtype):
    adapter = on_jax.Adapter("cpu")
    array = adapter.empty(dtype, (1000,))
    place = adapter.place(array)
    assert adapter.give(array).unsafe_buffer_pointer() == place.address


def test_a_fresh_array_of_jax_can_be_filled():
    """What the adapter does on a GPU, on the CPU."""
    adapter = on_jax.Adapter("cpu")
    adapter._on_host = False
    first, second = adapter.empty("F32", (300,)), adapter.empty("F32", (300,))
    pointers = [array.unsafe_buffer_pointer() for array in (first, second)]
    assert pointers[0] != pointers[1]
    assert adapter.give(first) is first


def test_jax_devices(tmp_path):
    files.write(tmp_path / "m", {"a": ("F32", (2,))})
    for device in (None, "cpu", "cpu:0", jax.devices("cpu")[0]):
        array = weir.load(tmp_path / "m", framework="jax", device=device)["a"]
        assert array.devices() == {jax.devices("cpu")[0]}
    for device in ("bogus", "cpu:99", "cpu:x"):
        with pytest.raises(weir.ArgumentError, match="JAX has no device"):
            weir.load(tmp_path / "m", framework="jax", device=device)


# ---- CuPy ----


class FakeDevice:
    def __init__(self, number=0):
        self.id = number

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def fake_cupy():
    """As much of CuPy as the adapter touches, with NumPy's arrays."""

    class Array(np.ndarray):
        @property
        def data(self):
            return types.SimpleNamespace(ptr=self.__array_interface__["data"][0])

    runtime = types.SimpleNamespace(getDeviceCount=lambda: 2, CUDARuntimeError=RuntimeError)
    stream = types.SimpleNamespace(ptr=7)
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(
        Device=FakeDevice, runtime=runtime, get_current_stream=lambda: stream
    )
    module.dtype = np.dtype
    module.empty = lambda shape, kind: np.empty(shape, kind).view(Array)
    return module


@pytest.fixture
def on_cupy(monkeypatch):
    try:
        import cupy  # noqa: F401
    except ImportError:
        monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    monkeypatch.delitem(sys.modules, "weir.frameworks.cupy", raising=False)
    yield importlib.import_module("weir.frameworks.cupy")
    sys.modules.pop("weir.frameworks.cupy", None)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cupy_cell(dtype, on_cupy):
    cell = TABLE[dtype]["CuPy"]
    adapter = on_cupy.Adapter("cuda:1")
    if cell.kind is None:
        with pytest.raises(weir.Unsupported) as caught:
            adapter.empty(dtype, (4, 8))
        assert str(caught.value) == cell.message.format(dtype=dtype)
        return
    array = adapter.empty(dtype, (4, 8))
    assert array.dtype == np.dtype(cell.kind)
    assert array.shape == packed_shape(cell, dtype, (4, 8))
    place = adapter.place(array)
    assert place.address == array.data.ptr and place.nbytes == array.nbytes
    assert place.device == 1 and adapter.give(array) is array


def test_cupy_devices(on_cupy):
    assert on_cupy.Adapter().device == 0
    assert on_cupy.Adapter(1).device == 1
    for device in ("cpu", "cuda:9", "cuda:x", -1):
        with pytest.raises(weir.ArgumentError, match="CuPy has no device"):
            on_cupy.Adapter(device)
