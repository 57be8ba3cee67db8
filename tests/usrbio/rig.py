# SPDX-License-Identifier: Apache-2.0
"""What the suites of rings share: a directory with files, a daemon (ours or the stub) that serves it, clients
in processes and under users of their own, counts of what is left behind, and the runner.

A mount whose daemon hangs holds whoever touches it, beyond SIGKILL.  So each daemon has a guard, a process in
a session of its own, which kills it and detaches the mount when this program has ended or taken too long.
"""
import ctypes
import errno
import glob
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
sys.dont_write_bytecode = True
from cli_lib import BUILD, Runner, alone, finish, main  # noqa: E402,F401  (the runner is everybody's)
import unittest  # noqa: E402

import raw  # noqa: E402

alone()

HERE = os.path.join(os.path.abspath(BUILD), "tests", "usrbio")
DRIVE, HARM, STUB = (os.path.join(HERE, name) for name in ("drive", "harm", "stub-server"))
WEIR_MOUNT = os.environ.get("WEIR_MOUNT", os.path.join(os.path.abspath(BUILD), "mount", "weir-mount"))
CAMPAIGN = int(os.environ.get("WEIR_CAMPAIGN", "0"))
GUARD_SECONDS = 86400 if CAMPAIGN else 900
OTHER, THIRD = 65533, 65532  # users without a name, for clients that must not meet


if not os.access("/dev/fuse", os.R_OK | os.W_OK):
    print("SKIP: /dev/fuse is not there, or not for us")
    sys.exit(77)


def sized(ci, campaign):
    """A count: what CI runs, or what a campaign (WEIR_CAMPAIGN=1) does."""
    return campaign if CAMPAIGN else ci


