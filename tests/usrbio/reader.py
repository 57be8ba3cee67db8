#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fastsafetensor_3fs_reader over rings, on a mount of the second server, which misbehaves: its native backend, and the
Python one over our client.  Each case reads in a process of its own."""
import ctypes
import errno
import os
import random
import subprocess
import sys
import threading
import time

from rig import Child, RingTest, Stub, Weir, leftover_keys, main, shm_names, wait_until  # noqa: I001  (finds the next)
from cli_lib import BUILD, SOURCE

COMPAT = os.path.join(SOURCE, "python", "compat")
PATHS = [os.path.join(os.path.abspath(BUILD), "python"), os.path.join(COMPAT, "fastsafetensor-3fs-reader"),
         os.path.join(COMPAT, "hf3fs-py-usrbio")]  # fmt: skip
BACKENDS = ("cpp", "python")
MIB = 1 << 20


def package():
    """The reader, imported where nothing is to be inherited: in a child."""
    sys.path[:0] = PATHS
    import fastsafetensor_3fs_reader

    return fastsafetensor_3fs_reader


class Memory:
    def __init__(self, size):
        self.room = ctypes.create_string_buffer(b"\xa5" * size, size + 64)
        self.address = ctypes.addressof(self.room)


def read_all(reader, path, right, reads):
    """What went wrong; each read is (offset, length, chunk)."""
    wrong = []
    for offset, length, chunk in reads:
        memory, wanted = Memory(length), right[offset : offset + length]
        got = reader.read_chunked(path, memory.address, offset, length, chunk)
        if got != len(wanted) or memory.room.raw[:got] != wanted:
            wrong.append((offset, length, chunk, got))
        if reader.read_chunked(path, 0, offset, length, chunk) != len(wanted):
            wrong.append(("dropped", offset, length, chunk))
    return wrong


def raised(call):
    """(class names, errno, filename, message) of what it raises; None."""
    try:
        call()
    except Exception as error:
        return [kind.__name__ for kind in type(error).__mro__], error.errno, error.filename, str(error)
    return None


class Reads(RingTest):
    size = 3 * MIB + 777

    def setUp(self):
        super().setUp()
        self.right = random.Random(1).randbytes(self.size)
        self.make("f", self.right)
        self.stub = self.start(Stub)
        self.file = self.path("f")

    def reads(self):
        chance = random.Random(2)
        yield from ((0, self.size, 0), (1, self.size, 65536), (self.size - 4, 100, 0), (self.size, 8, 0))
        for _ in range(12):
            yield chance.randrange(self.size), chance.randrange(MIB), chance.choice([0, 4096, 100_000, 1 << 30])

    def check(self, backend, **how):
        """Everything is right, and came by rings."""
        def work(_):
            with package().create_reader(backend, mount_point=self.point, **how) as reader:
                wrong = read_all(reader, self.file, self.right, list(self.reads()))
                told = reader.statistics()
                return wrong, told["ring_bytes"] > 0, told["file_bytes"]

        self.assertEqual(Child(work).result(), ([], True, 0), (backend, how))

    def assertNoComplaint(self):
        self.assertEqual(self.stub.tell("complaints"), "")

    def test_C_27_short_results_in_the_middle(self):
        for backend in BACKENDS:
            self.stub.do("fault short 4099 40 1")
            self.check(backend)
            self.stub.do("fault none")
            self.assertNoComplaint()

    def test_C_27_a_hole_is_zeros(self):
        hole = os.path.join(self.files, "f")
        with open(hole, "r+b") as to:
            to.truncate(0)
            to.truncate(self.size)
        self.right = bytes(self.size)
        for backend in BACKENDS:
            self.stub.do("fault short 0 2")
            self.check(backend)

    def test_C_34_a_change_that_only_the_daemon_knows_of(self):
        """The kernel remembers for an hour, and what the reader began on its word is begun again."""
        self.stub.release()
        self.stub = self.start(Stub, "slow 1")

        def work(_):
            with package().create_reader("cpp", mount_point=self.point) as reader:
                memory, got = Memory(self.size), []
                for size in (self.size, MIB):
                    os.truncate(os.path.join(self.files, "f"), size)
                    time.sleep(0.02)  # a look at the version is good for half of that
                    got += [reader.read_chunked(self.file, 0, 0, self.size),
                            reader.read_chunked(self.file, memory.address, 0, self.size)]
                return got

        self.assertEqual(Child(work).result(), [self.size] * 2 + [MIB] * 2)
        self.assertNoComplaint()

    def test_C_28_completions_in_any_order(self):
        for backend in BACKENDS:
            self.stub.do("jitter 3")
            self.check(backend)
            self.stub.do("batch on")
            self.check(backend)
            self.stub.do("batch off")
            self.assertNoComplaint()

    def test_C_29_a_failed_request(self):
        for backend in BACKENDS:
            self.stub.do(f"fault result -{errno.EIO} -1 2")

            def work(_, backend=backend):
                reader = package().create_reader(backend, mount_point=self.point)
                memory = Memory(self.size)
                return raised(lambda: [reader.read_chunked(self.file, memory.address, 0, self.size) for _ in range(2)])

            names, number, filename, _ = Child(work).result()
            self.assertIn("OSError", names)
            self.assertIn("RuntimeError", names)
            self.assertEqual((number, filename), (errno.EIO, self.file), backend)
            self.stub.do("fault none")
            self.assertNoComplaint()

    def test_an_address_where_nothing_is_mapped(self):
        """An error, not a signal."""
        def work(_):
            with package().create_reader("cpp", mount_point=self.point) as reader:
                far = [0x10000, 1 << 46, (1 << 64) - 4096]
                failed = [raised(lambda at=at: reader.read_chunked(self.file, at, 0, self.size)) for at in far]
                return [error[1] for error in failed], read_all(reader, self.file, self.right, list(self.reads()))

        self.assertEqual(Child(work).result(), ([errno.EFAULT] * 3, []))

    def test_C_29_the_reader_is_good_afterwards(self):
        for backend in BACKENDS:
            def work(connection, backend=backend):
                reader = package().create_reader(backend, mount_point=self.point)
                reader.read_chunked(self.file, 0, 0, 10)
                connection.send("begin")
                connection.recv()
                failures = sum(raised(lambda: reader.read_chunked(self.file, 0, 0, self.size)) is not None
                               for _ in range(40))  # fmt: skip
                connection.send("failed")
                connection.recv()
                return failures, read_all(reader, self.file, self.right, list(self.reads()))

            child = Child(work)
            child.receive()
            self.stub.do(f"fault result -{errno.EIO} -1")
            child.send("go")
            child.receive()
            self.stub.do("fault none")
            child.send("go")
            self.assertEqual(child.result(), (40, []), backend)

    def test_dropped_bytes_cost_a_request_for_each_window(self):
        def work(_):
            with package().create_reader("cpp", mount_point=self.point, buffer_size=3 * MIB // 2) as reader:
                import weir

                reader.read_chunked(self.file, 0, 0, self.size)
                before = weir.default_context().counters()
                for _ in range(10):
                    if reader.read_chunked(self.file, 0, 0, self.size) != self.size:
                        return "read less"
                after = weir.default_context().counters()
                return {name: after[name] - before[name] for name in ("requests", "system_calls", "extents")}

        counted = Child(work).result()
        self.assertEqual((counted["requests"], counted["extents"]), (30, 10), counted)
        # For each read a post and a wait for the last request, and one of each for all that go before it.
        self.assertLessEqual(counted["system_calls"], 4 * 10 + 4, counted)
        self.assertNoComplaint()

    def test_C_30_C_20_odd_buffers(self):
        for backend in BACKENDS:
            self.check(backend, buffer_size=65_000, entries=64)
            self.check(backend, buffer_size=1, entries=1)
            self.check(backend, buffer_size=3, entries=3)

    def test_C_31_any_io_depth(self):
        self.stub.do("batch on")
        for backend in BACKENDS:
            for depth in (-8, -1, 0, 1, 8, 1000):
                start = time.monotonic()
                self.check(backend, io_depth=depth)
                self.assertLess(time.monotonic() - start, 5, (backend, depth))

    def test_C_32_a_daemon_that_never_answers(self):
        for backend in BACKENDS:
            def work(connection, backend=backend):
                reader = package().create_reader(backend, mount_point=self.point)
                reader.read_chunked(self.file, 0, 0, 10)
                connection.send("begin")
                connection.recv()
                reader.timeout, start = 0.5, time.monotonic()
                failed = raised(lambda: reader.read_chunked(self.file, 0, 0, self.size))
                took = time.monotonic() - start
                return failed, took

            child = Child(work)
            child.receive()
            self.stub.do("hold on")
            child.send("go")
            (names, _, filename, _), took = child.result()
            self.stub.do("hold off")
            self.assertIn("TimeoutError", names)
            self.assertEqual(filename, self.file)
            self.assertTrue(0.4 < took < 3, took)

    def test_C_32_cancelled_from_another_thread(self):
        for backend in BACKENDS:
            def work(connection, backend=backend):
                reader, failed = package().create_reader(backend, mount_point=self.point), []
                reader.read_chunked(self.file, 0, 0, 10)
                connection.send("begin")
                connection.recv()
                memory = Memory(self.size)
                thread = threading.Thread(target=lambda: failed.append(
                    raised(lambda: reader.read_chunked(self.file, memory.address, 0, self.size))))  # fmt: skip
                thread.start()
                time.sleep(0.3)
                start = time.monotonic()
                reader.cancel()
                thread.join(20)
                return failed, time.monotonic() - start

            child = Child(work)
            child.receive()
            self.stub.do("hold on")
            child.send("go")
            failed, took = child.result()
            self.stub.do("hold off")
            self.assertEqual(failed[0][1], errno.ECANCELED, backend)
            self.assertLess(took, 0.25, backend)  # 100 ms, and what a busy machine adds

    def test_C_33_threads_on_one_reader(self):
        self.stub.do("jitter 2")
        for backend in BACKENDS:
            def work(_, backend=backend):
                reader, wrong = package().create_reader(backend, mount_point=self.point), []

                def storm(seed):
                    chance = random.Random(seed)
                    reads = [(chance.randrange(self.size), chance.randrange(300_000), 0) for _ in range(12)]
                    wrong.extend(read_all(reader, self.file, self.right, reads))

                threads = [threading.Thread(target=storm, args=(seed,)) for seed in range(12)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
                return wrong

            self.assertEqual(Child(work).result(), [], backend)

    def test_C_37_C_38_what_is_on_the_mount(self):
        link = os.path.join(self.top, "link")
        os.symlink(self.point, link)
        beside = self.point + "2"
        os.mkdir(beside)
        with open(os.path.join(beside, "f"), "wb") as to:
            to.write(b"beside")
        for backend in BACKENDS:
            def work(_, backend=backend):
                reader = package().create_reader(backend, mount_point=self.point)
                reader.read_chunked(os.path.join(beside, "f"), 0, 0, 100)
                first = reader.statistics()
                reader.read_chunked(os.path.join(link, "f"), 0, 0, 100)
                second = reader.statistics()
                return [(told["ring_bytes"], told["file_bytes"]) for told in (first, second)]

            self.assertEqual(Child(work).result(), [(0, 6), (100, 6)], backend)

        def mounts(_):
            find = package().extract_mount_point
            return [find(path) for path in (self.file, link, self.path("missing"), beside, "/")]

        self.assertEqual(Child(mounts).result(), [self.point] * 3 + ["", ""])

    def test_C_39_rings_that_cannot_be_had(self):
        self.stub.do("refuse 13")

        def work(_, backend, how):
            os.environ["FST3FS_FALLBACK"] = how
            try:
                reader = package().create_reader(backend, mount_point=self.point)
            except OSError as error:
                return "constructor", error.errno
            failed = raised(lambda: reader.read_chunked(self.file, 0, 0, 100))
            told = reader.statistics()
            return failed and failed[1], told["ring_bytes"], told["file_bytes"], bool(told["fallback_reason"])

        for backend, how, answer in (
                ("cpp", "", (errno.EACCES, 0, 0, False)), ("cpp", "never", (errno.EACCES, 0, 0, False)),
                ("cpp", "warn", (None, 0, 100, True)), ("cpp", "ok", (None, 0, 100, False)),
                ("python", "", (None, 0, 100, True)), ("python", "warn", (None, 0, 100, True)),
                ("python", "never", ("constructor", errno.EACCES))):  # fmt: skip
            child = Child(lambda connection, b=backend, h=how: work(connection, b, h))
            self.assertEqual(child.result(), answer, (backend, how))

    def test_C_14_C_34_headers_then_data(self):
        text = b'{"a":1}'
        self.make("h", len(text).to_bytes(8, "little") + text + b"old data")
        for backend in BACKENDS:
            def work(connection, backend=backend):
                reader, path = package().create_reader(backend, mount_point=self.point), self.path("h")
                found = reader.read_headers_batch([path, self.path("h")])
                right = reader.read_chunked(path, 0, 15, 100), found == {path: (text.decode(), 15, 23)}
                connection.send("begin")
                connection.recv()
                failed = raised(lambda: reader.read_chunked(path, 0, 15, 100))
                return right, failed and failed[1]

            child = Child(work)
            child.receive()
            time.sleep(0.02)
            self.make("h", len(text).to_bytes(8, "little") + text + b"new data!")
            child.send("go")
            self.assertEqual(child.result(), ((8, True), errno.ESTALE), backend)
            self.make("h", len(text).to_bytes(8, "little") + text + b"old data")

    def test_C_77_a_dropped_reader_leaves_nothing(self):
        def count():
            return len(os.listdir("/proc/self/fd"))

        for backend in BACKENDS:
            def work(_, backend=backend):
                make = package().create_reader
                make(backend, mount_point=self.point).read_chunked(self.file, 0, 0, 100)
                time.sleep(0.3)  # descriptors on a mount are closed by another thread, for that may hang
                before = count()
                reader = make(backend, mount_point=self.point)
                reader.read_chunked(self.file, 0, 0, 100)
                more = count() > before
                del reader
                return more, wait_until(lambda: count() <= before)

            self.assertEqual(Child(work).result(), (True, True), backend)
            self.assertNoComplaint()


class Programs(RingTest):
    """Over our own daemon, which looks after those that are gone."""

    def test_C_77_a_program_that_ends_leaves_nothing(self):
        script = "import sys; from fastsafetensor_3fs_reader import create_reader; reader = create_reader(sys.argv[1], " \
                 "mount_point=sys.argv[2]); print(reader.read_chunked(sys.argv[3], 0, 0, 100))"  # fmt: skip
        self.make("f", bytes(1000))
        self.start(Weir)
        before = shm_names()
        for backend in BACKENDS:
            run = subprocess.run([sys.executable, "-c", script, backend, self.point, self.path("f")],
                                 env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
                                 capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "100\n", ""), backend)
            self.assertTrue(wait_until(lambda: not leftover_keys(self.point)), backend)
            self.assertEqual(shm_names() - before, set(), backend)


if __name__ == "__main__":
    main()
