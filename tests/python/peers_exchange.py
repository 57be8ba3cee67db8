# SPDX-License-Identifier: Apache-2.0
"""Memory that passes between weir and the frameworks without a copy, told by its address."""

import gc
import random
import weakref

import files
import jax
import numpy as np
import pytest
import torch

import weir
from weir import _native
from weir.frameworks import torch as on_torch

SHAPE = (30, 40)
TORCH = [dtype for dtype in files.BITS if not dtype.startswith("F6")]


@pytest.fixture
def path(tmp_path):
    """One tensor of each type; of BOOL, zeros."""
    tensors = {d: (d, SHAPE) for d in files.BITS if d != "BOOL"}
    tensors["BOOL"] = ("BOOL", SHAPE, bytes(files.nbytes("BOOL", SHAPE)))
    files.write(tmp_path / "m", tensors)
    return tmp_path / "m"


def tensor_of(path, dtype):
    """A tensor in weir's own memory, where it is, and its bytes."""
    model = weir.open(path)
    plan = _native.Plan(model.context)
    plan.tensor(model, dtype, align=64)
    transfer = plan.start()
    (done,) = transfer.wait()
    assert done.error is None
    tensor = weir.Tensor(done.buffer, dtype, SHAPE)
    return tensor, done.buffer.address, bytes(done.buffer)


def torch_bytes(array):
    return array.view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", TORCH)
def test_to_torch(path, dtype):
    tensor, address, data = tensor_of(path, dtype)
    array = torch.from_dlpack(tensor)
    del tensor
    gc.collect()
    weir.default_context().trim()
    assert array.data_ptr() == address
    assert torch_bytes(array.view(on_torch.native(dtype))) == data


@pytest.mark.parametrize("dtype", ["BOOL", "U8", "I16", "F16", "I32", "F32", "C64", "F64", "U64"])
def test_to_numpy(path, dtype):
    tensor, address, data = tensor_of(path, dtype)
    array = np.from_dlpack(tensor)
    del tensor
    gc.collect()
    assert array.__array_interface__["data"][0] == address
    assert array.tobytes() == data and array.shape == SHAPE


@pytest.mark.parametrize("dtype", ["BOOL", "U8", "I16", "F16", "BF16", "I32", "F32", "C64"])
def test_to_jax(path, dtype):
    tensor, address, data = tensor_of(path, dtype)
    array = jax.dlpack.from_dlpack(tensor)
    del tensor
    gc.collect()
    assert array.unsafe_buffer_pointer() == address
    assert np.asarray(array).tobytes() == data


@pytest.mark.parametrize("dtype", files.BITS)
def test_borrowed_torch_tensors_are_weirs_memory(path, dtype):
    plan = weir.Plan("torch", borrow=True)
    plan.tensor(weir.open(path), dtype)
    array = plan.run()[dtype]
    own = weir.load(path, names=[dtype], framework="torch")[dtype]
    assert array.dtype == own.dtype and array.shape == own.shape
    assert torch_bytes(array) == torch_bytes(own)
    assert not array.untyped_storage().resizable()


def test_to_memory_of_torch_and_numpy(path):
    mine = torch.full(SHAPE, 7, dtype=torch.bfloat16)
    yours = np.full(SHAPE, 7, np.float32)
    pointers = mine.data_ptr(), yours.__array_interface__["data"][0]
    got = weir.load(path, names=["BF16", "F32"], out={"BF16": mine, "F32": yours})
    assert got["BF16"] is mine and got["F32"] is yours
    assert pointers == (mine.data_ptr(), yours.__array_interface__["data"][0])
    reference = weir.load(path, names=["BF16", "F32"], framework="torch")
    assert torch_bytes(mine) == torch_bytes(reference["BF16"])
    assert yours.tobytes() == torch_bytes(reference["F32"])


def test_jax_arrays_are_nobodys_destination(path):
    array = jax.numpy.zeros(SHAPE, "float32")
    with pytest.raises((BufferError, TypeError, weir.Error)):
        weir.load(path, names=["F32"], out={"F32": array})
    assert not np.asarray(array).any()


@pytest.mark.parametrize("dtype", ["U8", "F16", "BF16", "I32", "F32", "C64"])
def test_between_frameworks(path, dtype):
    of_torch = weir.load(path, names=[dtype], framework="torch")[dtype]
    assert jax.dlpack.from_dlpack(of_torch).unsafe_buffer_pointer() == of_torch.data_ptr()
    of_jax = weir.load(path, names=[dtype], framework="jax")[dtype]
    assert torch.from_dlpack(of_jax).data_ptr() == of_jax.unsafe_buffer_pointer()
    if dtype != "BF16":
        of_numpy = weir.load(path, names=[dtype], framework="numpy")[dtype]
        assert torch.from_dlpack(of_numpy).data_ptr() == of_numpy.__array_interface__["data"][0]


def test_C_52_a_tensor_outlives_its_context(path):
    context = weir.Context()
    model = weir.open(path, context=context)
    arrays = [
        weir.load(model, names=["F32"], framework=framework)["F32"]
        for framework in (None, "numpy", "torch", "jax")
    ]
    plan = weir.Plan("torch", borrow=True, context=context)
    plan.tensor(model, "F32")
    arrays.append(plan.run()["F32"])
    model.close()
    del model, plan, context
    gc.collect()
    want = np.asarray(weir.load(path, names=["F32"])["F32"]).tobytes()
    assert all(np.asarray(array).tobytes() == want for array in arrays)


def test_one_tensor_does_not_keep_another(path):
    arrays = weir.load(path, framework="torch")
    storages = {array.untyped_storage().data_ptr() for array in arrays.values()}
    assert len(storages) == len(arrays)
    assert all(array.untyped_storage().nbytes() == array.nbytes for array in arrays.values())


def flags_at(address):
    """The kernel's flags of the mapping that an address lies in."""
    inside = False
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                start, end = (int(part, 16) for part in first.split("-"))
                inside = start <= address < end
            elif inside and first == "VmFlags:":
                return line.split()[1:]
    return []


@pytest.mark.parametrize("framework", ["torch", "numpy", "jax"])
def test_large_arrays_lie_in_huge_pages(framework):
    adapter = weir.frameworks.find(framework, "cpu")
    array = adapter.empty("F32", (4 << 20,))
    assert "hg" in flags_at(adapter.place(array).address + (8 << 20))


def test_C_55_a_budget_bounds_what_torch_allocates(tmp_path, monkeypatch):
    """A budget of 1.25 times the largest tensor is enough for a model of 20 times that."""
    rng = random.Random(3)
    largest = 4 << 20
    sizes = [rng.randint(1, largest) for _ in range(42)] + [largest]
    content = files.write(tmp_path / "m", {f"t{n}": ("U8", (s,)) for n, s in enumerate(sizes)})
    assert sum(sizes) > 20 * largest
    live = peak = 0
    empty = on_torch.Adapter.empty

    def gone(nbytes):
        nonlocal live
        live -= nbytes

    def counted(self, dtype, shape):
        nonlocal live, peak
        array = empty(self, dtype, shape)
        live += array.nbytes
        peak = max(peak, live)
        weakref.finalize(array, gone, array.nbytes)
        return array

    monkeypatch.setattr(on_torch.Adapter, "empty", counted)
    seen = set()
    for name, tensor in weir.stream(tmp_path / "m", framework="torch", budget=largest * 5 // 4):
        assert torch_bytes(tensor) == content[name]
        seen.add(name)
        del tensor
    assert len(seen) == len(sizes)
    assert largest <= peak <= largest * 5 // 4
