# SPDX-License-Identifier: Apache-2.0
"""The native module hf3fs_py_usrbio, over a mount of ours: names, results, errors, and lives."""

import errno
import gc
import inspect
import os
import signal
import threading
import time
import weakref
from datetime import timedelta
from multiprocessing.shared_memory import SharedMemory
from types import SimpleNamespace

from mounted import DATA, fd, mount, python, wait_until  # noqa: F401

import hf3fs_fuse.io as io
import hf3fs_py_usrbio as native
import pytest

ID = "9f7faec0-69d1-4d54-9296-764b69addbde"


@pytest.fixture
def memory(mount):  # noqa: F811
    """64 KiB that the mount knows, and an iovec of them."""
    shm = SharedMemory(create=True, size=1 << 16)
    made = io.make_iovec(shm, mount.point)
    shm.unlink()
    yield SimpleNamespace(shm=shm, iov=made.iov)
    made.unlink()
    shm.close()


@pytest.fixture
def ring(mount):  # noqa: F811
    ring = native.ioring(mount.point, 16)
    yield ring
    ring.destroy()


def number_of(call, *arguments, **how):
    with pytest.raises(OSError) as caught:
        call(*arguments, **how)
    return caught.value.errno


class Thing:
    """Something that can be watched."""


# ---- What there is ----


def test_C_74_names_and_signatures():
    ring, iovec = native.ioring, native.iovec
    wanted = {
        native.extract_mount_point: "(path)",
        native.register_fd: "(fd, flags=0)",
        native.deregister_fd: "(fd)",
        native.force_fsync: "(fd)",
        native.hardlink: "(target, link_name)",
        native.punch_hole: "(filename, start, end, flags=0)",
        iovec: "(base, id, hf3fs_mount_point, block_size=0, numa=-1)",
        iovec.slice_by: "(self, /, buf)",
        ring: "(hf3fs_mount_point, entries, for_read=True, io_depth=0, priority=None, "
        "timeout=None, numa=-1, flags=0)",
        ring.size_for_entries: "(entries)",
        ring.prepare: "(self, /, iov, read, fd, off, userdata=None)",
        ring.submit: "(self, /)",
        ring.wait: "(self, /, *, max_results=0, min_results=0, timeout=None)",
        ring.destroy: "(self, /)",
    }
    for function, signature in wanted.items():
        assert str(inspect.signature(function)) == signature, function
    assert native.ioring.size_for_entries(64) > 64 * 64


def test_C_74_the_mount_of_a_path(mount):
    assert native.extract_mount_point(mount.file) == mount.point
    assert native.extract_mount_point(path=mount.point.encode()) == mount.point
    assert native.extract_mount_point("/proc") is None
    assert native.extract_mount_point(mount.file + "-missing") is None
    assert number_of(native.extract_mount_point, "/" + "x" * 5000) == errno.ENAMETOOLONG


def test_C_74_defaults_by_name_and_by_place(mount, memory, fd):
    iov = native.iovec(hf3fs_mount_point=mount.point, id=ID.upper(), base=memory.shm.buf)
    assert (iov.result, iov.base_off, iov.userdata) == (0, 0, None)
    assert memoryview(iov).nbytes == 1 << 16 and memoryview(iov).format == "B"
    ring = native.ioring(mount.point, 4, True, 0, -1, None, -1, 0)
    assert ring.entries == 4
    assert ring.prepare(off=3, fd=fd, read=True, iov=memory.iov[:5]) is ring
    assert ring.submit() is ring
    assert [done.userdata for done in ring.wait(min_results=1)] == [None]
    assert memory.shm.buf[:5] == DATA[3:8]


# ---- Reading ----


def test_C_74_wait_hands_out_the_objects_of_prepare(memory, ring, fd):
    asked = [memory.iov[n * 100 : n * 100 + 100] for n in range(16)]
    for n, iov in enumerate(asked):
        ring.prepare(iov, True, fd, n * 1000, n)
    done = ring.submit().wait(min_results=16)
    assert sorted(map(id, done)) == sorted(map(id, asked))
    for n, iov in enumerate(asked):
        assert (iov.result, iov.userdata) == (100, n)
        assert bytes(iov) == DATA[n * 1000 : n * 1000 + 100]


