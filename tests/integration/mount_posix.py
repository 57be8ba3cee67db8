#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The POSIX surface: each operation gives on the mount what it gives on a plain directory."""
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import stat
import threading
import time

from mount_lib import LIBC, OFF, READ_WRITE, ROOT, MountTest, call, errno_of, main, read, some, write

AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4


def rename2(source, target, flags):
    call("renameat2", AT_FDCWD, source.encode(), AT_FDCWD, target.encode(), flags)


def outcome(function, *arguments, **how):
    """What it returns, or the number of its error."""
    try:
        return function(*arguments, **how)
    except OSError as error:
        return "error", errno.errorcode[error.errno]


def shape(path):
    """What stat tells of it that must be the same on both sides."""
    at = os.lstat(path)
    size = None if stat.S_ISDIR(at.st_mode) else at.st_size
    return stat.filemode(at.st_mode), at.st_uid, at.st_gid, size, at.st_nlink, at.st_mtime_ns


def files(top):
    os.umask(0o022)
    path = lambda name: os.path.join(top, name)
    yield outcome(os.open, path("none"), os.O_RDONLY)
    fd = os.open(path("a"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o664)
    yield outcome(os.open, path("a"), os.O_RDWR | os.O_CREAT | os.O_EXCL)
    yield os.pwrite(fd, some(10000), 5), os.fstat(fd).st_size, os.pread(fd, 20, 0)
    yield os.lseek(fd, 0, os.SEEK_END), outcome(os.lseek, fd, -1, os.SEEK_SET)
    os.ftruncate(fd, 3)
    yield os.fstat(fd).st_size, os.pread(fd, 10, 0)
    os.truncate(path("a"), 70000)
    yield os.fstat(fd).st_size, os.pread(fd, 10, 69995)
    os.posix_fallocate(fd, 100000, 50000)
    yield os.fstat(fd).st_size
    yield os.fsync(fd), os.fdatasync(fd)
    os.close(fd)
    yield shape(path("a"))[:5]
    yield outcome(os.open, path("a/b"), os.O_RDONLY), outcome(os.open, top, os.O_WRONLY)
    yield outcome(os.open, path("x" * 256), os.O_RDONLY | os.O_CREAT)
    fd = os.open(path("a"), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"end")
    other = os.open(path("a"), os.O_WRONLY | os.O_APPEND)
    os.write(other, b"more")
    os.write(fd, b"last")
    os.close(fd)
    os.close(other)
    yield read(path("a"))[-20:]
    fd = os.open(path("a"), os.O_RDWR | os.O_TRUNC)
    yield os.fstat(fd).st_size, os.read(fd, 10), os.write(fd, b"abc"), outcome(os.read, fd, 5)
    os.close(fd)
    os.close(os.open(path("a"), os.O_RDONLY | os.O_TRUNC))
    yield os.stat(path("a")).st_size
    for flags, function, what in ((os.O_WRONLY, os.read, 5), (os.O_RDONLY, os.write, b"x")):
        fd = os.open(path("a"), flags)
        yield outcome(function, fd, what)
        os.close(fd)
    for size in (1 << 20, (1 << 20) + 1, 5 << 20):
        write(path("big"), some(size))
        yield read(path("big")) == some(size)


def attributes(top):
    path = lambda name: os.path.join(top, name)
    write(path("f"), b"12345")
    os.mkdir(path("d"), 0o751)
    for mode in (0o600, 0o4755, 0o2755, 0o1777, 0o000, 0o644):
        os.chmod(path("f"), mode)
        os.chmod(path("d"), mode | 0o700)
        yield oct(os.stat(path("f")).st_mode), oct(os.stat(path("d")).st_mode)
    os.utime(path("f"), ns=(1000000000123456789, 1100000000987654321))
    yield os.stat(path("f")).st_atime_ns, os.stat(path("f")).st_mtime_ns
    os.symlink("f", path("l"))
    os.utime(path("l"), ns=(5, 6), follow_symlinks=False)
    yield os.lstat(path("l")).st_mtime_ns, os.stat(path("f")).st_mtime_ns
    os.utime(path("d"), ns=(7, 8))
    yield os.stat(path("d")).st_mtime_ns
    if ROOT:
        os.chmod(path("f"), 0o6755)
        os.chown(path("f"), 123, 456)
        yield shape(path("f"))[:4]
        os.chown(path("l"), 7, 8, follow_symlinks=False)
        yield shape(path("l"))[:4], shape(path("f"))[:4]
        os.chown(path("f"), -1, 9)
        yield shape(path("f"))[:4]
    yield outcome(os.chmod, path("none"), 0o600), outcome(os.truncate, path("d"), 5)
    yield os.access(path("f"), os.R_OK), os.access(path("none"), os.F_OK)
    at = os.statvfs(top)
    yield at.f_bsize > 0, at.f_namemax, at.f_blocks > 0


def names(top):
    path = lambda name: os.path.join(top, name)
    yield os.mkdir(path("d")), outcome(os.mkdir, path("d")), outcome(os.rmdir, path("none"))
    write(path("d/f"), b"f")
    yield outcome(os.rmdir, path("d")), outcome(os.unlink, path("d")), outcome(os.rmdir, path("d/f"))
    os.link(path("d/f"), path("g"))
    yield os.stat(path("g")).st_nlink, outcome(os.link, path("d/f"), path("g"))
    yield os.path.samefile(path("g"), path("d/f")), outcome(os.link, path("d"), path("e"))
    write(path("g"), b"both")
    yield read(path("d/f"))
    os.unlink(path("d/f"))
    yield os.stat(path("g")).st_nlink, os.listdir(path("d"))
    os.symlink("../g", path("d/l"))
    os.symlink("nowhere", path("d/broken"))
    os.symlink("x" * 4000, path("long"))
    yield os.readlink(path("d/l")), read(path("d/l")), len(os.readlink(path("long")))
    yield outcome(os.stat, path("d/broken")), outcome(os.readlink, path("g"))
    yield outcome(os.open, path("d/l"), os.O_RDONLY | os.O_NOFOLLOW)
    os.rename(path("g"), path("d/h"))
    yield sorted(os.listdir(path("d"))), outcome(os.stat, path("g"))
    write(path("k"), b"k")
    yield outcome(rename2, path("k"), path("d/h"), RENAME_NOREPLACE), read(path("d/h"))
    yield outcome(rename2, path("k"), path("d/h"), RENAME_EXCHANGE), read(path("d/h")), read(path("k"))
    yield outcome(rename2, path("k"), path("none"), RENAME_EXCHANGE)
    yield outcome(rename2, path("d"), path("k"), RENAME_EXCHANGE), read(path("d")), os.path.isdir(path("k"))
    yield outcome(os.rename, path("k"), path("k/h/x")), outcome(os.rename, path("k"), path("k/sub"))
    yield outcome(os.rename, path("d"), path("k")), outcome(os.rename, path("k"), path("d"))
    os.makedirs(path("p/q/r"))
    os.rename(path("p/q"), path("q"))
    yield os.listdir(path("p")), os.listdir(path("q")), os.stat(path("p")).st_nlink
    yield outcome(os.rename, path("q"), path("p"))
    os.mkfifo(path("fifo"), 0o640)
    yield shape(path("fifo"))[:5]
    fd = os.open(path("fifo"), os.O_RDWR | os.O_NONBLOCK)
    yield os.write(fd, b"through"), os.read(fd, 20)
    os.close(fd)
    fd = os.open(path("gone"), os.O_RDWR | os.O_CREAT)
    os.write(fd, b"still here")
    os.unlink(path("gone"))
    yield os.pread(fd, 20, 0), os.fstat(fd).st_nlink, outcome(os.stat, path("gone"))
    os.ftruncate(fd, 5)
    os.fchmod(fd, 0o600)
    yield os.fstat(fd).st_size, os.pread(fd, 20, 0)
    os.close(fd)


def extended(top):
    path = os.path.join(top, "f")
    write(path, b"")
    yield outcome(os.getxattr, path, "user.none"), os.listxattr(path)
    os.setxattr(path, "user.a", b"value")
    os.setxattr(path, "user.empty", b"")
    yield os.getxattr(path, "user.a"), os.getxattr(path, "user.empty"), sorted(os.listxattr(path))
    yield outcome(os.setxattr, path, "user.a", b"b", os.XATTR_CREATE)
    yield outcome(os.setxattr, path, "user.b", b"b", os.XATTR_REPLACE)
    os.setxattr(path, "user.a", b"x" * 2000)
    yield os.getxattr(path, "user.a"), os.removexattr(path, "user.a"), os.listxattr(path)
    yield outcome(os.removexattr, path, "user.a")
    os.setxattr(top, "user.dir", b"d")
    yield os.getxattr(top, "user.dir"), os.removexattr(top, "user.dir")


def holes(top):
    path = os.path.join(top, "holes")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 65536, 1 << 20)
    os.ftruncate(fd, 4 << 20)
    os.fsync(fd)
    for at in (0, 1, 1 << 20, (1 << 20) + 65536, (4 << 20) - 1, 4 << 20):
        yield outcome(os.lseek, fd, at, os.SEEK_DATA), outcome(os.lseek, fd, at, os.SEEK_HOLE)
    yield outcome(call, "fallocate", fd, 3, ctypes.c_long((1 << 20) + 4096), ctypes.c_long(8192))
    os.fsync(fd)
    yield os.pread(fd, 20000, 1 << 20), os.fstat(fd).st_size
    yield outcome(call, "fallocate", fd, 1, ctypes.c_long(5 << 20), ctypes.c_long(4096)), os.fstat(fd).st_size
    yield outcome(call, "fallocate", fd, 0x10, ctypes.c_long(0), ctypes.c_long(4096)), os.pread(fd, 4, 0)
    target = os.open(path + "2", os.O_RDWR | os.O_CREAT)
    yield os.copy_file_range(fd, target, 100000, 1 << 20, 50), os.fstat(target).st_size
    yield read(path + "2") == bytes(50) + os.pread(fd, 100000, 1 << 20)
    os.close(fd)
    os.close(target)


