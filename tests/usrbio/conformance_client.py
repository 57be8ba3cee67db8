#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The client's checks of the ring protocol, UB-1 to UB-52 and RG-37 to RG-52: our client, by way of the
library with the vendor's interface, against a server that is not ours and misbehaves on request."""
import ctypes
import json
import os
import random
import re
import resource
import signal
import subprocess
import threading
import time
import unittest

import raw
import vendor
from rig import Child, RingTest, Stub, close_quietly, detach, main, needs_root, shm_names, sized, wait_until

KEY = re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.b\d+)?([.][rw]-?\d+(\.p[hl])?\.t\d+(\.f[01]+)?)?\Z")
AGAIN, INVALID, BAD, DENIED = -11, -22, -9, -13
PROTO, GONE, TIMED_OUT = -71, -107, -110


class ClientTest(RingTest):
    def setUp(self):
        super().setUp()
        self.content = self.pattern("f", 300007)
        self.stub = self.start(Stub)
        self.library = vendor.load()

    def tearDown(self):
        """Whatever a server did: the client itself kept to the protocol."""
        if self.stub.alive():
            self.assertEqual(self.stub.tell("complaints"), "")

    def client(self, *arguments, **how):
        client = vendor.Client(self.library, self.point, *arguments, **how)
        self.assertEqual(client.answer, 0)
        self.addCleanup(client.close)
        return client

    def file(self, name="f", flags=os.O_RDWR):
        fd, _ = self.open(name, flags)
        self.assertLessEqual(self.library.hf3fs_reg_fd(fd, 0), 0)
        self.addCleanup(self.library.hf3fs_dereg_fd, fd)
        return fd

    def keys(self):
        return self.stub.tell("keys").split()

    def state(self):
        return json.loads(self.stub.tell("state"))


class Names(ClientTest):
    def test_UB_01_sizes(self):
        for entries, size in ((1, 4336), (4, 4624), (16, 5776), (64, 10384), (1024, 102544), (4096, 397456)):
            self.assertEqual(self.library.hf3fs_ior_size(entries), size)

    def test_UB_02_layout(self):
        for kind, (size, fields) in vendor.OFFSETS.items():
            self.assertEqual(ctypes.sizeof(kind), size)
            self.assertEqual({name: getattr(kind, name).offset for name in fields}, fields)
        client = self.client(entries=5, depth=-3, timeout=9, flags=2)  # and the library writes them there
        ior = client.ior
        self.assertEqual((ior.for_read, ior.io_depth, ior.priority, ior.timeout, ior.flags), (True, -3, 0, 9, 2))
        self.assertEqual((client.iov.size, client.iov.block_size, client.iov.mount_point.decode()),
                         (1 << 20, 0, self.point))
        self.assertEqual(self.library.hf3fs_io_entries(ctypes.byref(ior)), 5)

    def test_UB_03_keys(self):
        self.client(entries=7)
        self.client(entries=1, read=False, depth=-2, timeout=5, flags=3, block=65536)
        keys = self.keys()
        self.assertEqual(len(keys), 4)
        for key in keys:
            self.assertRegex(key, KEY)
        ends = sorted(key[36:] for key in keys)
        self.assertEqual(ends, sorted(["", ".b65536", ".r0.t0", ".w-2.t5.f11"]))
        ring = vendor.Ior()
        for priority, text in ((-3, ".r0.ph.t0"), (0, ".r0.t0"), (9, ".r0.pl.t0")):
            self.assertEqual(self.library.hf3fs_iorcreate2(ctypes.byref(ring), self.point.encode(), 4, True, 0,
                                                           priority, -1), 0)
            self.assertIn(text, [key[36:] for key in set(self.keys()) - set(keys)])
            self.library.hf3fs_iordestroy(ctypes.byref(ring))
        self.assertEqual(self.stub.tell("complaints"), "")  # the sizes of the rings were exact, too

    def test_UB_04_RG_52_flags_leave_no_link(self):
        for flags in (0, 1, 2, 3, 6):
            ring = vendor.Ior()
            self.assertEqual(self.library.hf3fs_iorcreate4(ctypes.byref(ring), self.point.encode(), 4, True, 0, 0, -1,
                                                           flags), 0)
            self.assertEqual(len(self.keys()), 1)
            self.library.hf3fs_iordestroy(ctypes.byref(ring))
            self.assertEqual(self.keys(), [], flags)
        for i in range(sized(100, 100000)):
            ring = vendor.Ior()
            self.library.hf3fs_iorcreate4(ctypes.byref(ring), self.point.encode(), 2, i % 2 == 0, -(i % 5), i % 3, -1,
                                          i % 4)
            self.library.hf3fs_iordestroy(ctypes.byref(ring))
        state = self.state()
        self.assertEqual((state["rings"], state["unknown_unlinks"]), (0, 0))
        self.assertEqual(state["keys_made"], sized(100, 100000) + 5)

    def test_UB_03_objects_in_shared_memory(self):
        client = self.client(entries=7)
        left = {name for name in shm_names() - self.shm_before if name.startswith("hf3fs-iov")}
        self.assertEqual(len(left), 1, "the ring's name is gone, the iov's stays for hf3fs_iovopen")
        name = left.pop()
        self.assertEqual(os.stat(raw.SHM + name).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(raw.SHM + name).st_size, 1 << 20)
        self.library.hf3fs_iovunlink(ctypes.byref(client.iov))
        self.assertNotIn(name, shm_names())


