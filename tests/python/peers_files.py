# SPDX-License-Identifier: Apache-2.0
"""weir.torch and weir.numpy beside safetensors.torch and safetensors.numpy."""

import inspect
import json
import random

import files
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from test_numpy_files import ARRAYS, same

import weir
import weir.numpy
import weir.torch
from weir.frameworks import dtypes
from weir.frameworks.torch import native

TORCH = [d for d in files.BITS if not d.startswith("F6")]


def tensors_of_every_type():
    rng = random.Random(2)
    tensors = {}
    for dtype in TORCH:
        kind = native(dtype)
        for shape in [(3, 8), (0, 8), (5, 2)] + ([()] if files.BITS[dtype] >= 8 else []):
            array = torch.empty(dtypes.layout("", dtype, shape), dtype=kind)
            data = bytes(array.nbytes) if dtype == "BOOL" else rng.randbytes(array.nbytes)
            if data:
                flat = torch.frombuffer(bytearray(data), dtype=torch.uint8)
                array = flat.view(kind).reshape(array.shape)
            tensors[f"{dtype}{list(shape)}"] = array
    return tensors


def bits(tensors):
    def data(array):
        return array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.nbytes else b""

    return {n: (str(a.dtype), tuple(a.shape), data(a)) for n, a in tensors.items()}


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_torch_files_are_the_same_byte_for_byte(tmp_path, metadata):
    tensors = tensors_of_every_type()
    assert weir.torch.save(tensors, metadata) == safetensors.torch.save(tensors, metadata)
    weir.torch.save_file(tensors, tmp_path / "ours", metadata)
    safetensors.torch.save_file(tensors, tmp_path / "theirs", metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("count", [2, 9])
def test_files_with_several_metadata_are_the_same(count):
    """But for their order, which is another one in each file of theirs; ours is the caller's."""
    metadata = {f"{(7 * n) % 11}ü": "\u2028\x7f\x01/" * n for n in range(count)}
    tensors = {"a": torch.arange(5)}
    ours, theirs = weir.torch.save(tensors, metadata), safetensors.torch.save(tensors, metadata)
    split = [8 + int.from_bytes(data[:8], "little") for data in (ours, theirs)]
    assert ours[split[0] :] == theirs[split[1] :] and split[0] == split[1]
    assert json.loads(ours[8 : split[0]]) == json.loads(theirs[8 : split[1]])
    assert list(json.loads(ours[8 : split[0]])["__metadata__"]) == list(metadata)


def test_tensors_of_odd_kinds_are_saved_alike(tmp_path):
    tensors = {
        "conjugated": torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64).conj(),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "part": torch.arange(20)[7:11],
    }
    weir.torch.save_file(tensors, tmp_path / "ours")
    safetensors.torch.save_file(
        {name: t.detach().resolve_conj() for name, t in tensors.items()}, tmp_path / "theirs"
    )
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_torch_files_load_alike(tmp_path):
    tensors = tensors_of_every_type()
    safetensors.torch.save_file(tensors, tmp_path / "m")
    want = bits(tensors)
    assert bits(weir.torch.load_file(tmp_path / "m")) == want
    assert bits(weir.torch.load_file(tmp_path / "m", "cpu", backend="pread")) == want
    assert bits(weir.torch.load((tmp_path / "m").read_bytes())) == want
    assert bits(safetensors.torch.load_file(tmp_path / "m")) == want


def test_numpy_files_are_the_same_byte_for_byte(tmp_path):
    assert weir.numpy.save(ARRAYS, {"a": "b"}) == safetensors.numpy.save(ARRAYS, {"a": "b"})
    weir.numpy.save_file(ARRAYS, tmp_path / "m")
    same(safetensors.numpy.load_file(tmp_path / "m"), ARRAYS)
    same(weir.numpy.load_file(tmp_path / "m"), ARRAYS)


BAD = {
    "a list": [],
    "an int": {"a": 1},
    "one twice": dict.fromkeys("ab", torch.zeros(4)),
    "transposed": {"a": torch.zeros(3, 4).t()},
    "sparse": {"a": torch.eye(3).to_sparse()},
}


@pytest.mark.parametrize("kind", BAD)
def test_what_torch_cannot_save_is_refused_alike(kind):
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        safetensors.torch.save(BAD[kind])
    with pytest.raises(type(theirs.value)):
        weir.torch.save(BAD[kind])


def test_parts_of_one_storage_may_be_saved():
    whole = torch.arange(8)
    parts = {"a": whole[:4], "b": whole[4:]}
    assert weir.torch.save(parts) == safetensors.torch.save(parts)


def test_types_that_files_lack():
    with pytest.raises(
        weir.Unsupported, match="tensor 'a': files have no type for torch.complex128"
    ):
        weir.torch.save({"a": torch.zeros(1, dtype=torch.complex128)})


def test_signatures():
    for ours, theirs in [(weir.torch, safetensors.torch), (weir.numpy, safetensors.numpy)]:
        for name in ours.__all__:
            got = inspect.signature(getattr(ours, name)).parameters
            want = inspect.signature(getattr(theirs, name)).parameters
            assert [(p.name, p.kind, p.default) for p in got.values()] == [
                (p.name, p.kind, p.default) for p in want.values()
            ]


def test_loaded_arrays_can_be_written_to(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "m")
    weir.torch.load_file(tmp_path / "m")["a"] += 1
    weir.numpy.load_file(tmp_path / "m")["a"] += 1
    assert not np.any(safetensors.numpy.load_file(tmp_path / "m")["a"])
