#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several users on one mount, and the mount of an ordinary user."""
import errno
import os
import pwd
import stat
import unittest

from mount_lib import OFF, READ_WRITE, ROOT, MountTest, main, mount_line, read, write

NOBODY = pwd.getpwnam("nobody").pw_uid  # fusermount3 wants users that have a name
ANN, BOB, GROUP = NOBODY, 54322, 54323
EACCES, EPERM = f"errno {errno.EACCES}", f"errno {errno.EPERM}"


@unittest.skipUnless(ROOT, "becoming another user wants root")
class System(MountTest):
    """Root's mount: everybody may come, and the kernel checks what each may do."""

    def setUp(self):
        super().setUp()
        os.chmod(self.source, 0o1777)

    def test_mount_options(self):
        self.mount()
        options, kind, source, super_options = mount_line(self.where)
        self.assertEqual(kind, "fuse.hf3fs")
        self.assertRegex(source, "^weir")
        for option in ("nosuid", "nodev", "rw"):
            self.assertIn(option, options.split(","))
        for option in ("allow_other", "default_permissions"):
            self.assertIn(option, super_options.split(","))

    def test_a_private_file_stays_private(self):
        write(self.s("anns"), b"secret", 0o600)
        os.chown(self.s("anns"), ANN, ANN)
        for options in ((READ_WRITE,), (READ_WRITE, OFF), ()):
            mount = self.mount(*options)
            self.assertEqual(self.as_user(ANN, read, self.m("anns")), "b'secret'")
            self.assertEqual(self.as_user(BOB, read, self.m("anns")), EACCES)
            self.assertEqual(mount.end(), 0)

    def test_what_is_made_belongs_to_its_maker(self):
        self.mount(READ_WRITE)

        def make():
            os.umask(0o027)
            os.close(os.open(self.m("file"), os.O_WRONLY | os.O_CREAT, 0o666))
            os.mkdir(self.m("dir"))
            os.symlink("file", self.m("link"))
            os.mkfifo(self.m("fifo"))
            os.link(self.m("file"), self.m("again"))
            return "made"

        self.assertEqual(self.as_user(ANN, make), "made")
        for name, mode in (("file", "-rw-r-----"), ("dir", "drwxr-x---"), ("link", "lrwxrwxrwx"),
                           ("fifo", "prw-r-----")):
            at = os.lstat(self.s(name))
            self.assertEqual((at.st_uid, at.st_gid, stat.filemode(at.st_mode)), (ANN, ANN, mode), name)
        self.assertEqual(self.as_user(BOB, os.unlink, self.m("file")), EPERM)  # a sticky directory
        self.assertEqual(self.as_user(BOB, os.chmod, self.m("file"), 0o666), EPERM)
        self.assertEqual(self.as_user(ANN, os.chown, self.m("file"), BOB, BOB), EPERM)
        self.assertEqual(self.as_user(ANN, os.unlink, self.m("file")), "None")

    def test_a_directory_of_a_supplementary_group(self):
        os.mkdir(self.s("shared"))
        os.chown(self.s("shared"), 0, GROUP)
        os.chmod(self.s("shared"), 0o2770)
        self.mount(READ_WRITE)

        def make(name):
            os.close(os.open(self.m("shared", name), os.O_WRONLY | os.O_CREAT, 0o640))
            return "made"

        self.assertEqual(self.as_user(BOB, make, "bobs"), EACCES)
        self.assertEqual(self.as_user(ANN, make, "anns", groups=(GROUP,)), "made")
        at = os.stat(self.s("shared", "anns"))
        self.assertEqual((at.st_uid, at.st_gid), (ANN, GROUP))

    def test_set_uid_bits_go_when_others_write(self):
        write(self.s("tool"), b"1", 0o777)
        os.chown(self.s("tool"), ANN, ANN)
        os.chmod(self.s("tool"), 0o6777)
        for options in ((READ_WRITE,), (READ_WRITE, OFF)):
            os.chmod(self.s("tool"), 0o6777)
            mount = self.mount(*options)
            self.assertEqual(self.as_user(BOB, write_in_place, self.m("tool")), "written")
            self.assertEqual(oct(os.stat(self.s("tool")).st_mode & 0o7777), oct(0o777), options)
            self.assertEqual(mount.end(), 0)

    def test_an_open_file_outlives_its_mode(self):
        write(self.s("f"), b"data", 0o644)
        os.chown(self.s("f"), ANN, ANN)
        for options in ((READ_WRITE,), (READ_WRITE, OFF)):
            mount = self.mount(*options)

            def use():
                fd = os.open(self.m("f"), os.O_RDWR)
                os.chmod(self.m("f"), 0)
                os.pwrite(fd, b"more", 0)
                return os.pread(fd, 10, 0)

            self.assertEqual(self.as_user(ANN, use), "b'more'")
            os.chmod(self.s("f"), 0o644)
            self.assertEqual(mount.end(), 0)

    def test_a_default_list_is_instead_of_the_umask(self):
        # user:: rwx, user:ANN: rwx, group:: r-x, mask:: rwx, other:: r-x
        entries = ((1, 7, 0xffffffff), (2, 7, ANN), (4, 5, 0xffffffff), (16, 7, 0xffffffff), (32, 5, 0xffffffff))
        value = (2).to_bytes(4, "little") + b"".join(
            tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
            for tag, rights, who in entries)
        for name in ("plain", "shared"):
            os.mkdir(self.s(name))
        try:
            os.setxattr(self.s("shared"), "system.posix_acl_default", value)
        except OSError:
            self.skipTest("no access lists on this file system")

        def modes(path):
            os.umask(0o077)
            for name in ("plain", "shared"):
                os.close(os.open(path(name, "file"), os.O_CREAT | os.O_WRONLY, 0o666))
                os.mkdir(path(name, "dir"))
                os.mkfifo(path(name, "fifo"))
                for made in ("file", "dir", "fifo"):
                    yield made, oct(os.stat(path(name, made)).st_mode)
                    os.rename(path(name, made), path(name, made + "2"))

        self.mount(READ_WRITE)
        beneath = self.as_user(0, lambda: list(modes(self.s)))
        for name in ("plain", "shared"):
            for made in ("file2", "fifo2"):
                os.unlink(self.s(name, made))
            os.rmdir(self.s(name, "dir2"))
        self.assertEqual(self.as_user(0, lambda: list(modes(self.m))), beneath)
        self.assertIn("0o100664", beneath)

    def test_access_lists_are_not_overruled(self):
        """A named user's entry raises the group bits that stat shows; the group gets none of that."""
        write(self.s("f"), b"secret", 0o600)
        os.chown(self.s("f"), 0, GROUP)
        # version 2; user:: rw-, user:ANN: r--, group:: ---, mask:: r--, other:: ---
        entries = ((1, 6, 0xffffffff), (2, 4, ANN), (4, 0, 0xffffffff), (16, 4, 0xffffffff),
                   (32, 0, 0xffffffff))
        value = (2).to_bytes(4, "little") + b"".join(
            tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
            for tag, rights, who in entries)
        try:
            os.setxattr(self.s("f"), "system.posix_acl_access", value)
        except OSError:
            self.skipTest("no access lists on this file system")
        self.mount()
        self.assertEqual(self.as_user(BOB, read, self.s("f"), groups=(GROUP,)), EACCES)
        self.assertEqual(self.as_user(BOB, read, self.m("f"), groups=(GROUP,)), EACCES)


