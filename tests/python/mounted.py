# SPDX-License-Identifier: Apache-2.0
"""A mount of ours for each test, of a folder with a file in it; tests/python/run skips what imports it where nothing
can be mounted.

Import this first: it makes the client of 3FS importable."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ["WEIR_BUILD"]
CLIENT = os.path.join(os.path.dirname(TESTS), "python", "compat", "hf3fs-py-usrbio")
DATA = bytes((7 * n + n // 251) % 256 for n in range(300_001))

sys.path.insert(0, CLIENT)
os.environ["PYTHONPATH"] = CLIENT + os.pathsep + os.environ["PYTHONPATH"]

import mount_lib  # noqa: E402


class Mounted:
    """A running mount: point, the folder behind it, and what is registered there."""

    def __init__(self, folder):
        self.source, self.point = str(folder / "source"), str(folder / "mount")
        os.mkdir(self.source)
        os.mkdir(self.point)
        with open(os.path.join(self.source, "file"), "wb") as to:
            to.write(DATA)
        self.file = os.path.join(self.point, "file")
        self.daemon = mount_lib.Mount(
            self.source,
            self.point,
            "--read-write",
            command=os.path.join(BUILD, "mount", "weir-mount"),
        )

    def keys(self):
        """The links of iovecs and rings."""
        names = os.listdir(os.path.join(self.point, "3fs-virt", "iovs"))
        return [name for name in names if not name.startswith("submit-ios")]

    def stop(self):
        """The daemon stands still when this returns, each thread of it."""
        self.daemon.process.send_signal(signal.SIGSTOP)
        tasks = f"/proc/{self.daemon.pid}/task"
        assert wait_until(
            lambda: all(state_of(f"{tasks}/{task}") == "T" for task in os.listdir(tasks))
        )

    def kill(self):
        self.daemon.process.kill()

    def end(self):
        self.daemon.end()
        self.daemon.log.close()


@pytest.fixture
def mount(tmp_path):
    mounted = Mounted(tmp_path)
    yield mounted
    mounted.end()


@pytest.fixture
def fd(mount):
    """The mount's file, open and registered."""
    import hf3fs_py_usrbio

    fd = os.open(mount.file, os.O_RDWR)
    hf3fs_py_usrbio.register_fd(fd)
    yield fd
    hf3fs_py_usrbio.deregister_fd(fd)
    os.close(fd)


def shared_memory():
    """What is in /dev/shm, the mount's own bells aside."""
    return [name for name in os.listdir("/dev/shm") if not name.startswith("sem.")]


def state_of(task):
    with open(f"{task}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def python(script, *arguments, timeout=60):
    """A script in an interpreter of its own: what it printed; a bad end fails the test."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert run.returncode == 0, (run.returncode, run.stdout, run.stderr)
    return run.stdout