def test_C_74_results_are_bytes_or_errors(memory, ring, fd):
    ring.prepare(memory.iov[:1000], True, fd, len(DATA) - 10)
    assert ring.submit().wait(min_results=1)[0].result == 10
    ring.prepare(memory.iov[:1000], True, fd, len(DATA) + 10)
    assert ring.submit().wait(min_results=1)[0].result == 0
    shm = SharedMemory(create=True, size=4096)
    shm.unlink()
    stranger = native.iovec(shm.buf, ID, "/nowhere")
    ring.prepare(stranger, True, fd, 0)
    assert ring.submit().wait(min_results=1)[0].result == -errno.EINVAL
    shm.close()


def test_C_74_how_many_wait_returns(memory, ring, fd):
    def ask(count):
        for n in range(count):
            ring.prepare(memory.iov[n * 10 : n * 10 + 10], True, fd, n)
        ring.submit()

    assert ring.wait() == []
    ask(6)
    assert len(ring.wait(min_results=6, max_results=2)) == 6  # max is raised to min
    ask(6)
    time.sleep(0.2)
    assert len(ring.wait()) == 1  # one at most
    assert len(ring.wait(max_results=3)) == 3
    assert len(ring.wait(max_results=100)) == 2
    assert ring.wait(max_results=100) == []


@pytest.mark.parametrize("timeout", [timedelta(milliseconds=200), 0.2])
def test_C_74_a_timeout_is_no_error(memory, ring, fd, timeout):
    ring.prepare(memory.iov[:10], True, fd, 0).submit()
    start = time.monotonic()
    assert len(ring.wait(min_results=2, timeout=timeout)) == 1
    assert 0.19 < time.monotonic() - start < 1.5
    start = time.monotonic()
    assert ring.wait(min_results=1, timeout=0) == ring.wait(min_results=1, timeout=-5) == []
    assert time.monotonic() - start < 0.1


def test_C_73_without_a_timeout_it_waits_until_there_is_something(memory, ring, fd):
    got = []
    waiter = threading.Thread(target=lambda: got.extend(ring.wait(min_results=1)))
    waiter.start()
    time.sleep(0.3)
    assert waiter.is_alive() and not got
    iov = memory.iov[:10]
    ring.prepare(iov, True, fd, 0).submit()
    waiter.join(5)
    assert got == [iov]


def test_C_74_the_interpreter_runs_while_one_waits(ring):
    turns = 0
    waiter = threading.Thread(target=ring.wait, kwargs={"min_results": 1, "timeout": 0.3})
    waiter.start()
    while waiter.is_alive():
        turns += 1
    assert turns > 1000


# ---- Slices, memory ----


def test_C_74_slices_of_slices(memory):
    first = memory.iov
    inner = first[1000:2000][100:200][50:]
    assert (inner.base_off, memoryview(inner).nbytes) == (1150, 50)
    assert gc.get_referents(inner)[1:] == [first]  # type aside, the first iovec alone
    inner[:] = b"x" * 50
    assert memory.shm.buf[1149:1201] == b"\0" + b"x" * 50 + b"\0"
    assert memoryview(first[70000:80000]).nbytes == 0 and first[-16:].base_off == (1 << 16) - 16
    for step in (2, -1, 1 << 70):
        with pytest.raises(ValueError):
            first[::step]
    for key in (3, "x", None):
        with pytest.raises(TypeError):
            first[key]


def test_C_74_slice_by(memory):
    first, view = memory.iov, memory.shm.buf
    assert (
        first.slice_by(view[4096:5000]).base_off,
        memoryview(first.slice_by(buf=view)).nbytes,
    ) == (4096, 1 << 16)
    part = first[4096:8192]
    assert (
        part.slice_by(view[5000:5010]).base_off
        == part.slice_by(memoryview(first)[5000:5010]).base_off
        == 5000
    )
    for outside in (bytearray(10), view[4000:4100], view[8000:8193], view[:10]):
        with pytest.raises(IndexError):
            part.slice_by(outside)
    with pytest.raises(BufferError):
        first.slice_by(b"constant")
    view.release()


