#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Beginning and end of a mount, and what clients of 3FS ask of it."""
import errno
import fcntl
import os
import signal
import stat
import struct
import subprocess
import time
import unittest

from mount_lib import (LIBC, MOUNT, READ_WRITE, ROOT, MountTest, call, environment, errno_of, main, mount_line, read,
                       write)

GET_MOUNT_NAME, GET_PATH_OFFSET, GET_MAGIC, GET_VERSION = 0x80206800, 0x80046801, 0x80046802, 0x80046803
FSYNC = 0x8004680b
MAGIC = 0x8f3f5fff


def ask(path, number, size):
    fd = os.open(path, os.O_RDONLY)
    try:
        buffer = bytearray(size)
        fcntl.ioctl(fd, number, buffer)
        return bytes(buffer)
    finally:
        os.close(fd)


class Start(MountTest):
    def refused(self, *arguments, status=1):
        run = subprocess.run([MOUNT, "--foreground", *arguments], capture_output=True, timeout=20, check=False,
                             stdin=subprocess.DEVNULL)
        self.assertEqual(run.returncode, status, run.stderr)
        text = run.stderr.decode()
        self.assertTrue(text.startswith("weir"), text)
        return text

    def test_what_cannot_be_mounted_is_said_in_a_line(self):
        write(self.s("file"), b"")
        for arguments, says in (((self.s("none"), self.where), "none"),
                                ((self.s("file"), self.where), "file"),
                                ((self.source, self.s("file")), "file"),
                                ((self.source, self.s("nowhere")), "nowhere")):
            text = self.refused(*arguments)
            self.assertIn(says, text)
            self.assertLessEqual(text.count("\n"), 2, text)
        self.refused("--threads=0", self.source, self.where, status=2)
        self.refused(self.source, status=2)

    def test_a_directory_that_is_not_empty(self):
        os.mkdir(self.m("something"))
        self.assertIn("--nonempty", self.refused(self.source, self.where))
        write(self.s("file"), b"data")
        self.mount("--nonempty")
        self.assertEqual(read(self.m("file")), b"data")

    def test_of_several_that_begin_together_one_mounts(self):
        runs = [subprocess.Popen([MOUNT, "--foreground", self.source, self.where], stderr=subprocess.PIPE,
                                 stdin=subprocess.DEVNULL, env=environment()) for _ in range(6)]
        self.addCleanup(lambda: [run.kill() for run in runs])
        end = time.monotonic() + 20
        while sum(run.poll() is None for run in runs) > 1 and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(sum(run.poll() is None for run in runs), 1)
        with open("/proc/self/mountinfo", "rb") as mounts:
            self.assertEqual(sum(line.split()[4] == os.fsencode(self.where) for line in mounts), 1)
        for run in runs:
            if run.poll() is None:
                run.terminate()
                self.assertEqual(run.wait(20), 0)
            else:
                self.assertIn(b"is not empty", run.stderr.read())
            run.stderr.close()

    def test_a_place_that_stays_locked(self):
        held = os.open(self.where, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(held, fcntl.LOCK_EX)
        self.assertIn("locked", self.refused(self.source, self.where))
        os.close(held)
        self.mount()

    def test_SIGTERM_unmounts(self):
        mount = self.mount()
        self.assertIsNotNone(mount_line(self.where))
        mount.process.send_signal(signal.SIGTERM)
        self.assertEqual(mount.process.wait(10), 0)
        self.assertIsNone(mount_line(self.where))

    def test_an_unmount_ends_the_daemon(self):
        mount = self.mount()
        if ROOT:
            call("umount2", self.where.encode(), 0)
        else:
            subprocess.run(["fusermount3", "-u", self.where], check=True)
        self.assertEqual(mount.process.wait(10), 0)

    def test_MT_95_a_killed_daemon_frees_its_readers_and_is_replaced(self):
        write(self.s("file"), b"data")
        mount = self.mount("--passthrough=off", "--direct-io")
        fd = os.open(self.m("file"), os.O_RDONLY)
        mount.process.kill()
        mount.process.wait(10)
        start = time.monotonic()
        self.assertIn(errno_of(os.pread, fd, 10, 0), (errno.ENOTCONN, errno.ECONNABORTED))
        self.assertEqual(errno_of(os.listdir, self.where), errno.ENOTCONN)
        self.assertLess(time.monotonic() - start, 1)
        os.close(fd)
        self.mount()
        self.assertEqual(read(self.m("file")), b"data")

    @unittest.skipUnless(ROOT, "mounting by hand wants root")
    def test_MT_98_a_mount_that_comes_as_a_descriptor(self):
        write(self.s("file"), b"data")
        fd = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
        call("mount", b"weir", self.where.encode(), b"fuse.hf3fs", 6, options.encode())
        self.addCleanup(LIBC.umount2, self.where.encode(), 2)
        process = subprocess.Popen([MOUNT, "--foreground", self.source, f"/dev/fd/{fd}"], pass_fds=(fd,),
                                   stdin=subprocess.DEVNULL)
        os.close(fd)
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.kill)
        self.assertEqual(read(self.m("file")), b"data")
        self.assertEqual(errno_of(os.unlink, self.m("file")), errno.EROFS)
        self.assertIn("iovs", os.listdir(self.m("3fs-virt")))


