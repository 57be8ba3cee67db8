# SPDX-License-Identifier: Apache-2.0
"""The package hf3fs_fuse.io of our own writing, over a mount of ours."""

import errno
import gc
import os
import random
import threading
import time
from multiprocessing.shared_memory import SharedMemory

from mounted import DATA, fd, mount, python, shared_memory, wait_until  # noqa: F401

import hf3fs_fuse.io as io
import pytest
from hf3fs_fuse.fuse import get_mount_point


def number_of(call, *arguments, **how):
    with pytest.raises(OSError) as caught:
        call(*arguments, **how)
    return caught.value.errno


class Client:
    """As programs have it: memory, a ring, a lock-free way to read and write."""

    def __init__(self, point, size=1 << 16, entries=16, **how):
        self.shm = SharedMemory(create=True, size=size)
        self.iov = io.make_iovec(self.shm, point)
        self.shm.unlink()
        self.ring = io.make_ioring(point, entries, **how)

    def close(self):
        del self.ring, self.iov
        self.shm.close()


def test_C_75_names_that_programs_import():
    native = "deregister_fd extract_mount_point force_fsync hardlink punch_hole register_fd".split()
    ours = "IorPriority h3fio ioring iovec make_ioring make_iovec read_file".split()
    assert sorted(io.__all__) == sorted(native + ours)
    assert all(getattr(io, name) is getattr(io.h3fio, name) for name in native)
    assert (io.IorPriority.HIGH, io.IorPriority.NORMAL, io.IorPriority.LOW) == (-1, 0, 1)
    assert io.ioring.size_for_entries(16) == io.h3fio.ioring.size_for_entries(16)


def test_C_75_the_mount_of_a_path(mount):
    assert get_mount_point(mount.file) == mount.point
    assert get_mount_point("/usr/lib/python3") == "/usr/lib"


@pytest.mark.parametrize("block", [1 << 30, 1 << 16, 99_991, len(DATA)])
def test_C_75_a_file_read_is_the_file(mount, block):
    assert io.read_file(mount.file, block_size=block) == DATA
    assert io.read_file(mount.file, mount.point, block, 1234, io.IorPriority.LOW) == DATA[1234:]
    assert io.read_file(mount.file, off=len(DATA) + 5) == b""
    assert mount.keys() == [] and shared_memory() == []


def test_C_75_blocks_go_to_a_callback(mount):
    seen = {}
    assert (
        io.read_file(
            mount.file, block_size=65536, cb=lambda view, at: seen.update({at: bytes(view)})
        )
        is None
    )
    assert b"".join(seen.values()) == DATA and list(seen) == list(range(0, len(DATA), 65536))
    seen.clear()
    io.read_file(
        mount.file, block_size=100, cb=lambda view, at: seen.update({at: bytes(view)}) or at == 200
    )
    assert list(seen) == [0, 100, 200]
    jumps = iter([1000, 5, len(DATA)])
    seen.clear()
    io.read_file(
        mount.file,
        block_size=100,
        cb=lambda view, at: seen.update({at: bytes(view)}) or next(jumps),
    )
    assert seen == {0: DATA[:100], 1000: DATA[1000:1100], 5: DATA[5:105]}