def mapped(top):
    path = os.path.join(top, "mapped")
    write(path, some(100000))
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as shared:
            shared[4090:4100] = b"0123456789"
            shared.flush()
            yield os.pread(file.fileno(), 20, 4085)
            os.pwrite(file.fileno(), b"written", 50000)
            yield shared[49990:50010]
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as private:
            private[0:4] = b"mine"
            yield os.pread(file.fileno(), 4, 0), private[0:4]
    yield read(path)
    # Pages may be written by whatever handle there is: by one that appends, too.
    appending = os.open(path, os.O_RDWR | os.O_APPEND)
    with mmap.mmap(appending, 0) as shared:
        shared[8000:8010] = b"in a place"
        shared.flush()
    os.write(appending, b"at the end")
    os.close(appending)
    yield os.path.getsize(path), read(path)


class Same(MountTest):
    """Runs a list of operations in a plain directory and in the mount, and compares what they say."""

    def same(self, operations, *options):
        plain = os.path.join(self.dir, "plain")
        os.mkdir(plain)
        mount = self.mount(READ_WRITE, *options)
        os.mkdir(self.m("top"))
        expected = list(operations(plain))
        for n, got in enumerate(operations(self.m("top"))):
            self.assertEqual(got, expected[n], f"step {n} of {operations.__name__} {options}")
        self.assertTree(plain, self.s("top"))
        self.assertTree(plain, self.m("top"))
        self.assertEqual(mount.end(), 0)

    def assertTree(self, a, b):
        for top, folders, names_ in os.walk(a):
            other = os.path.join(b, os.path.relpath(top, a))
            self.assertEqual(sorted(folders + names_), sorted(os.listdir(other)))
            for name in names_:
                one, two = os.path.join(top, name), os.path.join(other, name)
                self.assertEqual(shape(one)[:5], shape(two)[:5], one)
                if stat.S_ISREG(os.lstat(one).st_mode):
                    self.assertEqual(read(one), read(two), one)

    def test_files(self):
        self.same(files)

    def test_files_without_passthrough(self):
        self.same(files, OFF)

    def test_files_past_the_cache(self):
        self.same(files, "--direct-io")

    def test_attributes(self):
        self.same(attributes)

    def test_names(self):
        self.same(names)

    def test_extended_attributes(self):
        self.same(extended)

    def test_holes_and_copies(self):
        self.same(holes)

    def test_holes_and_copies_without_passthrough(self):
        self.same(holes, OFF)

    def test_mappings(self):
        self.same(mapped)

    def test_mappings_without_passthrough(self):
        self.same(mapped, OFF)

    def test_mappings_past_the_cache(self):
        self.same(mapped, "--direct-io")


