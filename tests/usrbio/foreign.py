#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""weir's rings driven by a library that was loaded, with the vendor's C interface (WEIR_3FS_LIBRARY=vendor).

The library is vendor/pose.c: real rings on real mounts, without weir's note, with the manners of the vendor's.
It waits for ever for a daemon that is dead, and ends the process at arguments that make no sense."""
import json
import os

import load
from rig import leftover_keys, main, wait_until
from cli_lib import BUILD

FOLDER = os.path.join(os.path.abspath(BUILD), "tests", "usrbio", "vendor")
LIBRARY = os.path.join(FOLDER, "libhf3fs_api_shared.so")
OURS = os.path.join(os.path.abspath(BUILD), "compat", "hf3fs")


class Foreign(load.Client):
    """A client whose rings that library drives; how many of them, and of requests, it says itself."""
    pose = ""

    def begin(self, *arguments, env=None):
        mine = {"WEIR_3FS_LIBRARY": "vendor", "HF3FS_LIB_DIR": FOLDER, "POSE": self.pose,
                "POSE_COUNTS": self.counts_path}
        return super().begin(*arguments, env={**mine, **(env or {})})

    @property
    def counts_path(self):
        return os.path.join(self.top, "counts")

    def counts(self):
        with open(self.counts_path, encoding="utf-8") as lines:
            return json.load(lines)

    def assertLoads(self, *arguments):
        document, said = self.load("--digest", *arguments)
        self.assertEqual((document["source"]["kind"], document["source"]["library"]), ("usrbio", LIBRARY), said)
        counts = self.counts()
        self.assertTrue(counts["rings"] and counts["reads"] and counts["results"], counts)
        self.assertEqual(load.digests(document), self.expected())
        return document


class Through(Foreign, load.Stubbed):
    """On the second server's mount."""

    def test_a_model_is_read_by_way_of_it(self):
        document = self.assertLoads()
        self.assertEqual(document["loads"][0]["counters"]["bytes_copied"], 0)
        self.assertNothingLeft()

    def test_completions_in_any_order(self):
        self.stub.do("jitter 3")
        self.assertLoads("--request", "64KiB")
        self.stub.do("batch on")
        self.assertLoads("--request", "64KiB")

    def test_short_completions_are_asked_for_again(self):
        self.stub.do("fault short 4096 6 1")
        self.assertLoads()

    def test_results_that_are_too_long_are_clamped(self):
        self.pose = "long"
        self.assertLoads()

    def test_completions_of_nobody_are_refused(self):
        self.pose = "foreign"
        document, _ = self.load(status=1)
        self.assertEqual(document["error"]["class"], "PROTO")

    def test_an_error_is_an_error(self):
        self.stub.do("fault result -5 -1")
        document, _ = self.load(status=1)
        self.assertEqual(document["error"]["class"], "IO")
        self.assertGreater(self.counts()["results"], 0)
        self.assertNothingLeft()

    def test_a_killed_daemon_is_noticed(self):
        self.assertNoticesDeath()

    def test_places_that_become_free_after_the_answers(self):
        self.assertWaitsForPlaces()

    def test_a_daemon_that_dies_with_places_that_it_owes(self):
        self.assertNoticesDeathWithoutPlaces()

    def test_a_stopped_daemon_is_waited_for_until_the_deadline(self):
        self.assertHeedsDeadline()

    def test_another_daemon_in_its_place(self):
        self.assertGoesOnWithTheNext()

    def test_what_is_written_by_way_of_it(self):
        content = os.urandom((5 << 20) + 77)
        self.copy(self.local(content), self.path("copy"))
        self.assertGreater(self.counts()["writes"], 0)
        self.assertEqual(self.bytes_of("copy"), content)
        self.stub.do("jitter 3")
        self.copy(self.path("copy"), self.path("again"))
        self.assertEqual(self.bytes_of("again"), content)
        self.assertNothingLeft()

    def test_short_writes_and_writes_that_fail(self):
        content = os.urandom(3 << 20)
        self.stub.do("fault short 5000 4 6")
        self.copy(self.local(content), self.path("to"))
        self.assertEqual(self.bytes_of("to"), content)
        self.stub.do("fault result -28 -1")
        document = self.copy(self.local(content), self.path("full"), status=1)
        self.assertEqual(document["error"]["class"], "NOSPACE")
        self.assertFalse(os.path.exists(os.path.join(self.files, "full")))


class Real(Foreign, load.OnMount):
    """On our own mount."""

    def test_a_model_is_read_by_way_of_it(self):
        self.assertLoads()
        self.assertTrue(wait_until(lambda: not leftover_keys(self.point)))
        self.assertFalse(self.left())

    def test_what_is_written_by_way_of_it(self):
        content = os.urandom((5 << 20) + 77)
        self.copy(self.local(content), self.path("copy"))
        self.assertGreater(self.counts()["writes"], 0)
        self.copy(self.path("copy"), self.path("again"))
        self.assertEqual(self.bytes_of("again"), content)

    def test_a_killed_daemon_is_noticed(self):
        self.assertNoticesDeath()

    def test_contexts_side_by_side(self):
        loads = [self.begin("load", self.path("m"), "--json", "--digest", "--repeat", "3") for _ in range(3)]
        expected = self.expected()
        for process in loads:
            self.assertEqual(load.digests(self.end(process)[0]), expected)
        self.assertTrue(wait_until(lambda: not leftover_keys(self.point)))

    def refused(self, folder, *said):
        for uri in (self.path("m"), "3fs://" + self.path("m")):
            document, _ = self.load(status=1, uri=uri, env={"HF3FS_LIB_DIR": folder, "LD_LIBRARY_PATH": ""})
            self.assertEqual(document["error"]["class"], "UNSUPPORTED")
            for each in ("WEIR_3FS_LIBRARY=vendor", "HF3FS_LIB_DIR", *said):
                self.assertIn(each, document["error"]["message"])

    def test_without_a_library_nothing_is_read_in_another_way(self):
        self.refused(self.files, "no libhf3fs_api_shared.so")
        # What does not lie on a mount needs none.
        document, said = self.load(uri=os.path.join(self.files, "m"), env={"HF3FS_LIB_DIR": self.files})
        self.assertEqual((document["source"].get("library"), said), (None, ""))

    def test_our_own_library_is_not_taken_for_theirs(self):
        self.refused(OURS, "weir's own library")

    def test_doctor_names_it(self):
        document = self.end(self.begin("doctor", "--json"))[0]
        checks = {check["name"]: check for check in document["checks"]}
        self.assertEqual(checks["3fs_library"]["status"], "ok")
        self.assertIn("vendor", checks["3fs_library"]["value"])
        self.assertIn(LIBRARY, checks["3fs_vendor_library"]["value"])


if __name__ == "__main__":
    main()
