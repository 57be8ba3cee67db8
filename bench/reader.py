#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/reader.py [--build DIR] [--pairs N] --data FILE: the drop-in reader against the package it replaces.

FILE is one GiB or more, on the disk to measure.  The published wheel is installed into a virtual environment
of its own in the build directory, and runs its own compiled core on our libhf3fs_api_shared.so.  Each pair
reads FILE once with either, in turns, into the same kind of memory, touched before; what is printed is the
median of ours divided by theirs, with the range, and seconds a GiB of both.

    warm    files, from the page cache, to memory              MockFileReader of both
    cold    files, past it                                     the same
    ring    a mount of weir-mount, to memory                   ThreeFSFileReader of both, backend cpp
    drop    the same, dev_ptr=0: bytes fetched and dropped
"""

import argparse
import ctypes
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PUBLISHED = "fastsafetensor-3fs-reader==0.3.3"
GOALS = {  # row: (wall at most, CPU at most), of theirs
    "warm": (1 / 1.5, 1 / 6),
    "cold": (None, 1 / 20),
    "ring": (None, 0.75),
    "drop": (None, 1.0),
}


# ---- One read, in a process that has one of the two packages ----


def cpu_of(pids):
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as line:
            fields = line.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def touched(size):
    """Memory on page borders, so that direct reads can land in it."""
    memory = mmap.mmap(-1, size)
    memory.madvise(mmap.MADV_HUGEPAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ctypes.memset(address, 1, size)
    return memory, address


def forget(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def worker(row, path, mount, pids):
    """Prints seconds a GiB: wall, processor of this process, processor of the daemon."""
    import fastsafetensor_3fs_reader as package

    size = os.path.getsize(path)
    memory, address = touched(size) if row != "drop" else (None, 0)
    if row in ("warm", "cold"):
        reader = package.MockFileReader()
    else:
        assert package.get_backend() == "cpp"
        reader = package.ThreeFSFileReader(mount_point=mount)
    if row == "cold":
        forget(path)
    else:
        reader.read_chunked(path, address, 0, size)
    daemon, wall, cpu = cpu_of(pids), time.perf_counter(), time.process_time()
    got = reader.read_chunked(path, address, 0, size)
    wall, cpu, daemon = time.perf_counter() - wall, time.process_time() - cpu, cpu_of(pids) - daemon
    assert got == size and (memory is None or memory[:4096] == open(path, "rb").read(4096))
    print(json.dumps([figure * (1 << 30) / size for figure in (wall, cpu, daemon)]))


# ---- All of them ----


class Sides:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        venv = os.path.join(self.build, "venv-reader")
        mark = os.path.join(venv, PUBLISHED)
        if not os.path.exists(mark):
            subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
            subprocess.run([os.path.join(venv, "bin", "pip"), "-q", "--disable-pip-version-check", "install", "--no-deps",
                            PUBLISHED], check=True)  # fmt: skip
            open(mark, "w", encoding="ascii").close()
        compat = os.path.join(ROOT, "python", "compat", "fastsafetensor-3fs-reader")
        path = os.pathsep.join([os.path.join(self.build, "python"), compat])
        self.sides = {
            "ours": (sys.executable, {"PYTHONPATH": path}),
            "theirs": (os.path.join(venv, "bin", "python"),
                       {"HF3FS_LIB_DIR": os.path.join(self.build, "compat", "hf3fs")}),
        }  # fmt: skip

    def measure(self, side, row, path, mount, pids):
        python, env = self.sides[side]
        run = subprocess.run([python, os.path.abspath(__file__), "--worker", row, path, mount, *map(str, pids)],
                             env={**os.environ, "FASTSAFETENSORS_BACKEND": "cpp", **env}, check=True,
                             stdout=subprocess.PIPE)  # fmt: skip
        return json.loads(run.stdout)


def report(row, ours, theirs):
    """One line for each figure: the ratios of the pairs, and both sides in seconds a GiB."""
    for number, (name, goal) in enumerate(zip(("wall", "cpu"), GOALS[row])):
        ratios = [a[number] / b[number] for a, b in zip(ours, theirs)]
        words = [f"{statistics.median(side[number] for side in both):.4f}" for both in (ours, theirs)]
        aim = f"goal {goal:.3f}" if goal else "no goal"
        print(f"{row:5} {name:5} {statistics.median(ratios):7.3f} ({min(ratios):.3f}..{max(ratios):.3f}) {aim:11}"
              f"  ours {words[0]} s/GiB  theirs {words[1]}", flush=True)  # fmt: skip
    if row in ("ring", "drop"):
        both = [statistics.median(a[1] + a[2] for a in side) for side in (ours, theirs)]
        print(f"{row:5} with the daemon: ours {both[0]:.4f} s/GiB  theirs {both[1]:.4f}", flush=True)


def pairs(sides, row, count, path, mount="", pids=()):
    ours, theirs = [], []
    for number in range(count):
        for side in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            (ours if side == "ours" else theirs).append(sides.measure(side, row, path, mount, pids))
    report(row, ours, theirs)


def mounted(build, folder, point):
    daemon = subprocess.Popen([os.path.join(build, "mount", "weir-mount"), "--foreground", folder, point],
                              stdout=subprocess.DEVNULL)  # fmt: skip
    for _ in range(1000):
        if os.path.isdir(os.path.join(point, "3fs-virt")):
            break
        time.sleep(0.02)
    return daemon


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", default="warm,cold,ring,drop")
    asked = parser.parse_args()
    sides, data, rows = Sides(asked.build), os.path.abspath(asked.data), asked.rows.split(",")
    print(f"load average {os.getloadavg()[0]:.1f}, {os.path.getsize(data) / (1 << 30):.2f} GiB, {asked.pairs} pairs")
    for row in ("warm", "cold"):
        if row in rows:
            pairs(sides, row, asked.pairs, data)
    if not {"ring", "drop"} & set(rows):
        return
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as point:
        daemon = mounted(sides.build, os.path.dirname(data), point)
        try:
            for row in ("ring", "drop"):
                if row in rows:
                    pairs(sides, row, asked.pairs, os.path.join(point, os.path.basename(data)), point, [daemon.pid])
        finally:
            daemon.terminate()
            daemon.wait(30)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:5], [int(word) for word in sys.argv[5:]])
    else:
        main()
