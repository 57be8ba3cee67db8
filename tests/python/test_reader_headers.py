# SPDX-License-Identifier: Apache-2.0
"""read_headers_batch: what comes back, what is refused, what stays open."""

import errno
import gc
import json
import os
import struct
import time

import pytest
import reader_lib

from fastsafetensor_3fs_reader import create_reader

BACKENDS = ("cpp", "python", "mock")


@pytest.fixture(params=BACKENDS)
def reader(request):
    with create_reader(request.param, mount_point="") as reader:
        yield reader


def write(path, names=("a",), padding=0):
    entries = {name: {"dtype": "U8", "shape": [4], "data_offsets": [4 * i, 4 * i + 4]} for i, name in enumerate(names)}
    text = json.dumps(entries, ensure_ascii=False).encode() + b" " * padding
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"data" * len(names))
    return str(path), (text.decode(), 8 + len(text), path.stat().st_size)


def test_C_14_exactly_the_text(reader, tmp_path):
    path, expected = write(tmp_path / "große", ("größe", "重み", "plain"), padding=5)
    found = reader.read_headers_batch([path])
    assert found == {path: expected}
    assert found[path][1] == 8 + len(found[path][0].encode())


def test_C_14_longer_than_the_guess(reader, tmp_path):
    paths = dict(write(tmp_path / str(n), padding=n) for n in (262_000, 262_144, 262_145, 3_000_000))
    assert reader.read_headers_batch(list(paths)) == paths


def test_C_15_many_files(reader, tmp_path):
    assert reader.read_headers_batch([]) == {}
    expected = dict(write(tmp_path / f"{n}", [f"t{n}"]) for n in range(1000))
    paths = list(expected)
    found = reader.read_headers_batch(paths, num_threads=16)
    assert found == expected == reader.read_headers_batch(paths, num_threads=1)
    assert list(found) == paths
    assert reader.read_headers_batch(paths[:3] * 2) == {path: expected[path] for path in paths[:3]}
    assert reader.read_headers_batch(iter(paths[:3])) == {path: expected[path] for path in paths[:3]}


@pytest.mark.parametrize("place", [0, 4, 9])
def test_C_16_one_is_missing(reader, tmp_path, place):
    paths = [write(tmp_path / f"{n}")[0] for n in range(10)]
    paths[place] = str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as caught:
        reader.read_headers_batch(paths)
    assert isinstance(caught.value, RuntimeError) and caught.value.errno == errno.ENOENT
    assert caught.value.filename == paths[place]
    del paths[place]
    assert len(reader.read_headers_batch(paths)) == 9


BAD = {
    "empty": b"", "three": b"\2\0\0", "seven": b"\2\0\0\0\0\0\0",
    "beyond": struct.pack("<Q", 100) + b"{}", "absurd": struct.pack("<Q", 1 << 62) + b"{}",
    "all-ones": b"\xff" * 8 + b"{}", "above-the-cap": struct.pack("<Q", 100_000_001) + b"{}",
    "not-utf-8": struct.pack("<Q", 4) + b'{"\xff}',
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_C_17_bad_headers(reader, tmp_path, what):
    path = tmp_path / what
    path.write_bytes(BAD[what])
    reader.read_headers_batch([write(tmp_path / "good")[0]])
    before, start = reader_lib.resident_kib("VmHWM"), time.monotonic()
    with pytest.raises(ValueError) as caught:
        reader.read_headers_batch([str(path)])
    assert time.monotonic() - start < 0.1
    assert reader_lib.resident_kib("VmHWM") - before < 64 << 10
    assert isinstance(caught.value, OSError) and isinstance(caught.value, RuntimeError)
    assert caught.value.filename == str(path) and caught.value.code.startswith("H_")


def test_C_17_an_absurd_sparse_file(reader, tmp_path):
    """Even where the file is long enough, no memory is taken above the cap."""
    path = tmp_path / "sparse"
    path.write_bytes(struct.pack("<Q", 1 << 40))
    os.truncate(path, 1 << 41)
    with pytest.raises(ValueError, match="100000000"):
        reader.read_headers_batch([str(path)])


def test_C_17_what_is_no_file(reader, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, number in ((tmp_path, errno.EISDIR), (tmp_path / "fifo", errno.EINVAL)):
        with pytest.raises(OSError) as caught:
            reader.read_headers_batch([str(path)])
        assert caught.value.errno == number
        with pytest.raises(OSError) as caught:
            reader.read_chunked(str(path), 0, 0, 1)
        assert caught.value.errno == number
    with pytest.raises(FileNotFoundError):
        reader.read_chunked("", 0, 0, 1)


def test_C_18_no_descriptor_is_lost(reader, tmp_path):
    paths = [write(tmp_path / f"{n}")[0] for n in range(5)]
    with create_reader("mock") as other:  # what the engine itself opens is open
        other.read_headers_batch(paths)
    gc.collect()
    start = reader_lib.descriptors()
    for _ in range(10):
        reader.read_headers_batch(paths)
        assert reader_lib.descriptors() <= start + 5
    assert all(map(reader.has_fd, paths))
    reader.close()
    assert reader_lib.descriptors() == start
    assert not any(map(reader.has_fd, paths))


@pytest.mark.parametrize("threads", [0, -1, 10**6])
def test_C_19_any_number_of_threads(reader, tmp_path, threads):
    expected = dict(write(tmp_path / f"{n}") for n in range(40))
    assert reader.read_headers_batch(list(expected), num_threads=threads) == expected