def test_C_74_shared_memory_closes_and_nothing_dangles(mount, ring, fd):
    shm = SharedMemory(create=True, size=1 << 16)
    made = io.make_iovec(shm, mount.point)
    shm.unlink()
    view = memoryview(made.iov)
    part = made[100:200]
    shm.close()  # no BufferError
    ring.prepare(part, True, fd, 17).submit().wait(min_results=1)
    del made
    gc.collect()
    assert bytes(part) == DATA[17:117] == bytes(view[100:200])
    with pytest.raises(IndexError):
        part.slice_by(bytearray(10))


def test_C_74_memory_of_ones_own_is_held(mount):
    own = bytearray(4096)
    iov = native.iovec(own, ID, mount.point)
    with pytest.raises(BufferError):
        own.extend(b"more")
    iov[:3] = b"abc"
    assert own[:3] == b"abc"
    del iov
    own.extend(b"more")


def test_C_74_bad_memory(mount):
    shm = SharedMemory(create=True, size=4096)
    for bad in ("", "x", ID[:-1], ID + "0", ID.replace("-", "0"), ID.replace("9", "g")):
        with pytest.raises(ValueError):
            native.iovec(shm.buf, bad, mount.point)
    assert number_of(native.iovec, shm.buf, ID, mount.point, 4097) == errno.EINVAL
    assert number_of(native.iovec, shm.buf, ID, "/" + "x" * 300) == errno.EINVAL
    assert number_of(native.iovec, bytearray(), ID, mount.point) == errno.EINVAL
    for bad in (b"constant", memoryview(bytearray(10))[::2]):
        with pytest.raises(BufferError):
            native.iovec(bad, ID, mount.point)
    with pytest.raises(TypeError):
        native.iovec(None, ID, mount.point)
    with pytest.raises(TypeError):
        native.iovec()
    shm.close()
    shm.unlink()


# ---- Userdata ----


def test_C_74_userdata_lives_until_it_is_delivered(memory, ring, fd):
    thing = Thing()
    watch = weakref.ref(thing)
    ring.prepare(memory.iov[:10], True, fd, 0, userdata=thing)
    del thing
    gc.collect()
    assert watch() is not None
    done = ring.submit().wait(min_results=1)
    assert done[0].userdata is watch()
    del done
    assert watch() is None


def test_C_74_userdata_of_requests_that_never_went_or_never_end(memory, ring, fd, mount):
    thing = Thing()
    watch = weakref.ref(thing)
    assert number_of(ring.prepare, memory.iov[:10], False, fd, 0, thing) == errno.EINVAL
    late = native.ioring(mount.point, 4, io_depth=4)
    late.prepare(memory.iov[:10], True, fd, 0, thing)
    del thing
    gc.collect()
    assert watch() is not None
    late.destroy()
    assert watch() is None


def test_C_74_cycles_are_found(memory, ring, fd, mount):
    thing = Thing()
    watch = weakref.ref(thing)
    iov = memory.iov[:10]
    ring.prepare(iov, True, fd, 0, (iov, thing)).submit().wait(min_results=1)
    own = native.ioring(mount.point, 4, io_depth=4)
    own.prepare(memory.iov[:10], True, fd, 0, (own, thing))
    del iov, own, thing
    gc.collect()
    assert watch() is None


def test_C_74_a_long_chain_of_userdata(memory, ring, fd):
    last = memory.iov[:1]
    for _ in range(20000):
        iov = memory.iov[:1]
        ring.prepare(iov, True, fd, 0, last).submit().wait(min_results=1)
        last = iov
    del last, iov


# ---- Errors ----


