#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""load and bench load: what is loaded, what is told of it, what fails."""
import json
import os
import re
import resource
import signal
import struct
import subprocess
import time

from cli_lib import BUILD, WEIR, CliTest, main, some, write_model

COUNTERS = {"requests", "bytes_requested", "bytes_copied", "retries", "stall_seconds_source",
            "stall_seconds_memory"}


class Load(CliTest):
    def setUp(self):
        super().setUp()
        self.weir("make-model", "--size", "4MiB", "--shards", "2", "--tensors", "24", "--dtypes", "BF16,F32,U8",
                  "--odd", "m")

    def digests(self, *arguments, **how):
        document = self.weir("load", "--json", "--digest", *arguments, **how).json
        return {t["name"]: t["xxh3_64"] for t in document["tensors"]}

    def test_document(self):
        document = self.weir("load", "--json", "m").json
        inspected = self.weir("inspect", "--json", "m").json
        self.assertEqual(document["uri"], ["m"])
        self.assertEqual(document["tensor_count"], inspected["tensor_count"])
        self.assertEqual(document["bytes"], sum(t["size_bytes"] for t in inspected["tensors"]))
        self.assertEqual(len(document["loads"]), 1)
        load = document["loads"][0]
        for name in ("wall_seconds", "cpu_seconds", "bytes_per_second", "cpu_seconds_per_gib"):
            self.assertIsInstance(load[name], (int, float))
            self.assertGreaterEqual(load[name], 0)
        self.assertLessEqual(COUNTERS, load["counters"].keys())
        for name, value in load["counters"].items():
            self.assertIsInstance(value, (int, float) if "seconds" in name else int)
        self.assertIsInstance(document["peak_rss_bytes"], int)
        self.assertLessEqual({"kind", "direct", "lanes", "depth", "request_bytes"}, document["source"].keys())
        self.assertNotIn("tensors", document)
        self.assertNotIn("error", document)
        self.assertNotIn("failed", document)

    def test_repeat_reports_each(self):
        document = self.weir("load", "--json", "--repeat", "3", "m").json
        self.assertEqual(len(document["loads"]), 3)
        for load in document["loads"]:
            self.assertEqual(load["bytes"], document["bytes"])

    def test_every_way_brings_the_same_bytes(self):
        whole = self.digests("m")
        self.assertEqual(len(whole), self.weir("inspect", "--json", "--summary", "m").json["tensor_count"])
        for options in (["--direct", "on"], ["--direct", "off"], ["--cache", "fill"], ["--map"], ["--discard"],
                        ["--cold"], ["--lanes", "1", "--depth", "2", "--request", "4KiB"], ["--repeat", "2"],
                        ["--budget", "4MiB"], ["--discard", "--budget", "8MiB"]):
            self.assertEqual(self.digests(*options, "m"), whole, options)

    def test_names_and_exact_names(self):
        whole = self.digests("m")
        part = self.digests("--names", "*.weight", "m")
        self.assertEqual(part, {name: digest for name, digest in whole.items() if name.endswith(".weight")})
        part = self.digests("--names", "awkward.*", "--names-exact", "lm_head.weight", "m")
        self.assertEqual(set(part), {name for name in whole if name.startswith("awkward.")} | {"lm_head.weight"})
        self.assertError(self.weir("load", "--json", "--names", "nothing*", "m", status=1).json, "NOTFOUND")
        self.assertError(self.weir("load", "--json", "--names-exact", "*", "m", status=1).json, "NOTFOUND")

    def test_deadline_that_cannot_be_met(self):
        document = self.weir("load", "--json", "--cold", "--deadline", "1ns", "m", status=1).json
        self.assertError(document, "TIMEOUT")
        self.assertTrue(document["failed"])
        self.assertIn("name", document["failed"][0])

    def test_a_file_that_goes_away_between_two_loads(self):
        os.mkdir(self.path("gone"))
        self.model("gone/model.safetensors")
        with subprocess.Popen([WEIR, "load", "--cold", "--digest", "--json", "--repeat", "1000000", "--progress=plain",
                               "gone/model.safetensors"], cwd=self.dir, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as run:
            run.stderr.readline()
            os.rename(self.path("gone"), self.path("away"))
            out, _ = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 1)
        document = json.loads(out)
        self.assertError(document, "NOTFOUND")
        self.assertEqual({failed["class"] for failed in document["failed"]}, {"NOTFOUND"})
        self.assertEqual(document["tensors"], [])

    def test_an_index_that_names_no_file(self):
        with open(self.path("none.safetensors.index.json"), "w", encoding="utf-8") as to:
            to.write('{"metadata": {}, "weight_map": {}}')
        document = self.weir("load", "--json", "--digest", "none.safetensors.index.json").json
        self.assertEqual((document["bytes"], document["tensors"], document["source"]["kind"]), (0, [], "none"))
        self.weir("bench", "load", "--repeat", "1", "--depth", "8", "--request", "256KiB", "none.safetensors.index.json",
                  status=None)
        self.weir("load", "none.safetensors.index.json")

    def test_device(self):
        self.weir("load", "--device", "cpu", "m")
        if "CUDA found" not in self.weir("--version").text:
            self.assertError(self.weir("load", "--json", "--device", "cuda:0", "m", status=1).json, "UNSUPPORTED")
        self.assertError(self.weir("load", "--json", "--device", "tpu", "m", status=2).json, "ARG")

    def test_several_files_are_one_model(self):
        parts = [os.path.join("m", name) for name in sorted(os.listdir(self.path("m"))) if name.endswith("tensors")]
        document = self.weir("load", "--json", *parts).json
        self.assertEqual(document["uri"], parts)
        self.assertEqual(self.digests(*parts), self.digests("m"))

    def test_trace_is_chromes_format(self):
        self.weir("load", "--cold", "--trace", "trace.json", "m")
        with open(self.path("trace.json"), encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
        self.assertTrue(events)
        for event in events:
            self.assertEqual(event["ph"], "X")
            self.assertGreaterEqual(event["dur"], 0)

    def test_a_trace_or_a_table_that_cannot_be_written_leaves_nothing(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

        os.mkdir(self.path("out"))
        for verb, option in ((["load"], "--trace"), (["bench", "load", "--repeat", "1", "--depth", "8"], "--csv")):
            with open(self.path("out", "there"), "w", encoding="utf-8") as to:
                to.write("as it was")
            for name in ("new", "there"):
                errors = self.weir(*verb, "--direct", "off", option, f"out/{name}", "m", status=1,
                                   preexec_fn=small_files).errors
                self.assertIn(f"out/{name}: cannot write", errors)
            self.assertEqual(os.listdir(self.path("out")), ["there"])
            with open(self.path("out", "there"), encoding="utf-8") as file:
                self.assertEqual(file.read(), "as it was")

    def test_text(self):
        text = self.weir("load", "--repeat", "2", "m").text
        self.assertRegex(text, r"load 1: .* in .*\nload 2: ")
        self.assertIn("source: ", text)


class Slices(CliTest):
    def setUp(self):
        super().setUp()
        self.data = some(2 * 6 * 4 * 5)
        write_model(self.path("a.safetensors"), {
            "x:y": ("U8", [6, 4, 10], self.data),
            "z": ("U8", [6], some(6)),
        })

    def load(self, *arguments, status=0):
        return self.weir("load", "--json", "--digest", *arguments, "a.safetensors", status=status).json

    def digest_of(self, data):
        write_model(self.path("expected.safetensors"), {"e": ("U8", [len(data)], data)})
        return self.weir("load", "--json", "--digest", "expected.safetensors").json["tensors"][0]["xxh3_64"]

    def test_one_and_two_dimensions(self):
        rows = self.data[2 * 40:5 * 40]
        document = self.load("--slice", "x:y:0:2:5")
        tensors = {t["name"]: t for t in document["tensors"]}
        self.assertEqual(tensors["x:y"]["size_bytes"], 120)
        self.assertEqual(tensors["x:y"]["xxh3_64"], self.digest_of(rows))
        self.assertEqual(tensors["z"]["size_bytes"], 6)
        self.assertEqual(document["bytes"], 126)
        part = b"".join(rows[r * 40 + c * 10 + 3:r * 40 + c * 10 + 7] for r in range(3) for c in range(4))
        document = self.load("--names", "x*", "--slice", "x:y:0:2:5", "--slice", "x:*:2:3:7")
        self.assertEqual(document["tensors"][0]["xxh3_64"], self.digest_of(part))

    def test_globs_and_exact_names(self):
        document = self.load("--slice", "*:0:0:1")
        self.assertEqual([t["size_bytes"] for t in document["tensors"]], [40, 1])
        self.assertError(self.load("--names-exact", "z", "--slice", "*:0:0:1", status=1), "NOTFOUND")

    def test_slices_that_do_not_fit(self):
        for text, name in (("z:0:0:7", "ARG"), ("z:1:0:1", "ARG"), ("z:0:3:2", "ARG"),
                           ("q:0:0:1", "NOTFOUND")):
            self.assertError(self.load("--slice", text, status=1), name)
        for text in ("z:0:1", "z", "z:0:-1:2"):
            self.assertError(self.load("--slice", text, status=2), "ARG")
        self.assertError(self.load("--slice", "z:0:0:1", "--slice", "z:0:2:3", status=1), "ARG")


class Failures(CliTest):
    def test_the_same_document_with_the_error(self):
        document = self.weir("load", "--json", "nothing", status=1).json
        self.assertError(document, "NOTFOUND")
        self.assertEqual((document["uri"], document["loads"], document["failed"]), (["nothing"], [], []))

    def test_more_than_the_machine_has(self):
        size = 1 << 43
        header = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
        with open(self.path("huge.safetensors"), "wb") as to:
            to.write(struct.pack("<Q", len(header)) + header)
            to.truncate(8 + len(header) + size)
        result = self.weir("load", "--json", "huge.safetensors", status=1)
        self.assertError(result.json, "NOMEM")
        self.assertEqual([f["name"] for f in result.json["failed"]], ["a"])
        self.assertIn("--discard", result.errors)


class Allowance(CliTest):
    """How much memory a load takes where a budget says so, and where none does."""

    def setUp(self):
        super().setUp()
        self.weir("make-model", "--size", "96MiB", "--tensors", "24", "m")

    def refused(self, *arguments, env=None):
        start = time.monotonic()
        result = self.weir("load", "--json", *arguments, "m", status=1, env=env)
        self.assertLess(time.monotonic() - start, 20)  # not the minute that a stalled load waits
        self.assertError(result.json, "LIMIT")
        self.assertTrue(result.json["failed"])
        self.assertEqual(result.json["loads"], [])
        return result.json["error"]["message"]

    def test_what_is_dropped_streams_through_a_bound_that_nobody_gave(self):
        load = self.weir("load", "--json", "--discard", "m").json["loads"][0]
        self.assertEqual(load["bytes"], self.weir("load", "--json", "m").json["bytes"])
        self.assertLess(load["counters"]["memory_peak_bytes"], 84 << 20)

    def test_a_budget_below_the_largest_tensor_is_refused_at_once(self):
        tensors = self.weir("inspect", "--json", "m").json["tensors"]
        largest = max(tensors, key=lambda tensor: tensor["size_bytes"])
        for arguments, env, name in ((["--budget", "4MiB"], None, "--budget"),
                                     ([], {"WEIR_BUDGET": "4MiB"}, "WEIR_BUDGET")):
            message = self.refused("--discard", *arguments, env=env)
            for part in (largest["name"], str(largest["size_bytes"]), str(4 << 20), name):
                self.assertIn(part, message)
            enough = re.search(r"--budget (\S+) is enough", message)[1]
            self.weir("load", "--discard", "--budget", enough, "m")

    def test_a_budget_with_no_room_beside_tensors_that_stay_is_refused_at_once(self):
        message = self.refused("--budget", "4MiB")
        self.assertIn(str(4 << 20), message)
        self.assertIn("--discard", message)
        self.weir("load", "--budget", re.search(r"--budget (\S+) is enough", message)[1], "m")

    def test_an_environment_that_allows_less_than_tensors_that_stay_is_refused_at_once(self):
        message = self.refused(env={"WEIR_BUDGET": "32MiB"})
        self.assertIn(str(32 << 20), message)
        self.weir("load", "m", env={"WEIR_BUDGET": re.search(r"need (\d+)", message)[1]})


class Bench(CliTest):
    def setUp(self):
        super().setUp()
        self.weir("make-model", "--size", "1MiB", "--tensors", "8", "m")

    def test_a_grid_with_spread_and_the_commands_that_repeat_it(self):
        document = self.weir("bench", "load", "--json", "--depth", "4,8", "--request", "64KiB,128KiB", "--repeat", "3",
                             "--csv", "b.csv", "--html", "b.html", "m").json
        self.assertEqual(document["kind"], "load")
        self.assertEqual([(c["depth"], c["request_bytes"]) for c in document["cells"]],
                         [(4, 65536), (4, 131072), (8, 65536), (8, 131072)])
        for cell in document["cells"]:
            rate = cell["bytes_per_second"]
            self.assertLessEqual(rate["min"], rate["median"])
            self.assertLessEqual(rate["median"], rate["max"])
            words = cell["command"].split()
            self.assertEqual(words[:2], ["weir", "load"])
            self.weir(*words[1:])
        with open(self.path("b.csv"), encoding="utf-8") as file:
            rows = file.read().splitlines()
        self.assertEqual(len(rows), 5)
        self.assertTrue(rows[0].startswith("lanes,depth,request_bytes,direct,"))
        self.page("b.html")

    def page(self, name):
        """The page is one file: nothing in it is fetched from elsewhere."""
        with open(self.path(name), encoding="utf-8") as file:
            page = file.read()
        self.assertIn("default-src 'none'", page)
        self.assertIsNone(re.search(r"(?i)(src|href)\s*=\s*[\"']|url\((?!#)|@import|fetch\(", page))
        data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
        self.assertIn(data["page"], ("load", "bench"))
        return page, data

    def test_pages_of_loads_hold_the_trace_and_no_text_ends_them_early(self):
        self.weir("load", "--cold", "--repeat", "2", "--html", "l.html", "--note", "</script><b>&", "m")
        page, data = self.page("l.html")
        self.assertEqual(len(data["loads"]), 2)
        self.assertEqual(data["note"], "</script><b>&")
        trace = json.loads(re.search(r'id="trace">(.*?)</script>', page, re.S)[1])
        self.assertTrue(trace["traceEvents"])

    def test_a_page_that_cannot_be_written_is_an_error(self):
        self.weir("load", "--html", "nowhere/l.html", "m", status=1)

    def test_too_many_settings(self):
        numbers = ",".join(str(n) for n in range(1, 64))
        self.weir("bench", "load", "--depth", numbers, "--lanes", numbers, "m", status=1)


class WithoutRings(CliTest):
    def test_the_same_bytes_on_plain_threads(self):
        program = os.path.join(os.path.abspath(BUILD), "bench", "yard", "yard-no-uring")
        self.weir("make-model", "--size", "1MiB", "--tensors", "8", "--odd", "m")
        with_rings = self.weir("load", "--json", "--digest", "m").json
        run = subprocess.run([program, WEIR, "load", "--json", "--digest", "m"], cwd=self.dir, capture_output=True,
                             check=True, timeout=60)
        without = json.loads(run.stdout)
        self.assertEqual(without["tensors"], with_rings["tensors"])
        self.assertEqual(without["source"]["kind"], "threads")
        run = subprocess.run([program, WEIR, "doctor", "--json", "io_uring"], cwd=self.dir, capture_output=True,
                             check=False, timeout=60)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(json.loads(run.stdout)["checks"][0]["status"], "fail")


if __name__ == "__main__":
    main()
