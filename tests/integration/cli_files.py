#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ls, cat, cp, doctor: objects as objects, and the machine."""
import json
import os
import resource
import subprocess
import tempfile
import time

from cli_lib import CliTest, WEIR, main, some


class Ls(CliTest):
    def test_names_sorted_and_details(self):
        os.mkdir(self.path("d"))
        for name, size in (("b", 5), ("a", 0), ("c d", 1)):
            with open(self.path("d", name), "wb") as to:
                to.write(some(size))
        os.mkdir(self.path("d", "sub"))
        self.assertEqual(self.weir("ls", "d").text, "a\nb\nc d\nsub/\n")
        self.assertRegex(self.weir("ls", "-l", "d/b").text, r"^ +5  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  d/b\n$")
        self.assertEqual(self.weir("ls", "-d", "d").text, "d/\n")
        self.assertEqual(self.weir("ls", cwd=self.path("d")).text, "a\nb\nc d\nsub/\n")

    def test_json_has_a_line_for_each(self):
        with open(self.path("a"), "wb") as to:
            to.write(b"abc")
        os.utime(self.path("a"), ns=(0, 1700000000123456789))
        before = self.weir("ls", "--json", "a").json
        self.assertEqual((before["uri"], before["size_bytes"], before["kind"]), ("a", 3, "file"))
        self.assertEqual(before["modified"], "2023-11-14T22:13:20.123456789Z")
        with open(self.path("a"), "ab") as to:
            to.write(b"d")
        self.assertNotEqual(self.weir("ls", "--json", "a").json["version"], before["version"])
        self.assertEqual([line["uri"] for line in self.weir("ls", "--json", ".").lines], ["./a"])

    def test_what_is_not_there(self):
        lines = self.weir("ls", "--json", "nothing", ".", status=1).lines
        self.assertError(lines[0], "NOTFOUND")
        self.weir("ls", "nothing", status=1)