def test_C_75_a_callback_that_fails_or_keeps_its_view(mount):
    kept = []
    with pytest.raises(ZeroDivisionError):
        io.read_file(mount.file, block_size=100, cb=lambda view, at: kept.append(view) or 1 // 0)
    assert mount.keys() == [] and shared_memory() == []
    assert kept[0] == DATA[:100]


def test_C_77_a_file_that_cannot_be_read(mount):
    with pytest.raises(FileNotFoundError) as caught:
        io.read_file(mount.file + "-missing")
    assert caught.value.filename == mount.file + "-missing"
    assert number_of(io.read_file, "/proc/self/status") == errno.EBADF
    assert number_of(io.read_file, mount.file, "/nowhere") == errno.ENOENT
    assert mount.keys() == [] and shared_memory() == []


def test_C_75_holes_are_zeros(mount):
    with open(os.path.join(mount.source, "sparse"), "wb") as to:
        to.write(b"begin")
        to.seek(200_000)
        to.write(b"end")
        to.truncate(300_000)
    whole = b"begin".ljust(200_000, b"\0") + b"end".ljust(100_000, b"\0")
    for block in (1 << 16, 1 << 20):
        assert io.read_file(os.path.join(mount.point, "sparse"), block_size=block) == whole


def test_C_75_a_file_written_is_what_was_written(mount):
    data = random.Random(3).randbytes(500_000)
    path = os.path.join(mount.point, "new")
    client = Client(mount.point, for_read=False)
    to = os.open(path, os.O_RDWR | os.O_CREAT)
    io.register_fd(to)
    for at in range(0, len(data), 1 << 16):
        piece = data[at : at + (1 << 16)]
        client.iov[: len(piece)] = piece
        client.ring.prepare(client.iov[: len(piece)], False, to, at)
        assert client.ring.submit().wait(min_results=1)[0].result == len(piece)
    io.deregister_fd(to)
    assert io.force_fsync(to) == 0
    os.close(to)
    client.close()
    assert io.read_file(path) == data
    with open(os.path.join(mount.source, "new"), "rb") as source:
        assert source.read() == data


def test_C_77_nothing_is_left(mount, fd):
    client = Client(mount.point)
    assert len(mount.keys()) == 2
    client.ring.prepare(client.iov, True, fd, 0).submit().wait(min_results=1)
    client.close()
    gc.collect()
    assert mount.keys() == [] and shared_memory() == []


def test_C_77_a_registration_that_fails_leaves_no_link(mount):
    shm = SharedMemory(create=True, size=4096)
    assert number_of(io.make_iovec, shm, mount.point, 5000) == errno.EINVAL
    assert number_of(io.make_iovec, shm, "/nowhere") == errno.ENOENT
    assert mount.keys() == []
    made = io.make_iovec(shm, mount.point, 1024)
    assert [name.endswith(".b1024") for name in mount.keys()] == [True]
    made.unlink()
    made.unlink()
    del made
    shm.close()
    shm.unlink()


def test_C_77_a_child_leaves_the_links_of_its_parent(mount):
    script = """
        import gc, os, sys, hf3fs_fuse.io as io
        from multiprocessing.shared_memory import SharedMemory
        shm = SharedMemory(create=True, size=4096)
        iov = io.make_iovec(shm, sys.argv[1])
        if os.fork() == 0:
            del iov
            gc.collect()
            os._exit(0)
        os.wait()
        print(os.readlink(iov.link) == f"/dev/shm/{shm.name}")
        shm.unlink()
    """
    assert python(script, mount.point) == "True\n"


def read_at_random(client, fd, seconds, wrong):  # noqa: F811
    chance = random.Random(threading.get_ident())
    end = time.monotonic() + seconds
    reads = 0
    while time.monotonic() < end:
        asked = {}
        for n in range(chance.randint(1, 8)):
            at, length = chance.randrange(len(DATA)), chance.randint(1, 8192)
            asked[at, n] = client.iov[n * 8192 : n * 8192 + length]
            client.ring.prepare(asked[at, n], True, fd, at, userdata=(at, n))
        client.ring.submit()
        for done in client.ring.wait(min_results=len(asked)):
            at, _ = done.userdata
            right = DATA[at : at + memoryview(done).nbytes]
            if done is not asked[done.userdata] or bytes(done)[: done.result] != right:
                wrong.append(done.userdata)
            reads += 1
    return reads


def test_C_33_four_threads_each_with_its_own(mount, fd):
    wrong, reads = [], []
    clients = [Client(mount.point) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda one=one: reads.append(read_at_random(one, fd, 1.0, wrong)))
        for one in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(reads) == 4 and min(reads) > 100
    for client in clients:
        client.close()


def test_C_33_four_threads_on_one_ring(mount, fd):
    """Who asked and who is told are different threads; each request is told once."""
    client, rounds, told = Client(mount.point, entries=64), 300, []

    def work(part):
        for n in range(rounds):
            iov = client.iov[part * 16384 : part * 16384 + 16]
            while True:
                try:
                    client.ring.prepare(iov, True, fd, 7 * n, (part, n))
                    break
                except BlockingIOError:
                    told.extend(client.ring.wait(max_results=64, timeout=1))
            client.ring.submit()
            told.extend(client.ring.wait(max_results=3))

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while len(told) < 4 * rounds:
        more = client.ring.wait(min_results=1, timeout=5)
        assert more
        told.extend(more)
    assert {done.result for done in told} == {16}
    assert sorted(done.userdata for done in told) == [
        (part, n) for part in range(4) for n in range(rounds)
    ]
    client.close()


def test_C_32_a_killed_daemon_is_an_error_in_bounded_time(mount, fd):
    client = Client(mount.point)
    mount.stop()
    for n in range(3):
        client.ring.prepare(client.iov[n * 10 : n * 10 + 10], True, fd, n)
    client.ring.submit()
    mount.kill()
    start = time.monotonic()
    assert [done.result for done in client.ring.wait(min_results=3)] == [-errno.ENOTCONN] * 3
    assert number_of(client.ring.wait, min_results=1) == errno.ENOTCONN
    assert number_of(client.ring.prepare, client.iov[:10], True, fd, 0) == errno.ENOTCONN
    with pytest.raises(OSError):
        io.read_file(mount.file, mount.point)
    client.close()
    assert time.monotonic() - start < 15
    assert wait_until(lambda: shared_memory() == [])
