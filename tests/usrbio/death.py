#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Death on both sides: clients killed at random points, the daemon killed and stopped under load, and what is
left afterwards counted: names, mappings, descriptors, shared-memory objects, semaphores.  And the ring fuzzer."""
import os
import random
import signal
import subprocess
import threading
import time

import raw
import vendor
from rig import (CAMPAIGN, HARM, OTHER, Child, Weir, close_quietly, descriptors, leftover_keys, main, needs_root,
                 resident_kib, shared_mappings, shm_names, sized, take, wait_until)
from served import MIB, ServerTest

GONE = -107


class Clients(ServerTest):
    def setUp(self):
        super().setUp()
        self.pattern("f", 16 * MIB)

    def standing(self):
        pid = self.weir.pid
        return shared_mappings(pid), descriptors(pid)

    def settled(self, before, seconds=6):
        """Everything a client had is back: memory within 5 s of its last request."""
        return wait_until(lambda: all(now <= then for now, then in zip(self.standing(), before)), seconds)

    def test_UB_44_RG_23_killed_with_requests_in_flight(self):
        self.harm("churn", 20, 1, 3)  # whatever is made once is made
        before = self.standing()
        for _ in range(3):
            client = self.harm_start("hold", 100)
            self.assertEqual(len(self.mount.keys()), 6, "three threads, an iov and a ring each")
            time.sleep(0.1)
            client.kill()
            client.wait()
            took = take(3, lambda: not self.mount.keys())
            self.assertIsNotNone(took)
            self.assertLess(took, 1.0)
            self.assertTrue(self.settled(before), (before, self.standing()))

    def test_UB_47_RG_23_killed_at_random_points(self):
        generator = random.Random(7)
        self.harm("churn", 20, 1, 3)
        before, memory = self.standing(), resident_kib(self.weir.pid)
        honest = self.honest(sized(8, 3600), "entries=4", "block=512")
        count = 0
        while honest.poll() is None or count < sized(100, 5000):
            mode = generator.choice(("hold", "churn", "fuzz", "flip"))
            client = subprocess.Popen([HARM, mode, self.point, "f", "30", str(count)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(generator.random() * 0.05)
            client.kill()
            client.wait()
            count += 1
        self.told(honest)
        self.assertGreaterEqual(count, sized(100, 5000))
        self.assertTrue(wait_until(lambda: not self.mount.keys(), 3), self.mount.keys())
        self.assertTrue(self.settled(before), (before, self.standing()))
        self.assertLess(resident_kib(self.weir.pid) - memory, 65536)
        left = [name for name in shm_names() - self.shm_before if name.startswith("hf3fs-iov")]
        for name in left:  # killed between making an object and registering it: nobody's but the dead's
            os.unlink(raw.SHM + name)
        self.assertLess(len(left), count)

    def test_UB_47_library_killed_right_after_creating(self):
        """The vendor's interface keeps an iov's name; the daemon removes it when it sees the death."""
        library = vendor.load()

        def create(connection):
            client = vendor.Client(library, self.point, entries=4)
            connection.send(client.answer)
            time.sleep(60)

        for _ in range(3):
            child = Child(create)
            self.assertEqual(child.receive(), 0)
            child.kill()
            self.assertTrue(wait_until(
                lambda: not [n for n in shm_names() - self.shm_before if n.startswith("hf3fs-iov")], 3))
            self.assertTrue(wait_until(lambda: not self.mount.keys(), 2))

    def test_threads_that_end_keep_their_registrations(self):
        """A registration is its process's, not its thread's."""
        made = []
        thread = threading.Thread(target=lambda: made.extend([self.iov(), self.ring()]))
        thread.start()
        thread.join()
        time.sleep(0.5)
        _, ino = self.open("f", os.O_RDONLY)
        iov, ring = made
        self.assertEqual(ring.do((iov, 0, ino, 0, 100)), [100])

    @needs_root
    def test_two_users(self):
        """At the same time, each with files, buffers and rings of its own: nothing crosses."""
        self.make("mine", b"M" * 4096, mode=0o600)
        self.make("theirs", b"T" * 4096, mode=0o600)
        os.chown(os.path.join(self.files, "theirs"), OTHER, OTHER)
        mine_iov, mine_ring = self.iov(4096), self.ring()
        _, mine = self.open("mine", os.O_RDONLY)

        def attack(connection):
            iov, ring = raw.Iov(self.mount, 4096), raw.Ring(self.mount)
            fd = os.open(self.path("theirs"), os.O_RDONLY)
            theirs = os.fstat(fd).st_ino
            connection.send((iov.id, ring.id, theirs))
            refused = []
            for flags in (os.O_RDONLY, os.O_RDWR):
                try:
                    os.open(self.path("mine"), flags)
                except PermissionError:
                    refused.append(True)
            for _ in range(200):
                results = ring.do((iov, 0, theirs, 0, 4096), (mine_iov.id, 0, theirs, 0, 4096), (iov, 0, mine, 0, 4096),
                                  (mine_ring.id, 0, theirs, 0, 16))
                if results != [4096, -22, -9, -22] or iov.read(0, 4096) != b"T" * 4096:
                    return refused, results
            return refused, None

        child = Child(attack, OTHER)
        their_iov, their_ring, theirs = child.receive()
        for _ in range(200):
            self.assertEqual(mine_ring.do((mine_iov, 0, mine, 0, 4096), (their_iov, 0, mine, 0, 4096),
                                          (mine_iov, 0, theirs, 0, 4096), (their_ring, 0, mine, 0, 16)),
                             [4096, -22, -9, -22])
            self.assertEqual(mine_iov.read(0, 4096), b"M" * 4096)
        self.assertEqual(child.result(), ([True, True], None))


class Fuzz(ServerTest):
    def test_UB_49_PR_05_fuzzed_rings(self):
        """Markers, submissions, records, semaphores and sizes at random; an honest client beside it."""
        seconds = sized(20, 1800)
        self.pattern("f", 4 * MIB)
        seed = int(time.time()) if CAMPAIGN else 4711
        print(f"seed {seed}", flush=True)
        honest = self.honest(seconds, "entries=8", "block=20000")
        fuzzers = [self.harm_start("fuzz", seconds - 2, seed + i) for i in range(2)]
        told = self.told(honest)
        for fuzzer in fuzzers:
            fuzzer.wait(30)
        self.assertTrue(self.weir.alive(), self.weir.said())
        self.assertGreater(told["done"], 1000)
        self.assertLess(told["worst_stall"], 2.0)
        self.assertTrue(wait_until(lambda: not self.mount.keys(), 5))
        self.assertWorks()

    def assertWorks(self):
        iov, ring = self.iov(), self.ring()
        _, ino = self.open("f", os.O_RDONLY)
        self.assertEqual(ring.do((iov, 0, ino, 5, 1000)), [1000])


class Daemons(ServerTest):
    def library_client(self):
        """A client through the vendor's interface, in this process, with eight requests it cannot finish."""
        library = vendor.load()
        client = vendor.Client(library, self.point, entries=8, size=256 * MIB)
        self.assertEqual(client.answer, 0)
        self.addCleanup(client.close)
        self.pattern("large", 32 * MIB)
        fd = os.open(self.path("large"), os.O_RDONLY)
        self.assertLessEqual(library.hf3fs_reg_fd(fd, 0), 0)
        self.addCleanup(library.hf3fs_dereg_fd, fd)
        self.addCleanup(close_quietly, fd)
        return client, fd

    def results(self, client):
        results, start, answer = {}, time.monotonic(), None
        while answer is None and time.monotonic() < start + 5:
            got = client.wait(8, 1, None)
            if isinstance(got, int):
                answer = got
            else:
                results.update({userdata: result for _, result, userdata in got})
        return results, answer, time.monotonic() - start

    def test_UB_48_RG_37_killed_and_started_again(self):
        for _ in range(sized(3, 200)):
            client, fd = self.library_client()
            bells = [os.readlink(self.mount.link("submit-ios" + suffix)) for suffix in raw.SUFFIX.values()]
            for i in range(8):
                if i == 4:
                    client.submit()
                    self.weir.process.send_signal(signal.SIGSTOP)  # it finishes none of the others
                self.assertGreaterEqual(client.prepare(fd, 0, 32 * MIB, i * 32 * MIB, i + 1), 0)
            client.submit()
            self.weir.kill()
            results, answer, took = self.results(client)
            self.assertEqual(sorted(results), list(range(1, 9)))
            self.assertLessEqual(set(results.values()), {GONE, 32 * MIB})
            self.assertEqual(answer, GONE)
            self.assertLess(took, 2.5)
            client.close()
            self.weir.made = []  # what it left is for the next one to remove
            self.weir.release()
            self.weir = self.start(Weir, *self.OPTIONS)
            self.mount = raw.Mount(self.point)
            self.assertEqual(leftover_keys(self.point), [])
            self.assertEqual([bell for bell in bells if os.path.exists(bell)], [], "a dead daemon's semaphores")
            again, fd = self.library_client()
            self.assertEqual(again.do(fd, 0, MIB), MIB)
            again.close()

    def readers(self, count):
        """Processes that read the mount without end; their pids."""
        script = ("import os,sys\nfd=os.open(sys.argv[1],os.O_RDONLY)\nsys.stdout.write('r');sys.stdout.flush()\n"
                  "while True:\n os.posix_fadvise(fd,0,0,4)\n os.pread(fd,1<<20,0)\n os.stat(sys.argv[1])\n"
                  " os.listdir(os.path.dirname(sys.argv[1]))\n")
        processes = [subprocess.Popen(["python3", "-c", script, self.path("f")], stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL) for _ in range(count)]
        for process in processes:
            self.assertEqual(process.stdout.read(1), b"r")
            self.addCleanup(process.stdout.close)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
        return processes

    def test_PR_30_killed_under_readers(self):
        readers = self.readers(8)
        time.sleep(0.2)
        self.weir.kill()
        self.assertTrue(wait_until(lambda: all(r.poll() is not None for r in readers), 2), "readers hang")
        self.weir = None

    def tearDown(self):
        if self.weir:
            super().tearDown()

    def test_ends_in_order(self):
        self.iov(), self.ring()
        bells = [os.readlink(self.mount.link("submit-ios" + suffix)) for suffix in raw.SUFFIX.values()]
        self.weir.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.weir.process.wait(10), 0)
        self.assertEqual([bell for bell in bells if os.path.exists(bell)], [])
        self.weir = None


class Watched(Daemons):
    OPTIONS = ("--read-write", "--watchdog", "2s")

    def test_PR_31_stopped_under_readers(self):
        readers = self.readers(8)
        time.sleep(0.2)
        self.weir.kill(signal.SIGSTOP)
        try:
            freed = wait_until(lambda: all(r.poll() is not None for r in readers), 12)
        finally:
            self.weir.kill(signal.SIGKILL)
        self.assertTrue(freed, "readers hang on a daemon that is stopped")
        self.weir = None

    test_UB_48_RG_37_killed_and_started_again = test_PR_30_killed_under_readers = test_ends_in_order = None


if __name__ == "__main__":
    main()
