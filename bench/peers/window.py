# SPDX-License-Identifier: Apache-2.0
"""The measured window, as the yardsticks have it, for loaders that live in Python."""
import importlib.metadata
import json
import resource
import sys
import time


def disk_bytes():
    with open("/proc/self/io") as file:
        for line in file:
            if line.startswith("read_bytes:"):
                return int(line.split()[1])
    return 0


class Window:
    """with Window() as window: ...; then window.report(bytes)."""

    def __enter__(self):
        self.disk = disk_bytes()
        self.usage = resource.getrusage(resource.RUSAGE_SELF)
        self.start = time.monotonic()
        return self

    def __exit__(self, *_):
        self.wall = time.monotonic() - self.start
        after = resource.getrusage(resource.RUSAGE_SELF)
        self.user = after.ru_utime - self.usage.ru_utime
        self.system = after.ru_stime - self.usage.ru_stime
        self.faults = after.ru_minflt + after.ru_majflt - self.usage.ru_minflt - self.usage.ru_majflt
        self.disk = disk_bytes() - self.disk

    def report(self, size, **more):
        print(json.dumps({"bytes": size, "wall_seconds": self.wall, "cpu_seconds": self.user + self.system,
                          "user_seconds": self.user, "system_seconds": self.system, "page_faults": self.faults,
                          "disk_bytes": self.disk, **more}))
        sys.stdout.flush()


def version(package):
    return importlib.metadata.version(package)


def size_of(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
