# SPDX-License-Identifier: Apache-2.0
"""What the figures were taken on: facts of the machine, its load, its disk, huge pages for fio."""
import os
import platform
import re
import resource
import subprocess

HUGETLB = "/proc/sys/vm/nr_hugepages"


def text(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def first(pattern, where):
    found = re.search(pattern, where, re.M)
    return found[1].strip() if found else ""


def block_device(path):
    """The queue directory in sysfs of the disk that a path lies on, or None."""
    device = os.stat(path).st_dev
    at = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    for folder in (at, os.path.dirname(at)):
        if os.path.isdir(folder + "/queue"):
            return folder
    return None


def disk_facts(path):
    folder = block_device(path)
    if not folder:
        return {}
    queue = folder + "/queue/"
    return {
        "disk": os.path.basename(folder),
        "scheduler": first(r"\[(\w[\w-]*)\]", text(queue + "scheduler")),
        "max_request_kib": text(queue + "max_sectors_kb"),
        "max_segments": text(queue + "max_segments"),
    }


def mount_of(path):
    """(mount point, type) of the file system a path lies on."""
    best = ("", "")
    path = os.path.realpath(path)
    for line in text("/proc/mounts").splitlines():
        field = line.split()
        if (path + "/").startswith(field[1].rstrip("/") + "/") and len(field[1]) >= len(best[0]):
            best = (field[1], field[2])
    return best


def facts(data):
    memory = int(first(r"MemTotal:\s+(\d+)", text("/proc/meminfo")) or 0)
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return {
        "cpu": first(r"model name\s*:(.*)", text("/proc/cpuinfo")) or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / (1 << 20), 1),
        "kernel": platform.release(),
        "thp": first(r"\[(\w+)\]", text("/sys/kernel/mm/transparent_hugepage/enabled")),
        "io_uring_disabled": text("/proc/sys/kernel/io_uring_disabled"),
        "memlock_bytes": "unlimited" if soft == resource.RLIM_INFINITY else soft,
        "file_system": mount_of(data)[1],
        **disk_facts(data),
    }


def load_average():
    return os.getloadavg()[0]


def busy_seconds():
    """Processor seconds that the whole machine has been busy; kernel workers and interrupts too."""
    field = [int(value) for value in text("/proc/stat").splitlines()[0].split()[1:]]
    idle = field[3] + field[4]
    return (sum(field[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def version(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


class HugePages:
    """Huge pages of the hugetlb kind for fio's buffers, for as long as the harness runs; root only."""

    def __init__(self, count):
        self.before = text(HUGETLB)
        self.ready = False
        if int(first(r"HugePages_Free:\s+(\d+)", text("/proc/meminfo")) or 0) >= count:
            self.ready = True
            self.before = ""
        elif os.geteuid() == 0 and self.before:
            self.write(int(self.before) + count)
            free = int(first(r"HugePages_Free:\s+(\d+)", text("/proc/meminfo")) or 0)
            self.ready = free >= count

    @staticmethod
    def write(count):
        with open(HUGETLB, "w") as file:
            file.write(str(count))

    def close(self):
        if self.before and os.geteuid() == 0:
            self.write(int(self.before))
