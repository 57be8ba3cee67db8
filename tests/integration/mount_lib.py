# SPDX-License-Identifier: Apache-2.0
"""What tests of weir-mount share: a source folder and a mount of it for each case, over real FUSE."""
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

import cli_lib
from cli_lib import BUILD, some

MOUNT = os.path.join(os.path.abspath(BUILD), "mount", "weir-mount")
ROOT = os.geteuid() == 0
MNT_DETACH = 2
LIBC = ctypes.CDLL(None, use_errno=True)

READ_WRITE = "--read-write"
OFF = "--passthrough=off"


def call(name, *arguments):
    """A function of the C library; OSError where it fails."""
    function = getattr(LIBC, name)
    function.restype = ctypes.c_long
    result = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def errno_of(function, *arguments, **how):
    """The name of nothing: the number of the OSError that it raises, or 0."""
    try:
        function(*arguments, **how)
    except OSError as error:
        return error.errno
    return 0


def write(path, data, mode=0o644):
    with open(path, "wb") as to:
        to.write(data)
    os.chmod(path, mode)
    return path


def read(path):
    with open(path, "rb") as source:
        return source.read()


def cpu_seconds(pid):
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bytes_read(pid):
    """What the daemon itself has read, from files and from /dev/fuse."""
    with open(f"/proc/{pid}/io", encoding="ascii") as io:
        return int(io.readline().split()[1])


def mount_line(path):
    """The mount table's line of a mount point: (options, type, source, options of the file system)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split()
            if fields[4] == path:
                after = fields.index("-")
                return fields[5], fields[after + 1], fields[after + 2], fields[after + 3]
    return None


def environment():
    """No process may look into the daemon, so that no leak checker can either."""
    options = [os.environ.get("ASAN_OPTIONS", ""), "detect_leaks=0"]
    return {**os.environ, "ASAN_OPTIONS": ":".join(filter(None, options))}


class Mount:
    """A running weir-mount."""

    def __init__(self, source, where, *options, preexec=None, command=MOUNT):
        self.where = where
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([command, "--foreground", *options, source, where],
                                        env=environment(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=preexec)
        self.pid = self.process.pid
        deadline = time.monotonic() + 20
        while " is mounted at " not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.said()
                self.end(1)
                raise RuntimeError(f"no mount: {said}")
            time.sleep(0.005)

    def said(self):
        return os.pread(self.log.fileno(), 1 << 20, 0).decode(errors="replace")

    def end(self, timeout=20):
        """Asks it to end, as a service manager would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        LIBC.umount2(self.where.encode(), MNT_DETACH)
        return self.process.returncode


class MountTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="weir-mount-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.source = os.path.join(self.dir, "source")
        self.where = os.path.join(self.dir, "mount")
        os.mkdir(self.source)
        os.mkdir(self.where)

    def mount(self, *options, **how):
        mount = Mount(how.pop("source", self.source), self.where, *options, **how)
        self.addCleanup(self.leave, mount)
        return mount

    @staticmethod
    def leave(mount):
        mount.end()
        mount.log.close()

    def s(self, *names):
        """A path in the source."""
        return os.path.join(self.source, *names)

    def m(self, *names):
        """The same in the mount."""
        return os.path.join(self.where, *names)

    def as_user(self, uid, function, *arguments, groups=()):
        """Runs it in a child under that uid (gid the same); what it returns must be text."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups(list(groups))
                os.setgid(uid)
                os.setuid(uid)
                answer = str(function(*arguments))
            except OSError as error:
                answer = f"errno {error.errno}"
            except BaseException as error:  # pylint: disable=broad-except
                answer = f"raised {error!r}"
            os.write(writer, answer.encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            answer = answers.read().decode()
        os.waitpid(pid, 0)
        return answer


def own_mounts():
    """Where ordinary users may not open /dev/fuse, they may in here."""
    MS_BIND = 4096
    cli_lib.alone()
    device = os.stat("/dev/fuse")
    if device.st_mode & 0o006 == 0o006:
        return
    with tempfile.TemporaryDirectory() as folder:
        node = os.path.join(folder, "fuse")
        os.mknod(node, stat.S_IFCHR | 0o666, device.st_rdev)
        os.chmod(node, 0o666)
        call("mount", node.encode(), b"/dev/fuse", None, MS_BIND, None)


def main():
    if not os.path.exists("/dev/fuse"):
        print("SKIP all: no /dev/fuse")
        sys.exit(77)
    if ROOT:
        own_mounts()
    cli_lib.main()
