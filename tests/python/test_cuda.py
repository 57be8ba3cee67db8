# SPDX-License-Identifier: Apache-2.0
"""weir's own memory on a CUDA device, and DLPack of it, with the driver that is none (tests/lib/fake_cuda.h)."""

import ctypes
import gc
import os
import subprocess
import sys

import files
import pytest
from test_tensor import legacy, versioned

import weir

CPU, HERE, OTHER = (1, 0), (2, 1), (2, 0)
DRIVER = os.path.join(os.environ["WEIR_BUILD"], "tests", "gpu", "libcuda.so.1")
MIB = 1 << 20

ctypes.CDLL(DRIVER)  # by its name there is a driver now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


@pytest.fixture
def content(path):
    return files.write(path, {dtype: (dtype, (3, 8)) for dtype in files.BITS})


@pytest.fixture
def tensor(path, content):
    return weir.load(path, device="cuda:1", names=["F32"])["F32"]


def test_every_type_is_loaded_onto_a_device(path, content):
    for device in (1, "cuda:1"):
        tensors = weir.load(path, device=device)
        for name, tensor in tensors.items():
            assert type(tensor) is weir.Tensor and (tensor.dtype, tensor.shape) == (name, (3, 8))
            assert tensor.buffer.read() == content[name] and tensor.buffer.device == 1
            assert tensor.__dlpack_device__() == HERE
    assert weir.load(path, device="cpu", names=["F32"])["F32"].tobytes() == content["F32"]


def test_dlpack_describes_it_where_it_is(tensor):
    capsule = tensor.__dlpack__(max_version=(1, 1))
    one = versioned(capsule)
    assert tuple(one.tensor.device) == HERE and one.flags == 0
    assert one.tensor.data == tensor.buffer.address
    assert tuple(one.tensor.shape[:2]) == (3, 8) and tuple(one.tensor.strides[:2]) == (8, 1)
    older = tensor.__dlpack__()
    assert tuple(legacy(older).tensor.device) == HERE


@pytest.mark.parametrize("stream", [None, -1, 1, 2, 1 << 40])
def test_its_bytes_are_there_for_every_stream(tensor, stream):
    capsule = tensor.__dlpack__(stream=stream, max_version=(1, 0))
    assert tuple(versioned(capsule).tensor.device) == HERE


@pytest.mark.parametrize("stream, error", [(0, BufferError), (-2, BufferError), ("x", TypeError)])
def test_what_is_no_stream(tensor, stream, error):
    with pytest.raises(error):
        tensor.__dlpack__(stream=stream)


def test_a_copy_to_the_host(tensor, content):
    for copy in (None, True):
        capsule = tensor.__dlpack__(dl_device=CPU, copy=copy, max_version=(1, 0), stream=-1)
        one = versioned(capsule)
        assert tuple(one.tensor.device) == CPU and one.flags == 2
        assert ctypes.string_at(one.tensor.data, tensor.nbytes) == content["F32"]


@pytest.mark.parametrize("asked", [
    {"dl_device": CPU, "copy": False}, {"dl_device": OTHER}, {"copy": True},
    {"dl_device": HERE, "copy": True}])  # fmt: skip
def test_what_cannot_be_had(tensor, asked):
    with pytest.raises(BufferError):
        tensor.__dlpack__(**asked)
    tensor.__dlpack__(dl_device=HERE, copy=False)


def test_it_is_no_buffer(tensor):
    for what in (tensor, tensor.buffer):
        with pytest.raises(BufferError, match="CUDA device 1"):
            memoryview(what)


def test_a_tensor_without_bytes_is_on_its_device(tmp_path):
    files.write(tmp_path / "m", {"a": ("F32", (0, 3)), "b": ("U8", (1,))})
    empty = weir.load(tmp_path / "m", device="cuda:1")["a"]
    assert empty.__dlpack_device__() == HERE and empty.buffer.read() == b""
    capsule = empty.__dlpack__(max_version=(1, 0))
    assert tuple(versioned(capsule).tensor.shape[:2]) == (0, 3)


def test_the_consumer_keeps_the_memory(tmp_path):
    """Within a budget that holds four: what a capsule holds is not given to others."""
    files.write(tmp_path / "m", {f"t{n}": ("U8", (MIB,), bytes([n]) * MIB) for n in range(12)})
    model = weir.open(tmp_path / "m", context=weir.Context(budget=64 * MIB))
    capsules, names = [], []
    for name, tensor in weir.stream(model, device="cuda:1", budget="6MiB"):
        if len(capsules) < 2:
            capsules.append(tensor.__dlpack__(max_version=(1, 0)))
        names.append(name)
        assert set(tensor.buffer.read()) == {int(name[1:])}
        del tensor
        gc.collect()
    assert sorted(names) == sorted(model.names)
    copies = [versioned(capsule).tensor.data for capsule in capsules]
    assert len(set(copies)) == 2


def test_what_is_on_a_device_is_written_from_there(tmp_path, tensor, content):
    target = weir._native.create_object(tmp_path / "out", tensor.nbytes)
    plan = weir._native.Plan(target.context)
    buffer = tensor.buffer
    plan.write(target, 0, (buffer.address, buffer.nbytes, buffer, 1, 0))
    transfer = plan.start()
    transfer.wait()
    transfer.finish()
    target.commit()
    assert (tmp_path / "out").read_bytes() == content["F32"]


@pytest.mark.parametrize("device", ["cuda:x", "mps", -1, "cuda:"])
def test_what_is_no_device(path, content, device):
    with pytest.raises(weir.ArgumentError):
        weir.load(path, device=device)


def test_a_device_that_is_not_there(path, content):
    with pytest.raises(weir.Error):
        weir.load(path, device="cuda:7")


def test_a_machine_without_a_driver(path, content):
    code = "import sys, weir\ntry: weir.load(sys.argv[1], device=0)\nexcept weir.Unsupported as e: print(e.code)"
    without = {name: text for name, text in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, env=without
    )  # fmt: skip
    if os.path.exists("/dev/nvidiactl"):
        pytest.skip("on a machine with a GPU")
    assert done.stdout == "UNSUPPORTED\n", done.stderr
