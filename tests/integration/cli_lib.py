# SPDX-License-Identifier: Apache-2.0
"""What tests of the command share: a folder for each case, the command itself, small model files made by
hand, and a runner that prints its cases as the other test programs do."""
import ctypes
import faulthandler
import glob
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import textwrap
import unittest

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEIR = os.path.join(os.path.abspath(BUILD), "cli", "weir")

DTYPE_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1}


def alone():
    """Mounts, and a /dev/shm, of this process and its children alone: nothing that a test mounts outlives it, and what
    it counts are its own names.  Only root may, and not in a chroot, whose root is no mount; whoever may not shares
    them with the tests that run beside."""
    new_mounts, recursive_private = 0x20000, 0x4000 | 1 << 18
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() or libc.unshare(new_mounts) or libc.mount(b"none", b"/", None, recursive_private, None):
        return
    if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777"):
        raise OSError(ctypes.get_errno(), "a /dev/shm of its own")


def header_of(tensors, metadata=None):
    """(header, data) of a safetensors file: tensors maps names to (dtype, shape, bytes)."""
    entries, data = {}, b""
    if metadata is not None:
        entries["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": shape,
                         "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return json.dumps(entries).encode(), data


def write_model(path, tensors, metadata=None, trailing=b""):
    header, data = header_of(tensors, metadata)
    with open(path, "wb") as to:
        to.write(struct.pack("<Q", len(header)) + header + data + trailing)
    return path


RUNS = [bytes((first + 7 * n) % 256 for n in range(251)) for first in range(256)]


def some(size, start=0):
    """Bytes that depend on their place: byte n is start + 7n + n/251, modulo 256."""
    return b"".join(RUNS[(start + 1758 * n) % 256] for n in range(size // 251 + 1))[:size]


def asleep(pid):
    """What each thread of a process waits in, as far as the kernel tells: a line for each."""
    lines = []
    for thread in sorted(glob.glob(f"/proc/{pid}/task/*")):
        said = []
        for name in ("comm", "wchan", "syscall"):
            try:
                with open(os.path.join(thread, name), encoding="utf-8") as text:
                    said.append(text.read().strip())
            except OSError:
                pass
        lines.append(" ".join([os.path.basename(thread), *said]))
    return "\n".join(lines)


def finish(process, seconds=100, given=None):
    """(out, err) of a process that ends in time; one that does not fails the case, and says what it waits for."""
    try:
        return process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        waits = asleep(process.pid)
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{process.args} did not end in {seconds} s\n{waits}\n{out[-2000:]!r}\n"
                             f"{err[-2000:]!r}") from None


class Result:
    def __init__(self, process, out, err):
        self.status, self.out, self.err = process.returncode, out, err

    @property
    def text(self):
        return self.out.decode()

    @property
    def errors(self):
        return self.err.decode()

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


class CliTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="weir-cli-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def weir(self, *arguments, status=0, env=None, given=None, **how):
        """Runs the command; any other exit status fails the case, unless status is None."""
        how.setdefault("cwd", self.dir)
        if given is not None:
            how["stdin"] = subprocess.PIPE
        with subprocess.Popen([WEIR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, **(env or {})}, **how) as process:
            result = Result(process, *finish(process, given=given))
        if status is not None:
            self.assertEqual(result.status, status, (arguments, result.out[-2000:], result.err[-2000:]))
        return result

    def model(self, name="model.safetensors"):
        """Four tensors: a matrix, a vector, a scalar, an empty one."""
        return write_model(self.path(name), {
            "h.0.weight": ("F32", [4, 8], some(128)),
            "h.0.bias": ("BF16", [8], some(16, 3)),
            "scale": ("F64", [], some(8, 9)),
            "none": ("U8", [0, 3], b""),
        }, {"format": "pt"})

    def assertError(self, document, name):
        self.assertEqual(document["error"]["class"], name, document)
        self.assertTrue(document["error"]["message"])
        self.assertNotIn(None, document["error"].values())


class Runner(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0

    @staticmethod
    def name(test):
        return test.id().split(".")[-1]

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        print("ok", self.name(test), flush=True)

    def failed(self, test, why):
        """Why stands below the name: a log that is cut short, or read from one stream, has both or neither."""
        print("FAIL", self.name(test), flush=True)
        print(textwrap.indent(why.rstrip(), "    "), flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed(test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.failed(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            of = self.failures if issubclass(err[0], test.failureException) else self.errors
            self.failed(test, f"{subtest}\n{of[-1][1]}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print("SKIP", self.name(test), reason, flush=True)


def main():
    """tests in the calling file: FILE BUILD [PART OF A NAME...]

    Whoever ends us because we take too long is told where we are."""
    faulthandler.register(signal.SIGTERM, file=sys.stdout, chain=True)
    suite, result = unittest.TestSuite(), Runner()
    loader = unittest.defaultTestLoader
    parts = sys.argv[2:]
    for group in loader.loadTestsFromModule(sys.modules["__main__"]):
        for test in group:
            if not parts or any(part in Runner.name(test) for part in parts):
                suite.addTest(test)
    suite.run(result)
    bad = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {bad} failed, {len(result.skipped)} skipped")
    sys.exit(1 if bad or not result.passed else 0)
