# SPDX-License-Identifier: Apache-2.0
"""Models for the tests of what plugs into fastsafetensors, and what counts what was read of
them."""

import json
import os
import sys

import torch
from safetensors.torch import load_file, save_file

import weir

GIB16 = 16 << 30

# The drop-in for the package that fastsafetensors' 3FS loaders import is a distribution of its own.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "../../python/compat/fastsafetensor-3fs-reader"))


def write_model(folder, shards=2, large=0, seed=1):
    """Files of small tensors of several types and one large one each; returns the paths."""
    torch.manual_seed(seed)
    paths = []
    for shard in range(shards):
        tensors = {}
        for layer in range(4):
            name = f"s{shard}.h.{layer}"
            tensors[f"{name}.attn.weight"] = torch.randn(64, 48)
            tensors[f"{name}.attn.bias"] = torch.randn(48).to(torch.bfloat16)
            tensors[f"{name}.experts.{layer}.weight"] = torch.randn(40, 120).to(torch.float16)
            tensors[f"{name}.scale"] = torch.randint(-100, 100, (5,), dtype=torch.int8)
        tensors[f"s{shard}.five"] = torch.arange(35, dtype=torch.float32).reshape(5, 7)
        tensors[f"s{shard}.one"] = torch.full((1, 3), float(shard))
        tensors[f"s{shard}.empty"] = torch.zeros(0, 4)
        tensors[f"s{shard}.large"] = torch.randn(max(large, 3 << 20) // 4)
        path = os.path.join(folder, f"model-{shard + 1:05}-of-{shards:05}.safetensors")
        save_file(tensors, path, {"shard": str(shard)})
        paths.append(path)
    return paths


def reference(paths):
    """What safetensors itself reads."""
    tensors = {}
    for path in paths:
        tensors.update(load_file(path))
    return tensors


def same(tensor, wanted):
    """Bit for bit, type and shape."""
    return (
        tensor.dtype == wanted.dtype
        and tensor.shape == wanted.shape
        and torch.equal(
            tensor.contiguous().view(-1).view(torch.uint8),
            wanted.contiguous().view(-1).view(torch.uint8),
        )
    )


def assert_equal(found, wanted):
    """Two dictionaries of tensors."""
    assert sorted(found) == sorted(wanted)
    for name, tensor in wanted.items():
        assert same(found[name], tensor), name


def data_bytes(paths):
    """Of all tensors in the files."""
    total = 0
    for path in paths:
        with open(path, "rb") as file:
            total += os.path.getsize(path) - 8 - int.from_bytes(file.read(8), "little")
    return total


def delivered():
    """Bytes that weir has delivered in this process."""
    return weir.default_context().counters()["bytes_delivered"]


def descriptors():
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def shared_memory():
    """Objects in /dev/shm that this process has mapped."""
    with open("/proc/self/maps") as maps:
        return {line.split()[5] for line in maps if " /dev/shm/" in line}


def configure(monkeypatch, folder, **config):
    """A configuration file for AutoLoader."""
    path = os.path.join(folder, "fastsafetensors.json")
    with open(path, "w") as file:
        json.dump(config, file)
    monkeypatch.setenv("FASTSAFETENSORS_CONFIG", path)
