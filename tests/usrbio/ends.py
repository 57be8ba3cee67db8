#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The two ends that the suites are made of, against each other: nothing of weir's own takes part.  What
fails here is wrong in the test tools and not in the tree."""
import json
import os

import raw
from rig import RingTest, Stub, main, shm_names, wait_until


class Ends(RingTest):
    def setUp(self):
        super().setUp()
        self.content = self.pattern("f", 300007)
        self.stub = self.start(Stub)
        self.mount = raw.Mount(self.point)

    def pair(self, entries=8, **how):
        iov = self.closing(raw.Iov(self.mount, 1 << 16))
        return iov, self.closing(raw.Ring(self.mount, entries, **how))

    def state(self):
        return json.loads(self.stub.tell("state"))

    def test_reads_and_their_ends(self):
        iov, ring = self.pair()
        _, ino = self.open("f")
        self.assertEqual(ring.do((iov, 0, ino, 100, 4096), (iov, 4096, ino, 300000, 100), (iov, 8192, ino, 10**6, 1)),
                         [4096, 7, 0])
        self.assertEqual(iov.read(0, 4096), self.content[100:4196])
        self.assertEqual(iov.read(4096, 7), self.content[300000:])
        self.assertEqual(self.stub.tell("complaints"), "")

    def test_writes(self):
        iov, ring = self.pair(write=True)
        _, ino = self.open("f")
        iov.write(5, b"written through a ring")
        self.assertEqual(ring.do((iov, 5, ino, 12345, 22)), [22])
        with open(os.path.join(self.files, "f"), "rb") as content:
            self.assertEqual(content.read()[12345:12367], b"written through a ring")

    def test_answers_to_nonsense(self):
        iov, ring = self.pair()
        _, ino = self.open("f")
        self.assertEqual(ring.do((b"\0" * 16, 0, ino, 0, 1), (iov, 1 << 16, ino, 0, 1), (iov, 0, ino + 1, 0, 1)),
                         [-22, -22, -9])

    def test_faults_strike(self):
        iov, ring = self.pair()
        _, ino = self.open("f")
        for fault, expected in (("index 5", (5, 10, 77)), ("userdata 1", (0, 10, 78)), ("result -5", (0, -5, 77)),
                                ("add 3", (0, 13, 77)), ("short 4", (0, 4, 77))):
            self.stub.do("fault " + fault)
            ring.free = list(range(8))
            ring.prepare(iov, 0, ino, 0, 10, userdata=77)
            ring.submit()
            self.assertEqual(ring.wait(1), [expected], fault)
        self.stub.do("fault twice 0")
        ring.prepare(iov, 0, ino, 0, 10, slot=3)
        ring.submit()
        self.assertEqual([slot for slot, _, _ in ring.wait(2)], [3, 3])
        self.stub.do("fault lose 0")
        ring.prepare(iov, 0, ino, 0, 10, slot=4)
        ring.submit()
        self.assertEqual(ring.wait(1, 0.2), [])

    def test_vendor_batches(self):
        """A slow batch holds sqeTail back while a later one completes."""
        iov, ring = self.pair()
        _, ino = self.open("f")
        self.stub.do("batch on")
        self.stub.do("fault delay 300")
        ring.prepare(iov, 0, ino, 0, 10)
        ring.submit()
        self.assertTrue(wait_until(lambda: self.state()["claims"] == 1))
        ring.prepare(iov, 0, ino, 0, 20)
        ring.submit()
        self.assertEqual([result for _, result, _ in ring.wait(1, 0.2)], [20])
        self.assertEqual(ring.word(raw.SQE_TAIL), 0)
        self.assertEqual([result for _, result, _ in ring.wait(1)], [10])
        self.assertTrue(wait_until(lambda: ring.word(raw.SQE_TAIL) == 2))

    def test_restart_and_end(self):
        before = os.readlink(self.mount.link("submit-ios"))
        self.pair()
        self.stub.do("restart")
        self.assertNotEqual(os.readlink(self.mount.link("submit-ios")), before)
        self.assertEqual(self.state()["rings"], 0)
        self.stub.release()
        self.assertFalse([name for name in shm_names() - self.shm_before if "stub" in name])

    def test_complaints(self):
        ring = self.closing(raw.Ring(self.mount, 8, attributes=".r0", mapped=64))
        self.assertIn("without .t", self.stub.tell("complaints"))
        ring.set_word(raw.SQE_HEAD, 99)
        self.assertTrue(wait_until(lambda: "sqeHead 99" in self.stub.tell("complaints")))

    def test_drive_sees_what_is_wrong(self):
        self.assertEqual(self.drive("count=3000", "entries=7", "submit=3")["done"], 3000)
        self.stub.do("batch on")
        self.stub.do("jitter 2")
        self.assertEqual(self.drive("count=300", "entries=7")["done"], 300)
        self.stub.do("jitter 0")
        for fault in ("userdata 1", "add 1", "index 100", "twice 0", "short 1"):
            self.stub.do(f"fault {fault} 1 20")
            self.drive("count=100", "entries=4", status=1)
        self.stub.do("fault lose 0 1 20")
        self.drive("count=100", "entries=4", "stall=1", status=1)


if __name__ == "__main__":
    main()
