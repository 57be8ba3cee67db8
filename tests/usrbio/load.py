#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""weir itself as a client of rings, on a mount of the second server and on ours: models bit for bit, and a server
that dies, stops, comes back as another, and lies."""
import errno
import json
import os
import signal
import subprocess
import time
import unittest

from rig import OTHER, Child, RingTest, Stub, Weir, finish, leftover_keys, main, needs_root, shm_names, wait_until  # noqa: I001  (finds the next)
from cli_lib import BUILD, WEIR
import vendor  # noqa: I001


def digests(document):
    return [(tensor["name"], tensor["xxh3_64"]) for tensor in document["tensors"]]


class Client(RingTest):
    """A model, and what weir does with it."""
    size = "40MiB"

    def setUp(self):
        super().setUp()
        subprocess.run([WEIR, "make-model", os.path.join(self.files, "m"), "--size", self.size, "--shards", "2",
                        "--tensors", "30", "--seed", "5"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        for folder, _, names in os.walk(os.path.join(self.files, "m")):
            for name in names:
                os.chmod(os.path.join(folder, name), 0o666)

    def begin(self, *arguments, env=None):
        return subprocess.Popen([WEIR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **(env or {})})

    def end(self, process, status=0, seconds=60):
        out, said = finish(process, seconds)
        self.assertEqual(process.returncode, status, (out, said))
        return json.loads(out), said

    def load(self, *arguments, status=0, uri=None, env=None):
        return self.end(self.begin("load", uri or self.path("m"), "--json", *arguments, env=env), status)

    def loading(self, far_enough, *arguments, env=None):
        """A load that is under way."""
        process = self.begin("load", self.path("m"), "--json", *arguments, env=env)
        self.assertTrue(wait_until(far_enough, 20))
        return process

    def expected(self):
        return digests(self.end(self.begin("load", os.path.join(self.files, "m"), "--json", "--digest"))[0])

    def copy(self, *arguments, status=0):
        return self.end(self.begin("cp", "--json", *arguments), status)[0]

    def bytes_of(self, name):
        with open(os.path.join(self.files, name), "rb") as content:
            return content.read()

    def local(self, content):
        path = os.path.join(self.top, "local")
        with open(path, "wb") as to:
            to.write(content)
        return path

    def left(self):
        return {name for name in shm_names() - self.shm_before if not name.startswith("sem.")}

    def assertNoticesKill(self, process, daemon):
        time.sleep(0.3)
        start = time.monotonic()
        daemon.kill()
        document, _ = self.end(process, 1)
        self.assertLess(time.monotonic() - start, 2)
        self.assertEqual(document["error"]["class"], "PEER_GONE")
        self.assertFalse(self.left())


class Stubbed(Client):
    """On a mount of the second server, which does what it is told."""

    def setUp(self):
        super().setUp()
        self.stub = self.start(Stub)

    def state(self):
        return json.loads(self.stub.tell("state"))

    def answered(self, more_than):
        return lambda: self.state()["completions"] > more_than

    def assertNothingLeft(self):
        self.assertFalse(self.left())
        self.assertTrue(wait_until(lambda: self.state()["rings"] == self.state()["iovs"] == 0))

    def assertNoticesDeath(self):
        self.stub.do("fault die 0 1 5")
        start = time.monotonic()
        document, said = self.load(status=1)
        self.assertLess(time.monotonic() - start, 2)
        self.assertEqual(document["error"]["class"], "PEER_GONE", said)
        self.assertFalse(self.left())

    def assertHeedsDeadline(self):
        self.stub.do("fault stop 0 1 5")
        start = time.monotonic()
        process = self.begin("load", self.path("m"), "--json", "--deadline", "2s")
        document = json.loads(process.stdout.readline())
        took = time.monotonic() - start
        self.assertEqual(document["error"]["class"], "TIMEOUT")
        self.assertTrue(1.5 < took < 12, took)
        # The kernel keeps whoever asked a stopped daemon, killed or not, until it runs again.
        os.kill(self.stub.pid, signal.SIGCONT)
        self.assertEqual(process.wait(30), 1)
        process.communicate()
        self.assertFalse(self.left())

    def assertGoesOnWithTheNext(self):
        self.stub.do("jitter 20")
        process = self.loading(self.answered(5), "--digest", "--depth", "2", "--request", "256KiB")
        self.stub.do("restart")
        self.stub.do("jitter 0")
        document, said = self.end(process)
        self.assertEqual(digests(document), self.expected())
        self.assertGreater(document["loads"][0]["counters"]["retries"], 0)
        self.assertIn("gone", said)

    def assertWaitsForPlaces(self):
        self.stub.do("batch on")
        self.stub.do("late 50")
        document, _ = self.load("--digest", "--request", "64KiB")
        self.assertEqual(digests(document), self.expected())

    def assertNoticesDeathWithoutPlaces(self):
        self.stub.do("batch on")
        self.stub.do("late 60000")
        self.assertNoticesKill(self.loading(self.answered(0), "--request", "64KiB"), self.stub)


class OnMount(Client):
    """On our own mount."""

    def setUp(self):
        super().setUp()
        self.daemon = self.start(Weir, "--read-write")

    def registered(self):
        return leftover_keys(self.point)

    def assertNoticesDeath(self):
        self.assertNoticesKill(self.loading(self.registered, "--repeat", "100000", "--quiet"), self.daemon)


class Load(Stubbed):
    def assertNothingLeft(self):
        super().assertNothingLeft()
        self.assertEqual(self.stub.tell("complaints"), "")

    def test_UB_15_a_plain_path_goes_through_rings(self):
        document, said = self.load("--digest")
        self.assertEqual(said, "")
        self.assertEqual(document["source"]["kind"], "usrbio")
        self.assertEqual(document["loads"][0]["counters"]["bytes_copied"], 0)
        self.assertEqual(digests(document), self.expected())
        self.assertNothingLeft()

    def test_a_uri_demands_rings(self):
        document, _ = self.load("--digest", uri="3fs://" + self.path("m"))
        self.assertEqual(document["source"]["kind"], "usrbio")
        self.assertEqual(digests(document), self.expected())
        document, _ = self.load(status=1, uri="3fs://" + os.path.join(self.files, "m"))
        self.assertEqual(document["error"]["class"], "NOTFOUND")
        document, _ = self.load(uri="file://" + self.path("m"))
        self.assertNotEqual(document["source"]["kind"], "usrbio")

    def test_who_drives_the_rings_is_said(self):
        for env in ({}, {"WEIR_3FS_LIBRARY": "native"}, {"WEIR_3FS_LIBRARY": "auto"}):
            document, said = self.load(env=env)
            self.assertEqual((document["source"]["library"], said), ("native", ""))
        document, _ = self.load(status=1, env={"WEIR_3FS_LIBRARY": "any"})
        self.assertEqual(document["error"]["class"], "ARG")

    def test_UB_24_completions_in_any_order(self):
        self.stub.do("jitter 3")
        document, _ = self.load("--digest", "--request", "64KiB", "--repeat", "30")
        self.assertEqual(digests(document), self.expected())
        self.stub.do("batch on")
        document, _ = self.load("--digest", "--request", "64KiB", "--repeat", "30")
        self.assertEqual(digests(document), self.expected())
        self.assertNothingLeft()

    def test_places_that_become_free_after_the_answers(self):
        self.assertWaitsForPlaces()
        self.assertNothingLeft()

    def test_RG_37_a_daemon_that_dies_with_places_that_it_owes(self):
        self.assertNoticesDeathWithoutPlaces()

    def test_UB_36_short_completions_are_asked_for_again(self):
        for fault in ("short 4096 6 1", "short 4099 40 1", "short 4099 400 1"):
            self.stub.do(f"fault {fault}")
            document, _ = self.load("--digest")
            self.assertEqual(digests(document), self.expected())
        self.assertNothingLeft()

    def test_UB_37_RG_41_results_too_large_are_clamped(self):
        self.stub.do("fault add 100 3 2")
        document, _ = self.load("--digest")
        self.assertEqual(digests(document), self.expected())

    def test_a_hole_is_zeros(self):
        path = os.path.join(self.files, "sparse")
        with open(path, "wb") as sparse:
            sparse.truncate(9 << 20)
            sparse.seek(5 << 20)
            sparse.write(b"here" * 1000)
        os.chmod(path, 0o666)
        # As the vendor's daemon has it: a request that lies in a hole brings nothing.
        self.stub.do("fault short 0 2")
        run = subprocess.run([WEIR, "cat", self.path("sparse")], capture_output=True, check=True, timeout=60)
        with open(path, "rb") as sparse:
            self.assertEqual(run.stdout, sparse.read())

    def test_RG_40_RG_44_a_server_that_lies_is_left(self):
        for fault in ("index 5000", "index -1", "userdata 1", "twice 0"):
            self.stub.do("fault none")
            self.stub.do(f"fault {fault} 1 3")
            document, _ = self.load("--digest")  # the next ring brings it
            self.assertEqual(digests(document), self.expected(), fault)
        self.stub.do("fault none")
        self.stub.do("fault userdata 1 -1")
        document, _ = self.load(status=1)
        self.assertEqual(document["error"]["class"], "PROTO")

    def test_RG_42_a_completion_head_that_jumps(self):
        self.stub.do("fault head -1 1 2")
        document, _ = self.load("--digest")
        self.assertEqual(digests(document), self.expected())

    def test_UB_48_RG_37_a_killed_daemon_is_noticed(self):
        self.assertNoticesDeath()

    def test_RG_38_a_stopped_daemon_is_waited_for_until_the_deadline(self):
        self.assertHeedsDeadline()

    def test_RG_39_another_daemon_in_its_place_is_registered_with(self):
        self.assertGoesOnWithTheNext()

    def test_UB_47_a_killed_client_leaves_nothing(self):
        self.stub.do("hold on")
        process = self.loading(lambda: self.state()["iovs"] > 0)
        process.kill()
        process.communicate()
        self.assertFalse(self.left())

    def test_a_file_that_changes_is_no_mixture(self):
        self.stub.do("jitter 20")
        process = self.loading(self.answered(5), "--depth", "2", "--request", "256KiB")
        for name in os.listdir(os.path.join(self.files, "m")):
            if name.endswith(".safetensors"):
                os.utime(os.path.join(self.files, "m", name))
        document, _ = self.end(process, 1)
        self.assertEqual(document["error"]["class"], "CHANGED")

    def test_UB_50_little_shared_memory_is_enough(self):
        """With room for staging alone everything is copied once, and nothing is wrong."""
        if os.geteuid() != 0:
            self.skipTest("needs to mount a small /dev/shm")
        script = "mount -t tmpfs -o size=16m tmpfs /dev/shm && exec \"$@\""
        run = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", WEIR, "load", self.path("m"), "--json"],
                             capture_output=True, text=True, timeout=60, check=False)
        # The daemon does not see that /dev/shm: registering fails, and the mount is read without rings.
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("without rings", run.stderr)

    def test_refused_registrations_are_read_around(self):
        self.stub.do("refuse 13")
        document, said = self.load("--digest")
        self.assertIn("without rings", said)
        self.assertEqual(digests(document), self.expected())
        document, _ = self.load(status=1, uri="3fs://" + self.path("m"))
        self.assertEqual(document["error"]["class"], "DENIED")

    def test_UB_43_what_is_written_through_rings(self):
        content = os.urandom((5 << 20) + 77)
        local = self.local(content)
        before = self.state()["completions"]
        self.copy(local, self.path("copy"))
        self.assertGreater(self.state()["completions"], before)
        self.assertEqual(self.bytes_of("copy"), content)
        self.assertEqual(os.stat(self.path("copy")).st_size, len(content))
        # From one file of the mount to another: both rings of one lane.
        self.stub.do("jitter 3")
        self.copy(self.path("copy"), self.path("again"))
        self.assertEqual(self.bytes_of("again"), content)
        self.copy(self.path("again"), local + "2")
        with open(local + "2", "rb") as back:
            self.assertEqual(back.read(), content)
        self.assertNothingLeft()

    def test_short_writes_go_on(self):
        self.make("from", os.urandom(3 << 20))
        self.stub.do("fault short 5000 4 6")
        self.copy(self.path("from"), self.path("to"))
        self.assertEqual(self.bytes_of("to"), self.bytes_of("from"))

    def test_a_write_that_a_killed_daemon_had_is_an_error(self):
        local = self.local(os.urandom(8 << 20))
        self.stub.do("fault die 0 1 3")
        document = self.copy(local, self.path("copy"), status=1)
        self.assertEqual(document["error"]["class"], "PEER_GONE")
        self.assertFalse(os.path.exists(os.path.join(self.files, "copy")))

    def test_two_contexts_side_by_side(self):
        loads = [self.begin("load", self.path("m"), "--json", "--digest", "--repeat", "3") for _ in range(3)]
        expected = self.expected()
        for process in loads:
            self.assertEqual(digests(self.end(process)[0]), expected)
        self.assertNothingLeft()


class Ours(OnMount):
    def test_UB_15_a_plain_path_goes_through_rings(self):
        document, said = self.load("--digest")
        self.assertEqual(said, "")
        self.assertEqual(document["source"]["kind"], "usrbio")
        self.assertEqual(document["loads"][0]["counters"]["bytes_copied"], 0)
        self.assertEqual(digests(document), self.expected())
        self.assertTrue(wait_until(lambda: not leftover_keys(self.point)))
        self.assertFalse(self.left())

    def test_UB_43_what_is_written_through_rings(self):
        content = os.urandom((5 << 20) + 77)
        local = self.local(content)
        self.copy(local, self.path("copy"))
        self.assertEqual(self.bytes_of("copy"), content)
        self.assertEqual(os.stat(self.path("copy")).st_size, len(content))
        self.copy(self.path("copy"), self.path("again"))
        self.assertEqual(self.bytes_of("again"), content)
        with open(self.path("again"), "rb") as through:
            self.assertEqual(through.read(), content)

    def test_UB_40_a_daemon_that_only_reads(self):
        self.daemon.release()
        self.start(Weir)
        local = self.local(b"some bytes")
        self.copy(local, self.path("copy"), status=1)
        self.assertFalse(os.path.exists(os.path.join(self.files, "copy")))
        self.assertEqual(digests(self.load("--digest")[0]), self.expected())

    def test_UB_48_RG_37_a_killed_daemon_is_noticed(self):
        self.assertNoticesDeath()

    def test_RG_39_another_daemon_in_its_place(self):
        process = self.loading(self.registered, "--digest", "--repeat", "200", "--quiet")
        time.sleep(0.3)
        self.daemon.kill()
        self.daemon.release()
        self.start(Weir, "--read-write")
        out, said = finish(process, 90)
        # Within its patience all is well; past it the error says what happened.
        document = json.loads(out)
        if process.returncode == 0:
            self.assertEqual(digests(document), self.expected())
        else:
            self.assertIn(document["error"]["class"], ("PEER_GONE", "CHANGED"), said)
        self.assertEqual(digests(self.load("--digest")[0]), self.expected())
        self.assertFalse(self.left())

    def policies(self, env):
        """Where the kernel was told to have the shared memory of a load: for each mapping of it."""
        process = self.loading(self.registered, "--repeat", "100000", "--quiet", env=env)
        time.sleep(0.3)
        with open(f"/proc/{process.pid}/numa_maps", encoding="utf-8") as lines:
            found = [line.split()[1] for line in lines if "/dev/shm/" in line and "sem." not in line]
        process.kill()
        process.communicate()
        return found

    @unittest.skipUnless(os.path.exists("/proc/self/numa_maps"), "the kernel knows no nodes")
    def test_rings_and_memory_lie_on_the_node_that_is_named(self):
        named = self.policies({"WEIR_3FS_NODE": "0"})
        self.assertGreaterEqual(len(named), 2)  # a ring and a slab
        self.assertEqual(set(named), {"bind:0"})
        self.assertEqual(set(self.policies({"WEIR_3FS_NODE": "none"})), {"default"})
        document, _ = self.load(status=1, env={"WEIR_3FS_NODE": "first"})
        self.assertIn("WEIR_3FS_NODE", document["error"]["message"])

    def cut_off(self, seconds):
        """Another user cuts the bells off, again and again."""
        def cut(_):
            bells = [os.open(bell, os.O_RDWR) for bell in self.daemon.bells()]
            end = time.monotonic() + seconds
            cuts = 0
            while time.monotonic() < end:
                for bell in bells:
                    os.ftruncate(bell, 0)
                    cuts += 1
            return cuts
        return Child(cut, OTHER)

    @needs_root
    def test_PR_05_a_bell_that_another_user_cuts_off(self):
        process = self.loading(self.registered, "--digest", "--request", "64KiB", "--repeat", "25")
        child = self.cut_off(0.5)
        document, said = self.end(process)
        self.assertEqual((document["source"]["kind"], said), ("usrbio", ""))
        self.assertEqual(digests(document), self.expected())
        self.assertGreater(child.result(), 100)
        self.assertTrue(self.daemon.alive())

    @unittest.skipIf("asan" in BUILD or "tsan" in BUILD, "Python loads our library")
    def test_PR_05_the_drop_in_says_so(self):
        content = self.make("f", os.urandom(4096))

        def submit(_):
            client = vendor.Client(vendor.load(), self.point, entries=4)
            fd = os.open(self.path("f"), os.O_RDONLY)
            client.library.hf3fs_reg_fd(fd, 0)
            answers = set()
            for _ in range(50):
                for bell in self.daemon.bells():
                    os.truncate(bell, 0)
                self.assertGreaterEqual(client.prepare(fd, 0, 4096), 0)
                answers.add(client.submit())
                self.assertEqual(client.wait(1, 1, vendor.at(5))[0][1], 4096)
                self.assertEqual(client.bytes(0, 4096), content)
            client.close()
            return answers
        self.assertIn(-errno.EFAULT, Child(submit).result())

    def test_bench_ring_compares_with_a_library(self):
        shard = next(n for n in sorted(os.listdir(os.path.join(self.files, "m"))) if n.endswith(".safetensors"))
        library = os.path.join(os.path.abspath(BUILD), "compat", "hf3fs", "libhf3fs_api_shared.so")
        options = ["--json", "--block", "64KiB,1MiB", "--depth", "4", "--repeat", "2", "--threads", "2"]
        if "asan" not in BUILD and "tsan" not in BUILD:
            options += ["--library", library]
        for how in (["--order", "random"], ["--op", "write"]):
            document, _ = self.end(self.begin("bench", "ring", *options, *how, self.path("m/" + shard)))
            self.assertEqual(document["kind"], "ring")
            for cell in document["cells"] + document.get("library_cells", []):
                self.assertGreater(cell["bytes_per_second"]["median"], 0)
        self.assertFalse([n for n in os.listdir(os.path.join(self.files, "m")) if "bench" in n])
        self.assertTrue(wait_until(lambda: not leftover_keys(self.point)))
        self.assertFalse(self.left())

    def test_doctor_tells_of_the_mount(self):
        process = self.loading(self.registered, "--repeat", "100000", "--quiet")
        checks = self.end(self.begin("doctor", "--json"))[0]["checks"]
        process.kill()
        process.communicate()
        mounts = [check["value"] for check in checks if check["name"] == "3fs_mount"]
        self.assertTrue(any(value.startswith(self.point + " ") for value in mounts), mounts)
        registered = [c["value"] for c in checks if c["name"] == "3fs_registered" and self.point in c["value"]]
        self.assertRegex(registered[0], r": [1-9]\d* rings and \d+ iovs of yours")


class Vendor(RingTest):
    """Which library of the vendor there is, and whether it loads.  Our drop-in with another note plays theirs."""
    note = b"weir\0\0\0\0drop-in\0"

    def setUp(self):
        super().setUp()
        with open(os.path.join(os.path.abspath(BUILD), "compat", "hf3fs", "libhf3fs_api_shared.so"), "rb") as library:
            self.ours = library.read()
        self.assertEqual(self.ours.count(self.note), 1)
        self.theirs = self.ours.replace(self.note, b"them" + self.note[4:])

    def put(self, folder, content, end=""):
        os.makedirs(os.path.join(self.top, folder), exist_ok=True)
        path = os.path.join(self.top, folder, "libhf3fs_api_shared.so" + end)
        with open(path, "wb") as library:
            library.write(content)
        return path

    def check(self, asked="vendor", folder="", folders=()):
        env = {**os.environ, "WEIR_3FS_LIBRARY": asked, "HF3FS_LIB_DIR": folder and os.path.join(self.top, folder),
               "LD_LIBRARY_PATH": ":".join(os.path.join(self.top, each) for each in folders)}
        run = subprocess.run([WEIR, "doctor", "--json"], env=env, capture_output=True, text=True, timeout=60,
                             check=False)
        found = [c for c in json.loads(run.stdout)["checks"] if c["name"] == "3fs_vendor_library"]
        return (found[0]["status"], found[0]["value"]) if found else None

    def test_theirs_is_found_and_loads(self):
        path = self.put("a", self.theirs)
        other = self.put("b", self.theirs, ".1")
        self.assertEqual(self.check(folder="a", folders=["b"]),
                         ("ok", f"vendor: {path} (by HF3FS_LIB_DIR) loads and has all its functions"))
        self.assertEqual(self.check(folders=["none", "b", "a"]),
                         ("ok", f"vendor: {other} (by LD_LIBRARY_PATH) loads and has all its functions"))
        for asked in ("native", "auto"):
            self.assertIsNone(self.check(asked, folder="a"))

    def test_ours_is_not_theirs(self):
        ours = self.put("a", self.ours)
        status, said = self.check(folder="a")
        self.assertEqual(status, "fail")
        self.assertIn(f"{ours}: weir's own library", said)
        theirs = self.put("a", self.theirs, ".0")
        self.assertIn(theirs, self.check(folder="a")[1])

    def test_none_is_there(self):
        status, said = self.check(folder="none")
        self.assertEqual(status, "absent")
        self.assertIn("set HF3FS_LIB_DIR", said)

    def test_all_functions_or_none(self):
        # Its entry stays in the table of symbols; the name there is another.
        name = b"\0hf3fs_punchhole\0"
        self.assertIn(name, self.theirs)
        path = self.put("a", self.theirs.replace(name, b"\0hf3fs_punchhall\0"))
        self.assertEqual(self.check(folder="a"), ("fail", f"{path}: has no hf3fs_punchhole"))

    def test_what_is_no_library(self):
        for content in (b"", b"INPUT(libother.so)\n", self.theirs[:5000]):
            path = self.put("a", content)
            status, said = self.check(folder="a")
            self.assertEqual(status, "fail")
            self.assertIn(path + ": ", said)


if __name__ == "__main__":
    main()
