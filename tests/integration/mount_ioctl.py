#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ioctls that change something: FSYNC, holes, and names that are named by directories' numbers."""
import contextlib
import errno
import fcntl
import os
import pwd
import struct
import time
import unittest

from mount_lib import OFF, READ_WRITE, ROOT, MountTest, errno_of, main, read, write

RECURSIVE_RM, FSYNC, HARDLINK, PUNCH_HOLE, MOVE, REMOVE = (
    0x8004680a, 0x8004680b, 0x4108680c, 0x7e90680d, 0x4218680e, 0x4110680f)
ANN, BOB, GROUP = pwd.getpwnam("nobody").pw_uid, 54322, 54323
EACCES, EPERM = f"errno {errno.EACCES}", f"errno {errno.EPERM}"
CHUNK = 4096


def on(path, number, argument=0, flags=os.O_RDONLY):
    fd = os.open(path, flags)
    try:
        fcntl.ioctl(fd, number, argument)
        return 0
    finally:
        os.close(fd)


def number(path):
    return os.stat(path).st_ino


@contextlib.contextmanager
def held(directory):
    """Its number, which is not given back while it is used."""
    fd = os.open(directory, os.O_PATH)
    try:
        yield os.fstat(fd).st_ino
    finally:
        os.close(fd)


def hardlink(file, directory, name):
    with held(directory) as to:
        return on(file, HARDLINK, struct.pack("Q256s", to, name.encode()))


def move(directory, name, to, to_name, trash=False, asked_on=None):
    return on(asked_on or directory, MOVE, struct.pack("Q256sQ256sB7x", number(directory), name.encode(), number(to),
                                                       to_name.encode(), trash))


def remove(directory, name, recursive=False, asked_on=None):
    return on(asked_on or directory, REMOVE, struct.pack("Q256sB7x", number(directory), name.encode(), recursive))


def punch(path, *ranges, flags=os.O_RDWR, count=None):
    starts, ends = ([each[i] for each in ranges] + [0] * (1000 - len(ranges)) for i in (0, 1))
    argument = struct.pack("i4xQ1000Q1000Q", len(ranges) if count is None else count, 0, *starts, *ends)
    return on(path, PUNCH_HOLE, bytearray(argument), flags)


