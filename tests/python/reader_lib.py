# SPDX-License-Identifier: Apache-2.0
"""What the tests of fastsafetensor_3fs_reader share."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "compat" / "fastsafetensor-3fs-reader"
BUILD = Path(os.environ.get("WEIR_BUILD", ROOT / "build"))
for name in ("FASTSAFETENSORS_BACKEND", "FST3FS_FALLBACK", "FST3FS_TIMEOUT", "HF3FS_LIB_DIR"):
    os.environ.pop(name, None)
sys.path.insert(0, str(PACKAGE))

CANARY = 0xA5


class Memory:
    """Host memory with marked bytes behind it: what a read must not touch."""

    def __init__(self, size, behind=64):
        self.size = size
        self.bytes = bytearray([CANARY]) * (size + behind)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))

    def holds(self, expected):
        """Just these bytes, and marks from there on."""
        count = len(expected)
        return self.bytes[:count] == expected and set(self.bytes[count:]) <= {CANARY}


def run(script, *arguments, seconds=60, status=0, **environment):
    """A Python program with the package on its path; what it printed."""
    path = os.pathsep.join([str(BUILD / "python"), str(PACKAGE), environment.pop("PYTHONPATH", "")])
    env = {**os.environ, **environment, "PYTHONPATH": path.rstrip(os.pathsep)}
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], env=env, timeout=seconds,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == status, done.stderr[-3000:]
    return done.stdout + done.stderr if status else done.stdout


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def resident_kib(name="VmRSS"):
    with open("/proc/self/status", encoding="ascii") as lines:
        return int(next(line for line in lines if line.startswith(name + ":")).split()[1])
