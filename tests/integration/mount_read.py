#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reading through the mount: every byte is compared with the source's."""
import ctypes
import errno
import mmap
import os
import random
import subprocess
import threading
import time
import unittest

from mount_lib import (LIBC, OFF, READ_WRITE, ROOT, MountTest, bytes_read, call, cpu_seconds, errno_of, main,
                       read, some, write)

BLOCK = 1 << 20
SIZE = 3 * BLOCK + 123
WAYS = ((), (OFF,), ("--direct-io",))


def aligned_read(path, offset, length):
    """One O_DIRECT read, into a page."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        buffer = mmap.mmap(-1, length)
        count = os.preadv(fd, [buffer], offset)
        return buffer[:count]
    finally:
        os.close(fd)


class Read(MountTest):
    def setUp(self):
        super().setUp()
        self.data = some(SIZE)
        write(self.s("file"), self.data)

    def each_way(self, *more):
        """The mount with each set of options; a failure names them."""
        for options in WAYS:
            print(f"# {options}", flush=True)
            mount = self.mount(*options, *more)
            yield mount
            self.assertEqual(mount.end(), 0)

    def test_MT_1_every_offset_and_length(self):
        for _ in self.each_way():
            fd = os.open(self.m("file"), os.O_RDONLY)
            for offset in (0, 1, 4095, 4096, BLOCK - 1, BLOCK, BLOCK + 1, SIZE - 1, SIZE, SIZE + 1):
                for length in (0, 1, 4095, 4096, 128 << 10, BLOCK + 1, 4 << 20):
                    got = os.pread(fd, length, offset)
                    self.assertEqual(got, self.data[offset:offset + length], (offset, length))
            self.assertEqual(os.fstat(fd).st_size, SIZE)
            os.close(fd)

    def test_MT_4_mapped_read_and_direct(self):
        for _ in self.each_way():
            with open(self.m("file"), "rb") as file:
                for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
                    with mmap.mmap(file.fileno(), 0, flags, mmap.PROT_READ) as mapped:
                        self.assertEqual(mapped[:], self.data)
            for offset in (0, 4096, BLOCK, 3 * BLOCK):
                self.assertEqual(aligned_read(self.m("file"), offset, BLOCK),
                                 self.data[offset:offset + BLOCK])

    def test_MT_12_an_empty_file(self):
        write(self.s("empty"), b"")
        for _ in self.each_way():
            with open(self.m("empty"), "rb") as file:
                self.assertEqual(file.read(), b"")
                with self.assertRaises((ValueError, OSError)):
                    mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)

    def test_MT_13_tails_in_a_mapping(self):
        sizes = (1, 4095, 4097, BLOCK, BLOCK + 1)
        for size in sizes:
            write(self.s(str(size)), self.data[:size])
        for _ in self.each_way():
            for size in sizes:
                with open(self.m(str(size)), "rb") as file, \
                        mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
                    self.assertEqual(mapped[:], self.data[:size])
                    whole = -(-size // 4096) * 4096
                with open(self.m(str(size)), "rb") as file:
                    LIBC.mmap.restype = ctypes.c_void_p
                    at = LIBC.mmap(None, ctypes.c_size_t(whole), mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(),
                                   ctypes.c_long(0))
                    self.assertEqual(ctypes.string_at(at, whole)[size:], bytes(whole - size))
                    LIBC.munmap(ctypes.c_void_p(at), ctypes.c_size_t(whole))

    def test_MT_3_threads_on_one_descriptor(self):
        for _ in self.each_way():
            fd = os.open(self.m("file"), os.O_RDONLY)
            wrong, end = [], time.monotonic() + 0.5

            def reader(seed):
                chance = random.Random(seed)
                while time.monotonic() < end and not wrong:
                    offset, length = chance.randrange(SIZE + 10), chance.randrange(300000)
                    if os.pread(fd, length, offset) != self.data[offset:offset + length]:
                        wrong.append((offset, length))

            threads = [threading.Thread(target=reader, args=(n,)) for n in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            os.close(fd)
            self.assertEqual(wrong, [])

    def test_MT_100_sendfile_splice_and_copies_out(self):
        for _ in self.each_way():
            source = os.open(self.m("file"), os.O_RDONLY)
            target = os.open(self.s("copy"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            done = 0
            while done < SIZE:
                done += os.sendfile(target, source, done, SIZE - done)
            self.assertEqual(read(self.s("copy")), self.data)
            reader, writer = os.pipe()
            count = os.splice(source, writer, 4096, offset_src=100)
            self.assertEqual(os.read(reader, 4096), self.data[100:100 + count])
            for fd in (source, target, reader, writer):
                os.close(fd)
            os.unlink(self.s("copy"))

    def test_MT_81_the_second_open_reads_nothing(self):
        mount = self.mount(OFF)
        self.assertEqual(read(self.m("file")), self.data)
        before = bytes_read(mount.pid)
        self.assertEqual(read(self.m("file")), self.data)
        self.assertLess(bytes_read(mount.pid) - before, SIZE // 10)

    def test_a_change_behind_our_back_is_seen(self):
        for _ in self.each_way():
            write(self.s("file"), self.data)
            self.assertEqual(read(self.m("file")), self.data)
            write(self.s("file"), self.data[::-1][:-7])
            time.sleep(1.1)
            self.assertEqual(read(self.m("file")), self.data[::-1][:-7])
            with open(self.m("file"), "rb") as file:
                file.read(10)
                write(self.s("new"), b"another")
                os.rename(self.s("new"), self.s("file"))
                file.seek(0)
                self.assertEqual(file.read(), self.data[::-1][:-7])
            time.sleep(1.1)
            self.assertEqual(read(self.m("file")), b"another")


@unittest.skipUnless(ROOT, "passthrough wants CAP_SYS_ADMIN")
class Passthrough(MountTest):
    def setUp(self):
        super().setUp()
        self.data = some(8 << 20)
        write(self.s("file"), self.data)

    def passes(self, mount, path):
        """Does the kernel read the file without asking the daemon?"""
        before = bytes_read(mount.pid)
        self.assertEqual(read(path), self.data)
        return bytes_read(mount.pid) - before < len(self.data) // 10

    def test_the_daemon_reads_nothing(self):
        mount = self.mount()
        if not self.passes(mount, self.m("file")):
            self.skipTest("this kernel or this file system has no passthrough")
        before = cpu_seconds(mount.pid)
        for _ in range(20):
            self.assertEqual(read(self.m("file")), self.data)
        self.assertLessEqual(cpu_seconds(mount.pid) - before, 0.02)
        self.assertEqual(mount.end(), 0)
        self.assertFalse(self.passes(self.mount(OFF), self.m("file")))

    def test_MT_91_opens_of_all_kinds_never_meet_EIO(self):
        self.mount(READ_WRITE)
        failures, end = [], time.monotonic() + 1.5

        def opener(seed):
            chance = random.Random(seed)
            while time.monotonic() < end:
                flags = chance.choice((os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_DIRECT,
                                       os.O_RDWR | os.O_APPEND))
                try:
                    fd = os.open(self.m("file"), flags)
                    if flags & os.O_ACCMODE == os.O_RDONLY:
                        os.preadv(fd, [mmap.mmap(-1, 4096)], 4096)
                    os.close(fd)
                except OSError as error:
                    failures.append(error)

        threads = [threading.Thread(target=opener, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_MT_91_a_stacked_file_system_is_read_without(self):
        layers = [os.path.join(self.dir, name) for name in ("upper", "work", "merged")]
        for layer in layers:
            os.mkdir(layer)
        upper, work, merged = layers
        options = f"lowerdir={self.source},upperdir={upper},workdir={work}"
        if subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", merged], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no overlay here")
        self.addCleanup(subprocess.run, ["umount", "-l", merged], check=False)
        mount = self.mount(READ_WRITE, source=merged)
        self.assertEqual(read(self.m("file")), self.data)
        with open(self.m("file"), "r+b") as file:
            file.write(b"changed")
        self.assertEqual(read(self.m("file"))[:7], b"changed")
        self.assertEqual(read(os.path.join(merged, "file"))[:7], b"changed")
        self.assertEqual(mount.end(), 0)

    def test_writes_and_mappings_pass_through(self):
        self.mount(READ_WRITE)
        with open(self.m("file"), "r+b") as file:
            with mmap.mmap(file.fileno(), 0) as mapped:
                mapped[5:9] = b"abcd"
                self.assertEqual(read(self.s("file"))[5:9], b"abcd")
                with open(self.s("file"), "r+b") as other:
                    other.seek(100)
                    other.write(b"from the other side")
                self.assertEqual(mapped[100:119], b"from the other side")
        with open(self.m("file"), "ab") as file:
            file.write(b"tail")
            file.flush()
            self.assertEqual(os.stat(self.m("file")).st_size, len(self.data) + 4)
        self.assertEqual(os.stat(self.s("file")).st_size, len(self.data) + 4)


class ReadOnly(MountTest):
    """EROFS is the daemon's answer, never the mount's flag."""

    def test_every_change_is_refused(self):
        write(self.s("file"), b"data")
        os.mkdir(self.s("dir"))
        os.symlink("file", self.s("link"))
        self.mount()
        for name, function, arguments in (
                ("open for writing", os.open, (self.m("file"), os.O_WRONLY)),
                ("open for both", os.open, (self.m("file"), os.O_RDWR)),
                ("open and truncate", os.open, (self.m("file"), os.O_RDONLY | os.O_TRUNC)),
                ("create", os.open, (self.m("new"), os.O_RDONLY | os.O_CREAT)),
                ("mkdir", os.mkdir, (self.m("new"),)),
                ("mknod", os.mkfifo, (self.m("new"),)),
                ("symlink", os.symlink, ("file", self.m("new"))),
                ("link", os.link, (self.m("file"), self.m("new"))),
                ("unlink", os.unlink, (self.m("file"),)),
                ("rmdir", os.rmdir, (self.m("dir"),)),
                ("rename", os.rename, (self.m("file"), self.m("new"))),
                ("chmod", os.chmod, (self.m("file"), 0o600)),
                ("truncate", os.truncate, (self.m("file"), 0)),
                ("utime", os.utime, (self.m("file"),)),
                ("setxattr", os.setxattr, (self.m("file"), "user.a", b"b")),
        ):
            self.assertEqual(errno_of(function, *arguments), errno.EROFS, name)
        self.assertEqual(read(self.s("file")), b"data")
        self.assertEqual(sorted(os.listdir(self.source)), ["dir", "file", "link"])
        self.assertFalse(os.statvfs(self.where).f_flag & os.ST_RDONLY)
        self.assertEqual(errno_of(os.getxattr, self.m("file"), "user.none"), errno.ENODATA)
        self.assertEqual(os.readlink(self.m("link")), "file")


if __name__ == "__main__":
    main()
