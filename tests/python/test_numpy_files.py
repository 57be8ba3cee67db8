# SPDX-License-Identifier: Apache-2.0
"""weir.numpy: files from and to NumPy arrays."""

import os
import stat

import files
import numpy as np
import pytest

import weir
import weir.numpy

ARRAYS = {
    "b": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a": np.arange(5, dtype=np.int16),
    "wide": np.arange(3, dtype=np.uint64),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float16),
    "true": np.array([True, False]),
    "größe": np.arange(4, dtype=np.complex64),
}


def same(got, want):
    assert set(got) == set(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("metadata", [None, {}, {"format": "np", "ü": '"\n'}])
def test_what_was_saved_is_loaded(tmp_path, metadata):
    path = tmp_path / "m.safetensors"
    weir.numpy.save_file(ARRAYS, path, metadata)
    same(weir.numpy.load_file(path), ARRAYS)
    same(weir.numpy.load_file(str(path), backend="pread"), ARRAYS)
    same(weir.numpy.load(weir.numpy.save(ARRAYS, metadata)), ARRAYS)
    model = weir.open(path)  # strict
    assert model.metadata == (metadata or {})
    assert all(info.offset % 8 == 0 for info in [model["wide"]])


def test_the_same_arrays_make_the_same_file(tmp_path):
    backwards = dict(reversed(ARRAYS.items()))
    assert weir.numpy.save(ARRAYS) == weir.numpy.save(backwards)
    weir.numpy.save_file(ARRAYS, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == weir.numpy.save(ARRAYS)


def test_arrays_in_any_layout_are_packed():
    array = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    odd = {
        "t": array.T,
        "cut": array[:, ::2, 1:],
        "big": array.astype(">i4"),
        "fortran": np.asfortranarray(array),
    }
    got = weir.numpy.load(weir.numpy.save(odd))
    for name, want in odd.items():
        assert np.array_equal(got[name], want) and got[name].dtype == np.int32


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "m"
    weir.numpy.save_file({"a": np.zeros(3)}, path)
    before = path.read_bytes()
    with pytest.raises(weir.Unsupported, match="tensor 'z': files have no type for complex128"):
        weir.numpy.save_file({"a": np.ones(3), "z": np.zeros(1, np.complex128)}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m"]
    with pytest.raises(OSError):
        weir.numpy.save_file({"a": np.ones(3)}, tmp_path / "absent" / "m")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        weir.numpy.save_file({"a": np.ones(3)}, tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["folder", "m"]
    umask = os.umask(0o027)
    try:
        weir.numpy.save_file({"a": np.ones(3)}, path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_is_no_file_stays_what_it_is(tmp_path):
    arrays = {"a": np.arange(3)}
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to("elsewhere")
    weir.numpy.save_file(arrays, os.fsencode(link))
    assert link.is_symlink() and (tmp_path / "elsewhere").read_bytes() == weir.numpy.save(arrays)
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    weir.numpy.save_file(arrays, fifo)
    assert os.read(reader, 1 << 16) == weir.numpy.save(arrays)
    os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode) and len(os.listdir(tmp_path)) == 3
    with open(os.memfd_create("memory"), "rb") as memory:
        weir.numpy.save_file(arrays, f"/proc/self/fd/{memory.fileno()}")
        assert memory.read() == weir.numpy.save(arrays)


def test_what_cannot_be_saved():
    with pytest.raises(weir.ArgumentError, match="__metadata__"):
        weir.numpy.save({"__metadata__": np.zeros(1)})
    with pytest.raises(weir.ArgumentError, match="strings"):
        weir.numpy.save({}, {"a": 1})


def test_content_that_is_no_file():
    for data in (b"", b"abc", b"\xff" * 100):
        with pytest.raises(weir.ContentError):
            weir.numpy.load(data)


def test_loading_leaves_no_descriptor(tmp_path):
    data = weir.numpy.save(ARRAYS)
    weir.numpy.load(data)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        weir.numpy.load(data)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_file_of_every_type_that_numpy_has(tmp_path):
    kinds = "U8 I8 I16 U16 F16 I32 U32 F32 C64 F64 I64 U64".split()
    tensors = {"BOOL": ("BOOL", (3, 5), bytes(15)), **{d: (d, (3, 5)) for d in kinds}}
    content = files.write(tmp_path / "m", tensors)
    again = weir.numpy.load(weir.numpy.save(weir.numpy.load_file(tmp_path / "m")))
    assert {name: array.tobytes() for name, array in again.items()} == content