class Own(MountTest):
    """What has no equal on a plain directory."""

    def test_security_attributes_are_refused(self):
        write(self.s("f"), b"")
        self.mount(READ_WRITE)
        self.assertIn(errno_of(os.setxattr, self.m("f"), "security.weir", b"x"),
                      (errno.ENOTSUP, errno.EPERM))
        self.assertEqual(os.listxattr(self.s("f")), [])

    def test_UB_18_one_number_everywhere(self):
        os.mkdir(self.s("d"))
        for n in range(200):
            write(self.s("d", str(n)), b"")
        self.mount()
        listed = {entry.name: entry.inode() for entry in os.scandir(self.m("d"))}
        self.assertEqual(len(listed), 200)
        for name, number in listed.items():
            self.assertEqual(os.stat(self.m("d", name)).st_ino, number)
            with open(self.m("d", name), "rb") as file:
                self.assertEqual(os.fstat(file.fileno()).st_ino, number)
        self.assertEqual(len(set(listed.values())), 200)
        self.assertLess(max(listed.values()), 1 << 56)
        self.assertEqual(os.stat(self.where).st_ino, 1)
        again = {entry.name: entry.inode() for entry in os.scandir(self.m("d"))}
        self.assertEqual(again, listed)

    def test_UB_18_no_number_comes_twice(self):
        self.mount(READ_WRITE)
        seen = set()
        for _ in range(300):
            write(self.m("f"), b"")
            number = os.stat(self.m("f")).st_ino
            self.assertNotIn(number, seen)
            seen.add(number)
            os.rename(self.m("f"), self.m("g"))
            self.assertEqual(os.stat(self.m("g")).st_ino, number)
            os.unlink(self.m("g"))

    def test_MT_99_a_listing_while_others_rename(self):
        """As on any file system that is written to: nothing twice, and nothing missed that stood still."""
        os.mkdir(self.s("d"))
        for n in range(5000):
            os.mknod(self.s("d", f"file-{n:05}"))
        self.mount(READ_WRITE)
        still = {f"file-{n:05}" for n in range(100, 5000)}
        stop = threading.Event()

        def renamer():
            n = 0
            while not stop.is_set():
                os.rename(self.s("d", f"file-{n:05}"), self.s("d", f"moved-{n:05}"))
                os.rename(self.s("d", f"moved-{n:05}"), self.s("d", f"file-{n:05}"))
                n = (n + 1) % 100

        thread = threading.Thread(target=renamer)
        thread.start()
        try:
            for _ in range(10):
                names_ = os.listdir(self.m("d"))
                self.assertEqual(len(names_), len(set(names_)))
                self.assertEqual(still - set(names_), set())
        finally:
            stop.set()
            thread.join()

    def test_MT_99_telldir_and_seekdir(self):
        for n in range(1000):
            os.mknod(self.s(f"f{n}"))
        self.mount()
        LIBC.opendir.restype = ctypes.c_void_p
        LIBC.readdir.restype = ctypes.c_void_p
        LIBC.telldir.restype = ctypes.c_long

        def next_name(folder):
            entry = LIBC.readdir(ctypes.c_void_p(folder))
            return ctypes.string_at(entry + 19) if entry else None

        folder = LIBC.opendir(self.where.encode())
        places = []
        while True:
            place = LIBC.telldir(ctypes.c_void_p(folder))
            name = next_name(folder)
            if name is None:
                break
            places.append((place, name))
        self.assertGreaterEqual(len(places), 1002)
        for place, name in places[::-37]:
            LIBC.seekdir(ctypes.c_void_p(folder), ctypes.c_long(place))
            self.assertEqual(next_name(folder), name)
        LIBC.closedir(ctypes.c_void_p(folder))

    def test_rename_under_readers(self):
        self.mount(READ_WRITE)
        wrong, end = [], time.monotonic() + 2

        def reader():
            while time.monotonic() < end:
                try:
                    data = read(self.m("now"))
                except FileNotFoundError:
                    continue
                if data not in (b"a" * (1 << 20), b"b" * (1 << 20)):
                    wrong.append(data[:20])

        threads = [threading.Thread(target=reader) for _ in range(4)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            for name in ("a", "b"):
                write(self.m("next"), name.encode() * (1 << 20))
                os.rename(self.m("next"), self.m("now"))
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_MT_100_locks_between_processes(self):
        write(self.s("f"), b"")
        self.mount(READ_WRITE)
        with open(self.m("f"), "r+b") as file:
            for lock in (fcntl.flock, fcntl.lockf):
                lock(file, fcntl.LOCK_EX)

                def attempt(how=lock):
                    with open(self.m("f"), "r+b") as other:
                        how(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return "taken"

                self.assertEqual(self.as_user(os.geteuid(), attempt), f"errno {errno.EAGAIN}")
                lock(file, fcntl.LOCK_UN)
                self.assertEqual(self.as_user(os.geteuid(), attempt), "taken")

    def test_MT_94_a_signal_ends_an_open_that_waits(self):
        write(self.s("f"), b"data")
        self.mount(READ_WRITE)
        holder = os.open(self.s("f"), os.O_RDONLY)
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        if errno_of(fcntl.fcntl, holder, fcntl.F_SETLEASE, fcntl.F_RDLCK):
            self.skipTest("no leases on this file system")

        class Alarm(Exception):
            pass

        def ring(*_):
            raise Alarm

        os.stat(self.m("f"))
        before = signal.signal(signal.SIGALRM, ring)
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            with self.assertRaises(Alarm):
                os.open(self.m("f"), os.O_WRONLY)
            self.assertLess(time.monotonic() - start, 0.3 + 1)
        finally:
            signal.signal(signal.SIGALRM, before)
            os.close(holder)
        os.close(os.open(self.m("f"), os.O_WRONLY))

    def test_what_leads_out_of_the_source(self):
        write(os.path.join(self.dir, "outside"), b"secret")
        os.symlink("../outside", self.s("link"))
        self.mount()
        # The kernel follows the link where it stands: beside the mount point, with the caller's rights.
        self.assertEqual(os.readlink(self.m("link")), "../outside")
        self.assertEqual(errno_of(os.open, self.m("link"), os.O_RDONLY | os.O_NOFOLLOW), errno.ELOOP)
        self.assertEqual(os.stat(self.m("..")).st_ino, os.stat(self.dir).st_ino)


if __name__ == "__main__":
    main()
