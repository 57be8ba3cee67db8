#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that break every rule, RG-01 to RG-36: weir-mount over a real mount.  Whatever one does, the daemon
lives, an honest client beside it reads right bytes, and nothing of the others' is reached."""
import os
import resource
import subprocess
import time
import uuid

import raw
import vendor
from rig import (OTHER, THIRD, Child, Weir, cpu_seconds, leftover_keys, main, mount_points, needs_root, resident_kib,
                 run_as, sized, take, wait_until)
from served import MIB, ServerTest

NONSENSE = (-1, -2**31, 2**31 - 1)


class HostileTest(ServerTest):
    def setUp(self):
        super().setUp()
        self.fd, self.ino = self.open("f")
        self.witness = self.iov(), self.ring()

    def tearDown(self):
        iov, ring = self.witness
        if ring.key and self.weir.guard is not None:
            self.assertEqual(ring.do((iov, 64, self.ino, 7, 1000)), [1000], "another ring is unharmed")
            self.assertEqual(iov.read(64, 1000), self.content[7:1007])
        super().tearDown()

    def assertDies(self, ring):
        """The ring is taken off; its key goes, and nothing of it is completed any more."""
        key = ring.key
        self.assertTrue(wait_until(lambda: key not in self.mount.keys(), 3), "a ring that lied is still there")
        ring.key = None
        self.assertTrue(wait_until(lambda: key.split(".")[0][:8] in self.weir.said(), 2), "the log is silent")
        said = [line for line in self.weir.said().splitlines() if key.split(".")[0] in line]
        self.assertLessEqual(len(said), 1, said)


class Markers(HostileTest):
    def test_RG_01_submission_head(self):
        for value in (*NONSENSE, 17, 1000):
            ring = self.ring(16)
            ring.set_word(raw.SQE_HEAD, value)
            ring.submit()
            self.assertDies(ring)

    def test_RG_01_head_jumps_past_what_is_free(self):
        iov, ring = self.iov(), self.ring(4)
        for _ in range(4):
            ring.prepare(iov, 0, self.ino, 0, 10)
        ring.submit()
        self.assertTrue(wait_until(lambda: ring.word(raw.CQE_HEAD) == 4))
        ring.free = [0, 1]
        ring.prepare(iov, 0, self.ino, 0, 10)  # nothing was collected: there is no room for an answer
        ring.submit()
        time.sleep(0.3)
        self.assertEqual(ring.word(raw.CQE_HEAD), 4)

    def test_RG_02_words_of_the_server(self):
        iov, ring = self.iov(), self.ring(8)
        for value in (*NONSENSE, 5, 9):
            ring.set_word(raw.SQE_TAIL, value)
            ring.set_word(raw.CQE_HEAD, ring.tail)
            ring.prepare(iov, 0, self.ino, 0, 10)
            place = ring.tail
            ring.set_word(raw.CQE_HEAD, value)
            ring.submit()
            self.assertTrue(wait_until(lambda want=(place + 1) % 9: ring.word(raw.CQE_HEAD) == want))
            self.assertEqual([result for _, result, _ in ring.poll()], [10])
            self.assertEqual(ring.word(raw.SQE_TAIL), ring.head)

    def test_RG_03_completion_tail(self):
        for value in (*NONSENSE, 17, 3, 16):
            iov, ring = self.iov(), self.ring(16)
            ring.do((iov, 0, self.ino, 0, 10), (iov, 0, self.ino, 0, 10))  # head 2, tail 2
            ring.set_word(raw.CQE_TAIL, value)
            ring.prepare(iov, 0, self.ino, 0, 10)
            ring.submit()
            if value != 3:  # one place ahead of the head is out of bounds, too, but seen as 16 in flight
                self.assertDies(ring)

    def test_RG_03_tail_moves_backwards(self):
        iov, ring = self.iov(), self.ring(4)
        ring.do(*[(iov, 0, self.ino, 0, 10)] * 3)
        ring.set_word(raw.CQE_TAIL, 0)  # three completions are uncollected again
        for _ in range(4):
            ring.free = [0]
            ring.prepare(iov, 0, self.ino, 0, 10)
            ring.submit()
            time.sleep(0.02)
        self.assertLessEqual((ring.word(raw.CQE_HEAD) - 0) % 5, 4)

    def test_RG_04_RG_05_slots(self):
        iov, ring = self.iov(), self.ring(8)
        for slot in (*NONSENSE, 9, 10, 2**30):
            self.assertEqual(len(ring.free), 8)
            ring.prepare(iov, 0, self.ino, 0, 10, slot=0, submission=slot, userdata=99)
            ring.submit()
            self.assertEqual(ring.wait(1), [(slot, -22, 99)])
            ring.free = list(range(8))
        for _ in range(3):  # one slot in two entries
            ring.prepare(iov, 0, self.ino, 0, 10, slot=3, userdata=1)
            ring.prepare(iov, 100, self.ino, 0, 20, slot=3, userdata=2)
            ring.submit()
            got = ring.wait(2)
            self.assertEqual(sorted(userdata for _, _, userdata in got), [1, 2])
            for _, result, _ in got:
                self.assertIn(result, (10, 20, -22))
            ring.free = list(range(8))

    def test_RG_34_userdata(self):
        iov, ring = self.iov(), self.ring()
        for userdata in (0, 1, 2**64 - 1, 0xdeadbeef, 2**63):
            ring.prepare(iov, 0, self.ino, 0, 10, userdata=userdata)
            ring.submit()
            self.assertEqual([u for _, _, u in ring.wait(1)], [userdata])

    def test_RG_33_wrap(self):
        for entries in (1, 2, 3, 4, 7, 8, 9, 63, 64, 65):
            answer = self.drive(f"entries={entries}", f"count={sized(10**5, 10**8)}", "block=64", "submit=7")
            self.assertEqual(answer["done"], sized(10**5, 10**8))

    def test_RG_35_partly_there(self):
        iov, ring = self.iov(), self.ring()
        iov.write(0, b"\xee" * 8192)
        self.assertEqual(ring.do((iov, 0, self.ino, 300000, 8192)), [7])
        self.assertEqual(iov.read(0, 8192), self.content[300000:] + b"\xee" * 8185)


