#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command and an example load into the memory of a GPU: a library that stands where the driver's would."""
import os
import subprocess

from cli_lib import BUILD, CliTest, main

DRIVER = os.path.join(os.path.abspath(BUILD), "tests", "gpu")
WITH = {"LD_LIBRARY_PATH": DRIVER + ":" + os.environ.get("LD_LIBRARY_PATH", "")}


class Gpu(CliTest):
    def setUp(self):
        super().setUp()
        self.weir("make-model", "--size", "8MiB", "--shards", "2", "--tensors", "30", "--odd", "m")

    def digests(self, *arguments, env=None):
        document = self.weir("load", "--json", "--digest", *arguments, env=env).json
        return {t["name"]: t["xxh3_64"] for t in document["tensors"]}

    def test_a_model_arrives_whole_on_each_device(self):
        host = self.digests("m")
        for device in ("cuda", "cuda:0", "cuda:1"):
            self.assertEqual(self.digests("--device", device, "m", env=WITH), host)
        self.assertEqual(self.digests("--device", "cuda:1", "--discard", "--budget", "16MiB", "m", env=WITH), host)
        document = self.weir("load", "--json", "--device", "cuda:0", "m", env=WITH).json
        counters = document["loads"][0]["counters"]
        self.assertEqual(counters["bytes_device"], counters["bytes_delivered"])

    def test_a_device_that_is_not_there(self):
        document = self.weir("load", "--json", "--device", "cuda:7", "m", env=WITH, status=1).json
        self.assertError(document, "ARG")
        self.assertIn("cuda:7", document["error"]["message"])

    def test_slices_and_names(self):
        name = "lm_head.weight"
        arguments = ("--names", name, "--slice", name + ":0:1:5", "m")
        self.assertEqual(self.digests("--device", "cuda:0", *arguments, env=WITH), self.digests(*arguments))

    def test_it_is_found(self):
        self.assertIn("CUDA found", self.weir("--version", env=WITH).text)
        checks = self.weir("doctor", "--json", env=WITH, status=None).json["checks"]
        found = {check["name"]: check for check in checks}
        self.assertEqual(found["cuda"]["status"], "ok")
        self.assertIn("12.4", found["cuda"]["value"])
        self.assertIn("memory of its own", found["cuda_device"]["value"])
        self.assertEqual(found["cuda_pinning"]["status"], "ok")

    def test_storage_writes_to_it_by_itself(self):
        on = {**WITH, "WEIR_CUFILE": "on"}
        self.weir("make-model", "--size", "24MiB", "--tensors", "3", "n")
        self.assertEqual(self.digests("--device", "cuda:0", "n", env=on), self.digests("n"))
        loads = self.weir("load", "--json", "--cold", "--repeat", "20", "--device", "cuda:0", "n", env=on).json["loads"]
        counters = [load["counters"] for load in loads]
        for each in counters:
            self.assertEqual(each["bytes_device"] + each["bytes_cufile"], each["bytes_delivered"])
            self.assertEqual(each["cufile_redone"], 0)
        self.assertGreater(counters[-1]["bytes_cufile"], 0)
        for wish, status, text in (("on", "ok", "libcufile 1.14"), ("off", "absent", "WEIR_CUFILE is off")):
            doctor = self.weir("doctor", "--json", env={**WITH, "WEIR_CUFILE": wish}, status=None).json
            found = {check["name"]: check for check in doctor["checks"]}["cufile"]
            self.assertEqual(found["status"], status)
            self.assertIn(text, found["value"])

    def test_the_example_prints_what_the_command_finds(self):
        program = os.path.join(os.path.abspath(BUILD), "examples", "example-gpu")
        run = subprocess.run([program, "m", "1"], cwd=self.dir, capture_output=True, check=True, timeout=60,
                             env={**os.environ, **WITH})
        lines = [line.split("  ", 1) for line in run.stdout.decode().splitlines()]
        self.assertEqual({name: digest for digest, name in lines}, self.digests("m"))


if __name__ == "__main__":
    main()
