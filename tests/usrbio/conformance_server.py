#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server's checks of the ring protocol, UB-1 to UB-52: weir-mount over a real mount, and a client that
writes the raw memory.  Clients that must not meet are processes under users of their own."""
import os
import subprocess
import time
import uuid

import raw
from rig import (OTHER, Child, leftover_keys, main, needs_root, readlink_error, run_as, sized, stat_error, statx_ino,
                 wait_until)
from served import MIB, ServerTest

class Names(ServerTest):
    def test_UB_01_sizes(self):
        for entries, size in ((1, 4336), (4, 4624), (16, 5776), (64, 10384), (1024, 102544)):
            self.assertEqual(raw.ring_bytes(entries), size)
            self.assertIsNone(self.answer(f".r{entries}.t0", size=size))
            self.assertEqual(self.answer(f".r{entries + 1}.t0", size=size), "EINVAL")
            ring, iov = self.ring(entries), self.iov(65536)
            _, ino = self.open("f", os.O_RDONLY)
            for _ in range(3):  # the places of completions and submissions lie where both ends think
                self.assertEqual(ring.do(*[(iov, 16 * i, ino, i, 16) for i in range(entries)]), [16] * entries)

    def test_UB_05_destroyed_by_decimal_flags(self):
        for flags in (1, 2, 3, 10):
            identity = str(uuid.uuid4())
            created, destroyed = f"{identity}.r0.t0.f{flags:b}", f"{identity}.r0.t0.f{flags}"
            self.closing(raw.Ring(self.mount, 4, key=created)).key = None
            self.assertEqual(self.mount.keys(), [created])
            self.assertIsNone(self.mount.unregister(destroyed))
            self.assertEqual(self.mount.keys(), [])
        ring = self.ring(4, flags=2)
        self.assertEqual(self.mount.unregister(ring.key[:-2] + "3"), "ENOENT")
        self.assertEqual(self.mount.unregister(ring.key.replace(".t0", ".t1")[:-2] + "2"), "ENOENT")

    def test_UB_06_answers_to_symlink(self):
        for attributes in (".b0", ".b-1", ".bx", ".b", ".b8193", ".r0.px.t0", ".r0.t-1", ".r0.t0.f12", ".r0.t0.fx",
                           ".t0", ".ph", ".f1", ".r42.t0", ".w42.t0"):
            self.assertEqual(self.answer(attributes), "EINVAL", attributes)
        for attributes in ("", ".b1", ".b8192", ".b4096junk", ".r0.t0", ".w-5.pl.t7", ".r41.t0", ".r0.p.t0.f11",
                           ".r0.pn.t0", ".t5.f1.ph.r3"):
            self.assertIsNone(self.answer(attributes), attributes)
        whole = str(uuid.uuid4())
        for key in ("nonsense", whole[:-1], "{" + whole + "}", whole.replace("-", ""), whole[:-1] + "g", whole + "0",
                    ".r0.t0"):
            self.assertEqual(self.answer("", key=key), "EIO", key)
        self.assertEqual(self.answer("", target="/dev/shm/there-is-none-" + whole), "EINVAL")
        fifo = "/dev/shm/hf3fs-iov-fifo-" + whole
        os.mkfifo(fifo)
        self.addCleanup(os.unlink, fifo)
        self.assertEqual(self.answer("", target=fifo), "EINVAL")
        ours = self.iov()
        self.assertEqual(self.mount.register(self.shared().path, ours.key), "EEXIST")
        self.assertEqual(self.mount.register(self.shared().path, ours.key + ".b4096"), "EEXIST")
        self.assertEqual(self.mount.keys(), [ours.key])

    def test_same_id_twice(self):
        iov = self.iov()
        for key in (iov.key + ".b4096", iov.key + ".r0.t0", iov.key.upper() + ".b8192"):
            self.assertEqual(self.mount.register(self.shared().path, key), "EEXIST")
        self.assertEqual(self.mount.keys(), [iov.key])

    def test_UB_07_ring_objects_too_small(self):
        for size in (0, 4095, 4144, 4239, 4335):
            for attributes in (".r0.t0", ".w0.t0", ".r-1.t0"):
                self.assertEqual(self.answer(attributes, self.closing(raw.Shared(size)).path), "EINVAL", size)
        self.assertIsNone(self.answer(".r0.t0", size=4336))
        self.assertWorks()

    def test_UB_08_absent_unknown_and_repeated_parts(self):
        iov = self.iov()
        _, ino = self.open("f")
        for attributes in (".r0", ".r0.t0.q7.zebra..", ".w0.r0.t0", ".r9.r0.t5.t0", ".r0.ph.pl.p.t0"):
            ring = self.ring(8, attributes=attributes)
            self.assertEqual(ring.do((iov, 0, ino, 10, 100)), [100], attributes)
        ring = self.ring(8, attributes=".r0.w0.t0")
        self.assertEqual(ring.do((iov, 0, ino, 10, 100)), [100])
        directory = os.open(self.mount.iovs, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, directory)
        for length, answer in ((1024, None), (1025, 36), (4000, 36), (4096, 36)):
            key, got = (str(uuid.uuid4()) + ".x" * 2200)[:length], None
            try:
                os.symlink(self.shared().path, key, dir_fd=directory)
                os.unlink(key, dir_fd=directory)
            except OSError as error:
                got = error.errno
            self.assertEqual(got, answer, length)

    def test_UB_09_upper_case(self):
        iov = self.iov(key=str(uuid.uuid4()).upper())
        ring = self.ring(key=str(uuid.uuid4()).upper() + ".r0.t0")
        _, ino = self.open("f")
        self.assertEqual(ring.do((iov, 0, ino, 0, 10)), [10])
        self.assertEqual(self.mount.keys(), sorted([iov.key, ring.key]))

    def test_UB_10_targets(self):
        outside = os.path.join(self.top, "outside")
        with open(outside, "wb") as to:
            to.write(bytes(8192))
        nested = "/dev/shm/hf3fs-iov-dir-" + str(uuid.uuid4())
        os.mkdir(nested)
        self.addCleanup(os.rmdir, nested)
        inner = os.path.join(nested, "inner")
        with open(inner, "wb") as to:
            to.write(bytes(8192))
        self.addCleanup(os.unlink, inner)
        for target in (outside, inner, "/etc/passwd", "/dev/shm/../shm/../../etc/passwd", "relative", "/dev/shm/"):
            self.assertEqual(self.answer("", target), "EACCES", target)
        self.assertEqual(self.answer("", nested), "EINVAL")
        self.assertEqual(self.answer("", "/dev/shm/none-" + str(uuid.uuid4())), "EINVAL")

    @needs_root
    def test_UB_10_targets_of_another_user(self):
        ours = self.shared(mode=0o666)
        self.assertEqual(run_as(OTHER, lambda: self.mount.register(ours.path, str(uuid.uuid4()))), "EACCES")
        theirs = run_as(OTHER, lambda: raw.Shared(8192, mode=0o666).path)
        self.addCleanup(os.unlink, theirs)
        self.assertEqual(self.answer("", theirs), "EACCES")

    def test_UB_11_name_gone_after_symlink(self):
        iov, ring = self.iov(keep_name=True), self.ring(keep_name=True)
        for thing in (iov, ring):
            self.assertTrue(os.path.exists(thing.path))
            thing.unlink()
        _, ino = self.open("f")
        self.assertEqual(ring.do((iov, 0, ino, 0, 4096)), [4096])
        self.assertEqual(iov.read(0, 4096), self.content[:4096])

    def test_UB_12_fresh_ring(self):
        for entries in (1, 16, 640):
            shared = raw.Shared(raw.ring_bytes(entries))
            self.addCleanup(shared.close)
            shared.write(16 + 96 * (entries + 1), b"\xff" * 12)
            key = f"{uuid.uuid4()}.r0.t0"
            self.assertIsNone(self.mount.register(shared.path, key))
            self.assertEqual(shared.read(16 + 96 * (entries + 1), 12), bytes(8) + b"\x80\0\0\0")
            self.assertEqual(shared.read(0, 16), bytes(16))
            self.mount.unregister(key)

    @needs_root
    def test_UB_13_keys_of_another_user(self):
        iov, ring = self.iov(), self.ring()

        def look():
            mine = raw.Iov(self.mount, 4096)
            seen = self.mount.keys()
            answers = [(stat_error(self.mount.link(key)), readlink_error(self.mount.link(key)),
                        self.mount.unregister(key)) for key in (iov.key, ring.key)]
            alone = seen == [mine.key]
            mine.close()
            return alone, answers

        alone, answers = run_as(OTHER, look)
        self.assertTrue(alone)
        self.assertEqual(answers, [("EPERM",) * 3] * 2)
        self.assertEqual(self.mount.keys(), sorted([iov.key, ring.key]))

    @needs_root
    def test_UB_13_keys_of_a_user_and_root(self):
        def stay(connection):
            mine = raw.Iov(self.mount, 4096)
            connection.send(mine.key)
            connection.recv()
            return mine.mount.keys() == [mine.key]

        child = Child(stay, OTHER)
        key = child.receive()
        self.assertEqual(self.mount.keys(), [])
        self.assertEqual(stat_error(self.mount.link(key)), "EPERM")
        self.assertEqual(readlink_error(self.mount.link(key)), "EPERM")
        self.assertEqual(self.mount.unregister(key), "EPERM")
        child.send("go")
        self.assertTrue(child.result())

    def test_UB_14_submit_links(self):
        for name in ("submit-ios.ph", "submit-ios", "submit-ios.pl"):
            target = os.readlink(self.mount.link(name))
            self.assertRegex(target, r"\A/dev/shm/sem\.[^/]+\Z")
            self.assertEqual(os.stat(target).st_size, 32)
            self.assertEqual(self.mount.unregister(name), "EPERM")
            self.assertEqual(self.mount.register(self.shared().path, name), "EEXIST")
            self.assertIn(name, os.listdir(self.mount.iovs))
        if os.geteuid() == 0:
            self.assertEqual(run_as(OTHER, lambda: [raw.libc.sem_post(self.mount.doorbell(p)) for p in (-1, 0, 1)]),
                             [0, 0, 0])

    def test_UB_14_other_operations(self):
        iov = self.iov()
        for call in (lambda: os.mkdir(self.mount.link("d")), lambda: os.mknod(self.mount.link("n"), 0o600),
                     lambda: os.rename(self.mount.link(iov.key), self.mount.link("other")),
                     lambda: os.chmod(self.mount.iovs, 0o700),
                     lambda: open(self.mount.link("file"), "w", encoding="ascii"),
                     lambda: os.rmdir(self.mount.iovs)):
            with self.assertRaises(PermissionError):
                call()
        self.assertEqual(os.readlink(self.mount.link(iov.key))[:19], "/dev/shm/hf3fs-iov-")

    def test_UB_33_depth_beyond_the_entries(self):
        for entries in (1, 4, 41):
            size = raw.ring_bytes(entries)
            for depth, answer in ((entries, None), (entries + 1, "EINVAL"), (2147483647, "EINVAL"),
                                  (-entries - 1, None), (-2147483648, None)):
                self.assertEqual(self.answer(f".r{depth}.t0", size=size), answer, (entries, depth))

    def test_UB_45_listing_keeps_registrations(self):
        iov, ring = self.iov(), self.ring()
        for _ in range(3):
            self.assertEqual(self.mount.keys(), sorted([iov.key, ring.key]))
        time.sleep(0.3)
        self.assertEqual(self.mount.keys(), sorted([iov.key, ring.key]))
        _, ino = self.open("f")
        self.assertEqual(ring.do((iov, 0, ino, 0, 10)), [10])


class Files(ServerTest):
    def test_UB_17_magic(self):
        os.mkdir(os.path.join(self.files, "d"))
        for name, flags in (("f", os.O_RDONLY), ("d", os.O_DIRECTORY), ("", os.O_DIRECTORY),
                            ("3fs-virt", os.O_DIRECTORY), ("3fs-virt/iovs", os.O_DIRECTORY)):
            fd, _ = self.open(name, flags)
            self.assertEqual(raw.magic(fd), raw.MAGIC, name)
            self.assertEqual(raw.magic(fd, raw.VERSION_IOCTL), 1, name)
        with self.assertRaises(OSError):
            raw.magic(fd, 0x800468FF)

    def test_UB_18_numbers(self):
        for i in range(40):
            self.make(f"n{i}", b"%d" % i * 8)
        listed = {entry.name: entry.inode() for entry in os.scandir(self.point)}
        ring, iov = self.ring(), self.iov()
        seen = set()
        for i in range(40):
            fd, ino = self.open(f"n{i}", os.O_RDONLY)
            self.assertEqual({os.stat(self.path(f"n{i}")).st_ino, statx_ino(fd), listed[f"n{i}"]}, {ino})
            self.assertEqual(ring.do((iov, 0, ino, 0, 8)), [len(b"%d" % i * 8) if i < 1 else 8])
            self.assertEqual(iov.read(0, 8), (b"%d" % i * 8)[:8])
            self.assertLess(ino, 1 << 57)
            seen.add(ino)
        self.assertEqual(len(seen), 40)

    def test_UB_18_no_number_twice(self):
        """The directory below may use its numbers again at once; the mount never does."""
        seen, below = {}, set()
        for i in range(300):
            path = self.path("again")
            with open(path, "wb") as to:
                to.write(b"x")
                ino = os.fstat(to.fileno()).st_ino
            below.add(os.stat(os.path.join(self.files, "again")).st_ino)
            os.unlink(path)
            self.assertNotIn(ino, seen, f"file {i} has the number of file {seen.get(ino)}")
            seen[ino] = i
        print(f"the directory below used {300 - len(below)} numbers again", flush=True)


class Mechanics(ServerTest):
    def test_UB_23_one_entry(self):
        self.assertEqual(self.drive("entries=1", "count=10000")["done"], 10000)

    def test_UB_24_random_requests_over_wrap_around(self):
        self.pattern("f", 8 << 20)
        done = 0
        for seed, (entries, depth, block) in enumerate(((7, 0, 3000), (16, -3, 20000), (64, 0, 4096), (255, -16, 512))):
            done += self.drive(f"entries={entries}", f"depth={depth}", f"block={block}", f"seed={seed}", "submit=5",
                               f"count={sized(25000, 250000)}")["done"]
        done += self.drive("entries=33", "write=1", f"count={sized(5000, 250000)}")["done"]
        self.assertGreaterEqual(done, sized(105000, 10**6))

    @needs_root
    def test_UB_25_later_ones_overtake(self):
        """The first reads a file system that takes its time; the others go round the ring meanwhile."""
        with self.slow_file(1500) as name:
            iov, ring = self.iov(), self.ring(8)
            _, slow = self.open(name, os.O_RDONLY)
            _, ino = self.open("f", os.O_RDONLY)
            ring.prepare(iov, 0, slow, 0, 4096)
            ring.submit()
            self.assertTrue(wait_until(lambda: ring.word(raw.SQE_TAIL) == 1), "the claim moves sqeTail")
            order, end = [], time.monotonic() + 1.2
            while time.monotonic() < end:
                while ring.free:  # a free slot is always a place: nothing holds sqeTail back
                    self.assertNotEqual((ring.head + 1) % ring.places, ring.word(raw.SQE_TAIL))
                    ring.prepare(iov, 4096, ino, 0, 4096)
                ring.submit()
                order += [slot for slot, _, _ in ring.wait(1, 1)]
            self.assertNotIn(0, order)
            self.assertGreater(len(order), 100)
            rest = 8 - len(ring.free)
            self.assertIn((0, 4096), [(slot, result) for slot, result, _ in ring.wait(rest, 5)])

    def noticed(self, ring, iov, ino, pause):
        times = []
        for _ in range(9):
            if pause:
                time.sleep(1.2)
            else:
                ring.do((iov, 0, ino, 0, 10))
                time.sleep(0.02)
            start = time.monotonic()
            ring.prepare(iov, 0, ino, 0, 10)
            self.assertTrue(wait_until(lambda: ring.word(raw.CQE_HEAD) != ring.tail, 2, 0.0005))
            times.append(time.monotonic() - start)
            ring.poll()
        return sorted(times)

    def test_UB_29_RG_25_without_a_post(self):
        iov, ring = self.iov(), self.ring()
        _, ino = self.open("f", os.O_RDONLY)
        busy = self.noticed(ring, iov, ino, False)
        self.assertLess(busy[4], 0.0125, busy)
        self.assertLess(busy[-1], 0.1, busy)
        idle = self.noticed(ring, iov, ino, True)
        self.assertLess(idle[4], 0.105, idle)
        self.assertLess(idle[-1], 1, idle)

    def test_UB_51_iov_removed_in_flight(self):
        size = 128 * MIB
        self.pattern("big", size)
        iov, ring = self.iov(size), self.ring()
        _, ino = self.open("big", os.O_RDONLY)
        self.assertEqual(ring.do((iov, 0, ino, 0, 10)), [10])  # the file is open from here on
        ring.prepare(iov, 0, ino, 0, size)
        ring.submit()
        self.assertTrue(wait_until(lambda: ring.word(raw.SQE_TAIL) == 2))
        self.assertIsNone(iov.unregister())
        self.assertEqual(ring.wait(1, 20)[0][1], size)
        with open(os.path.join(self.files, "big"), "rb") as content:
            self.assertEqual(iov.read(0, size), content.read())
        self.assertEqual(ring.do((iov, 0, ino, 0, 10)), [-22])


class Strict(ServerTest):
    OPTIONS = ("--read-write", "--ring-batch", "strict")

    def queue(self, depth, timeout, count):
        iov, ring = self.iov(), self.ring(depth=depth, timeout=timeout)
        _, ino = self.open("f", os.O_RDONLY)
        for i in range(count):
            ring.prepare(iov, 16 * i, ino, i, 16)
        ring.submit()
        return ring, iov, ino

    def test_UB_30_positive_depth(self):
        ring, iov, ino = self.queue(4, 0, 3)
        self.assertEqual(ring.wait(1, 1.2), [])
        ring.submit()
        self.assertEqual(ring.wait(1, 0.3), [])
        ring.prepare(iov, 0, ino, 0, 16)
        ring.submit()
        self.assertEqual(len(ring.wait(4, 2)), 4)

    def test_UB_31_negative_depth(self):
        self.assertEqual(len(self.queue(-2, 0, 5)[0].wait(5, 2)), 5)

    def test_UB_32_RG_32_partial_batch_after_its_timeout(self):
        times = []
        for _ in range(3):
            ring, _, _ = self.queue(-4, 200, 2)
            start = time.monotonic()
            got = ring.wait(2, 2)
            times.append(time.monotonic() - start)
            self.assertEqual(len(got), 2)
            ring.close()
        self.assertGreater(min(times), 0.19, times)
        self.assertLess(min(times), 0.31, times)
        ring, _, _ = self.queue(-4, 60000, 9)
        self.assertEqual(len(ring.wait(9, 0.5)), 8)


class Relaxed(Strict):
    OPTIONS = ("--read-write",)

    test_UB_30_positive_depth = None

    def test_KV_65_positive_depth(self):
        """Goes out when its client sleeps on the completion semaphore, 100 ms after."""
        ring, _, _ = self.queue(4, 0, 3)
        self.assertFalse(wait_until(lambda: ring.word(raw.CQE_HEAD), 0.5), "nobody waits: nothing goes out")
        start = time.monotonic()
        raw.libc.sem_timedwait(ring.semaphore, raw.time_spec(time.time() + 3))
        self.assertEqual(len(ring.wait(3, 1)), 3)
        self.assertGreater(time.monotonic() - start, 0.0)
        self.assertLess(time.monotonic() - start, 1.0)


class Results(ServerTest):
    def test_UB_34_ends(self):
        iov, ring = self.iov(), self.ring()
        _, ino = self.open("f", os.O_RDONLY)
        iov.write(0, b"\xee" * 16384)
        self.assertEqual(ring.do((iov, 0, ino, 1, 4096), (iov, 4096, ino, 300000, 4096), (iov, 8192, ino, 300007, 10),
                                 (iov, 8192, ino, 10**9, 10), (iov, 8192, ino, 0, 0)), [4096, 7, 0, 0, 0])
        self.assertEqual(iov.read(0, 4096), self.content[1:4097])
        self.assertEqual(iov.read(4096, 4096), self.content[300000:] + b"\xee" * 4089)
        self.assertEqual(iov.read(8192, 100), b"\xee" * 100)

    def holes(self):
        """data, hole, data, hole: 64 KiB each."""
        path, unit = os.path.join(self.files, "holes"), 65536
        with open(path, "wb") as to:
            to.write(b"a" * unit)
            to.seek(2 * unit)
            to.write(b"b" * unit)
            to.truncate(4 * unit)
        with open(path, "rb") as content:
            if os.lseek(content.fileno(), 0, os.SEEK_HOLE) != unit:
                self.skipTest("the file system below makes no holes")
        return self.open("holes", os.O_RDONLY)[1], unit

    def test_UB_35_hole_between_data(self):
        ino, unit = self.holes()
        iov, ring, strict = self.iov(), self.ring(), self.ring(flags=2)
        iov.write(0, b"\xee" * 4 * unit)
        self.assertEqual(ring.do((iov, 0, ino, 0, 3 * unit)), [3 * unit])
        self.assertEqual(iov.read(0, 3 * unit), b"a" * unit + bytes(unit) + b"b" * unit)
        self.assertEqual(strict.do((iov, 0, ino, 0, 3 * unit), (iov, 0, ino, unit + 100, unit), (iov, 0, ino, 0, unit),
                                   (iov, 0, ino, 2 * unit, unit)), [-61, -61, unit, unit])

    def test_UB_36_ends_in_a_hole(self):
        ino, unit = self.holes()
        iov = self.iov()
        truth = b"a" * unit + bytes(unit) + b"b" * unit + bytes(unit)
        for ring in (self.ring(), self.ring(flags=2)):
            for offset, length in ((unit - 100, 1000), (unit + 10, 100), (3 * unit - 5, 500), (3 * unit, unit)):
                iov.write(0, b"\xee" * length)
                result, = ring.do((iov, 0, ino, offset, length))
                self.assertLessEqual(result, length)
                self.assertGreaterEqual(result, 0)
                self.assertEqual(iov.read(0, result), truth[offset:offset + result])

    def test_UB_38_refused_one_by_one(self):
        os.mkdir(os.path.join(self.files, "d"))
        iov, blocked = self.iov(65536), self.iov(65536, block=4096)
        _, ino = self.open("f")
        _, directory = self.open("d", os.O_DIRECTORY)
        self.make("closed")
        closed = os.stat(self.path("closed")).st_ino
        good = (iov, 0, ino, 0, 16)
        bad = [((b"\0" * 16, 0, ino, 0, 16), -22), ((uuid.uuid4().bytes, 0, ino, 0, 16), -22),
               ((iov, 65536, ino, 0, 1), -22), ((iov, 65530, ino, 0, 7), -22), ((iov, 2**64 - 8, ino, 0, 16), -22),
               ((iov, 8, ino, 0, 2**64 - 4), -22), ((iov, 0, ino, 0, 65537), -22), ((blocked, 4090, ino, 0, 7), -22),
               ((iov, 0, ino + 12345, 0, 16), -9), ((iov, 0, 0, 0, 16), -9), ((iov, 0, directory, 0, 16), -9),
               ((iov, 0, closed, 0, 16), -9), ((iov, 0, 2**64 - 2, 0, 16), -9), ((iov, 0, 1, 0, 16), -9)]
        for ring in (self.ring(64), self.ring(64, write=True)):
            iov.write(0, self.content[:16])
            batch = [request for wrong, _ in bad for request in (good, wrong)] + [good]
            expected = [code for _, wrong in bad for code in (16, wrong)] + [16]
            self.assertEqual(ring.do(*batch), expected)
            self.assertEqual(ring.do(ring_itself(ring, ino)), [-22])
        self.assertEqual(self.ring().do((blocked, 4090, ino, 0, 6), (blocked, 0, ino, 0, 4096)), [6, 4096])

    def test_UB_38_other_direction(self):
        iov = self.iov()
        self.make("r", b"1" * 100)
        self.make("w", b"2" * 100)
        _, reading = self.open("r", os.O_RDONLY)
        _, writing = self.open("w", os.O_WRONLY)
        self.assertEqual(self.ring().do((iov, 0, reading, 0, 10), (iov, 0, writing, 0, 10)), [10, -13])
        self.assertEqual(self.ring(write=True).do((iov, 0, reading, 0, 10), (iov, 0, writing, 0, 10)), [-13, 10])

    @needs_root
    def test_UB_38_files_and_iovs_of_others(self):
        iov, ring = self.iov(), self.ring()
        _, ino = self.open("f", os.O_RDONLY)
        self.make("theirs", b"3" * 100)

        def attack():
            mine, mine_ring = raw.Iov(self.mount, 4096), raw.Ring(self.mount)
            fd = os.open(self.path("theirs"), os.O_RDONLY)
            own = os.fstat(fd).st_ino
            results = mine_ring.do((mine, 0, own, 0, 10), (iov.id, 0, own, 0, 10), (ring.id, 0, own, 0, 10),
                                   (mine, 0, ino, 0, 10))
            mine_ring.close()
            mine.close()
            return own, results

        theirs, results = run_as(OTHER, attack)
        self.assertEqual(results, [10, -22, -22, -9])
        self.assertEqual(ring.do((iov, 0, theirs, 0, 10), (iov, 0, ino, 0, 10)), [-9, 10])

    def test_UB_39_bad_offset_in_the_same_iov(self):
        iov, ring = self.iov(65536), self.ring()
        _, ino = self.open("f", os.O_RDONLY)
        self.assertEqual(ring.do((iov, 0, ino, 0, 16), (iov, 2**40, ino, 0, 16), (iov, 16, ino, 16, 16)), [16, -22, 16])
        self.assertEqual(iov.read(0, 32), self.content[:32])

    def test_UB_41_overlapping_reads(self):
        iov, ring = self.iov(), self.ring()
        _, ino = self.open("f", os.O_RDONLY)
        self.assertEqual(ring.do((iov, 0, ino, 0, 8192), (iov, 4096, ino, 20000, 8192)), [8192, 8192])

    def test_UB_42_one_large_request(self):
        size = 256 * MIB + 4097
        self.pattern("large", size)
        iov, ring = self.iov(size), self.ring(2)
        _, ino = self.open("large", os.O_RDONLY)
        ring.prepare(iov, 0, ino, 0, size, userdata=42)
        ring.submit()
        self.assertEqual(ring.wait(1, 60), [(0, size, 42)])
        self.assertEqual(ring.wait(1, 0.1), [])
        with open(os.path.join(self.files, "large"), "rb") as content:
            for offset in range(0, size, 64 * MIB):
                length = min(64 * MIB, size - offset)
                self.assertEqual(iov.read(offset, length), content.read(length))

    def test_UB_43_written_and_seen(self):
        iov, ring = self.iov(), self.ring(write=True)
        fd, ino = self.open("f")
        self.assertEqual(os.pread(fd, 5000, 0), self.content[:5000])  # these pages are cached from now on
        iov.write(0, b"W" * 5000)
        self.assertEqual(ring.do((iov, 0, ino, 1000, 2000), (iov, 0, ino, 400000, 5000)), [2000, 5000])
        raw.fcntl.ioctl(fd, raw.FSYNC_IOCTL, 0)
        self.assertEqual(os.fstat(fd).st_size, 405000)
        self.assertEqual(os.stat(self.path("f")).st_size, 405000)
        self.assertEqual(os.pread(fd, 5000, 0), self.content[:1000] + b"W" * 2000 + self.content[3000:5000])
        self.assertEqual(os.pread(fd, 6000, 399999), b"\0" + b"W" * 5000)
        with open(os.path.join(self.files, "f"), "rb") as content:
            self.assertEqual(content.read()[1000:3000], b"W" * 2000)


def ring_itself(ring, ino):
    return (ring.id, 0, ino, 0, 16)


class ReadOnly(ServerTest):
    OPTIONS = ()

    def test_UB_40_read_only(self):
        iov, reading, writing = self.iov(), self.ring(), self.ring(write=True)
        _, ino = self.open("f", os.O_RDONLY)
        self.assertEqual(reading.do((iov, 0, ino, 0, 10)), [10])
        self.assertEqual(writing.do((iov, 0, ino, 0, 10), (iov, 0, 999, 0, 10), (b"\0" * 16, 0, ino, 0, 10)),
                         [-30, -30, -30])
        with self.assertRaises(OSError) as refused:
            os.open(self.path("f"), os.O_RDWR)
        self.assertEqual(refused.exception.errno, 30)
        for thing in (iov, reading, writing):
            self.assertIsNone(thing.unregister())
        self.assertEqual(leftover_keys(self.point), [])


if __name__ == "__main__":
    main()