class Requests(HostileTest):
    def test_RG_06_records_that_change(self):
        self.harm("flip", sized(30, 36000), 1, sized(10**5, 10**8))

    def test_RG_07_RG_08_RG_09_RG_10_ranges(self):
        iov, blocked, ring = self.iov(65536), self.iov(65536, block=8192), self.ring(32)
        good = (iov, 0, self.ino, 0, 100)
        bad = [(iov, 2**64 - 50, self.ino, 0, 100), (iov, 100, self.ino, 0, 2**64 - 50), (iov, 65536, self.ino, 0, 1),
               (iov, 2**63, self.ino, 0, 1), (iov, 0, self.ino, 0, 2**63), (iov, 0, self.ino, 0, 65537),
               (iov, 65535, self.ino, 0, 2), (iov, 1, self.ino, 0, 65536), (blocked, 8191, self.ino, 0, 2),
               (blocked, 0, self.ino, 0, 8193), (blocked, 65535, self.ino, 0, 2)]
        requests = [r for request in bad for r in (good, request)]
        self.assertEqual(ring.do(*requests), [100, -22] * len(bad))
        self.assertEqual(ring.do((iov, 0, self.ino, 0, 65536), (iov, 0, self.ino, 5, 0), (blocked, 8192, self.ino, 0,
                                                                                        8192)), [65536, 0, 8192])

    @needs_root
    def test_RG_11_RG_12_ids_of_others(self):
        iov, ring = self.witness
        self.make("secret", b"S" * 4096, mode=0o600)
        secret = self.open("secret")[1]
        os.mkdir(os.path.join(self.files, "d"))

        def attack():
            mine, own = raw.Iov(self.mount, 4096), raw.Ring(self.mount, 32)
            fd = os.open(self.path("f"), os.O_RDONLY)
            ino, directory = os.fstat(fd).st_ino, os.stat(self.path("d")).st_ino
            ids = own.do(*[(name, 0, ino, 0, 16) for name in (uuid.uuid4().bytes, iov.id, ring.id, own.id, bytes(16))])
            files = own.do(*[(mine, 0, number, 0, 16) for number in (secret, directory, 12345678, 2**64 - 1, 0)])
            os.close(fd)
            gone = wait_until(lambda: own.do((mine, 0, ino, 0, 16)) == [-9])
            seen = mine.read(0, 4096)
            own.close()
            mine.close()
            return ids, files, gone, seen

        ids, files, gone, seen = run_as(OTHER, attack)
        self.assertEqual(ids, [-22] * 5)
        self.assertEqual(files, [-9] * 5)
        self.assertTrue(gone, "a right ends with the last release")
        self.assertNotIn(b"SSSS", seen)

    def test_RG_12_removed_and_released(self):
        iov, ring = self.iov(), self.ring()
        self.make("short-lived", b"x" * 100)
        fd = os.open(self.path("short-lived"), os.O_RDONLY)
        ino = os.fstat(fd).st_ino
        self.assertEqual(ring.do((iov, 0, ino, 0, 100)), [100])
        os.unlink(self.path("short-lived"))
        self.assertEqual(ring.do((iov, 0, ino, 0, 100)), [100], "removed, but open")
        os.close(fd)
        self.assertTrue(wait_until(lambda: ring.do((iov, 0, ino, 0, 100)) == [-9]))

    def test_RG_13_other_direction(self):
        iov = self.iov()
        self.make("r", b"1" * 100)
        self.make("w", b"2" * 100)
        _, reading = self.open("r", os.O_RDONLY)
        _, writing = self.open("w", os.O_WRONLY)
        self.assertEqual(self.ring().do((iov, 0, writing, 0, 10), (iov, 0, reading, 0, 10)), [-13, 10])
        self.assertEqual(self.ring(write=True).do((iov, 0, writing, 0, 10), (iov, 0, reading, 0, 10)), [10, -13])

    def test_RG_14_file_offsets(self):
        iov, ring = self.iov(), self.ring()
        self.assertEqual(ring.do((iov, 0, self.ino, 10**12, 100), (iov, 0, self.ino, 2**63, 100),
                                 (iov, 0, self.ino, 2**64 - 50, 100), (iov, 0, self.ino, 2**63 - 50, 100)),
                         [0, -22, -22, -22])

    def test_RG_15_buffer_shrinks(self):
        for size in (0, 32768):
            for warm in (False, True):
                iov, ring = self.iov(65536), self.ring()
                if warm:  # what was registered by earlier requests stays readable to the kernel
                    ring.do(*[(iov, 4096 * i, self.ino, 0, 4096) for i in range(16)])
                iov.resize(size)
                for result in ring.do((iov, 40960, self.ino, 0, 4096), (iov, 0, self.ino, 0, 65536)):
                    self.assertIn(result, (-14, -22, 4096, 65536, 32768, 0))

    def test_RG_15_ring_shrinks(self):
        for size in (0, raw.ring_bytes(4096) // 2):
            iov, ring = self.iov(), self.ring(4096)
            ring.do((iov, 0, self.ino, 0, 10))
            ring.resize(size)
            ring.submit()
            time.sleep(0.15)
            ring.submit()
            if size == 0:
                self.assertDies(ring)

    def test_RG_24_nobody_collects(self):
        iov, ring = self.iov(), self.ring(16)
        for turn in range(3):
            ring.free = list(range(16))
            for _ in range(16 if not turn else 0):
                ring.prepare(iov, 0, self.ino, 0, 10)
            ring.submit()
        self.assertTrue(wait_until(lambda: ring.word(raw.CQE_HEAD) == 16))
        before = cpu_seconds(self.weir.pid)
        time.sleep(1)
        self.assertLess(cpu_seconds(self.weir.pid) - before, 0.3, "it spins")
        self.assertEqual(len(ring.poll()), 16)
        ring.submit()
        self.assertEqual(ring.do((iov, 0, self.ino, 0, 10)), [10])

    def test_RG_26_RG_27_bells(self):
        quiet = self.told(self.honest(2, "entries=4"))
        bells = self.harm_start("bell", sized(3, 60))
        before, start = cpu_seconds(self.weir.pid), time.monotonic()
        iov, ring = self.witness
        slow = []
        while bells.poll() is None:
            began = time.monotonic()
            self.assertEqual(ring.do((iov, 0, self.ino, 0, 100)), [100])
            slow.append(time.monotonic() - began)
        self.assertLess((cpu_seconds(self.weir.pid) - before) / (time.monotonic() - start), 3.3, "a core a priority")
        slow.sort()
        self.assertLess(slow[len(slow) * 99 // 100], 0.15)
        for value in (b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f\0\0\0\0"):  # left behind in a bell
            for priority in (-1, 0, 1):
                raw.ctypes.memmove(self.mount.doorbell(priority), value, len(value))
            for priority in (-1, 0, 1):
                other = self.ring(priority=priority)
                took = take(1, lambda r=other: r.do((iov, 0, self.ino, 0, 100), seconds=1) == [100])
                self.assertLess(took, 0.3, (value, priority))
                other.close()
        self.assertGreater(quiet["done"], 100)

    def test_RG_27_a_bell_that_kills_who_rings_it(self):
        """With nonsense in its flags, the C library's own post ends the process; ours does not care."""
        library = vendor.load()
        client = vendor.Client(library, self.point)
        self.addCleanup(client.close)
        self.assertLessEqual(library.hf3fs_reg_fd(self.fd, 0), 0)
        self.addCleanup(library.hf3fs_dereg_fd, self.fd)
        bell = self.mount.doorbell()
        before = raw.ctypes.string_at(bell, 32)
        for value in (b"\x55" * 32, b"\xff" * 32, b"\0" * 32):
            raw.ctypes.memmove(bell, value, 32)
            start = time.monotonic()
            self.assertEqual(client.do(self.fd, 0, 100), 100)
            self.assertLess(time.monotonic() - start, 0.3)
        raw.ctypes.memmove(bell, before, 32)

    def test_RG_28_two_processes_on_one_ring(self):
        iov, ring = self.iov(), self.ring(16)

        def push(_=None):
            for _ in range(300):
                ring.free = ring.free or list(range(16))
                ring.prepare(iov, 0, self.ino, 0, 10)
                ring.submit()
                ring.poll()

        child = Child(push)
        push()
        child.result()
        self.assertTrue(self.weir.alive())
        ring.key = ring.key if ring.key in self.mount.keys() else None

    def test_RG_30_removed_while_requests_run(self):
        before = resident_kib(self.weir.pid)
        self.harm("churn", sized(100, 36000), 1, sized(300, 10**5))
        self.assertTrue(wait_until(lambda: len(self.mount.keys()) == 2))
        self.assertLess(resident_kib(self.weir.pid) - before, 65536)


class Neighbours(HostileTest):
    @needs_root
    def test_RG_29_a_slow_neighbour(self):
        with self.slow_file(sized(1500, 30000)) as name:
            _, ino = self.open(name, os.O_RDONLY)
            iov, ring = self.iov(), self.ring(8)
            quiet = self.latencies(1.0)
            for i in range(8):  # FUSE itself lets no more than 12 wait without holding up who asks
                ring.prepare(iov, 4096 * i, ino, 4096 * i, 4096)
            ring.submit()
            busy = self.latencies(1.0)
            self.assertEqual(ring.poll(), [], "the neighbour was slow all the time")
            self.assertLess(busy, 2 * quiet + 0.002)

    def latencies(self, seconds):
        iov, ring = self.witness
        times, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.monotonic()
            self.assertEqual(ring.do((iov, 0, self.ino, 0, 4096)), [4096])
            times.append(time.monotonic() - start)
        return sorted(times)[len(times) * 99 // 100]

    @needs_root
    def test_RG_31_another_users_objects(self):
        iov, ring = self.witness

        def attack():
            answers = [self.mount.unregister(key) for key in (iov.key, ring.key)]
            try:
                os.readlink(self.mount.link(iov.key))
                answers.append(None)
            except PermissionError:
                answers.append("EPERM")
            answers.append(self.mount.register("/dev/shm/whatever", iov.key))
            mine = raw.Shared(4096)
            answers.append(self.mount.register(mine.path, iov.key + ".b4096"))
            mine.close()
            return answers, self.mount.keys()

        answers, keys = run_as(OTHER, attack)
        self.assertEqual(answers[:3], ["EPERM"] * 3)
        self.assertTrue(all(answers[3:]))
        self.assertEqual(keys, [])


class Registering(HostileTest):
    def test_RG_17_RG_18_RG_19_sizes_and_names(self):
        huge = self.closing(raw.Shared(1 << 40, mapped=0)).path
        small = self.shared(8192).path
        self.assertIn(self.answer(".r0.t0", huge), ("EINVAL", "EMFILE", "ENOSPC", "ENOMEM"))
        self.assertIn(self.answer(".b1", huge), ("EINVAL", "EMFILE", "ENOSPC", "ENOMEM"))
        for attributes in (".b0", ".b8193", ".b-4096", ".btext", ".r42.t0", ".r0.t0.f3"):
            self.assertEqual(self.answer(attributes, small), "EINVAL", attributes)
        for attributes in (".r0", ".r0.t0.t0.r0", ".r0.x.t0", ".r-2147483648.t0"):
            self.assertIsNone(self.answer(attributes, small), attributes)
        self.assertEqual(self.answer("", small, key="1234-5678"), "EIO")
        for size in (0, 16, 4335):
            self.assertEqual(self.answer(".r0.t0", self.closing(raw.Shared(size)).path), "EINVAL")

    def test_RG_20_targets(self):
        own = self.shared()
        link = "/dev/shm/hf3fs-iov-link-" + str(uuid.uuid4())
        os.symlink(own.path, link)
        self.addCleanup(os.unlink, link)
        for target, answers in ((link, ("EACCES",)), ("/dev/shm/../shm/" + own.name, ("EACCES",)),
                                ("/dev/shm/x/../" + own.name, ("EACCES",)), ("/proc/self/fd/%d" % own.fd, ("EACCES",)),
                                ("/dev/shm/..", ("EACCES", "EINVAL")), ("/dev/shm/.", ("EACCES", "EINVAL"))):
            self.assertIn(self.answer("", target), answers, target)
        self.assertIsNone(self.answer("", own.path))

    @needs_root
    def test_RG_21_swapped_between_check_and_open(self):
        victim = self.shared(65536, mode=0o666)
        name = "/dev/shm/hf3fs-iov-swap-" + str(uuid.uuid4())

        def swap(connection):
            own = raw.Shared(65536)
            connection.send("ready")
            while not connection.poll(0):
                for call, what in ((os.symlink, victim.path), (os.link, own.path)):
                    call(what, name + ".new")
                    os.rename(name + ".new", name)
            os.unlink(name)
            own.unlink()

        def register(_):
            """Whatever was registered is read into: had it been the victim, its bytes were others now."""
            answers, ring = {}, raw.Ring(self.mount, 4)
            fd = os.open(self.path("f"), os.O_RDONLY)
            for _ in range(sized(1000, 10**6)):
                key = str(uuid.uuid4())
                answer = self.mount.register(name, key)
                answers[answer] = answers.get(answer, 0) + 1
                if answer is None:
                    ring.do((uuid.UUID(key).bytes, 0, os.fstat(fd).st_ino, 0, 4096))
                    self.mount.unregister(key)
            return answers

        swapper = Child(swap, OTHER)
        swapper.receive()
        answers = Child(register, OTHER).result(sized(60, 3600))
        swapper.send("end")
        swapper.result()
        self.assertEqual(victim.read(0, 4096), bytes(4096))
        self.assertLessEqual(set(answers), {None, "EACCES", "EINVAL"})
        self.assertGreaterEqual(len(answers), 2, "the swapper was never in between: this shows nothing")
        with open(f"/proc/{self.weir.pid}/maps", encoding="utf-8") as maps:
            self.assertNotIn(victim.name, maps.read())

    @needs_root
    def test_RG_22_more_than_its_share(self):
        def greedy(_):
            shared = raw.Shared(4336)
            counts = []
            for attributes, limit in ((".r0.t0", 4096), ("", 16384)):
                made, answer = 0, None
                while answer is None and made <= limit + 10:
                    answer = self.mount.register(shared.path, f"{uuid.uuid4()}{attributes}")
                    made += answer is None
                counts.append((made, answer))
            large = raw.Shared(1 << 43, mapped=0)
            counts.append(self.mount.register(large.path, str(uuid.uuid4())))
            large.close()
            shared.close()
            return counts

        rings, iovs, large = Child(greedy, OTHER).result(120)
        self.assertEqual((rings, iovs), ((4096, "EMFILE"), (16384, "EMFILE")))
        self.assertIn(large, ("EMFILE", "ENOSPC", "ENOMEM"))
        self.assertEqual(run_as(THIRD, lambda: raw.Ring(self.mount, 4).unregister()), None)
        self.assertTrue(wait_until(lambda: not run_as(OTHER, self.mount.keys), 5), "a dead greedy client is forgotten")

    @needs_root
    def test_RG_36_low_on_descriptors_and_memory(self):
        pid, before = self.weir.pid, set(self.mount.keys())
        in_use = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
        limits = [(resource.RLIMIT_NOFILE, in_use), (resource.RLIMIT_AS, 1 << 20)]
        if os.environ.get("WEIR_SANITIZED"):  # whose runtime ends where it gets no memory
            limits.pop()
        for kind, limit in limits:
            normal = resource.prlimit(pid, kind)
            try:
                resource.prlimit(pid, kind, (limit, normal[1]))
                answer = self.answer("", self.shared(64 * MIB).path)
            finally:
                resource.prlimit(pid, kind, normal)
            self.assertIn(answer, (None, "EMFILE", "ENFILE", "ENOMEM", "EACCES", "EAGAIN"), kind)
            self.assertEqual(set(self.mount.keys()), before, "nothing is half registered")
            self.assertIsNone(self.answer("", self.shared(64 * MIB).path))
        normal = resource.prlimit(pid, resource.RLIMIT_MEMLOCK)
        resource.prlimit(pid, resource.RLIMIT_MEMLOCK, (0, normal[1]))
        iov, ring = self.iov(), self.ring()
        self.assertEqual(ring.do((iov, 0, self.ino, 0, 4096)), [4096])
        resource.prlimit(pid, resource.RLIMIT_MEMLOCK, normal)


class Namespaces(ServerTest):
    @needs_root
    def test_UB_50_RG_16_shared_memory_fills_up(self):
        """In a namespace with 8 MiB of it: an iov that nothing stands behind."""
        def small(_):
            raw.libc.unshare(0x20000)
            for command in (["mount", "--make-rprivate", "/"],
                            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/dev/shm"]):
                subprocess.run(command, check=True)
            point = os.path.join(self.top, "inner")
            os.mkdir(point)
            weir = Weir(self.files, point)
            mount = raw.Mount(point)
            iov, ring = raw.Iov(mount, 64 * MIB), raw.Ring(mount)
            fd = os.open(os.path.join(point, "big"), os.O_RDONLY)
            results = ring.do(*[(iov, 8 * MIB * i, os.fstat(fd).st_ino, 0, 8 * MIB) for i in range(4)])
            refused = mount.register(raw.Shared(4336).path, f"{uuid.uuid4()}.r0.t0")  # no page for its semaphore
            alive = weir.alive()
            os.close(fd)
            for thing in (ring, iov):
                thing.close()
            weir.release()
            return results, alive, refused

        self.pattern("big", 8 * MIB)
        results, alive, refused = Child(small).result()
        self.assertTrue(alive)
        self.assertIsNotNone(refused)
        self.assertTrue(all(result in (8 * MIB, -14, -28, -12) or 0 <= result < 8 * MIB for result in results), results)
        self.assertTrue(any(result != 8 * MIB for result in results), results)

    @needs_root
    def test_UB_52_containers(self):
        def inside(own_shm):
            def run(_):
                raw.libc.unshare(0x20000)
                subprocess.run(["mount", "--make-rslave", "/"], check=True)
                if own_shm:
                    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
                    return self.mount.register(raw.Shared(8192).path, str(uuid.uuid4()))
                fd = os.open(self.path("f"), os.O_RDONLY)
                with_iov, with_ring = raw.Iov(self.mount, 4096), raw.Ring(self.mount)
                return with_ring.do((with_iov, 0, os.fstat(fd).st_ino, 0, 100))
            return Child(run).result()

        self.assertEqual(inside(False), [100])
        self.assertEqual(inside(True), "EINVAL")
        self.assertTrue(wait_until(lambda: "/dev/shm" in self.weir.said()), self.weir.said())
        self.assertIn(os.path.realpath(self.point), mount_points())
        self.assertTrue(wait_until(lambda: leftover_keys(self.point) == []))


if __name__ == "__main__":
    main()
