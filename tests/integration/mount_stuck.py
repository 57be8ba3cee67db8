#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file system below that does not answer: what a mount's rings do beside it, and how the mount ends."""
import errno
import os
import subprocess
import sys
import time
import unittest

from cli_lib import BUILD
from mount_lib import LIBC, MNT_DETACH, OFF, READ_WRITE, ROOT, MountTest, call, main, some, write

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "usrbio"))
import raw  # noqa: E402

SLOW = os.path.join(os.path.abspath(BUILD), "tests", "mount", "rings", "slow-mount")
MS_BIND = 4096


class Slow:
    """A file system of one file, whose answers are held on demand (tests/mount/rings/slow_mount.c)."""

    def __init__(self):
        self.process = subprocess.Popen([SLOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.dir = self.process.stdout.readline().strip()

    def order(self, what=""):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def holds(self):
        deadline = time.monotonic() + 5
        while self.order() == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.order() > 0

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@unittest.skipUnless(ROOT, "mounting by hand wants root")
class Stuck(MountTest):
    def setUp(self):
        super().setUp()
        self.slow = Slow()
        self.addCleanup(self.slow.close)
        if not self.slow.dir.startswith("/"):
            self.skipTest("no FUSE by hand")
        os.mkdir(self.s("below"))
        call("mount", self.slow.dir.encode(), self.s("below").encode(), None, MS_BIND, None)
        self.addCleanup(LIBC.umount2, self.s("below").encode(), MNT_DETACH)
        self.data = some(4096)
        write(self.s("quick"), self.data)
        write(self.s("new"), self.data)

    def begin(self, *options, **how):
        self.daemon = self.mount(OFF, *options)
        where = raw.Mount(self.where)
        self.iov, self.ring = raw.Iov(where, 1 << 20), raw.Ring(where, 16, **how)
        self.addCleanup(self.iov.close)
        self.addCleanup(self.ring.close)

    def ask(self, name, flags=os.O_RDONLY):
        """A request for the first 4096 bytes of a file that stays open."""
        fd = os.open(self.m(name), flags)
        self.addCleanup(os.close, fd)
        return self.iov, 0, os.fstat(fd).st_ino, 0, 4096

    def stuck(self, *asks):
        """Their slots: they wait for the file system below."""
        self.addCleanup(self.slow.order, "go")  # before anybody closes anything
        slots = [self.ring.prepare(*ask) for ask in asks]
        self.ring.submit()
        self.assertTrue(self.slow.holds())
        return slots

    def others_go_on(self, *asks):
        for ask in asks:
            for _ in range(20):
                self.assertEqual(self.ring.do(ask), [4096])
            self.assertEqual(self.iov.read(0, 4096), self.data)

    def freed(self, slots, result=4096):
        self.slow.order("go")
        done = self.ring.wait(len(slots))
        self.assertEqual(sorted((slot, got) for slot, got, _ in done), sorted((slot, result) for slot in slots))

    def test_a_file_that_cannot_be_opened_holds_up_itself(self):
        self.begin()
        quick, new, slow = (self.ask(name) for name in ("quick", "new", "below/slow"))
        self.others_go_on(quick)
        self.slow.order("opens")
        slots = self.stuck(slow, slow)
        self.others_go_on(quick, new)
        self.assertEqual(self.ring.do((*slow[:2], 12345, *slow[3:])), [-errno.EBADF])
        again = os.open(self.m("quick"), os.O_RDONLY)  # handles come and go: the files' lock is free
        os.close(again)
        self.freed(slots)
        self.others_go_on(new)

    def test_nor_does_one_that_wants_to_be_written(self):
        self.begin(READ_WRITE, write=True)
        slow, quick = self.ask("below/slow", os.O_WRONLY | os.O_APPEND), self.ask("quick", os.O_WRONLY)
        self.iov.write(0, self.data)
        self.slow.order("opens")
        slots = self.stuck(slow)
        self.others_go_on(quick)
        self.freed(slots, -errno.ENOSYS)  # it takes no writes

    def test_a_file_that_cannot_be_closed_holds_up_itself(self):
        self.begin()
        quick = self.ask("quick")
        slow = os.open(self.m("below/slow"), os.O_RDONLY)
        self.assertEqual(self.ring.do((self.iov, 0, os.fstat(slow).st_ino, 0, 4096)), [4096])
        self.addCleanup(self.slow.order, "go")
        self.slow.order("closes")
        os.close(slow)
        self.others_go_on(quick)
        self.slow.order("go")

    def test_the_daemon_ends_in_time(self):
        self.begin()
        slow = os.open(self.m("below/slow"), os.O_RDONLY)
        self.slow.order("opens")
        self.stuck((self.iov, 0, os.fstat(slow).st_ino, 0, 4096))
        os.close(slow)
        begun = time.monotonic()
        self.assertEqual(self.daemon.end(), 0)
        self.assertLess(time.monotonic() - begun, 4)
        self.assertIn("does not answer", self.daemon.said())
        self.slow.order("go")


if __name__ == "__main__":
    main()
