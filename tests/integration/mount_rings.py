#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rings and the POSIX way meet in one mount: what one writes the other reads, and rights are those of opens."""
import errno
import fcntl
import mmap
import os
import sys
import time
import unittest

from mount_lib import OFF, READ_WRITE, ROOT, MountTest, main, read, some, write

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "usrbio"))
import raw  # noqa: E402

WAYS = (), (OFF,), ("--direct-io",)
SIZE = 100_000


class Rings(MountTest):
    def setUp(self):
        super().setUp()
        self.data = some(SIZE)
        write(self.s("file"), self.data)

    def client(self, *options, write=False):
        """A mount, and a buffer and a ring of it."""
        self.mount(READ_WRITE, *options)
        where = raw.Mount(self.where)
        iov, ring = raw.Iov(where, 1 << 20), raw.Ring(where, 16, write=write)
        self.addCleanup(iov.close)
        self.addCleanup(ring.close)
        return iov, ring

    def open(self, name, flags):
        """(descriptor, number)"""
        fd = os.open(self.m(name), flags)
        self.addCleanup(os.close, fd)
        return fd, os.fstat(fd).st_ino

    def written_is_seen(self, *options):
        iov, ring = self.client(*options, write=True)
        fd, ino = self.open("file", os.O_RDWR)
        self.assertEqual(os.pread(fd, SIZE, 0), self.data)
        for turn in range(20):
            new = bytes([turn]) * 5000
            at = SIZE - 2500 + turn
            iov.write(0, new)
            self.assertEqual(ring.do((iov, 0, ino, at, len(new))), [len(new)])
            fcntl.ioctl(fd, raw.FSYNC_IOCTL)
            self.assertEqual(os.fstat(fd).st_size, at + len(new))
            self.assertEqual(os.pread(fd, SIZE, at), new)

    def test_UB_43_what_a_ring_wrote_is_seen(self):
        for options in WAYS:
            with self.subTest(options):
                self.written_is_seen(*options)
                self.doCleanups()
                self.setUp()

    def test_a_mapping_sees_what_a_ring_wrote(self):
        iov, ring = self.client(OFF, write=True)
        fd, ino = self.open("file", os.O_RDWR)
        with mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            self.assertEqual(mapped[:9], self.data[:9])
            iov.write(0, b"new bytes")
            self.assertEqual(ring.do((iov, 0, ino, 0, 9)), [9])
            deadline = time.monotonic() + 2
            while mapped[:9] != b"new bytes" and time.monotonic() < deadline:
                time.sleep(0.001)
            self.assertEqual(mapped[:9], b"new bytes")

    def test_what_was_written_is_read_by_a_ring(self):
        iov, ring = self.client(OFF)
        fd, ino = self.open("file", os.O_RDWR)
        for turn in range(50):
            os.pwrite(fd, bytes([turn]) * 777, turn * 1000)
            self.assertEqual(ring.do((iov, 0, ino, turn * 1000, 777)), [777])
            self.assertEqual(iov.read(0, 777), bytes([turn]) * 777)

    def test_rights_are_those_of_opens_and_end_with_them(self):
        iov, ring = self.client()
        self.assertEqual(ring.do((iov, 0, os.stat(self.m("file")).st_ino, 0, 10)), [-errno.EBADF])
        fd = os.open(self.m("file"), os.O_WRONLY)
        ino = os.fstat(fd).st_ino
        self.assertEqual(ring.do((iov, 0, ino, 0, 10)), [-errno.EACCES])
        second = os.open(self.m("file"), os.O_RDONLY)
        self.assertEqual(ring.do((iov, 0, ino, 0, 10)), [10])
        os.close(second)
        self.assertTrue(self.becomes(ring, (iov, 0, ino, 0, 10), -errno.EACCES))
        os.close(fd)
        self.assertTrue(self.becomes(ring, (iov, 0, ino, 0, 10), -errno.EBADF))

    def test_a_ring_reads_on_while_a_descriptor_is_open_though_the_name_is_gone(self):
        iov, ring = self.client()
        _, ino = self.open("file", os.O_RDONLY)
        os.unlink(self.m("file"))
        self.assertEqual(ring.do((iov, 0, ino, 0, SIZE)), [SIZE])
        self.assertEqual(iov.read(0, SIZE), self.data)

    @staticmethod
    def becomes(ring, request, wanted):
        """RELEASE is not waited for by close."""
        deadline = time.monotonic() + 2
        while ring.do(request) != [wanted]:
            if time.monotonic() > deadline:
                return False
        return True

    @unittest.skipUnless(ROOT, "another user wants root")
    def test_an_appending_handle_writes_where_it_is_told(self):
        iov, ring = self.client(write=True)
        _, ino = self.open("file", os.O_WRONLY | os.O_APPEND)
        iov.write(0, b"front")
        self.assertEqual(ring.do((iov, 0, ino, 0, 5)), [5])
        self.assertEqual(read(self.s("file")), b"front" + self.data[5:])

    @unittest.skipUnless(ROOT, "another user wants root")
    def test_a_program_that_a_ring_writes_loses_its_rights(self):
        write(self.s("file"), self.data, 0o6777)
        self.mount(READ_WRITE)
        self.assertEqual(self.as_user(65534, self.write_by_ring), "[5]")
        self.assertEqual(os.stat(self.s("file")).st_mode & 0o7777, 0o777)

    @unittest.skipUnless(ROOT, "another user wants root")
    def test_what_another_user_opened_is_nothing(self):
        iov, ring = self.client()
        _, ino = self.open("file", os.O_RDWR)
        self.assertEqual(ring.do((iov, 0, ino, 0, 10)), [10])
        self.assertEqual(self.as_user(65534, self.write_by_ring, ino), f"[{-errno.EBADF}]")

    def write_by_ring(self, ino=None):
        where = raw.Mount(self.where)
        if ino is None:
            ino = self.open("file", os.O_RDWR)[1]
        iov, ring = raw.Iov(where, 4096), raw.Ring(where, 4, write=True)
        iov.write(0, b"other")
        return ring.do((iov, 0, ino, 0, 5))


if __name__ == "__main__":
    main()
