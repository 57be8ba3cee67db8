#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_harness.py BUILD: what the verdicts rest on, tried on small files; measures nothing."""
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import cache, pairs, stats, subjects  # noqa: E402
from harness.data import header, write_file  # noqa: E402
from harness.report import AT_LEAST, AT_MOST, Check, Report, Row  # noqa: E402
from harness.sides import Failed, Worker  # noqa: E402

BUILD = sys.argv.pop(1) if len(sys.argv) > 1 else "build"
MIB = 1 << 20


class Stats(unittest.TestCase):
    def test_interval_holds_the_median_and_is_repeatable(self):
        values = [0.9, 1.0, 1.1, 1.2, 5.0]
        low, high = stats.interval(values)
        self.assertLessEqual(low, 1.1)
        self.assertGreaterEqual(high, 1.1)
        self.assertEqual((low, high), stats.interval(values))

    def test_a_ratio_is_of_pairs_and_not_of_medians(self):
        ratio = stats.Ratio([1, 10, 100], [2, 20, 50])
        self.assertEqual(ratio.value, 0.5)


class Verdicts(unittest.TestCase):
    def check(self, value, **more):
        return Check("x", value, AT_LEAST, 0.98, 0.93, **more)

    def test_goal_floor_and_between(self):
        self.assertEqual(self.check(1.0).verdict, "met")
        self.assertEqual(self.check(0.95).verdict, "missed")
        self.assertEqual(self.check(0.90).verdict, "BELOW FLOOR")
        self.assertEqual(Check("x", 1.2, AT_MOST, 1.1, 1.4).verdict, "missed")

    def test_the_lower_end_counts(self):
        ratio = stats.Ratio([1.0, 0.5, 1.0], [1.0, 1.0, 1.0])
        self.assertEqual(self.check(1.0, ratio=ratio, low_goal=0.95).verdict, "missed")

    def test_what_is_not_judged_cannot_fail(self):
        check = self.check(0.5)
        check.judged = False
        row = Row("E0", "")
        row.add(check)
        report = Report({}, [])
        report.rows.append(row)
        self.assertFalse(report.failed())
        check.judged = True
        self.assertTrue(report.failed())

    def test_a_row_that_could_not_run_fails(self):
        report = Report({}, [])
        report.errors.append("e1: no such program")
        self.assertTrue(report.failed())


class Files(unittest.TestCase):
    def setUp(self):
        # Beside the build: a file in a tmpfs cannot be cold.
        self.folder = tempfile.TemporaryDirectory(dir=BUILD)
        self.path = os.path.join(self.folder.name, "x.safetensors")
        write_file(self.path, [("a", 3 * MIB), ("b", MIB)])

    def tearDown(self):
        self.folder.cleanup()

    def test_the_header_says_what_is_there(self):
        head = header([("a", 6), ("b", 2)])
        size = int.from_bytes(head[:8], "little")
        self.assertEqual(len(head), 8 + size)
        self.assertEqual(json.loads(head[8:])["b"]["data_offsets"], [6, 8])
        self.assertEqual(os.path.getsize(self.path) % MIB, len(header([("a", 3 * MIB), ("b", MIB)])))

    def test_cold_warm_and_half(self):
        size = 4 * MIB
        cache.warm(self.path, 0, size)
        self.assertEqual(cache.resident_bytes(self.path, 0, size), size)
        cache.drop(self.path, 0, size)
        self.assertEqual(cache.resident_bytes(self.path, 0, size), 0)
        there = cache.warm_part(self.path, 0, size, MIB, 0.5, 1)
        self.assertEqual(there, size // 2)

    def test_every_yardstick_that_reads_delivers_the_same_bytes(self):
        sums = set()
        for name, *options in (["pread", "-s"], ["pread", "-s", "-t", "2", "-b", "64k"], ["sum", "-m", "map"],
                               ["sum", "-m", "memory"]):
            side = subjects.yardstick(BUILD, name, name, *options)
            for _ in range(2):
                answer = side.run((self.path, MIB, 2 * MIB))
                self.assertEqual(answer["bytes"], 2 * MIB)
                sums.add(answer["sum"])
            side.close()
        self.assertEqual(len(sums), 1)

    def test_the_engine_delivers_the_same_bytes(self):
        job = (self.path, 0, 4 * MIB)
        loop = subjects.yardstick(BUILD, "pread", "pread", "-s")
        expected = loop.run(job)["sum"]
        loop.close()
        weir = subjects.Weir(BUILD, None)
        for side in (weir.kept("kept", "-s"), weir.kept("off", "-s", "-d", "off"), weir.into("into", "-s"),
                     weir.worker("fresh", "-m", "fresh", "-s")):
            for state in ("cold", "warm"):
                pairs.prepare(state, job)
                answer = side.run(job)
                self.assertEqual((answer["bytes"], answer["sum"]), (job[2], expected), side.name + " " + state)
            side.close()

    def test_tensors_arrive_whole_wherever_they_go(self):
        weir = subjects.Weir(BUILD, None)
        sums = set()
        for side in (weir.worker("kept", "-w", "load", "-s"), weir.worker("odd", "-w", "load", "-m", "odd", "-s"),
                     weir.mapped()):
            answer = side.run((self.path, 0, 4 * MIB))
            self.assertEqual(answer["bytes"], 4 * MIB)
            sums.add(answer["sum"])
            side.close()
        self.assertEqual(len(sums), 1)

    def test_a_range_past_the_end_is_an_error(self):
        side = subjects.yardstick(BUILD, "pread", "pread")
        with self.assertRaises(Failed):
            side.run((self.path, 0, 64 * MIB))
        side.close()

    def test_a_program_that_is_gone_is_an_error(self):
        side = Worker("false", ["/bin/false"])
        with self.assertRaises(Failed):
            side.run((self.path, 0, 1))
        side.close()

    def test_rounds_give_each_side_the_same_jobs(self):
        sides = [subjects.yardstick(BUILD, name, "pread", "-s") for name in ("one", "two")]
        rounds = pairs.run(sides, pairs.Jobs(self.path, 4 * MIB, MIB), 4, "cold")
        self.assertEqual(rounds.column("one", "sum"), rounds.column("two", "sum"))
        self.assertEqual(len(rounds.answers["one"]), 4)
        for side in sides:
            side.close()


if __name__ == "__main__":
    unittest.main()