def write_in_place(path):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"2")
    os.close(fd)
    return "written"


class User(MountTest):
    """An ordinary user's mount, by fusermount3: for that user alone."""

    @staticmethod
    def become():
        if ROOT:
            os.setgroups([])
            os.setgid(ANN)
            os.setuid(ANN)

    def setUp(self):
        super().setUp()
        self.user = ANN if ROOT else os.geteuid()
        for path in (self.source, self.where):
            os.chown(path, self.user, self.user if ROOT else -1)
        os.environ["PATH"] += ":/usr/bin:/bin"

    def test_its_own_files(self):
        mount = self.mount(READ_WRITE, preexec=self.become)
        options, kind, _, super_options = mount_line(self.where)
        self.assertEqual(kind, "fuse.hf3fs")
        self.assertIn("nosuid", options)
        self.assertIn("nodev", options)
        self.assertNotIn("allow_other", super_options)

        def use():
            write(self.m("f"), b"mine")
            os.mkdir(self.m("d"))
            os.rename(self.m("f"), self.m("d", "g"))
            return read(self.m("d", "g"))

        self.assertEqual(self.as_user(self.user, use) if ROOT else str(use()), "b'mine'")
        self.assertEqual(os.stat(self.s("d", "g")).st_uid, self.user)
        if ROOT:
            self.assertEqual(self.as_user(BOB, os.stat, self.where), EACCES)
        self.assertEqual(mount.end(), 0)
        self.assertIsNone(mount_line(self.where))

    @unittest.skipUnless(ROOT, "becoming another user wants root")
    def test_no_more_than_the_user_may(self):
        write(self.s("roots"), b"secret", 0o600)
        self.mount(READ_WRITE, preexec=self.become)
        self.assertEqual(self.as_user(ANN, read, self.m("roots")), EACCES)
        self.assertEqual(self.as_user(ANN, os.chmod, self.m("roots"), 0o666), EPERM)


if __name__ == "__main__":
    main()
