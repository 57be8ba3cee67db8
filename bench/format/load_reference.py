# SPDX-License-Identifier: Apache-2.0
"""load_reference.py FILE: opens it and lists its names: ns, tensors, peak of memory above the start, ns of CPU."""
import sys
import time

import numpy  # noqa: F401  (what the reference loads by itself is no part of the time)
from safetensors import safe_open


def status_bytes(field):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024


before = status_bytes("VmRSS")
start, cpu = time.perf_counter_ns(), time.process_time_ns()
with safe_open(sys.argv[1], framework="np") as file:
    tensors = len(file.keys())
    wall, cpu = time.perf_counter_ns() - start, time.process_time_ns() - cpu
    print(wall, tensors, status_bytes("VmHWM") - before, cpu)