class Ioctl(MountTest):
    def soon(self, condition):
        end = time.monotonic() + 0.8  # what the kernel remembers of names and attributes is believed for a second
        while not condition() and time.monotonic() < end:
            time.sleep(0.002)
        self.assertTrue(condition())

    def test_FSYNC_makes_the_kernel_forget_attributes(self):
        for options in ((), (OFF,)):
            write(self.s("file"), b"data")
            mount = self.mount(READ_WRITE, *options)
            fd = os.open(self.m("file"), os.O_RDONLY)
            for turn in range(5):
                before = os.stat(self.m("file")).st_size
                with open(self.s("file"), "ab") as beneath:  # nobody tells the daemon
                    beneath.write(b"more")
                remembered = os.stat(self.m("file")).st_size
                fcntl.ioctl(fd, FSYNC)
                self.assertEqual(os.stat(self.m("file")).st_size, before + 4)
                if remembered == before:
                    break
                self.assertLess(turn, 4, "the kernel remembers nothing: there was nothing to forget")
            self.assertEqual(os.pread(fd, 8, 0), b"datamore")
            os.close(fd)
            self.assertEqual(mount.end(), 0)

    def test_HARDLINK_MOVE_and_REMOVE(self):
        os.mkdir(self.s("dir"))
        write(self.s("file"), b"data")
        self.mount(READ_WRITE)
        self.assertEqual(os.listdir(self.m("dir")), [])
        hardlink(self.m("file"), self.m("dir"), "again")
        self.soon(lambda: os.stat(self.m("file")).st_nlink == 2)
        self.assertEqual(number(self.m("dir", "again")), number(self.m("file")))
        self.assertEqual(errno_of(hardlink, self.m("file"), self.m("dir"), "again"), errno.EEXIST)
        move(self.m("dir"), "again", self.where, "moved")
        self.soon(lambda: os.path.exists(self.m("moved")) and not os.path.exists(self.m("dir", "again")))
        self.assertEqual(read(self.s("moved")), b"data")
        remove(self.where, "moved")
        self.soon(lambda: not os.path.exists(self.m("moved")))
        self.assertFalse(os.path.exists(self.s("moved")))
        self.assertEqual(read(self.m("file")), b"data")
        self.assertEqual(errno_of(remove, self.where, "moved"), errno.ENOENT)

    def test_trees(self):
        def grow(top):
            os.makedirs(os.path.join(top, *["deep"] * 60))
            for each in range(3):
                os.makedirs(os.path.join(top, "wide", str(each)))
                for name in range(200):
                    write(os.path.join(top, "wide", str(each), str(name)), b"")
            os.symlink("/", os.path.join(top, "link"))

        for each in ("a", "b", "c"):
            grow(self.s(each))
        write(self.s("kept"), b"")
        self.mount(READ_WRITE)
        self.assertEqual(errno_of(remove, self.where, "a"), errno.ENOTEMPTY)
        os.stat(self.m("a", "wide", "1", "7"))
        remove(self.where, "a", recursive=True)
        on(self.m("b"), RECURSIVE_RM)
        self.soon(lambda: not os.path.exists(self.m("a", "wide", "1", "7")) and not os.path.exists(self.m("b")))
        self.assertEqual(sorted(os.listdir(self.source)), ["c", "kept"])
        self.assertEqual(errno_of(on, self.where, RECURSIVE_RM), errno.EBUSY)
        # Deeper than it goes: an error, and no harm but what is removed before it comes there.
        os.makedirs(self.s("c", *["more"] * 200))
        self.assertEqual(errno_of(remove, self.where, "c", recursive=True), errno.ELOOP)
        self.assertTrue(os.path.exists(self.s("kept")))

    def test_what_makes_no_sense(self):
        os.mkdir(self.s("dir"))
        write(self.s("file"), b"data")
        mount = self.mount(READ_WRITE)
        for name in ("", ".", "..", "dir/x", "/"):
            self.assertEqual(errno_of(remove, self.where, name), errno.EINVAL, name)
        self.assertEqual(errno_of(remove, self.where, "x" * 256), errno.ENAMETOOLONG)
        self.assertEqual(errno_of(remove, self.where, "3fs-virt", recursive=True), errno.EPERM)
        self.assertEqual(errno_of(remove, self.where, "file", asked_on=self.m("dir")), errno.EINVAL)
        self.assertEqual(errno_of(move, self.where, "file", self.m("dir"), "f", asked_on=self.m("dir")), errno.EINVAL)
        self.assertEqual(errno_of(move, self.where, "file", self.m("dir"), "f", trash=True), errno.EOPNOTSUPP)
        self.assertEqual(errno_of(move, self.where, "file", self.m("3fs-virt"), "f"), errno.EPERM)
        self.assertEqual(errno_of(on, self.m("3fs-virt"), RECURSIVE_RM), errno.EPERM)
        unknown = struct.pack("Q256s", 1 << 40, b"name")
        self.assertEqual(errno_of(on, self.m("file"), HARDLINK, unknown), errno.ESTALE)
        self.assertEqual(sorted(os.listdir(self.source)), ["dir", "file"])
        self.assertEqual(mount.end(), 0)
        self.mount()
        self.assertEqual(errno_of(remove, self.where, "file"), errno.EROFS)
        self.assertEqual(errno_of(on, self.m("dir"), RECURSIVE_RM), errno.EROFS)
        self.assertEqual(errno_of(hardlink, self.m("file"), self.m("dir"), "x"), errno.EROFS)
        self.assertEqual(errno_of(punch, self.m("file"), (0, CHUNK), flags=os.O_RDONLY), errno.EROFS)

    def test_holes(self):
        data = os.urandom(8 * CHUNK)
        for options in ((), (OFF,)):
            write(self.s("file"), data)
            mount = self.mount(READ_WRITE, *options)
            self.assertEqual(read(self.m("file")), data)
            punch(self.m("file"), (CHUNK, 3 * CHUNK), (5 * CHUNK, 6 * CHUNK), (7 * CHUNK, 7 * CHUNK))
            holed = data[:CHUNK] + bytes(2 * CHUNK) + data[3 * CHUNK:5 * CHUNK] + bytes(CHUNK) + data[6 * CHUNK:]
            self.assertEqual(read(self.s("file")), holed)
            self.soon(lambda: read(self.m("file")) == holed)
            for wrong in ((1, CHUNK), (0, CHUNK + 1), (2 * CHUNK, CHUNK), (1 << 63, 1 << 63)):
                self.assertEqual(errno_of(punch, self.m("file"), (0, CHUNK), wrong), errno.EINVAL)
            for count in (-1, 1001):
                self.assertEqual(errno_of(punch, self.m("file"), (0, CHUNK), count=count), errno.EINVAL)
            self.assertEqual(errno_of(punch, self.m("file"), (0, CHUNK), flags=os.O_RDONLY), errno.EBADF)
            self.assertEqual(errno_of(punch, self.where, (0, CHUNK), flags=os.O_RDONLY), errno.EINVAL)
            self.assertEqual(read(self.s("file")), holed)
            self.assertEqual(mount.end(), 0)