class Cat(CliTest):
    def test_bytes_in_order_of_the_arguments(self):
        sizes = (0, 1, 4096, (4 << 20) - 1, (4 << 20) + 1, 37 << 20)
        base, content = some(1 << 20), []
        for n, size in enumerate(sizes):
            content.append((bytes([n]) + base * (size // len(base) + 1))[:size])
            with open(self.path(str(n)), "wb") as to:
                to.write(content[-1])
        names = [str(n) for n in range(len(sizes))]
        self.assertEqual(self.weir("cat", *names).out, b"".join(content))

    def test_a_window(self):
        with open(self.path("a"), "wb") as to:
            to.write(some(10000))
        self.assertEqual(self.weir("cat", "--offset", "5", "--length", "7", "a").out, some(10000)[5:12])
        self.assertEqual(self.weir("cat", "--offset", "9999", "--length", "7", "a").out, some(10000)[9999:])
        self.assertEqual(self.weir("cat", "--offset", "20000", "a").out, b"")

    def test_what_is_no_file(self):
        os.mkfifo(self.path("fifo"))
        start = time.monotonic()
        result = self.weir("cat", "fifo", ".", "nothing", status=1)
        self.assertLess(time.monotonic() - start, 10)
        self.assertEqual(result.out, b"")
        self.assertEqual(result.errors.count("weir: "), 3)


class Cp(CliTest):
    def setUp(self):
        super().setUp()
        os.makedirs(self.path("from", "deep", "er"))
        self.files = {"a": some(100), "deep/b": some(9 << 20), "deep/er/c": b"", "deep/d": some(4096)}
        for name, data in self.files.items():
            with open(self.path("from", name), "wb") as to:
                to.write(data)

    def holds(self, folder, files=None):
        found = {}
        for top, _, names in os.walk(self.path(folder)):
            for name in names:
                full = os.path.join(top, name)
                with open(full, "rb") as file:
                    found[os.path.relpath(full, self.path(folder))] = file.read()
        self.assertEqual(found, files or self.files)

    def test_a_tree_to_a_new_name_and_into_a_directory(self):
        document = self.weir("cp", "-r", "--json", "from", "to").json
        self.assertEqual((document["files"], document["bytes"], document["skipped"]),
                         (4, sum(map(len, self.files.values())), 0))
        self.assertGreaterEqual(document["wall_seconds"], 0)
        self.holds("to")
        os.mkdir(self.path("into"))
        self.weir("cp", "-r", "from", "into")
        self.holds("into/from")

    def test_one_file_and_several(self):
        self.weir("cp", "from/a", "copy")
        self.holds(".", {**{f"from/{name}": data for name, data in self.files.items()}, "copy": self.files["a"]})
        os.mkdir(self.path("d"))
        self.weir("cp", "from/a", "from/deep/b", "d")
        self.holds("d", {"a": self.files["a"], "b": self.files["deep/b"]})
        self.weir("cp", "from/a", "from/deep/b", "nothing", status=1)

    def test_with_few_descriptors_fewer_go_at_once(self):
        os.mkdir(self.path("many"))
        files = {f"f{n}": some(5000, n) for n in range(60)}
        for name, data in files.items():
            with open(self.path("many", name), "wb") as file:
                file.write(data)
        for most in 6, 8, 16:
            self.weir("cp", "-r", "many", f"to{most}",
                      preexec_fn=lambda most=most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
            self.holds(f"to{most}", files)
        said = self.weir("cp", "-r", "many", "none", status=1,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))).errors
        self.assertIn("Too many open files", said)

    def test_another_file_system_moves_the_bytes(self):
        folder = f"/dev/shm/weir-cp-{os.getpid()}"
        self.addCleanup(subprocess.run, ["rm", "-rf", folder], check=False)
        self.weir("cp", "-r", "--checksum", "--jobs", "2", "from", folder)
        self.holds(folder)

    def test_resume_skips_what_is_finished(self):
        self.weir("cp", "-r", "from", "to")
        os.unlink(self.path("to", "a"))
        os.truncate(self.path("to", "deep", "b"), 5)
        document = self.weir("cp", "-r", "--resume", "--json", "from", "to").json
        self.assertEqual((document["files"], document["skipped"]), (2, 2))
        self.holds("to")

    def test_resume_with_checksum_looks_at_the_content(self):
        self.weir("cp", "-r", "from", "to")
        with open(self.path("to", "deep", "d"), "r+b") as to:
            to.write(b"X")
        self.assertEqual(self.weir("cp", "-r", "--resume", "--json", "from", "to").json["skipped"], 4)
        document = self.weir("cp", "-r", "--resume", "--checksum", "--json", "from", "to").json
        self.assertEqual((document["files"], document["skipped"]), (1, 3))
        self.holds("to")

    def test_what_is_refused(self):
        self.assertIn("-r", self.weir("cp", "from", "to", status=1).errors)
        self.weir("cp", "-r", "from", "from/deep/inside", status=1)
        self.weir("cp", "from/a", "from/a", status=1)
        self.assertError(self.weir("cp", "--json", "nothing", "to", status=1).json, "NOTFOUND")
        self.holds("from")

    def test_two_sources_for_one_name_are_refused(self):
        os.mkdir(self.path("d"))
        os.mkdir(self.path("other"))
        with open(self.path("other", "a"), "wb") as to:
            to.write(b"other")
        self.assertIn("both", self.weir("cp", "from/a", "other/a", "d", status=1).errors)
        self.assertEqual(os.listdir(self.path("d")), [])

    def test_a_copy_has_no_more_rights_than_what_it_is_of(self):
        os.chmod(self.path("from", "deep", "b"), 0o600)
        os.chmod(self.path("from", "a"), 0o755)
        os.chmod(self.path("from", "deep"), 0o700)
        os.chmod(self.path("from", "deep", "d"), 0o644)
        os.chmod(self.path("from", "deep", "er"), 0o755)
        self.weir("cp", "-r", "from", "to", preexec_fn=lambda: os.umask(0o022))
        modes = {name: os.stat(self.path("to", name)).st_mode & 0o777
                 for name in ("a", "deep", "deep/b", "deep/d", "deep/er")}
        self.assertEqual(modes, {"a": 0o755, "deep": 0o700, "deep/b": 0o600, "deep/d": 0o644, "deep/er": 0o755})

    def test_links_that_come_round_are_refused(self):
        os.symlink("..", self.path("from", "deep", "again"))
        errors = self.weir("cp", "-r", "from", "to", status=1).errors
        self.assertIn("from/deep/again: is a link to a directory that it lies in", errors)

    def test_names_in_uris(self):
        self.files = {"a%41": b"percent", "deep/a%b%%": b"more", **self.files}
        for name in ("a%41", "deep/a%b%%"):
            with open(self.path("from", name), "wb") as to:
                to.write(self.files[name])
        self.weir("cp", "-r", "file://" + self.path("from"), "plain")
        self.holds("plain")
        self.weir("cp", "-r", "from", "FILE://localhost" + self.path("uri"))
        self.holds("uri")
        os.mkdir(self.path("into"))
        self.weir("cp", "file://" + self.path("from", "a%2541"), "into")
        self.weir("cp", "from/a%41", "file://" + self.path("uri", "deep"))
        for name in ("into/a%41", "uri/deep/a%41"):
            with open(self.path(name), "rb") as file:
                self.assertEqual(file.read(), b"percent")
        for line in self.weir("ls", "--json", "file://" + self.path("from")).lines:
            self.weir("ls", "-d", line["uri"])
        self.weir("cp", "-r", "file://localhost" + self.path("from"), "from/deep/inside", status=1)

    def test_a_file_appears_whole_or_not_at_all(self):
        with open(self.path("to"), "wb") as to:
            to.write(b"old")
        os.chmod(self.path("from", "a"), 0)
        run = subprocess.run([WEIR, "cp", "from/a", "to"], cwd=self.dir, capture_output=True, check=False,
                             timeout=60)
        if run.returncode:  # root may read it
            with open(self.path("to"), "rb") as file:
                self.assertEqual(file.read(), b"old")
        self.assertFalse([name for name in os.listdir(self.dir) if name not in ("from", "to")])

    def test_links_are_followed(self):
        os.symlink("a", self.path("from", "link"))
        self.weir("cp", "-r", "from", "to")
        self.holds("to", {**self.files, "link": self.files["a"]})
        self.assertFalse(os.path.islink(self.path("to", "link")))


class SparseCp(CliTest):
    SIZE, DATA = 64 << 20, [(1 << 20, 4096), (40 << 20, 70000)]

    def sparse(self, path):
        with open(path, "wb") as to:
            to.truncate(self.SIZE)
            for at, size in self.DATA:
                to.seek(at)
                to.write(some(size))
        return path

    def check(self, source, target):
        self.weir("cp", "--checksum", source, target)
        stat = os.stat(os.path.join(self.dir, target))
        self.assertEqual(stat.st_size, self.SIZE)
        self.assertLess(stat.st_blocks * 512, 9 << 20)
        subprocess.run(["cmp", source, target], check=True, cwd=self.dir)

    def test_holes_stay_holes_within_a_file_system(self):
        self.check(self.sparse(self.path("a")), "b")

    def test_holes_stay_holes_between_file_systems(self):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
            if os.stat(other).st_dev == os.stat(self.dir).st_dev:
                self.skipTest("one file system")
            self.check(self.sparse(os.path.join(other, "a")), "b")
            self.check(self.sparse(self.path("c")), os.path.join(other, "d"))

    def test_a_file_of_holes_may_be_larger_than_what_is_free(self):
        size = max(os.statvfs(self.dir).f_bavail * os.statvfs(self.dir).f_frsize * 2, 1 << 30)
        with open(self.path("large"), "wb") as to:
            try:
                to.truncate(size)
            except OSError:
                self.skipTest("no file is so large here")
        self.weir("cp", "large", "copy")
        self.assertEqual(os.stat(self.path("copy")).st_size, size)


class Doctor(CliTest):
    def test_checks_of_the_machine(self):
        checks = {check["name"]: check for check in self.weir("doctor", "--json").json["checks"]}
        self.assertLessEqual({"kernel", "io_uring", "huge_pages", "locked_memory", "memory", "cgroup_memory",
                              "processors"}, checks.keys())
        for check in checks.values():
            self.assertIn(check["status"], ("ok", "warn", "fail", "absent"))
            self.assertTrue(check["value"])
        self.assertIn(os.uname().release, checks["kernel"]["value"])

    def test_checks_by_name(self):
        checks = self.weir("doctor", "--json", "kernel", "memory").json["checks"]
        self.assertEqual([check["name"] for check in checks], ["kernel", "memory"])

    def test_checks_of_a_file_and_of_a_directory(self):
        self.model()
        for uri in ("model.safetensors", "."):
            checks = {c["name"]: c for c in self.weir("doctor", "--json", uri, status=None).json["checks"]}
            self.assertLessEqual({"size", "direct_io", "page_cache"}, checks.keys())
            self.assertEqual({c["uri"] for c in checks.values()}, {uri})
        self.assertError(self.weir("doctor", "--json", "nothing", status=1).json, "NOTFOUND")

    def test_low_limits_are_seen(self):
        run = subprocess.run(["bash", "-c", f"ulimit -l 64; ulimit -n 100; '{WEIR}' doctor --json"], check=True,
                             capture_output=True, timeout=60)
        checks = {c["name"]: c for c in json.loads(run.stdout)["checks"]}
        for name in ("locked_memory", "descriptors"):
            self.assertEqual(checks[name]["status"], "warn")
            self.assertTrue(checks[name]["advice"])


if __name__ == "__main__":
    main()
