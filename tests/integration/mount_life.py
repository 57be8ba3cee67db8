#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The life of a mount: how it starts, what is told of it, what becomes of readers when its daemon is
killed, stopped or stuck, and how it ends.  On a real FUSE mount, as root, with weir's own commands."""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from cli_lib import BUILD, WEIR, CliTest, main

DAEMON = os.path.join(os.path.abspath(BUILD), "mount", "weir-mount")
RUN_DIR = "/run/weir"
CAN_MOUNT = os.path.exists("/dev/fuse") and os.geteuid() == 0
PIECE = b"0123456789abcdef" * 4096


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        return any(line.split()[4] == path for line in mounts)


def state(path):
    with open(path, encoding="utf-8") as stat_file:
        return stat_file.read().rsplit(")", 1)[1].split()[0]


def lives(pid):
    """A zombie that its parent has not looked at is dead."""
    try:
        return state(f"/proc/{pid}/stat") != "Z"
    except FileNotFoundError:
        return False


def until(what, seconds):
    """Waits for it; how long that took, or None."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if what():
            return time.monotonic() - start
        time.sleep(0.01)
    return None


def stop(pid):
    """Every thread of it stands still when this returns: a signal may find one that answers a last request."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(state(f"/proc/{pid}/task/{thread}/stat") == "T" for thread in os.listdir(f"/proc/{pid}/task")), 5)


def heartbeats(pid):
    """A number that grows with each that the daemon sends to its guard."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as lines:
                fields = dict(line.split(":", 1) for line in lines)
        except (FileNotFoundError, ProcessLookupError):  # a worker that had nothing to do any more
            continue
        if fields["Name"].strip() == "weir-heart":
            return int(fields["voluntary_ctxt_switches"])
    return 0


def waiting(point):
    """How many requests the kernel has for the daemon of a mount; 0 where it does not tell."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        minor = [line.split()[2].split(":")[1] for line in mounts if line.split()[4] == point][-1]
    try:
        with open(f"/sys/fs/fuse/connections/{minor}/waiting", encoding="utf-8") as count:
            return int(count.read())
    except FileNotFoundError:
        return 0


class Reader(threading.Thread):
    """Reads a file that is open already, and remembers how that ended."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.fd = os.open(path, os.O_RDONLY)
        self.errno, self.bytes, self.seconds = None, 0, None

    def run(self):
        start = time.monotonic()
        try:
            while got := os.pread(self.fd, 1 << 20, self.bytes):
                self.bytes += len(got)
        except OSError as error:
            self.errno = error.errno
        self.seconds = time.monotonic() - start

    def close(self):
        os.close(self.fd)


class MountTest(CliTest):
    def setUp(self):
        super().setUp()
        self.source, self.point = self.path("source"), self.path("mount")
        os.mkdir(self.source)
        os.mkdir(self.point)
        for n in range(64):
            with open(os.path.join(self.source, f"file{n}"), "wb") as out:
                out.write(PIECE)
        self.addCleanup(self.clean, self.point)

    def clean(self, point):
        while is_mounted(point):
            subprocess.run([WEIR, "umount", "--force", point], check=False, capture_output=True)

    def mount(self, *options, source=None, point=None):
        """Mounts, and returns the daemon's number."""
        answer = self.weir("mount", "--json", *options, source or self.source, point or self.point).json
        self.assertEqual(answer["dir"], point or self.point)
        return answer["pid"]

    def status(self, point=None):
        return self.weir("status", "--json", point or self.point).json

    def readers(self, count, point=None):
        made = [Reader(os.path.join(point or self.point, f"file{n}")) for n in range(count)]
        for reader in made:
            self.addCleanup(reader.close)
        return made

    def assertFreed(self, readers, seconds, expect_error=True):
        deadline = time.monotonic() + seconds
        for reader in readers:
            reader.join(max(0.01, deadline - time.monotonic()))
            self.assertFalse(reader.is_alive(), f"a reader still waits after {seconds} s")
            if expect_error:
                self.assertIsNotNone(reader.errno, "a reader got all bytes of a dead mount")

    def assertGone(self, pid, seconds=20):
        self.assertIsNotNone(until(lambda: not lives(pid), seconds), f"process {pid} still runs")
        for end in ("sock", "pid"):
            path = f"{RUN_DIR}/{pid}.{end}"
            self.assertIsNotNone(until(lambda: not os.path.exists(path), 1), path)