@unittest.skipUnless(ROOT, "becoming another user wants root")
class Rights(MountTest):
    """What a number leads to, the caller has to have a right to."""

    def setUp(self):
        super().setUp()
        for name, mode, owner in (("anns", 0o755, ANN), ("open", 0o777, 0), ("sticky", 0o1777, 0),
                                  ("hidden", 0o700, BOB)):
            os.mkdir(self.s(name))
            os.chmod(self.s(name), mode)
            os.chown(self.s(name), owner, owner)
        os.mkdir(self.s("hidden", "inner"))
        os.chmod(self.s("hidden", "inner"), 0o777)  # anybody's, for who gets there
        for folder, owner in (("anns", ANN), ("sticky", BOB), ("open", BOB), ("hidden/inner", BOB)):
            write(self.s(folder, "file"), b"data", 0o666)
            os.chown(self.s(folder, "file"), owner, owner)
        self.mount(READ_WRITE)
        self.inner = number(self.m("hidden", "inner"))

    def test_by_the_callers_own_rights(self):
        self.assertEqual(self.as_user(BOB, remove, self.m("anns"), "file"), EACCES)
        self.assertEqual(self.as_user(ANN, remove, self.m("sticky"), "file"), EPERM)
        self.assertEqual(self.as_user(BOB, move, self.m("open"), "file", self.m("anns"), "f"), EACCES)
        self.assertEqual(self.as_user(BOB, on, self.m("anns"), RECURSIVE_RM), EACCES)
        self.assertEqual(self.as_user(BOB, hardlink, self.m("open", "file"), self.m("anns"), "f"), EACCES)
        self.assertEqual(read(self.s("anns", "file")), b"data")
        self.assertEqual(self.as_user(ANN, remove, self.m("open"), "file"), "0")
        self.assertEqual(self.as_user(ANN, remove, self.m("anns"), "file"), "0")
        self.assertEqual(self.as_user(BOB, remove, self.m("sticky"), "file"), "0")

    def test_a_number_is_no_way_past_what_is_closed(self):
        def by_number():
            return on(self.m("open", "file"), HARDLINK, struct.pack("Q256s", self.inner, b"f"))

        def into():
            return on(self.m("open"), MOVE, struct.pack("Q256sQ256sB7x", number(self.m("open")), b"file", self.inner,
                                                        b"f", False))

        os.chown(self.s("open", "file"), ANN, ANN)
        self.assertEqual(self.as_user(ANN, by_number), EACCES)
        self.assertEqual(self.as_user(ANN, into), EACCES)
        self.assertEqual(os.listdir(self.s("hidden", "inner")), ["file"])
        self.assertEqual(self.as_user(BOB, into), "0")
        self.assertEqual(sorted(os.listdir(self.s("hidden", "inner"))), ["f", "file"])

    def test_further_groups_do_not_count(self):
        os.mkdir(self.s("shared"))
        os.chown(self.s("shared"), 0, GROUP)
        os.chmod(self.s("shared"), 0o2770)
        write(self.s("shared", "file"), b"data", 0o666)
        self.assertEqual(self.as_user(BOB, remove, self.m("shared"), "file", groups=(GROUP,)), EACCES)
        self.assertEqual(read(self.s("shared", "file")), b"data")


if __name__ == "__main__":
    main()