class Mounts(ClientTest):
    def extract(self, path, size=256):
        out = ctypes.create_string_buffer(b"#" * 400)
        return self.library.hf3fs_extract_mount_point(out, size, path.encode()), out.raw[:size].split(b"\0")[0]

    @needs_root
    def test_UB_15_mounts(self):
        self.assertEqual(self.extract(self.path("f")), (len(self.point) + 1, self.point.encode()))
        self.assertEqual(self.extract(self.point)[0], len(self.point) + 1)
        self.assertEqual(self.extract(self.top)[0], -1)
        self.assertEqual(self.extract(self.path("there is none"))[0], -1)
        os.mkdir(os.path.join(self.files, "sub"))
        parent = os.path.join(self.top, "container")
        for name, what in (("data", "sub"), ("3fs-virt", "3fs-virt")):
            where = os.path.join(parent, name)
            os.makedirs(where)
            subprocess.run(["mount", "--bind", self.path(what), where], check=True)
            self.addCleanup(detach, where)
        self.assertEqual(self.extract(os.path.join(parent, "data")), (len(parent) + 1, parent.encode()))
        spaced = os.path.join(self.top, "with a space")
        os.mkdir(spaced)
        subprocess.run(["mount", "--bind", self.point, spaced], check=True)
        self.addCleanup(detach, spaced)
        self.assertEqual(self.extract(os.path.join(spaced, "f")), (len(spaced) + 1, spaced.encode()))

    def test_UB_16_buffer_too_short(self):
        length = len(self.point)
        out = ctypes.create_string_buffer(b"#" * 400)
        for size in (length, 1, 0):
            self.assertEqual(self.library.hf3fs_extract_mount_point(out, size, self.point.encode()), length + 1)
            self.assertEqual(out.raw[:4], b"####")
        self.assertEqual(self.library.hf3fs_extract_mount_point(out, length + 1, self.point.encode()), length + 1)
        self.assertEqual(out.value, self.point.encode())

    def test_RG_48_paths_and_doorbells(self):
        iov, ior = vendor.Iov(), vendor.Ior()
        for path in ("/" + "x" * 255, "/" + "x" * 5000, "/nowhere", self.top, ""):
            self.assertLess(self.library.hf3fs_iovcreate(ctypes.byref(iov), path.encode(), 4096, 0, -1), 0, path)
            self.assertLess(self.library.hf3fs_iorcreate(ctypes.byref(ior), path.encode(), 4, True, 0, -1), 0, path)
        for target in ("/dev/shm/sem." + "x" * 300, "/dev/shm/sem.", "/etc/passwd", "sem.relative",
                       "/dev/shm/hf3fs-iov-1", "/dev/shm/sem.there/is", "/dev/shm/sem.none-such"):
            self.stub.do("doorbell " + target)
            client = vendor.Client(self.library, self.point)
            answer = client.answer or self.library.hf3fs_submit_ios(ctypes.byref(client.ior))
            self.assertLess(answer, 0, target)
            client.close()
        self.stub.tell("doorbell")
        self.assertEqual(self.keys(), [])
        self.assertEqual(self.client().do(self.file(), 0, 10), 10)

    def test_sizes_that_make_no_sense(self):
        iov, ior = vendor.Iov(), vendor.Ior()
        create = self.library.hf3fs_iovcreate
        for size, block in ((0, 0), (4096, 8192), (2**63, 0), (2**64 - 1, 0)):
            self.assertLess(create(ctypes.byref(iov), self.point.encode(), size, block, -1), 0)
        for entries in (0, -1, -2147483648, 2147483647):
            self.assertLess(self.library.hf3fs_iorcreate(ctypes.byref(ior), self.point.encode(), entries, True, 0, -1),
                            0)
        self.assertLess(self.library.hf3fs_iorcreate3(ctypes.byref(ior), self.point.encode(), 4, True, 0, 0, -1, -1), 0)
        self.assertEqual(self.keys(), [])

    def test_symlink_refused(self):
        for number in (1, 12, 13, 22, 24, 28, 30):
            self.stub.do(f"refuse {number}")
            client = vendor.Client(self.library, self.point)
            self.assertLess(client.answer, 0)
            client.close()
        self.stub.do("refuse 0")
        self.assertFalse({name for name in shm_names() - self.shm_before if name.startswith("hf3fs-iov")})
        self.assertEqual(self.client().do(self.file(), 0, 10), 10)


