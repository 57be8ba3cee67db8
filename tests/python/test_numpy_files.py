# SPDX-License-Identifier: Apache-2.0
"""weir.numpy: files from and to NumPy arrays."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time

import files
import numpy as np
import pytest

import weir
import weir.numpy
from weir import saving

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


WRITER = """
import sys
import numpy as np, weir.numpy
print("ready", flush=True)
n = 0
while True:
    n += 1
    weir.numpy.save_file({"a": np.full(1 << 23, n % 251, np.uint8), "b": np.full(9, n % 251)}, sys.argv[1])
"""


@pytest.mark.parametrize("seconds", [0.05, 0.11, 0.17, 0.23])
def test_a_writer_that_is_killed_leaves_no_torn_file(tmp_path, seconds):
    path = tmp_path / "m"
    weir.numpy.save_file({"a": np.zeros(1 << 23, np.uint8), "b": np.zeros(9, np.int64)}, path)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"ready\n"
    time.sleep(seconds)
    writer.kill()
    writer.communicate()
    got = weir.numpy.load_file(path)
    assert (got["a"] == got["a"][0]).all() and (got["b"] == got["a"][0]).all()
    assert all(name == "m" or name.startswith(".weir-") for name in os.listdir(tmp_path))


def test_an_interrupt_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    weir.numpy.save_file(ARRAYS, path)
    before = path.read_bytes()

    def interrupt(plan):
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        weir.numpy.save_file({"a": np.zeros(3)}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m"]


def test_a_disk_that_is_full(tmp_path):
    """The tests have mounts of their own."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path]).returncode:
        pytest.skip("where no file system can be mounted")
    try:
        weir.numpy.save_file(ARRAYS, tmp_path / "m")
        with pytest.raises(OSError) as full:
            weir.numpy.save_file({"a": np.zeros(1 << 20)}, tmp_path / "m")
        assert full.value.errno == errno.ENOSPC
        assert os.listdir(tmp_path) == ["m"]
        same(weir.numpy.load_file(tmp_path / "m"), ARRAYS)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_saving_does_not_double_the_memory(tmp_path):
    """256 MiB in one array, and as much in pieces that have to be packed first."""
    code = """
        import os, resource, sys, numpy as np, weir.numpy
        one = np.ones(1 << 28, np.uint8)
        many = {f"t{n}": np.ones((2048, 8192), np.uint8).T for n in range(16)}
        weir.numpy.save_file({"a": one[:9]}, sys.argv[1])
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        before = peak()
        weir.numpy.save_file({"a": one}, sys.argv[1])
        whole = peak() - before
        weir.numpy.save_file(many, sys.argv[1])
        print(whole, peak() - before)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "m"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    whole, packed = map(int, done.stdout.split())
    assert whole < 48 and packed < 64 + 16 + 48, "MiB"


def test_the_interpreter_runs_while_a_file_is_written(tmp_path):
    big = {"a": np.ones(1 << 27, np.uint8)}
    stop, longest = threading.Event(), [0.0]

    def tick():
        last = time.monotonic()
        while not stop.wait(0.001):
            now = time.monotonic()
            longest[0], last = max(longest[0], now - last), now

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    weir.numpy.save_file(big, tmp_path / "m")
    seconds = time.monotonic() - started
    stop.set()
    thread.join()
    assert longest[0] < max(seconds * 0.8, 0.05)


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
