# SPDX-License-Identifier: Apache-2.0
"""What the suites of the server share: weir-mount over a folder, a raw client, and an honest one beside it."""
import contextlib
import json
import os
import signal
import subprocess
import uuid

import raw
from rig import HARM, RingTest, Stub, Weir, drive_start, finish, sized

MIB = 1 << 20


class ServerTest(RingTest):
    OPTIONS = ("--read-write",)

    def setUp(self):
        super().setUp()
        self.content = self.pattern("f", 300007)
        self.weir = self.start(Weir, *self.OPTIONS)
        self.mount = raw.Mount(self.point)

    def tearDown(self):
        if self.weir.guard is not None:  # not ended by the case itself
            self.assertTrue(self.weir.alive(), self.weir.said())

    def iov(self, size=MIB, **how):
        return self.closing(raw.Iov(self.mount, size, **how))

    def ring(self, entries=16, **how):
        return self.closing(raw.Ring(self.mount, entries, **how))

    def shared(self, size=8192, **how):
        return self.closing(raw.Shared(size, **how))

    def answer(self, attributes, target=None, size=8192, key=None):
        """What SYMLINK says to a key; the registration does not stay."""
        key = key or str(uuid.uuid4()) + attributes
        answer = self.mount.register(target or self.shared(size).path, key)
        if answer is None:
            self.assertIsNone(self.mount.unregister(key))
        return answer

    def assertWorks(self):
        """An ordinary client is served."""
        with_iov, with_ring = self.iov(), self.ring()
        _, ino = self.open("f", os.O_RDONLY)
        self.assertEqual(with_ring.do((with_iov, 0, ino, 5, 1000)), [1000])
        self.assertEqual(with_iov.read(0, 1000), self.content[5:1005])

    @contextlib.contextmanager
    def slow_file(self, ms):
        """A file of 1 MiB on a file system below the mount's folder, each of whose reads takes MS."""
        below, folder = os.path.join(self.top, "below"), os.path.join(self.files, "slow")
        os.mkdir(below)
        os.mkdir(folder)
        with open(os.path.join(below, "g"), "wb") as to:
            to.write(bytes(MIB))
        stub = Stub(below, folder, f"slow {ms}")  # its attributes are cached: only reads wait
        try:
            yield "slow/g"
        finally:
            self.weir.release()
            stub.release()

    def harm(self, mode, seconds, seed=1, count=None, status=0):
        """Runs a hostile client to its end."""
        command = [HARM, mode, self.point, "f", str(seconds), str(seed)] + ([str(count)] if count else [])
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        if status is not None:
            self.assertEqual(run.returncode, status, (run.stdout, run.stderr))
        return run.stdout.splitlines()[-1] if run.stdout else ""

    def harm_start(self, mode, seconds, seed=1, **how):
        """Starts one; it is under way when this returns."""
        process = subprocess.Popen([HARM, mode, self.point, "f", str(seconds), str(seed)], stdout=subprocess.PIPE,
                                   text=True, **how)
        self.addCleanup(end, process)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def honest(self, seconds, *options):
        """A client beside the others that checks every byte; see told()."""
        process = drive_start(self.point, "f", f"seconds={seconds}", "count=1000000000", *options)
        self.addCleanup(end, process)
        return process

    def told(self, process):
        """What an honest client says at its end: nothing was wrong."""
        out, err = finish(process, sized(100, 100000))
        self.assertEqual(process.returncode, 0, (out, err))
        answer = json.loads(out)
        self.assertEqual((answer["wrong"], answer["lost"], answer["errors"]), (0, 0, 0))
        return answer


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
