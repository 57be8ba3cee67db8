# SPDX-License-Identifier: Apache-2.0
"""read_chunked on files: every size and offset, the end of the file, threads, closing, forks."""

import ctypes
import errno
import gc
import os
import random
import threading
import time

import pytest
import reader_lib
import weir
from reader_lib import Memory

from fastsafetensor_3fs_reader import create_reader

BACKENDS = ("cpp", "python", "mock")
MIB = 1 << 20
SIZES = (0, 1, 511, 512, 513, 4095, 4096, 4097, MIB + 3)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture
def reader(backend):
    with create_reader(backend, mount_point="") as reader:
        yield reader


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Path to content, for each size."""
    folder = tmp_path_factory.mktemp("sizes")
    found = {}
    for size in SIZES:
        content = random.Random(size).randbytes(size)
        (folder / str(size)).write_bytes(content)
        found[str(folder / str(size))] = content
    return found


def places(size):
    """Offsets and lengths around the borders of a file of that size."""
    for offset in sorted({0, 1, 511, 4096, max(size - 7, 0), size, size + 100}):
        for length in sorted({0, 1, 513, 4096, 70_000, size}):
            yield offset, length


@pytest.mark.parametrize("buffer_size", [1, 3, 4096, 65_000, 64 << 10, MIB])
def test_C_20_C_21_every_place(backend, contents, buffer_size):
    for entries in (1, 3, 64):
        with create_reader(backend, mount_point="", entries=entries, buffer_size=buffer_size) as reader:
            for number, (path, content) in enumerate(contents.items()):
                for offset, length in places(len(content)):
                    chunk = (-5, 0, 1, 7, 4096, 64 << 10, 1 << 30)[(number + offset + length + entries) % 7]
                    memory, right = Memory(length), content[offset : offset + length]
                    got = reader.read_chunked(path, memory.address, offset, length, chunk)
                    assert got == len(right) and memory.holds(right), (path, offset, length, chunk)


def test_C_20_random_places(backend, contents):
    chance = random.Random(20)
    reader = create_reader(backend, mount_point="", buffer_size=65_000, entries=64)
    for _ in range(600):
        path, content = chance.choice(list(contents.items()))
        offset, length = chance.randrange(len(content) + 10), chance.randrange(len(content) + 10)
        memory, right = Memory(length), content[offset : offset + length]
        chunk = chance.choice([-5, 0, 1, 7, 4096, 64 << 10, 1 << 30])
        assert reader.read_chunked(path, memory.address, offset, length, chunk) == len(right)
        assert memory.holds(right), (path, offset, length, chunk)


@pytest.mark.parametrize("address", ["kept", "dropped"])
def test_a_chunk_is_the_most_that_one_request_asks_for(tmp_path, address):
    path = tmp_path / "large"
    path.write_bytes(bytes(4 * MIB))
    memory = Memory(4 * MIB)
    reader = create_reader("cpp", mount_point="")

    def requests(chunk):
        before = weir.default_context().counters()["requests"]
        assert reader.read_chunked(str(path), memory.address if address == "kept" else 0, 0, 4 * MIB, chunk) == 4 * MIB
        return weir.default_context().counters()["requests"] - before

    assert requests(64 << 10) >= 64 > requests(0) == requests(1 << 34)
    assert requests(256 << 10) >= 16


def test_C_21_past_the_end(reader, contents):
    for path, content in contents.items():
        memory = Memory(100)
        assert reader.read_chunked(path, memory.address, len(content), 100) == 0
        assert reader.read_chunked(path, memory.address, len(content) + 1, 100) == 0
        assert reader.read_chunked(path, memory.address, 1 << 62, 100) == 0
        assert memory.holds(b"")


def test_C_22_nothing_and_less(reader, contents):
    path = max(contents, key=lambda path: len(contents[path]))
    memory = Memory(10)
    for length in (0, -1, -(1 << 62)):
        assert reader.read_chunked(path, memory.address, 0, length) == 0
    for address in (memory.address, 0):
        with pytest.raises(OSError) as caught:
            reader.read_chunked(path, address, -1, 10)
        assert caught.value.errno == errno.EINVAL and caught.value.filename == path
    assert memory.holds(b"")
    with pytest.raises(FileNotFoundError) as caught:
        reader.read_chunked("/nonexistent/file", memory.address, 0, 10)
    assert isinstance(caught.value, RuntimeError)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, "/nonexistent/file")


def test_C_23_downloads_are_counted_in_little_memory(reader, tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as to:
        to.truncate(512 * MIB + 5)
    reader.read_chunked(str(path), 0, 0, 64 * MIB)  # staging is made
    before = reader_lib.resident_kib("VmHWM")
    assert reader.read_chunked(str(path), 0, 0, 1 << 40) == 512 * MIB + 5
    assert reader.read_chunked(str(path), 0, 3, 512 * MIB) == 512 * MIB
    assert reader_lib.resident_kib("VmHWM") - before < 32 << 10


def test_C_24_the_window(backend, contents):
    path = max(contents, key=lambda path: len(contents[path]))
    content = contents[path]
    with create_reader(backend, mount_point="", buffer_size=2 * MIB) as reader:
        base = reader.iov_base
        for at, offset, length in ((0, 0, 8), (0, 7, MIB - 4), (MIB - 4, 1, 4096), (2 * MIB - 5, 9, 5)):
            assert reader.read_chunked(path, base + at, offset, length) == length
            assert ctypes.string_at(base + at, length) == content[offset : offset + length]


@pytest.mark.parametrize("chunk, length", [(0, MIB), (100_000, 1_000_003), (4096, 8192), (7, 20)])
def test_C_24_the_last_window_of_a_download(contents, chunk, length):
    path = max(contents, key=lambda path: len(contents[path]))
    with create_reader("cpp", mount_point="", buffer_size=2 * MIB) as reader:
        base = reader.iov_base
        assert reader.read_chunked(path, 0, 5, length, chunk, pipelined=False) == min(length, MIB - 2)
        got = min(length, MIB - 2)
        window = min(length, 2 * MIB, chunk or length)
        kept = got % window or window
        assert ctypes.string_at(base, kept) == contents[path][5 + got - kept : 5 + got]


def test_C_24_the_window_costs_what_is_touched(backend):
    before = reader_lib.resident_kib()
    reader = create_reader(backend, mount_point="", buffer_size=1 << 36)
    assert reader.iov_base and reader.iov_length == 1 << 36
    ctypes.memset(reader.iov_base + (1 << 35), 1, 4096)
    assert reader_lib.resident_kib() - before < 16 << 10


def test_C_25_pipelined_or_not(reader, contents):
    for path, content in contents.items():
        for pipelined in (True, False):
            memory = Memory(len(content))
            assert reader.read_chunked(path, memory.address, 0, len(content), pipelined=pipelined) == len(content)
            assert memory.holds(content)


def test_C_26_three_gib_in_one_call(reader, tmp_path):
    path, size = tmp_path / "sparse", 3 << 30
    with open(path, "wb") as to:
        to.truncate(size)
        to.seek(size - 4)
        to.write(b"last")
    assert reader.read_chunked(str(path), 0, 0, size) == size
    last = Memory(100)
    assert reader.read_chunked(str(path), last.address, size - 4, size) == 4 and last.holds(b"last")


def test_C_26_three_gib_to_memory(tmp_path):
    """Into one address: the same page of it over and over."""
    path, size = tmp_path / "sparse", (3 << 30) + 5
    with open(path, "wb") as to:
        to.truncate(size)
        to.seek(size - 4)
        to.write(b"last")
    import mmap

    memory = mmap.mmap(-1, size)
    memory.madvise(mmap.MADV_HUGEPAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert create_reader("mock").read_chunked(str(path), address, 0, size) == size
    assert ctypes.string_at(address + size - 6, 6) == b"\0\0last"


def storm(reader, contents, seconds, errors):
    chance = random.Random()
    end = time.monotonic() + seconds
    paths = list(contents.items())
    try:
        while time.monotonic() < end:
            path, content = chance.choice(paths)
            offset, length = chance.randrange(len(content) + 1), chance.randrange(200_000)
            memory, right = Memory(length), content[offset : offset + length]
            got = reader.read_chunked(path, memory.address, offset, length, chance.choice([0, 4096]))
            if got != len(right) or not memory.holds(right):
                errors.append((path, offset, length, got))
    except BaseException as error:
        errors.append(error)


def test_C_33_sixteen_threads(reader, contents):
    errors = []
    threads = [threading.Thread(target=storm, args=(reader, contents, 3, errors)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        reader.close()  # files are opened again, and those in use stay until their reads have ended
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert errors == []


def header(path, content):
    text = b"{}" + b" " * 6
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def test_C_34_a_file_that_is_cut(reader, tmp_path):
    path = tmp_path / "f"
    header(path, b"x" * 100_000)
    reader.read_headers_batch([str(path)])
    os.truncate(path, 50_000)
    with pytest.raises(OSError) as caught:
        reader.read_chunked(str(path), 0, 16, 100_000)
    assert caught.value.errno == errno.ESTALE and caught.value.code == "CHANGED"
    assert reader.read_chunked(str(path), 0, 16, 100_000) == 50_000 - 16  # without a header to keep to


def test_C_34_a_file_that_is_replaced(reader, tmp_path):
    path, other, memory = tmp_path / "f", tmp_path / "g", Memory(8)
    for promised in (True, False):
        header(path, b"old data")
        header(other, b"new data")
        if promised:
            reader.read_headers_batch([str(path)])
        assert reader.read_chunked(str(path), memory.address, 16, 8) == 8 and memory.holds(b"old data")
        os.rename(other, path)
        if promised:
            with pytest.raises(OSError, match="any more"):
                reader.read_chunked(str(path), memory.address, 16, 8)
        assert reader.read_chunked(str(path), memory.address, 16, 8) == 8 and memory.holds(b"new data")


def test_C_34_a_file_that_grew_or_is_gone(reader, tmp_path):
    path, memory = tmp_path / "f", Memory(8)
    path.write_bytes(b"1234")
    assert reader.read_chunked(str(path), memory.address, 0, 8) == 4
    with open(path, "ab") as to:
        to.write(b"5678")
    assert reader.read_chunked(str(path), memory.address, 0, 8) == 8 and memory.holds(b"12345678")
    os.unlink(path)
    assert reader.read_chunked(str(path), memory.address, 0, 8) == 8 and memory.holds(b"12345678")


def test_C_35_closing(reader, contents):
    path = list(contents)[-1]
    assert reader.read_chunked(path, 0, 0, 8) == 8
    reader.close()
    reader.close()
    assert not reader.has_fd(path)
    assert reader.read_chunked(path, 0, 0, 8) == 8
    with reader as same:
        assert same is reader and reader.has_fd(path)
    assert not reader.has_fd(path)


def test_C_35_the_core_says_that_it_is_closed(small):
    import weir

    model = weir.open(small.path)
    model.close()
    with pytest.raises(weir.Closed):
        weir.load(model)


def test_C_35_C_77_dropped_without_closing(backend, contents):
    warm = create_reader(backend, mount_point="")
    for path in contents:
        warm.read_chunked(path, 0, 0, 8)
    warm.close()
    gc.collect()
    descriptors, shared = reader_lib.descriptors(), set(os.listdir("/dev/shm"))
    for _ in range(3):
        reader = create_reader(backend, mount_point="")
        for path in contents:
            reader.read_chunked(path, 0, 0, 8)
        assert reader.iov_base
    del reader
    gc.collect()
    assert reader_lib.descriptors() == descriptors
    assert {name for name in set(os.listdir("/dev/shm")) - shared if "weir" not in name} == set()


def test_C_36_a_fork(backend, contents):
    path = list(contents)[-1]
    script = """if True:
        import os, sys
        from fastsafetensor_3fs_reader import create_reader
        backend, path = sys.argv[1:]
        reader = create_reader(backend, mount_point="")
        assert reader.read_chunked(path, 0, 0, 100) == 100
        pid = os.fork()
        if pid == 0:
            try:
                reader.read_chunked(path, 0, 0, 100)
            except RuntimeError as error:
                assert "fork" in str(error), error
                assert create_reader(backend, mount_point="").read_chunked(path, 0, 0, 100) == 100
                del reader
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert reader.read_chunked(path, 0, 0, 100) == 100
    """
    reader_lib.run(script, backend, path)


def test_C_32_a_cancelled_read(backend, tmp_path):
    """A read of nothing but holes takes long enough to be caught."""
    path = tmp_path / "sparse"
    with open(path, "wb") as to:
        to.truncate(1 << 42)
    reader, caught = create_reader(backend, mount_point=""), []

    def read():
        try:
            reader.read_chunked(str(path), 0, 0, 1 << 42)
        except OSError as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    start = time.monotonic()
    reader.cancel()
    thread.join(10)
    assert time.monotonic() - start < 0.5 and caught[0].errno == errno.ECANCELED
    assert reader.read_chunked(str(path), 0, 0, 4096) == 4096


def test_C_32_a_deadline(backend, tmp_path, monkeypatch):
    path = tmp_path / "sparse"
    with open(path, "wb") as to:
        to.truncate(1 << 42)
    monkeypatch.setenv("FST3FS_TIMEOUT", "0.2")
    reader = create_reader(backend, mount_point="")
    assert reader.timeout == 0.2
    start = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        reader.read_chunked(str(path), 0, 0, 1 << 42)
    assert time.monotonic() - start < 2
    assert isinstance(caught.value, RuntimeError) and caught.value.filename == str(path)
    reader.timeout = None
    assert reader.read_chunked(str(path), 0, 0, 4096) == 4096


def test_a_signal_ends_a_read(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as to:
        to.truncate(1 << 42)
    script = """if True:
        import signal, sys, time
        from fastsafetensor_3fs_reader import MockFileReader
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        start = time.monotonic()
        try:
            MockFileReader().read_chunked(sys.argv[1], 0, 0, 1 << 42)
        except KeyboardInterrupt:
            assert time.monotonic() - start < 2
            print("interrupted")
    """
    assert reader_lib.run(script, path).strip() == "interrupted"


def test_statistics_name_the_way(reader, contents):
    path = list(contents)[-1]
    reader.read_chunked(path, 0, 0, 1000)
    told = reader.statistics()
    assert told["file_bytes"] == 1000 and told["ring_bytes"] == 0 and told["reads"] == 1
    assert told["fallback_reason"] == ""


@pytest.mark.parametrize("value", ["sometimes", "yes"])
def test_C_39_the_fallback_is_checked(value, monkeypatch):
    with pytest.raises(ValueError, match="never, warn or ok"):
        create_reader("cpp", mount_point="").fallback = value
    monkeypatch.setenv("FST3FS_FALLBACK", value)
    with pytest.raises(ValueError, match="never, warn or ok"):
        create_reader("cpp", mount_point="")


def test_C_40_nothing_is_allocated_for_a_chunk(tmp_path):
    """A hundred times the bytes, in ten thousand pieces, cost no allocation more."""
    counter = reader_lib.BUILD / "tests" / "python" / "libcount-allocations.so"
    path = tmp_path / "sparse"
    with open(path, "wb") as to:
        to.truncate(640 * MIB)
    script = """if True:
        import ctypes, mmap, sys
        from fastsafetensor_3fs_reader import create_reader
        allocations = ctypes.CDLL(sys.argv[2]).allocations
        allocations.restype = ctypes.c_long
        memory = mmap.mmap(-1, 640 << 20)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        reader = create_reader("cpp", mount_point="")
        def counted(address, length):
            before = allocations()
            assert reader.read_chunked(sys.argv[1], address, 0, length, 64 << 10) == length
            return allocations() - before
        counted(address, 640 << 20), counted(0, 640 << 20)
        few = min(counted(address, 6 << 20) for _ in range(5))
        many = min(counted(address, 640 << 20) for _ in range(5))
        print(many - few, min(counted(0, 640 << 20) for _ in range(5)))
    """
    more, dropped = map(int, reader_lib.run(script, path, counter, LD_PRELOAD=str(counter)).split())
    assert more <= 8 and dropped < 100, (more, dropped)