class Clients(MountTest):
    """What a client of 3FS looks for."""

    def test_ioctls_on_files_and_directories(self):
        write(self.s("file"), b"data")
        os.mkdir(self.s("dir"))
        self.mount()
        for path in (self.m("file"), self.m("dir"), self.where, self.m("3fs-virt"), self.m("3fs-virt", "iovs")):
            self.assertEqual(struct.unpack("<I", ask(path, GET_MAGIC, 4))[0], MAGIC, path)
            self.assertEqual(struct.unpack("<I", ask(path, GET_VERSION, 4))[0], 1)
            self.assertEqual(struct.unpack("<I", ask(path, GET_PATH_OFFSET, 4))[0], len(self.where))
            name = ask(path, GET_MOUNT_NAME, 32)
            self.assertEqual(name[-1:], b"\0")
            self.assertTrue(name.rstrip(b"\0"))
            self.assertEqual(errno_of(ask, path, 0x800468ff, 4), errno.EINVAL)

    def test_FSYNC(self):
        write(self.s("file"), b"data")
        self.mount(READ_WRITE)
        fd = os.open(self.m("file"), os.O_RDWR)
        os.write(fd, b"more")
        self.assertEqual(fcntl.ioctl(fd, FSYNC), 0)
        os.close(fd)

    def test_the_virtual_directory(self):
        self.mount()
        self.assertIn("3fs-virt", os.listdir(self.where))
        at = os.stat(self.m("3fs-virt"))
        self.assertEqual(stat.filemode(at.st_mode), "dr-xr-xr-x")
        at = os.stat(self.m("3fs-virt", "iovs"))
        self.assertEqual(stat.filemode(at.st_mode), "drwxrwxrwx")
        self.assertEqual(at.st_ino, 0xffffffff80000000)
        self.assertEqual({"submit-ios", "submit-ios.ph", "submit-ios.pl"} -
                         set(os.listdir(self.m("3fs-virt", "iovs"))), set())
        self.assertTrue(os.readlink(self.m("3fs-virt", "iovs", "submit-ios")))
        for function, arguments in ((os.mkdir, (self.m("3fs-virt", "x"),)),
                                    (os.mkdir, (self.m("3fs-virt", "iovs", "x"),)),
                                    (os.rename, (self.m("3fs-virt", "iovs"), self.m("3fs-virt", "x"))),
                                    (os.rmdir, (self.m("3fs-virt", "iovs"),)),
                                    (os.chmod, (self.m("3fs-virt"), 0o777)),
                                    (os.unlink, (self.m("3fs-virt", "iovs", "submit-ios"),))):
            self.assertEqual(errno_of(function, *arguments), errno.EPERM, (function, arguments))
        self.assertEqual(errno_of(os.stat, self.m("3fs-virt", "none")), errno.ENOENT)

    def test_the_source_cannot_hide_it(self):
        os.mkdir(self.s("3fs-virt"))
        write(self.s("3fs-virt", "mine"), b"")
        self.mount()
        self.assertEqual(os.listdir(self.where).count("3fs-virt"), 1)
        self.assertNotIn("mine", os.listdir(self.m("3fs-virt")))

    def test_UB_a_registration_on_a_read_only_mount(self):
        self.mount()
        name = "01234567-89ab-cdef-0123-456789abcdef"
        shm = f"/dev/shm/weir-mount-test-{os.getpid()}"
        self.addCleanup(os.unlink, shm)
        with open(shm, "wb") as memory:
            memory.truncate(1 << 20)
        os.chmod(shm, 0o600)
        iovs = os.open(self.m("3fs-virt", "iovs"), os.O_RDONLY | os.O_DIRECTORY)
        os.symlink(shm, name, dir_fd=iovs)
        self.assertEqual(os.readlink(self.m("3fs-virt", "iovs", name)), shm)
        at = os.lstat(self.m("3fs-virt", "iovs", name))
        self.assertEqual((stat.filemode(at.st_mode), at.st_uid), ("lr--------", os.geteuid()))
        self.assertEqual(errno_of(os.symlink, shm, self.m("3fs-virt", "iovs", name)), errno.EEXIST)
        self.assertIn(name, os.listdir(self.m("3fs-virt", "iovs")))
        if ROOT:
            self.assertEqual(self.as_user(54321, self.list_iovs, name), "unseen")
        os.unlink(self.m("3fs-virt", "iovs", name))
        self.assertNotIn(name, os.listdir(self.m("3fs-virt", "iovs")))
        os.close(iovs)

    def list_iovs(self, name):
        return "seen" if name in os.listdir(self.m("3fs-virt", "iovs")) else "unseen"



if __name__ == "__main__":
    main()
