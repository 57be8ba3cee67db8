# SPDX-License-Identifier: Apache-2.0
"""Loads, streams and plans with PyTorch and JAX: whose memory, and what comes out."""

import asyncio

import files
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import weir  # noqa: E402
import weir.aio  # noqa: E402

TYPES = sorted(set(files.BITS) - {"F6_E2M3", "F6_E3M2", "F4"})


def raw(tensor):
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def test_tensors_of_pytorch_own_their_memory(small):
    model = weir.open(small.path)
    tensors = weir.load(model, framework="torch")
    model.close()
    for name, tensor in tensors.items():
        assert isinstance(tensor, torch.Tensor) and raw(tensor) == small.content[name]
        assert tensor.untyped_storage().nbytes() == len(small.content[name])


def test_slices_into_pytorch(small):
    whole = torch.frombuffer(bytearray(small.content["a"]), dtype=torch.float32).reshape(64, 32)
    part = weir.load(small.path, framework="torch", names=["a"], slices={"a": np.s_[3:9, -2:]})["a"]
    assert torch.equal(part, whole[3:9, -2:])


def test_into_a_tensor_of_the_callers(small):
    mine = torch.zeros(64, 32)
    address = mine.data_ptr()
    tensors = weir.load(small.path, out={"a": mine})
    assert tensors["a"] is mine and mine.data_ptr() == address and raw(mine) == small.content["a"]


@pytest.mark.parametrize(
    "wrong", [torch.zeros(64, 64)[:, ::2], torch.zeros(32, 64), torch.zeros(64, 32).double()]
)
def test_a_tensor_that_does_not_fit_is_refused(small, wrong):
    with pytest.raises(weir.ArgumentError):
        weir.load(small.path, names=["a"], out={"a": wrong})


@pytest.mark.parametrize("framework", ["torch", "jax", "numpy"])
@pytest.mark.parametrize("borrow", [False, True])
def test_a_stream_of_each_within_a_budget(tmp_path, framework, borrow):
    pytest.importorskip(framework)
    path = tmp_path / "m.safetensors"
    content = files.write(path, {f"t{n}": ("F32", (1 << 18,)) for n in range(12)})
    seen = {}
    for name, array in weir.stream(path, framework=framework, budget="4MiB", borrow=borrow):
        seen[name] = np.asarray(array).tobytes() == content[name]
        del array
    assert len(seen) == 12 and all(seen.values())


@pytest.mark.parametrize("dtype", TYPES)
def test_pytorch_borrows_every_type(tmp_path, dtype):
    path = tmp_path / "m.safetensors"
    content = files.write(path, {"x": (dtype, (4, 8)), "none": (dtype, (0, 3))})
    owned = weir.load(path, framework="torch")
    for name, tensor in weir.stream(path, framework="torch", borrow=True):
        assert (tensor.dtype, tensor.shape) == (owned[name].dtype, owned[name].shape)
        assert raw(tensor) == raw(owned[name]) == content[name]


def test_borrowed_tensors_keep_their_memory(tmp_path):
    path = tmp_path / "m.safetensors"
    content = files.write(path, {f"t{n}": ("U8", (1 << 20,)) for n in range(8)})
    context = weir.Context()
    kept = dict(weir.stream(path, framework="torch", borrow=True, context=context))
    context.trim()
    del context
    assert {name: raw(tensor) for name, tensor in kept.items()} == content


def test_coroutines_with_pytorch(small):
    tensors = asyncio.run(weir.aio.load(small.path, framework="torch"))
    assert {name: raw(tensor) for name, tensor in tensors.items()} == small.content