def test_C_74_errno_of_each_error(memory, ring, fd, mount):
    part = memory.iov[:10]
    outside = os.open("/proc/self/status", os.O_RDONLY)
    assert number_of(native.register_fd, outside) == errno.EBADF
    assert number_of(native.register_fd, 1 << 20) == errno.EBADF
    assert number_of(native.register_fd, fd) == errno.EINVAL
    assert number_of(ring.prepare, part, True, outside, 0) == errno.EBADF
    os.close(outside)
    assert number_of(ring.prepare, part, False, fd, 0) == errno.EINVAL
    assert number_of(ring.prepare, part[:0], True, fd, 0) == errno.EINVAL
    writing = os.open(mount.file, os.O_WRONLY)
    native.register_fd(writing)
    assert number_of(ring.prepare, part, True, writing, 0) == errno.EACCES
    native.deregister_fd(writing)
    os.close(writing)
    for n in range(16):
        ring.prepare(memory.iov[n : n + 1], True, fd, 0)
    assert number_of(ring.prepare, part, True, fd, 0) == errno.EAGAIN
    assert number_of(native.ioring, mount.point, 0) == errno.EINVAL
    assert number_of(native.ioring, mount.point, 4, timeout=-1) == errno.EINVAL
    with pytest.raises(FileNotFoundError) as caught:
        native.ioring("/nowhere", 4)
    assert caught.value.filename == b"/nowhere"


def test_C_74_names_and_holes(mount, fd):
    with pytest.raises(FileNotFoundError):
        native.hardlink(mount.file + "-missing", mount.file + "-2")
    for starts, ends in (([0], [1, 2]), ([0] * 1001, [1] * 1001)):
        with pytest.raises(RuntimeError):
            native.punch_hole(fd, starts, ends)
    with pytest.raises(FileNotFoundError):
        native.punch_hole(filename=mount.file + "-missing", start=[0], end=[1])
    assert number_of(native.punch_hole, fd=1 << 20, start=[0], end=[1]) == errno.EBADF
    with pytest.raises(TypeError):
        native.punch_hole(fd, [0.5], [1])
    assert native.force_fsync(fd) == 0
    assert native.force_fsync(1 << 20) == -1


def test_C_74_a_second_name_and_holes(mount, fd):
    second = mount.file + "-2"
    assert native.hardlink(target=mount.file, link_name=second) is None
    assert os.path.samestat(os.stat(second), os.stat(mount.file))
    with pytest.raises(FileExistsError):
        native.hardlink(mount.file, second)
    assert native.punch_hole(fd, [4096, 40960], [8192, 45056]) is None
    assert native.punch_hole(second, (81920,), (86016,), 0) is None
    holes = bytearray(DATA)
    for start in (4096, 40960, 81920):
        holes[start : start + 4096] = bytes(4096)
    with open(os.path.join(mount.source, "file"), "rb") as source:
        assert source.read() == holes
    assert number_of(native.punch_hole, fd, [1], [2]) == errno.EINVAL


def test_C_73_destroyed_twice_and_used_after(memory, ring, fd):
    ring.destroy()
    ring.destroy()
    assert number_of(ring.prepare, memory.iov[:10], True, fd, 0) == errno.EINVAL
    assert number_of(ring.submit) == number_of(ring.wait, min_results=1) == errno.EINVAL
    assert ring.entries == 16
    for unknown in (1 << 20, -1, -(1 << 30), 0):
        assert native.deregister_fd(unknown) is None


def test_C_73_arguments_of_all_kinds(memory, ring, fd):
    part = memory.iov[:10]
    for off, error in (
        (-1, OverflowError),
        (1 << 64, OverflowError),
        (0.5, TypeError),
        ("1", TypeError),
    ):
        with pytest.raises(error):
            ring.prepare(part, True, fd, off)
    for bad in (None, bytearray(10), object(), memoryview(part)):
        with pytest.raises(TypeError):
            ring.prepare(bad, True, fd, 0)
    for timeout, error in ((float("nan"), ValueError), ("1", TypeError), (object(), TypeError)):
        with pytest.raises(error):
            ring.wait(timeout=timeout)
    with pytest.raises(TypeError):
        ring.wait(1)
    with pytest.raises(TypeError):
        native.ioring()
    assert ring.wait(max_results=-5, min_results=-(1 << 31)) == []
    ring.prepare(part, True, fd, (1 << 64) - 1).submit()
    assert ring.wait(min_results=1)[0].result <= 0
    assert number_of(ring.prepare, part, True, 1 << 30, 0) == errno.EINVAL


# ---- Ends ----