def detach(path):
    subprocess.run(["umount", "-l", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def out_of_time(*_):
    raise TimeoutError


def guard(pid, path):
    """Forks the process that outlives us and cleans up; returns the end of a pipe: closing it calls it off."""
    ours, theirs = os.pipe()
    if os.fork():
        os.close(ours)
        return theirs
    os.setsid()
    for fd in set(range(3, 256)) - {ours}:
        close_quietly(fd)
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(GUARD_SECONDS)
    try:
        last = os.read(ours, 1)
    except OSError:
        last = b""
    if last != b"k":
        for call in (lambda: os.kill(pid, signal.SIGKILL), lambda: detach(path)):
            try:
                call()
            except OSError:
                pass
    os._exit(0)


def wait_until(condition, seconds=5.0, every=0.005):
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def take(seconds, condition):
    """How long it took until the condition was true; None if it never was."""
    start = time.monotonic()
    return time.monotonic() - start if wait_until(condition, seconds) else None


def shm_names():
    return {name for name in os.listdir(raw.SHM) if name.startswith(("hf3fs-", "sem.hf3fs-"))}


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def shared_mappings(pid):
    """How many mappings of shared-memory objects a process has, deleted ones included."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as lines:
        return sum(1 for line in lines if "/dev/shm/" in line and "sem.hf3fs-submit" not in line)


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as lines:
        return int(re.search(r"VmRSS:\s+(\d+)", lines.read())[1])


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Child:
    """A process of its own, under a uid of its own, that runs function(connection) and says how it ended."""

    def __init__(self, function, uid=None, gid=None):
        self.connection, theirs = multiprocessing.Pipe()
        self.pid = os.fork()
        if self.pid:
            theirs.close()
            self.status = None
            return
        code = 1
        try:
            self.connection.close()
            signal.alarm(300)
            if uid is not None:
                os.setgroups([])
                os.setresgid(*[gid or uid] * 3)
                os.setresuid(*[uid] * 3)
            theirs.send(("done", function(theirs)))
            code = 0
        except BaseException:  # what the child died of is the parent's to show
            try:
                theirs.send(("failed", traceback.format_exc()))
            except OSError:
                pass
        finally:
            os._exit(code)

    def send(self, what):
        self.connection.send(what)

    def receive(self, seconds=30):
        if not self.connection.poll(seconds):
            raise TimeoutError("the other process says nothing")
        what = self.connection.recv()
        if isinstance(what, tuple) and what and what[0] == "failed":
            raise AssertionError("in the other process:\n" + what[1])
        return what

    def result(self, seconds=60):
        what = self.receive(seconds)
        self.wait()
        return what[1]

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
        if number == signal.SIGKILL:
            self.wait()

    def wait(self):
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]
        self.connection.close()
        return self.status


def run_as(uid, function):
    """function() under another uid, in another process; its result comes back."""
    return Child(lambda _: function(), uid).result()


needs_root = unittest.skipUnless(os.geteuid() == 0, "several users need root")


def readlink_error(path):
    try:
        return os.readlink(path)
    except OSError as error:
        return errno.errorcode[error.errno]


def statx(directory, path, flags):
    """The raw answer, asked of the file system as FLAGS say; an errno's name where it fails."""
    answer = ctypes.create_string_buffer(256)
    if raw.libc.statx(directory, path.encode(), flags, 0x7FF, answer):
        return errno.errorcode[ctypes.get_errno()]
    return answer.raw


def stat_error(path):
    """lstat that no cache answers: None, or the errno's name."""
    answer = statx(-100, path, 0x100 | 0x2000)
    return answer if isinstance(answer, str) else None


def statx_ino(fd):
    """The number as clients ask for it, without a round trip."""
    return int.from_bytes(statx(fd, "", 0x1000 | 0x4000)[32:40], "little")


class Daemon:
    """A process that serves DIR at MOUNT."""

    def __init__(self, folder, point):
        self.dir, self.point = folder, point
        self.process = self.guard = None

    def launch(self, command, **how):
        self.process = subprocess.Popen(command, **how)
        self.guard = guard(self.process.pid, self.point)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def release(self):
        """Whatever state it is in: it is gone afterwards, and the mount with it."""
        if self.alive():
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        while os.path.realpath(self.point) in mount_points():
            detach(self.point)
        if self.guard is not None:
            os.write(self.guard, b"k")
            os.close(self.guard)
            self.guard = None
        for bell in self.bells():  # one that was killed left them
            if os.path.exists(bell):
                os.unlink(bell)

    def bells(self):
        return []


def mount_points():
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        return {line.split()[4].replace("\\040", " ") for line in lines}


class Stub(Daemon):
    """The second server, which misbehaves on request."""

    def __init__(self, folder, point, *commands):
        super().__init__(folder, point)
        self.launch([STUB, folder, point, *commands], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the stub server did not start")

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def bells(self):
        return glob.glob(f"/dev/shm/sem.hf3fs-submit-ios.stub-{self.pid}-*")

    def do(self, command):
        answer = self.tell(command)
        if answer != "ok":
            raise RuntimeError(f"{command}: {answer}")


def environment(more):
    """The daemon lets nobody look into it, so a leak checker cannot work there."""
    options = f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0"
    return {**os.environ, "ASAN_OPTIONS": options.lstrip(":"), **(more or {})}


class Weir(Daemon):
    """Our daemon."""

    def __init__(self, folder, point, *options, env=None):
        super().__init__(folder, point)
        self.made = []
        self.ready = point + ".ready"
        self.log = point + ".log"
        command = [WEIR_MOUNT, "--foreground", "--ready-file", self.ready, *options, f"file://{folder}", point]
        with open(self.log, "ab") as log:
            self.launch(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(env))
        if not wait_until(lambda: os.path.exists(self.ready) or not self.alive(), 20) or not self.alive():
            self.release()
            raise RuntimeError("weir-mount did not start: " + self.said())
        os.unlink(self.ready)
        iovs = os.path.join(point, "3fs-virt", "iovs")
        self.made = [os.readlink(os.path.join(iovs, "submit-ios" + suffix)) for suffix in raw.SUFFIX.values()]

    def bells(self):
        return self.made

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as lines:
            return lines.read()


class RingTest(unittest.TestCase):
    """A folder with `files` and a place to mount it at; each case starts with nothing mounted."""

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="weir-rings-")
        os.chmod(self.top, 0o755)
        self.addCleanup(shutil.rmtree, self.top, True)
        self.files, self.point = os.path.join(self.top, "files"), os.path.join(self.top, "mount")
        os.mkdir(self.files)
        os.mkdir(self.point)
        os.chmod(self.files, 0o777)
        self.shm_before = shm_names()

    def make(self, name, content=b"", mode=0o666):
        path = os.path.join(self.files, name)
        with open(path, "wb") as to:
            to.write(content)
        os.chmod(path, mode)
        return content

    def pattern(self, name, size, mode=0o666):
        """A file that drive can check; its content."""
        path = os.path.join(self.files, name)
        subprocess.run([DRIVE, "make", path, str(size)], check=True)
        os.chmod(path, mode)
        with open(path, "rb") as content:
            return content.read()

    def start(self, kind, *options, **how):
        daemon = kind(self.files, self.point, *options, **how)
        self.addCleanup(daemon.release)
        return daemon

    def path(self, name):
        return os.path.join(self.point, name)

    def open(self, name, flags=os.O_RDWR):
        """(descriptor, number) of a file of the mount, closed at the end of the case."""
        fd = os.open(self.path(name), flags | os.O_CLOEXEC)
        self.addCleanup(close_quietly, fd)
        return fd, os.fstat(fd).st_ino

    def closing(self, thing):
        self.addCleanup(thing.close)
        return thing

    def drive(self, *options, file="f", status=0):
        run = subprocess.run([DRIVE, "run", self.point, file, *options], capture_output=True, text=True,
                             timeout=sized(120, 7200), check=False)
        self.assertEqual(run.returncode, status, (options, run.stdout, run.stderr))
        return json.loads(run.stdout) if run.stdout else None


def close_quietly(fd):
    try:
        os.close(fd)
    except OSError:
        pass


def drive_start(point, file, *options):
    return subprocess.Popen([DRIVE, "run", point, file, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def leftover_keys(point):
    return glob.glob(os.path.join(point, "3fs-virt", "iovs", "*-*-*-*-*"))


