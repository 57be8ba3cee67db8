#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many files, few descriptors; many threads."""
import os
import pwd
import random
import resource
import threading
import time
import unittest

from mount_lib import OFF, READ_WRITE, ROOT, MountTest, main, read, some, write

FEW = 256
DIRS, FILES = 100, 200
NOBODY = pwd.getpwnam("nobody").pw_uid


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Many(MountTest):
    def fill(self):
        for n in range(DIRS):
            os.mkdir(self.s(f"d{n}"))
            for k in range(FILES):
                os.close(os.open(self.s(f"d{n}", f"f{k}"), os.O_CREAT | os.O_WRONLY, 0o600))

    def look(self, mount):
        """100,000 lookups: every file, five times, in random orders; none may be lost."""
        chance = random.Random(1)
        paths = [self.m(f"d{n}", f"f{k}") for n in range(DIRS) for k in range(FILES)]
        first = {path: os.stat(path).st_ino for path in paths}
        self.assertEqual(len(set(first.values())), len(paths))
        most = descriptors(mount.pid)
        for _ in range(4):
            chance.shuffle(paths)
            for path in paths:
                self.assertEqual(os.stat(path).st_ino, first[path])
            most = max(most, descriptors(mount.pid))
        for path in paths[:2000]:
            self.assertEqual(read(path), b"")
        self.assertLess(most, FEW)

    def test_lookups_with_few_descriptors(self):
        self.fill()
        mount = self.mount(preexec=few_descriptors)
        self.look(mount)
        self.assertEqual(mount.end(), 0)

    @unittest.skipUnless(ROOT, "becoming another user wants root")
    def test_lookups_of_a_user_with_few_descriptors(self):
        self.fill()
        for top, folders, names in os.walk(self.dir):
            for name in folders + names:
                os.chown(os.path.join(top, name), NOBODY, NOBODY)

        def become():
            few_descriptors()
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

        mount = self.mount(preexec=become)

        def look():
            self.look_few()
            return "seen"

        self.assertEqual(self.as_user(NOBODY, look), "seen")
        self.assertLess(descriptors(mount.pid), FEW)

    def look_few(self):
        paths = [self.m(f"d{n}", f"f{k}") for n in range(DIRS) for k in range(0, FILES, 4)]
        first = {path: os.stat(path).st_ino for path in paths}
        time.sleep(1.1)
        random.Random(2).shuffle(paths)
        for path in paths:
            if os.stat(path).st_ino != first[path] or read(path):
                raise RuntimeError(path)

    def test_a_large_directory(self):
        for n in range(30000):
            os.mknod(self.s(f"a-long-name-for-a-file-{n}"))
        self.mount()
        expected = sorted(os.listdir(self.source) + ["3fs-virt"])
        self.assertEqual(sorted(os.listdir(self.where)), expected)
        self.assertEqual(len(list(os.scandir(self.where))), len(expected))

    def test_a_deep_tree(self):
        path, depth = "", 150
        for n in range(depth):
            path = os.path.join(path, f"directory-{n}")
            os.mkdir(self.s(path))
        write(self.s(path, "f"), b"deep")
        self.mount(READ_WRITE, preexec=few_descriptors)
        self.assertEqual(read(self.m(path, "f")), b"deep")
        os.rename(self.m("directory-0"), self.m("renamed"))
        path = path.replace("directory-0/", "renamed/", 1)
        self.assertEqual(read(self.m(path, "f")), b"deep")

    def test_threads_that_do_everything(self):
        for options in ((READ_WRITE,), (READ_WRITE, OFF)):
            mount = self.mount(*options)
            failures = []

            def worker(seed):
                chance = random.Random(seed)
                mine = self.m(f"w{seed}")
                os.mkdir(mine)
                held = {}
                try:
                    for step in range(250):
                        name = f"{mine}/{chance.randrange(10)}"
                        choice = chance.randrange(5)
                        if choice == 0 or name not in held:
                            held[name] = some(chance.randrange(50000), step)
                            write(name, held[name])
                        elif choice == 1:
                            os.unlink(name)
                            del held[name]
                        elif choice == 2:
                            other = f"{mine}/{chance.randrange(10)}"
                            if other != name:
                                os.rename(name, other)
                                held[other] = held.pop(name)
                        elif choice == 3:
                            os.truncate(name, len(held[name]) // 2)
                            held[name] = held[name][:len(held[name]) // 2]
                        if name in held and read(name) != held[name]:
                            failures.append((name, step))
                    if sorted(os.listdir(mine)) != sorted(os.path.basename(name) for name in held):
                        failures.append((mine, "names"))
                except OSError as error:
                    failures.append(error)

            threads = [threading.Thread(target=worker, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            self.assertEqual(mount.end(), 0)
            for n in range(8):
                for name in os.listdir(self.s(f"w{n}")):
                    os.unlink(self.s(f"w{n}", name))
                os.rmdir(self.s(f"w{n}"))


if __name__ == "__main__":
    main()
