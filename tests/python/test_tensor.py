# SPDX-License-Identifier: Apache-2.0
"""weir.Tensor: DLPack and the buffer protocol."""

import ctypes
import gc
import threading

import files
import numpy as np
import pytest

import weir

CPU = (1, 0)
CODES = {"BOOL": 6, "I8": 0, "I16": 0, "I32": 0, "I64": 0, "F16": 2, "BF16": 4, "F32": 2, "F64": 2, "C64": 5}
CODES_1_1 = {"F8_E4M3": 10, "F8_E4M3FNUZ": 11, "F8_E5M2": 12, "F8_E5M2FNUZ": 13, "F8_E8M0": 14}


class Described(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2), ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class Legacy(ctypes.Structure):
    _fields_ = [("tensor", Described), ("owner", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("owner", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", Described),
    ]  # fmt: skip


def of_capsule(capsule, name, kind):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.cast(get(capsule, name), ctypes.POINTER(kind)).contents


def legacy(capsule):
    return of_capsule(capsule, b"dltensor", Legacy)


def versioned(capsule):
    return of_capsule(capsule, b"dltensor_versioned", Versioned)


def tensor_of(tmp_path, dtype, shape):
    path = tmp_path / "t.safetensors"
    content = files.write(path, {"t": (dtype, shape)})["t"]
    model = weir.open(path)
    plan = weir._native.Plan()
    plan.tensor(model, "t")
    transfer = plan.start()
    (done,) = transfer.wait()
    transfer.finish()
    return weir.Tensor(done.buffer, dtype, shape), content


@pytest.fixture
def tensor(tmp_path):
    return tensor_of(tmp_path, "F32", (5, 7))


def test_numpy_takes_it_without_a_copy(tensor):
    tensor, content = tensor
    array = np.from_dlpack(tensor)
    assert array.shape == (5, 7) and array.dtype == np.float32 and array.tobytes() == content
    assert array.__array_interface__["data"][0] == tensor.buffer.address
    assert np.asarray(tensor).tobytes() == content
    assert np.asarray(tensor).shape == (5, 7)


@pytest.mark.parametrize("dtype", sorted(files.BITS))
def test_every_type_is_described(tmp_path, dtype):
    shape = (3, 8)
    tensor, content = tensor_of(tmp_path, dtype, shape)
    packed = files.BITS[dtype] < 8
    seen = (3, files.BITS[dtype]) if packed else shape
    bits = 8 if packed else files.BITS[dtype]
    capsule = tensor.__dlpack__(max_version=(1, 1))
    one = versioned(capsule).tensor
    assert (one.code, one.bits, one.lanes) == (CODES_1_1.get(dtype, CODES.get(dtype, 1)), bits, 1)
    assert tuple(one.shape[:2]) == seen and tuple(one.strides[:2]) == (seen[1], 1)
    older = tensor.__dlpack__()
    assert legacy(older).tensor.code == CODES.get(dtype, 1)
    assert ctypes.string_at(legacy(older).tensor.data, len(content)) == content
    view = memoryview(tensor)
    assert view.shape == seen and view.itemsize == bits // 8 and view.tobytes() == content


@pytest.mark.parametrize(
    ("asked", "version"),
    [((1, 0), (1, 0)), ((1, 1), (1, 0)), ((2, 0), (1, 0)), ((1, 7), (1, 0))],
)
def test_max_version_is_honoured(tensor, asked, version):
    capsule = tensor[0].__dlpack__(max_version=asked)
    one = versioned(capsule)
    assert (one.major, one.minor, one.flags) == (*version, 0)


def test_before_1_0_it_is_the_legacy_capsule(tensor):
    for asked in (None, (0, 8)):
        capsule = tensor[0].__dlpack__(max_version=asked)
        assert legacy(capsule).tensor.rank == 2


def test_types_of_1_1_are_integers_for_1_0(tmp_path):
    tensor, _ = tensor_of(tmp_path, "F8_E4M3", (4,))
    older, newer = (tensor.__dlpack__(max_version=(1, minor)) for minor in (0, 1))
    assert (versioned(older).minor, versioned(older).tensor.code) == (0, 1)
    assert (versioned(newer).minor, versioned(newer).tensor.code) == (1, 10)


def test_a_copy_is_one(tensor):
    tensor, content = tensor
    capsule = tensor.__dlpack__(max_version=(1, 0), copy=True)
    one = versioned(capsule)
    assert one.tensor.data != tensor.buffer.address and one.flags == 2
    assert ctypes.string_at(one.tensor.data, len(content)) == content
    shared = tensor.__dlpack__(max_version=(1, 0), copy=False)
    assert versioned(shared).tensor.data == tensor.buffer.address


def test_device_and_stream(tensor):
    tensor, _ = tensor
    assert tensor.__dlpack_device__() == CPU
    tensor.__dlpack__(dl_device=CPU)
    with pytest.raises(BufferError):
        tensor.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError):
        tensor.__dlpack__(stream=1)
    with pytest.raises(TypeError):
        tensor.__dlpack__(max_version="new")


def test_PR_29_a_capsule_used_twice_or_never(tensor):
    tensor, content = tensor

    class Once:
        def __init__(self):
            self.capsule = tensor.__dlpack__()

        def __dlpack__(self, **_):
            return self.capsule

        def __dlpack_device__(self):
            return CPU

    once = Once()
    array = np.from_dlpack(once)
    with pytest.raises(Exception):  # noqa: B017 - NumPy's own
        np.from_dlpack(once)
    for _ in range(100):
        tensor.__dlpack__()
        tensor.__dlpack__(max_version=(1, 1), copy=True)
    assert array.tobytes() == content


def test_what_was_handed_over_keeps_the_memory(tmp_path):
    context = weir.default_context()
    tensor, content = tensor_of(tmp_path, "U8", (4 << 20,))
    array = np.from_dlpack(tensor)
    del tensor
    gc.collect()
    context.trim()
    assert array.tobytes() == content


def test_a_deleter_runs_in_any_thread_without_the_interpreter(tensor):
    tensor, _ = tensor
    capsules = [tensor.__dlpack__(max_version=(1, 0)) for _ in range(64)]
    rename = ctypes.pythonapi.PyCapsule_SetName
    rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
    shares = [versioned(capsule) for capsule in capsules]
    for capsule in capsules:
        rename(capsule, b"used_dltensor_versioned")
    delete = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # releases the interpreter's lock

    def end(some):
        for share in some:
            delete(share.deleter)(ctypes.addressof(share))

    threads = [threading.Thread(target=end, args=(shares[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("F32", (5, 8)), ("F32", (-5, -7)), ("NEW", (5, 7)), ("F32", (1 << 62, 1 << 62)), ("F4", (5, 56, 1))],
)
def test_what_does_not_fit_the_memory_is_refused(tensor, dtype, shape):
    with pytest.raises((weir.ArgumentError, ValueError)):
        weir.Tensor(tensor[0].buffer, dtype, shape)


def test_an_empty_tensor(tmp_path):
    tensor, _ = tensor_of(tmp_path, "F16", (0, 3))
    assert np.from_dlpack(tensor).shape == (0, 3)
    assert memoryview(tensor).nbytes == 0