def test_C_73_a_ring_is_destroyed_while_another_thread_waits(ring):
    numbers = []
    waiter = threading.Thread(target=lambda: numbers.append(number_of(ring.wait, min_results=1)))
    waiter.start()
    time.sleep(0.1)
    ring.destroy()
    waiter.join(5)
    assert numbers == [errno.ECANCELED]


def test_a_signal_ends_a_wait_and_loses_nothing(memory, ring, fd):
    def stop(*_):
        raise InterruptedError("enough")

    before = signal.signal(signal.SIGALRM, stop)
    try:
        iov = memory.iov[:10]
        ring.prepare(iov, True, fd, 0).submit()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(InterruptedError, match="enough"):
            ring.wait(min_results=2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ring.wait(min_results=1, timeout=1) == [iov]


def test_C_36_a_forked_child_cannot_use_it_and_makes_its_own(mount):
    script = """
        import os, sys, hf3fs_fuse.io as io
        from multiprocessing.shared_memory import SharedMemory
        mount = sys.argv[1]
        fd = os.open(mount + "/file", os.O_RDONLY)
        io.register_fd(fd)
        shm = SharedMemory(create=True, size=4096)
        iov, ring = io.make_iovec(shm, mount), io.make_ioring(mount, 4)

        def number_of(call, *arguments, **how):
            try:
                call(*arguments, **how)
            except OSError as error:
                return error.errno
        pid = os.fork()
        if pid == 0:
            calls = [number_of(ring.prepare, iov[:10], True, fd, 0), number_of(ring.submit)]
            calls.append(number_of(ring.wait))
            ring.destroy()
            del ring, iov
            second = SharedMemory(create=True, size=4096)
            iov, ring = io.make_iovec(second, mount), io.make_ioring(mount, 4)
            result = ring.prepare(iov[:10], True, fd, 0).submit().wait(min_results=1)[0].result
            second.unlink()
            print(calls, result, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print(ring.prepare(iov[:10], True, fd, 0).submit().wait(min_results=1, timeout=5)[0].result)
        shm.close()
        shm.unlink()
    """
    assert python(script, mount.point) == "[1, 1, 1] 10\n10\n"


@pytest.mark.parametrize("waiting", [False, True])
def test_the_interpreter_ends_with_requests_under_way(mount, waiting):
    script = """
        import os, sys, threading, time, hf3fs_fuse.io as io
        from multiprocessing.shared_memory import SharedMemory
        mount, waiting = sys.argv[1:]
        fd = os.open(mount + "/file", os.O_RDONLY)
        io.register_fd(fd)
        shm = SharedMemory(create=True, size=4096)
        iov, ring = io.make_iovec(shm, mount), io.make_ioring(mount, 4, io_depth=4)
        shm.unlink()
        ring.prepare(iov[:10], True, fd, 0, userdata=ring).submit()
        if waiting == "True":
            threading.Thread(target=ring.wait, kwargs={"min_results": 4}, daemon=True).start()
            time.sleep(0.2)
    """
    start = time.monotonic()
    assert python(script, mount.point, str(waiting)) == ""
    assert time.monotonic() - start < 5
    assert wait_until(lambda: not mount.keys())


def test_C_73_nothing_leaks(mount, memory, fd):
    def once():
        ring = native.ioring(mount.point, 4)
        ring.prepare(memory.iov[:10], True, fd, 0, Thing()).submit().wait(min_results=1)
        shm = SharedMemory(create=True, size=1 << 16)
        shm.unlink()
        native.iovec(shm.buf, ID, mount.point)[5:].slice_by(shm.buf[10:20])
        shm.close()

    def size():
        with open("/proc/self/statm", encoding="ascii") as statm:
            return (
                int(statm.read().split()[1]),
                len(os.listdir("/proc/self/fd")),
                len(open("/proc/self/maps").readlines()),
            )

    for _ in range(50):
        once()
    gc.collect()
    before = size()
    for _ in range(300):
        once()
    gc.collect()
    pages, descriptors, mappings = (b - a for a, b in zip(before, size(), strict=True))
    assert pages < 256 and descriptors == 0 and mappings <= 2
