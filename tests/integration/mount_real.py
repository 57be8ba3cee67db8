#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that nobody here wrote, at work on a mount: git, tar, fio, sqlite."""
import os
import shutil
import sqlite3
import subprocess
import threading
import unittest

from mount_lib import OFF, READ_WRITE, MountTest, main, some, write

WAYS = ((READ_WRITE,), (READ_WRITE, OFF))
GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
       "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
       "GIT_COMMITTER_EMAIL": "a@b"}


class Real(MountTest):
    def run_in(self, where, *command, **how):
        result = subprocess.run(command, cwd=where, capture_output=True, check=False, timeout=100, **how)
        self.assertEqual(result.returncode, 0, (command, result.stdout[-2000:], result.stderr[-2000:]))
        return result.stdout

    def make_tree(self, top):
        for n in range(30):
            os.makedirs(f"{top}/d{n % 7}/e{n % 3}", exist_ok=True)
            write(f"{top}/d{n % 7}/e{n % 3}/f{n}", some(n * 1777), 0o755 if n % 2 else 0o644)
        os.symlink("d1/e1", f"{top}/link")

    @unittest.skipUnless(shutil.which("git"), "no git")
    def test_git(self):
        plain = os.path.join(self.dir, "plain")
        os.mkdir(plain)
        self.make_tree(plain)
        self.run_in(plain, "git", "init", "-q", env=GIT)
        self.run_in(plain, "git", "add", "-A", env=GIT)
        self.run_in(plain, "git", "commit", "-qm", "first", env=GIT)
        for options in WAYS:
            mount = self.mount(*options)
            self.run_in(self.where, "git", "clone", "-q", "--no-hardlinks", plain, "clone", env=GIT)
            clone = self.m("clone")
            self.run_in(clone, "git", "fsck", "--strict", env=GIT)
            self.assertEqual(self.run_in(clone, "git", "status", "--porcelain", env=GIT), b"")
            write(self.m("clone", "new"), b"new")
            self.run_in(clone, "git", "add", "new", env=GIT)
            self.run_in(clone, "git", "mv", "d1", "moved", env=GIT)
            self.run_in(clone, "git", "commit", "-qm", "second", env=GIT)
            self.run_in(clone, "git", "gc", "-q", env=GIT)
            self.assertEqual(self.run_in(clone, "git", "status", "--porcelain", env=GIT), b"")
            self.assertEqual(mount.end(), 0)
            self.run_in(self.s("clone"), "git", "fsck", "--strict", env=GIT)
            shutil.rmtree(self.s("clone"))

    @unittest.skipUnless(shutil.which("tar"), "no tar")
    def test_tar(self):
        plain = os.path.join(self.dir, "plain")
        os.mkdir(plain)
        self.make_tree(plain)
        self.run_in(plain, "tar", "cf", "../in.tar", ".")
        for options in WAYS:
            mount = self.mount(*options)
            os.mkdir(self.m("t"))
            self.run_in(self.m("t"), "tar", "xpf", "../../in.tar")
            self.run_in(self.m("t"), "tar", "df", "../../in.tar")
            self.run_in(self.m("t"), "tar", "cf", "../../out.tar", ".")
            self.run_in(plain, "tar", "df", "../out.tar")
            self.run_in(self.dir, "diff", "-r", "plain", "mount/t")
            shutil.rmtree(self.m("t"))
            self.assertEqual(mount.end(), 0)

    @unittest.skipUnless(shutil.which("fio"), "no fio")
    def test_fio_verify(self):
        for options in (*WAYS, (READ_WRITE, "--direct-io")):
            mount = self.mount(*options)
            for direct, engine in (("0", "psync"), ("1", "psync"), ("0", "mmap")):
                if engine == "mmap" and "--direct-io" in options:
                    continue
                self.run_in(self.where, "fio", "--name=v", "--filename=fio", "--size=16m", "--bsrange=512-128k",
                            "--blockalign=4096" if direct == "1" else "--blockalign=512",
                            "--bs_unaligned=0", "--rw=randwrite", "--verify=crc32c", "--do_verify=1",
                            "--verify_fatal=1", f"--direct={direct}", f"--ioengine={engine}",
                            *(("--bs=4096",) if direct == "1" else ()))
            self.assertEqual(mount.end(), 0)

    def test_sqlite(self):
        for options in WAYS:
            mount = self.mount(*options)
            path = self.m("db")
            db = sqlite3.connect(path)
            with db:
                db.execute("create table t (who int, n int)")
            db.close()
            failures = []

            def worker(who):
                try:
                    for n in range(25):
                        db = sqlite3.connect(path, timeout=60)
                        with db:
                            db.execute("begin immediate")
                            db.execute("insert into t values (?, ?)", (who, n))
                        db.close()
                except sqlite3.Error as error:
                    failures.append(error)

            children = []
            for who in range(2):
                pid = os.fork()
                if pid == 0:
                    threads = [threading.Thread(target=worker, args=(who * 2 + k,)) for k in range(2)]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
                    os._exit(1 if failures else 0)
                children.append(pid)
            for pid in children:
                self.assertEqual(os.waitpid(pid, 0)[1], 0)
            db = sqlite3.connect(path)
            self.assertEqual(db.execute("select count(*), count(distinct who) from t").fetchone(), (100, 4))
            self.assertEqual(db.execute("pragma integrity_check").fetchone(), ("ok",))
            db.close()
            self.assertEqual(mount.end(), 0)
            os.unlink(self.s("db"))


if __name__ == "__main__":
    main()