class Start(MountTest):
    def test_MT_102_the_command_returns_when_the_root_answers(self):
        ready = self.path("ready")
        pid = self.mount("--ready-file", ready)
        self.assertIn("file0", os.listdir(self.point))
        with open(ready, encoding="utf-8") as text:
            self.assertEqual(int(text.read()), pid)
        with open(os.path.join(self.point, "file1"), "rb") as file:
            self.assertEqual(file.read(), PIECE)

    def test_MT_102_a_failure_is_one_line_and_status_1(self):
        for arguments in (("nowhere", self.point), (self.source, "nowhere"), (self.source, "source/file0")):
            result = self.weir("mount", *arguments, status=1)
            self.assertEqual(result.text, "")
            self.assertEqual(len(result.errors.splitlines()), 1, result.errors)
            self.assertTrue(result.errors.startswith("weir: mount: "))
            self.assertIn("error", self.weir("mount", "--json", *arguments, status=1).json)
        self.assertFalse(is_mounted(self.point))

    def test_a_file_that_cannot_be_written_is_a_failure(self):
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        for option, path in (("--ready-file", "/dev/full"), ("--ready-file", "/proc/none"), ("--log", fifo),
                             ("--log", "/proc/none")):
            result = self.weir("mount", option, path, self.source, self.point, status=1)
            self.assertIn(path, result.errors)
            self.assertIsNotNone(until(lambda: not is_mounted(self.point), 5), (option, path))

    def test_a_wrong_command_line_is_status_2(self):
        self.weir("mount", "--watchdog", "soon", self.source, self.point, status=2)
        answer = self.weir("mount", "--json", "--watchdog", "soon", self.source, self.point, status=2).json
        self.assertEqual(answer["error"]["class"], "ARG")
        self.weir("mount", "--ring-batch", "lax", self.source, self.point, status=2)
        self.weir("mount", "--read-only", "--read-write", self.source, self.point, status=2)
        self.weir("mount", self.source, status=2)

    def test_the_command_and_the_daemon_have_the_same_options(self):
        def names(text):
            return {word.strip(" ,").split("[")[0].split("=")[0] for line in text.splitlines()
                    for word in line.split()[:1] if word.startswith("--")}
        command = names(self.weir("mount", "--help").text) - {"--progress", "--quiet"}
        daemon = names(subprocess.run([DAEMON, "--help"], capture_output=True, check=True, text=True).stdout)
        self.assertEqual({name for name in command if f"{name} " not in str(daemon)} - daemon - {"--read-only"},
                         set())
        self.assertEqual(daemon - command - {"--help,", "--version"}, set())

    def test_nothing_else_runs_and_privileges_are_gone(self):
        pid = self.mount()
        with open(f"/proc/{pid}/status", encoding="utf-8") as text:
            status = dict(line.split(":\t", 1) for line in text.read().splitlines() if ":\t" in line)
        self.assertEqual(status["Seccomp"].strip(), "2")
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        self.assertEqual(int(status["CapBnd"], 16) & (1 << 16 | 1 << 19 | 1 << 22 | 1 << 12), 0,
                         "modules, tracing, reboot and networks are not a file server's")
        self.assertTrue(int(status["CapEff"], 16) & 1 << 21)

    def test_the_watchdog_process_does_not_hold_the_connection(self):
        pid = self.mount()
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as text:
            guard = int(text.read())
        opened = [os.readlink(f"/proc/{guard}/fd/{fd}") for fd in os.listdir(f"/proc/{guard}/fd")]
        self.assertFalse([path for path in opened if path == "/dev/fuse"])
        self.assertTrue([path for path in opened if path.endswith("/abort")])

    def test_the_watchdog_process_has_gone(self):
        pid = self.mount()
        self.addCleanup(subprocess.run, ["umount", "-l", self.point], capture_output=True, check=False)
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as text:
            guard = int(text.read())
        os.kill(guard, signal.SIGKILL)
        self.assertIsNotNone(until(lambda: not lives(guard), 5))
        with open(os.path.join(self.point, "file0"), "rb") as file:
            self.assertTrue(file.read(1), "it serves on")
        self.assertIn("cannot unmount: Broken pipe", self.weir("umount", self.point, status=1).errors)
        os.kill(pid, signal.SIGTERM)
        self.assertIsNotNone(until(lambda: not lives(pid), 20), f"process {pid} still runs")

    def test_MT_98_a_mount_point_that_came_as_a_descriptor(self):
        fuse = os.open("/dev/fuse", os.O_RDWR)
        self.addCleanup(os.close, fuse)
        run = subprocess.run(["mount", "-i", "-t", "fuse.hf3fs", "-o",
                              f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other", "weir.test", self.point],
                             pass_fds=[fuse], capture_output=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        answer = self.weir("mount", "--json", self.source, f"/dev/fd/{fuse}", pass_fds=[fuse]).json
        self.assertIn("file3", os.listdir(self.point))
        os.kill(answer["pid"], signal.SIGTERM)
        # We hold the descriptor, too: only an abort ends the connection.
        self.assertIsNotNone(until(lambda: not lives(answer["pid"]), 12))


class Status(MountTest):
    def test_status_has_its_members(self):
        pid = self.mount("--read-write")
        with open(os.path.join(self.point, "file0"), "rb") as file:
            file.read(1)
            status = self.status()
        for name, kind in (("dir", str), ("source", str), ("pid", int), ("uptime_seconds", float),
                           ("open_files", int), ("rings", int), ("iovs", int), ("counters", dict)):
            self.assertIsInstance(status[name], kind, name)
        self.assertEqual((status["dir"], status["source"], status["pid"], status["open_files"]),
                         (self.point, self.source, pid, 1))
        self.assertEqual(status["access"], "read-write")
        self.assertGreater(status["counters"]["requests"], 0)
        self.assertIn(self.point, self.weir("status").text)
        self.assertIn("requests", self.weir("status", self.point).text)

    def test_status_of_no_mount(self):
        self.assertError(self.weir("status", "--json", self.dir, status=1).json, "NOTFOUND")

    def test_MT_103_a_hundred_questions_cost_little_and_tell_no_secret(self):
        pid = self.mount()
        tick = os.sysconf("SC_CLK_TCK")

        def spent():
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / tick
        before = spent()
        for _ in range(100):
            self.status()
        # One in a second may cost a hundredth of it.
        self.assertLess(spent() - before, 1.0)
        self.assertEqual(self.status()["state"], "serving")

    def test_a_client_that_says_nothing_or_nonsense_is_let_go(self):
        pid = self.mount("--watchdog", "2s")
        for words in (b"", b"nonsense\n", b"status" * 100):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{RUN_DIR}/{pid}.sock")
                client.settimeout(5)
                if words:
                    client.send(words)
                try:
                    self.assertEqual(client.recv(10), b"")
                except ConnectionResetError:
                    pass
        self.assertEqual(self.status()["pid"], pid)

    def test_another_user_is_not_answered(self):
        pid = self.mount()
        code = (f"import os,socket;os.setgid(65534);c=socket.socket(socket.AF_UNIX);"
                f"f=os.open('{RUN_DIR}/{pid}.sock',os.O_PATH);os.setuid(65534);"
                f"c.connect(f'/proc/self/fd/{{f}}');c.send(b'status\\n');print(len(c.recv(100)))")
        run = subprocess.run(["python3", "-c", code], capture_output=True, check=False)
        self.assertNotIn(b"weir-mount", run.stdout)
        self.assertIn(run.stdout.strip(), (b"", b"0"))


class End(MountTest):
    def test_MT_105_umount_names_who_uses_it(self):
        pid = self.mount()
        with open(os.path.join(self.point, "file0"), "rb"):
            result = self.weir("umount", self.point, status=1)
            self.assertIn(f"process {os.getpid()} ", result.errors)
            document = self.weir("umount", "--json", self.point, status=1).json
            self.assertFalse(document["unmounted"])
            self.assertIn(os.getpid(), [user["pid"] for user in document["users"]])
            self.assertTrue(is_mounted(self.point))
        self.weir("umount", self.point)
        self.assertFalse(is_mounted(self.point))
        self.assertGone(pid, 1)

    def test_MT_105_force_ends_a_busy_mount(self):
        pid = self.mount("--passthrough", "off")
        with open(os.path.join(self.point, "file0"), "rb"):
            start = time.monotonic()
            self.weir("umount", "--force", self.point)
            self.assertLess(time.monotonic() - start, 30)
        self.assertFalse(is_mounted(self.point))
        self.assertGone(pid)

    def test_umount_of_the_uppermost_of_three(self):
        pids = [self.mount("--nonempty") for _ in range(3)]
        self.weir("umount", self.point)
        self.assertGone(pids.pop())
        self.weir("umount", "--force", self.point)
        self.assertGone(pids.pop())
        self.assertTrue(lives(pids[0]))
        self.weir("umount", self.point)
        self.assertGone(pids.pop())
        self.assertFalse(is_mounted(self.point))

    def test_the_mount_point_is_a_link(self):
        link = self.path("link")
        os.symlink(self.point, link)
        for name in (link, self.point):
            pid = self.weir("mount", "--json", self.source, link).json["pid"]
            self.assertEqual(self.weir("status", "--json", name).json["pid"], pid)
            self.weir("umount", name)
            self.assertGone(pid)
        pid = self.weir("mount", "--json", self.source, link).json["pid"]
        os.kill(pid, signal.SIGTERM)
        self.assertGone(pid)
        self.assertFalse(is_mounted(self.point))

    def test_the_mount_point_has_lines(self):
        point = self.path("two\nlines %41 \\040")
        os.mkdir(point)
        pid = self.weir("mount", "--json", self.source, point).json["pid"]
        self.assertEqual(self.weir("status", "--json", point).json["pid"], pid)
        self.weir("umount", point)
        self.assertGone(pid)

    def test_umount_kills_nobody_whom_another_user_names(self):
        """The folder of the run files is another's: a FIFO in it is not waited for, a process in it not killed."""
        theirs = self.path("theirs")
        folder = os.path.join(theirs, "weir")
        os.makedirs(folder)
        with subprocess.Popen(["sleep", "60"]) as victim:
            self.addCleanup(victim.kill)
            with open(os.path.join(folder, f"{victim.pid}.pid"), "w", encoding="utf-8") as out:
                out.write(f"{victim.pid}\n{self.point}\n")
            os.mkfifo(os.path.join(folder, "1.pid"))
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.path.join(folder, f"{victim.pid}.sock"))
                listener.listen()
                os.chown(folder, 65534, 65534)
                os.chmod(folder, 0o700)
                pid = self.mount()
                for words in (("status", self.point), ("umount", "--force", self.point)):
                    result = subprocess.run([WEIR, *words], env={**os.environ, "XDG_RUNTIME_DIR": theirs}, timeout=20,
                                            capture_output=True, check=False)
                    self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIsNone(victim.poll())
            victim.kill()
        self.assertGone(pid)

    def test_umount_kills_nobody_who_has_a_dead_daemons_number(self):
        pid = self.mount()
        os.kill(pid, signal.SIGKILL)
        self.assertIsNotNone(until(lambda: not lives(pid), 5))
        with subprocess.Popen(["sleep", "60"]) as victim:
            self.addCleanup(victim.kill)
            self.assertIsNotNone(until(lambda: not os.path.exists(f"{RUN_DIR}/{pid}.pid"), 5))
            for end, text in ((".pid", f"{victim.pid}\n{self.point}\n"), (".sock", "")):
                path = f"{RUN_DIR}/{victim.pid}{end}"
                with open(path, "w", encoding="utf-8") as out:
                    out.write(text)
                self.addCleanup(os.unlink, path)
            self.weir("umount", "--force", self.point)
            self.assertIsNone(victim.poll())
            victim.kill()
        self.assertFalse(is_mounted(self.point))

    def test_umount_of_another_users_mount(self):
        os.chmod(self.dir, 0o755)
        self.mount()
        for options in ([], ["--force"]):
            result = subprocess.run([WEIR, "umount", *options, self.point], user=65534, group=65534, extra_groups=[],
                                    capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn("another user's", result.stderr)
        self.assertTrue(is_mounted(self.point))

    def test_umount_of_what_is_no_mount(self):
        self.assertIn("no mount of weir", self.weir("umount", self.dir, status=1).errors)

    def test_sigterm_of_an_idle_mount(self):
        pid = self.mount()
        os.kill(pid, signal.SIGTERM)
        self.assertGone(pid)
        self.assertFalse(is_mounted(self.point))

    def test_umount_by_others_ends_the_daemon(self):
        pid = self.mount()
        subprocess.run(["umount", self.point], check=True)
        self.assertGone(pid)

    def test_MT_107_twenty_cycles_leave_nothing(self):
        before = set(os.listdir("/dev/shm"))
        for _ in range(20):
            pid = self.mount()
            self.assertIn("3fs-virt", os.listdir(self.point) + ["3fs-virt"])
            self.weir("umount", self.point)
            self.assertGone(pid)
        left = {name for name in set(os.listdir("/dev/shm")) - before if f"{pid}" in name}
        self.assertEqual(left, set())


class Death(MountTest):
    def test_PR_30_killed_daemon_frees_its_readers_at_once(self):
        pid = self.mount("--passthrough", "off")
        readers = self.readers(8)
        stop(pid)
        for reader in readers:
            reader.start()
        time.sleep(0.2)
        self.assertTrue(all(reader.is_alive() for reader in readers))
        os.kill(pid, signal.SIGKILL)
        self.assertFreed(readers, 0.5)

    def test_MT_95_a_killed_daemon_leaves_a_mount_that_the_next_one_takes_over(self):
        pid = self.mount()
        os.kill(pid, signal.SIGKILL)
        self.assertGone(pid)
        with self.assertRaises(OSError):
            os.listdir(self.point)
        self.assertEqual(self.weir("status").text.count(self.point), 0)
        self.mount()
        self.assertIn("file0", os.listdir(self.point))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            self.assertEqual(sum(line.split()[4] == self.point for line in mounts), 1)

    def test_umount_takes_a_dead_mount_away(self):
        pid = self.mount()
        os.kill(pid, signal.SIGKILL)
        self.assertGone(pid)
        self.weir("umount", self.point)
        self.assertFalse(is_mounted(self.point))

    def test_PR_31_a_stopped_daemon_holds_nobody_beyond_the_limit(self):
        pid = self.mount("--passthrough", "off", "--watchdog", "1s")
        readers = self.readers(8)
        stop(pid)
        for reader in readers:
            reader.start()
        self.assertFreed(readers, 1.3)
        os.kill(pid, signal.SIGKILL)

    def test_a_stopped_daemon_that_nobody_waits_for_goes_on(self):
        pid = self.mount("--passthrough", "off", "--watchdog", "500ms")
        time.sleep(0.05)  # whoever looked whether it answers closes it again
        self.assertIsNotNone(until(lambda: waiting(self.point) == 0, 5))
        stop(pid)
        before = heartbeats(pid)
        time.sleep(1.5)
        os.kill(pid, signal.SIGCONT)
        self.assertIsNotNone(until(lambda: heartbeats(pid) > before + 1, 5))
        with open(os.path.join(self.point, "file5"), "rb") as file:
            self.assertEqual(file.read(), PIECE)

    def test_an_idle_mount_outlives_the_watchdogs_limit(self):
        self.mount("--watchdog", "300ms")
        time.sleep(1.2)
        self.assertIn("file0", os.listdir(self.point))


class Slow(MountTest):
    """What takes seconds: limits that have to pass."""

    def setUp(self):
        super().setUp()
        self.upper = self.path("upper")
        os.mkdir(self.upper)
        self.addCleanup(self.clean, self.upper)

    def stuck(self, count, *options):
        """A mount whose threads all wait for a file server that has stopped: readers, and its daemon."""
        lower = self.mount("--passthrough", "off", "--watchdog", "0")
        upper = self.mount("--passthrough", "off", *options, source=self.point, point=self.upper)
        readers = self.readers(count, self.upper)
        stop(lower)
        self.addCleanup(os.kill, lower, signal.SIGKILL)
        for reader in readers:
            reader.start()
        time.sleep(0.3)
        self.assertTrue(all(reader.is_alive() for reader in readers))
        return readers, upper

    def test_slow_PR_31_a_daemon_whose_threads_are_stuck_holds_nobody_beyond_the_limit(self):
        readers, _ = self.stuck(8, "--threads", "4", "--watchdog", "2s", "--shutdown-timeout", "2s")
        self.assertFreed(readers, 2.3)

    def test_slow_MT_96_sigterm_with_a_dead_server_and_64_readers(self):
        readers, upper = self.stuck(64, "--watchdog", "60s", "--shutdown-timeout", "7s")
        os.kill(upper, signal.SIGTERM)
        self.assertFreed(readers, 8)
        self.assertFalse(is_mounted(self.upper))
        self.assertGone(upper, 8)

    def test_slow_MT_105_force_ends_a_mount_whose_daemon_has_stopped(self):
        pid = self.mount("--watchdog", "0")
        stop(pid)
        start = time.monotonic()
        self.weir("umount", "--force", self.point)
        self.assertLess(time.monotonic() - start, 30)
        self.assertFalse(is_mounted(self.point))
        self.assertFalse(lives(pid))


if __name__ == "__main__":
    if not CAN_MOUNT:
        print("SKIP all: mounting takes root and /dev/fuse")
        sys.exit(77)
    main()