class Descriptors(ClientTest):
    def test_UB_19_registration(self):
        register, forget = self.library.hf3fs_reg_fd, self.library.hf3fs_dereg_fd
        null = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(close_quietly, null)
        self.assertEqual(register(null, 0), 9)
        self.assertEqual(register(-1, 0), 9)
        self.assertEqual(register(10**6, 0), 9)
        self.assertFalse(self.library.hf3fs_is_hf3fs(null))
        fd = os.open(self.path("f"), os.O_RDONLY)
        self.assertTrue(self.library.hf3fs_is_hf3fs(fd))
        self.assertLessEqual(register(fd, 0), 0)
        self.assertEqual(register(fd, 0), 22)
        os.close(fd)
        self.make("g", b"g" * 100)
        again = os.open(self.path("g"), os.O_RDONLY)
        self.assertEqual(again, fd)
        self.assertEqual(register(again, 0), 22)
        forget(again)
        self.assertLessEqual(register(again, 0), 0)
        client = self.client()
        self.assertEqual(client.do(again, 0, 1000), 100)
        self.assertEqual(client.bytes(0, 100), b"g" * 100)
        forget(again)
        os.close(again)

    def test_UB_20_closed_by_the_user(self):
        fd = os.open(self.path("f"), os.O_RDONLY)
        self.assertLessEqual(self.library.hf3fs_reg_fd(fd, 0), 0)
        os.close(fd)
        client = self.client()
        self.assertEqual(client.do(fd, 100, 4096), 4096)
        self.assertEqual(client.bytes(0, 4096), self.content[100:4196])
        self.library.hf3fs_dereg_fd(fd)
        self.assertEqual(client.prepare(fd, 0, 1), BAD)

    def test_UB_21_misuse(self):
        reading, writing = self.client(), self.client(read=False)
        only_read, only_write = self.file(flags=os.O_RDONLY), self.file(flags=os.O_WRONLY)
        self.assertEqual(writing.prepare(only_read, 0, 10), DENIED)
        self.assertEqual(reading.prepare(only_write, 0, 10), DENIED)
        self.assertEqual(reading.prepare(only_read, 0, 10, read=False), INVALID)
        self.assertEqual(writing.prepare(only_write, 0, 10, read=True), INVALID)
        loose, _ = self.open("f")
        self.assertEqual(reading.prepare(loose, 0, 10), BAD)
        self.assertEqual(reading.prepare(only_read, 0, 0), INVALID)
        self.assertEqual(self.library.hf3fs_prep_io(None, ctypes.byref(reading.iov), True, reading.iov.base, only_read,
                                                    0, 10, None), INVALID)
        self.assertEqual(self.library.hf3fs_prep_io(ctypes.byref(reading.ior), None, True, reading.iov.base, only_read,
                                                    0, 10, None), INVALID)
        self.assertEqual(self.state()["claims"], 0)

    def test_RG_51_buffers_outside(self):
        client, fd = self.client(size=8192), self.file()
        base = client.iov.base
        for pointer, length in ((base - 1, 10), (base + 8192, 1), (base, 8193), (base + 8000, 193), (base, 2**64 - 1),
                                (base + 1, 2**64 - base), (2**64 - 8, 16), (0, 10), (base + 8, 2**63)):
            self.assertEqual(client.prepare(fd, 0, length, pointer=pointer % 2**64), INVALID, (pointer, length))
        self.assertEqual(client.do(fd, 0, 8192), 8192)

    def test_UB_50_no_room(self):
        """In a namespace with 4 MiB of shared memory: allocated, or compared."""
        if os.geteuid():
            self.skipTest("a namespace needs root")

        def small(_):
            raw.libc.unshare(0x20000)
            for command in (["mount", "--make-rprivate", "/"],
                            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", "/dev/shm"]):
                subprocess.run(command, check=True)
            point, files = os.path.join(self.top, "inner"), self.files
            os.mkdir(point)
            stub = Stub(files, point)
            iov, answers = vendor.Iov(), []
            for size in (1 << 20, 64 << 20, 3 << 30, 1 << 40):
                answers.append(self.library.hf3fs_iovcreate(ctypes.byref(iov), point.encode(), size, 0, -1))
                if not answers[-1]:
                    self.library.hf3fs_iovdestroy(ctypes.byref(iov))
            left = [name for name in os.listdir("/dev/shm") if name.startswith("hf3fs-iov")]
            stub.release()
            return answers, left

        self.assertEqual(Child(small).result(), ([0, -28, -28, -28], []))


class Mechanics(ClientTest):
    def test_UB_22_full(self):
        client, fd = self.client(entries=5), self.file()
        self.stub.do("hold on")
        self.assertEqual([client.prepare(fd, 0, 10) for _ in range(6)], [0, 1, 2, 3, 4, AGAIN])
        self.stub.do("hold off")
        client.submit()
        self.assertEqual(len(client.wait(5, 5, vendor.at(5))), 5)
        self.assertIn(client.prepare(fd, 0, 10), range(5))
        client.submit()
        client.wait(1, 1, vendor.at(5))

    def run_many(self, client, fd, count, block=2000):
        """Random requests; each slot comes back once, with its bytes and userdata."""
        generator, busy, done, made, places = random.Random(count), {}, 0, 0, client.entries
        end = time.monotonic() + sized(100, 3600)
        while done < count and time.monotonic() < end:
            while made < count:
                offset, length = generator.randrange(len(self.content)), generator.randrange(1, block)
                slot = client.prepare(fd, offset, length, made % places * block, made + 1)
                if slot == AGAIN or slot < 0:
                    self.assertEqual(slot, AGAIN)
                    break
                self.assertNotIn(slot, busy)
                busy[slot] = offset, length, made % places * block, made + 1
                made += 1
                if len(busy) == places:
                    break
            client.submit()
            for slot, result, userdata in client.wait(64, 1, vendor.at(5)):
                offset, length, place, expected = busy.pop(slot)
                self.assertEqual((result, userdata), (min(length, len(self.content) - offset), expected))
                done += 1
                if done % 16 == 0 and not [b for b in busy.values() if b[2] == place]:
                    self.assertEqual(client.bytes(place, result), self.content[offset:offset + result])
        self.assertEqual((done, busy), (count, {}))

    def test_UB_23_one_entry(self):
        self.run_many(self.client(entries=1), self.file(), 10000)

    def test_UB_24_random_order(self):
        fd = self.file()
        for entries, batch, jitter in ((7, "on", 1), (16, "off", 1), (3, "on", 0), (64, "off", 0)):
            self.stub.do(f"batch {batch}")
            self.stub.do(f"jitter {jitter}")
            self.run_many(self.client(entries=entries), fd, sized(800, 250000))

    def test_UB_26_two_threads(self):
        """One prepares, one waits; the race detector sees the same in the client's own tests."""
        client, fd, count = self.client(entries=8), self.file(), sized(5000, 10**6)
        seen, prepared = [], [0]

        def reap():
            while len(seen) < count:
                got = client.wait(8, 1, vendor.at(5))
                if not got:
                    return
                seen.extend(userdata for _, _, userdata in got)

        thread = threading.Thread(target=reap)
        thread.start()
        while prepared[0] < count and thread.is_alive():
            if client.prepare(fd, 0, 10, 0, prepared[0] + 1) >= 0:
                prepared[0] += 1
            else:
                time.sleep(0)
            client.submit()
        thread.join()
        self.assertEqual(sorted(seen), list(range(1, count + 1)))

    def test_UB_27_waits_without_work(self):
        client, fd = self.client(entries=16), self.file()
        for _ in range(1000):
            client.prepare(fd, 0, 10)
            client.submit()
            end = time.monotonic() + 5
            while not client.wait(1, 0) and time.monotonic() < end:
                pass
        self.stub.do("fault delay 100")
        client.prepare(fd, 0, 10)
        client.submit()
        before, start = time.process_time(), time.monotonic()
        self.assertEqual(len(client.wait(1, 1, vendor.at(5))), 1)
        self.assertGreater(time.monotonic() - start, 0.08)
        self.assertLess(time.process_time() - before, 0.005)

    def timed(self, call):
        start = time.monotonic()
        return call(), time.monotonic() - start

    def quickest(self, call):
        """Its answer, five times the same, and the shortest time: a busy machine may add to one or the other."""
        runs = [self.timed(call) for _ in range(5)]
        self.assertEqual([got for got, _ in runs], [runs[0][0]] * 5)
        return min(runs, key=lambda run: run[1])

    def test_UB_28_RG_46_limits_of_a_wait(self):
        client, fd = self.client(), self.file()
        got, took = self.quickest(lambda: client.wait(4, 1, vendor.at(-5)))
        self.assertEqual(got, [])
        self.assertLess(took, 0.02)
        got, took = self.quickest(lambda: client.wait(4, 1, vendor.at(0.05)))
        self.assertEqual(got, [])
        self.assertGreater(took, 0.045)
        self.assertLess(took, 0.12)
        got, took = self.quickest(lambda: client.wait(4, 0, None))
        self.assertEqual(got, [])
        self.assertLess(took, 0.02)
        self.assertEqual(client.wait(0, 1, vendor.at(1)), INVALID)
        self.assertEqual(client.wait(-3, 1, vendor.at(1)), INVALID)
        self.assertEqual(client.wait(4, -2, vendor.at(1)), [])
        self.stub.do("fault delay 100")
        client.prepare(fd, 0, 10)
        client.submit()
        got, took = self.timed(lambda: client.wait(1, 99, None))  # more than fits: cut to what fits
        self.assertEqual(len(got), 1)
        self.assertGreater(took, 0.08)
        odd = ctypes.byref(vendor.Timespec(0, 10**9))
        self.assertEqual(self.timed(lambda: client.wait(1, 1, odd))[0], INVALID)


class Lies(ClientTest):
    """A server that breaks the protocol: the ring is dead then, and only the ring."""

    def dead(self, fault, code=PROTO, length=10, entries=8):
        client, fd = self.client(entries=entries, size=65536), self.file()
        self.assertEqual(client.do(fd, 0, 10), 10)
        self.stub.do("fault " + fault)
        client.prepare(fd, 0, length, 65536 - 100, 5)
        client.submit()
        seen, end = None, time.monotonic() + 3
        while not isinstance(seen, int) and time.monotonic() < end:
            seen = client.wait(8, 1, vendor.at(0.2))
        self.assertEqual(seen, code, fault)
        self.assertLess(client.prepare(fd, 0, 10), 0, "a dead ring takes nothing")
        self.assertEqual(client.wait(8, 0), code, "and stays dead")
        self.stub.do("fault none")
        self.assertEqual(self.client().do(self.file(), 0, 10), 10)

    def test_RG_40_index_out_of_range(self):
        for index in (-1, 8, 9, 2147483647, -2147483648):
            self.dead(f"index {index}")

    def test_RG_40_index_of_a_free_slot(self):
        self.dead("index 7")

    def test_RG_40_completed_twice(self):
        self.dead("twice 0")

    def test_UB_37_RG_41_more_than_asked(self):
        client, fd = self.client(size=65536), self.file()
        for more in (1, 1000):
            self.stub.do(f"fault add {more}")
            self.assertEqual(client.do(fd, 0, 4096), 4096)
        self.assertEqual(client.do(fd, 300000, 100), 7)

    def test_UB_37_RG_41_beyond_the_iov(self):
        for result in (101, 65536, 2**31, 2**32 + 5, 2**62):
            self.dead(f"result {result}")

    def test_RG_42_heads(self):
        for head in (-1, 9, 2147483647, -2147483648, 6):
            self.dead(f"head {head}")

    def test_RG_44_userdata(self):
        self.dead("userdata 1")

    def test_RG_42_tails(self):
        """sqeTail is the server's word, too: out of range it is a breach, or not believed."""
        client, fd = self.client(entries=8), self.file()
        for tail in (-1, 9, 2147483647):
            self.stub.do(f"fault tail {tail}")
            got = client.do(fd, 0, 10)
            self.assertIn(got, (10, PROTO))
            self.assertIn(client.prepare(fd, 0, 10), list(range(8)) + [AGAIN, PROTO])
            client.submit()
            client.wait(8, 1, vendor.at(0.5))

    def test_posts_that_do_not_come(self):
        client, fd = self.client(), self.file()
        self.stub.do("fault nopost 0 -1")
        for _ in range(20):
            self.assertEqual(client.do(fd, 0, 10), 10)

    def test_RG_43_late_completion(self):
        """Given up at its time limit, the request keeps its slot until it comes."""
        client, fd = self.client(entries=1), self.file()
        self.stub.do("hold on")
        slot = client.prepare(fd, 0, 10, 0, 7)
        client.submit()
        self.assertEqual(client.wait(1, 1, vendor.at(0.1)), [])
        self.assertEqual(client.prepare(fd, 0, 10), AGAIN)
        self.stub.do("hold off")
        self.assertEqual(client.wait(1, 1, vendor.at(5)), [(slot, 10, 7)])

    def test_RG_47_two_that_wait(self):
        """Not allowed, and harmless: nothing comes twice."""
        client, fd, seen = self.client(entries=8), self.file(), []

        def reap():
            cqes = (vendor.Cqe * 8)()
            for _ in range(300):
                count = self.library.hf3fs_wait_for_ios(ctypes.byref(client.ior), cqes, 8, 1, vendor.at(0.01))
                seen.extend(cqe.userdata for cqe in cqes[:max(count, 0)])

        threads = [threading.Thread(target=reap) for _ in range(2)]
        for thread in threads:
            thread.start()
        made = 0
        while any(thread.is_alive() for thread in threads):
            if client.prepare(fd, 0, 10, 0, made + 1) >= 0:
                made += 1
            client.submit()
        for thread in threads:
            thread.join()
        self.assertEqual(len(seen), len(set(seen)))


class Death(ClientTest):
    def in_flight(self, count, client, fd):
        for i in range(count):
            self.assertGreaterEqual(client.prepare(fd, 0, 10, 0, i + 1), 0)

    def collect(self, client, limit=6):
        """Results until the ring says it is gone; how long that took."""
        results, start = [], time.monotonic()
        while time.monotonic() - start < limit:
            got = client.wait(8, 1, None)
            if isinstance(got, int):
                return results, got, time.monotonic() - start
            results += got
        return results, None, time.monotonic() - start

    def test_UB_48_RG_37_killed(self):
        for when in ("before submit", "after submit", "half done"):
            client, fd = self.client(entries=8), self.file()
            self.stub.do("hold on" if when != "half done" else "fault lose 0 -1 4")
            if when == "before submit":
                self.in_flight(8, client, fd)
                self.stub.kill()
                client.submit()
            else:
                self.in_flight(8, client, fd)
                client.submit()
                if when == "half done":
                    self.assertTrue(wait_until(lambda: self.state()["claims"] == 8))
                time.sleep(0.05)
                self.stub.kill()
            results, answer, took = self.collect(client)
            self.assertLess(took, 2.3, when)
            self.assertEqual(answer, GONE, when)
            self.assertEqual(sorted(userdata for _, _, userdata in results), list(range(1, 9)), when)
            good = [result for _, result, _ in results if result != GONE]
            self.assertEqual(good, [10] * 4 if when == "half done" else [], when)
            self.assertLess(client.prepare(fd, 0, 10), 0)
            client.close()
            self.stub.release()
            self.stub = self.start(Stub)

    def test_UB_48_RG_39_restarted(self):
        client, fd = self.client(entries=4), self.file()
        self.stub.do("hold on")
        self.in_flight(4, client, fd)
        client.submit()
        self.stub.do("restart")
        results, answer, took = self.collect(client)
        self.assertEqual((len(results), answer), (4, GONE))
        self.assertTrue(all(result == GONE for _, result, _ in results))
        self.assertLess(took, 2.3)
        self.stub.do("hold off")
        self.assertEqual(self.client().do(self.file(), 0, 10), 10)
        self.assertLess(client.prepare(fd, 0, 10), 0, "the old ring is not used again")

    def test_RG_38_stopped(self):
        client, fd = self.client(entries=4), self.file()
        self.stub.do("hold on")
        self.in_flight(2, client, fd)
        client.submit()
        self.stub.kill(signal.SIGSTOP)
        self.addCleanup(self.stub.process.send_signal, signal.SIGCONT)
        for _ in range(3):
            start = time.monotonic()
            self.assertEqual(client.wait(4, 1, vendor.at(1.2)), [])
            self.assertLess(time.monotonic() - start, 1.4, "the waiting thread does not touch the mount")
        self.stub.kill(signal.SIGCONT)
        self.stub.do("hold off")
        self.assertEqual(len(client.wait(4, 2, vendor.at(5))), 2, "it was only stopped")

    def test_UB_48_RG_38_stopped_without_a_limit(self):
        client, fd = self.client(entries=4), self.file()
        self.stub.do("hold on")
        self.in_flight(2, client, fd)
        client.submit()
        self.stub.kill(signal.SIGSTOP)
        self.addCleanup(self.stub.process.send_signal, signal.SIGCONT)
        start = time.monotonic()
        self.assertEqual(client.wait(4, 1, None), TIMED_OUT)
        self.assertGreater(time.monotonic() - start, 58)
        self.assertLess(time.monotonic() - start, 63)
        self.stub.kill(signal.SIGCONT)
        self.stub.do("hold off")
        self.assertEqual(len(client.wait(4, 2, vendor.at(5))), 2, "they stayed in flight")

    def test_UB_48_nothing_in_flight(self):
        """Nothing that could fail, and no time limit: it waits, with a daemon and without."""
        def wait(connection):
            client = vendor.Client(vendor.load(), self.point, entries=4)
            connection.send(client.answer)
            return client.wait(1, 1, None)

        child = Child(wait)
        self.assertEqual(child.receive(), 0)
        time.sleep(2.5)
        self.stub.kill()
        self.assertFalse(child.connection.poll(3))
        child.kill()

    def test_RG_49_descriptor_limit(self):
        """As many descriptors as the kernel allows: nothing is sized by that."""
        script = ("import sys, resource, ctypes, os\n"
                  "limit = int(open('/proc/sys/fs/nr_open').read())\n"
                  "try: resource.setrlimit(7, (limit, limit))\n"
                  "except ValueError: pass\n"
                  "ctypes.CDLL(sys.argv[1])\n"
                  "print(open('/proc/self/status').read().split('VmData:')[1].split()[0])\n")
        usage = int(subprocess.run(["python3", "-c", script, vendor.LIBRARY], capture_output=True, check=True).stdout)
        self.assertLess(usage, 200000)
        self.assertGreaterEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1024)

    def test_RG_50_number_used_again(self):
        """A registered file that was closed and whose number is another's now is still the old file."""
        fd = os.open(self.path("f"), os.O_RDONLY)
        self.assertLessEqual(self.library.hf3fs_reg_fd(fd, 0), 0)
        os.close(fd)
        self.make("g", b"g" * 5000)
        again = os.open(self.path("g"), os.O_RDONLY)
        self.assertEqual(again, fd)
        client = self.client()
        answer = client.do(fd, 0, 4096)
        self.assertIn(answer, (4096, BAD))
        self.assertNotEqual(client.bytes(0, 4096), b"g" * 4096)
        self.library.hf3fs_dereg_fd(fd)
        os.close(again)

    def test_UB_47_killed_right_after_creating(self):
        """The library keeps an iov's name for hf3fs_iovopen; the ring's is gone at once."""
        def create(connection):
            client = vendor.Client(vendor.load(), self.point, entries=4)
            connection.send(client.answer)
            time.sleep(60)

        before = shm_names()
        child = Child(create)
        self.assertEqual(child.receive(), 0)
        child.kill()
        left = [name for name in shm_names() - before if name.startswith("hf3fs-iov")]
        self.assertEqual(len(left), 1)
        os.unlink(raw.SHM + left[0])

    def test_forked_child(self):
        client, fd = self.client(entries=4), self.file()

        def use(_):
            answers = client.prepare(fd, 0, 10), client.submit(), client.wait(1, 1, vendor.at(1))
            client.close()
            return answers

        prepared, submitted, waited = Child(use).result()
        self.assertLess(prepared, 0)
        self.assertLess(submitted, 0)
        self.assertLess(waited, 0)
        self.assertEqual(len(self.keys()), 2, "the child took nothing of its parent's away")
        self.assertEqual(client.do(fd, 0, 10), 10)


if __name__ == "__main__":
    unittest.TestCase.maxDiff = None
    main()
