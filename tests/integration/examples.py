#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs in examples/ do what they say."""
import os
import subprocess

from cli_lib import BUILD, CliTest, main, some


class Examples(CliTest):
    def example(self, name, *arguments, status=0):
        program = os.path.join(os.path.abspath(BUILD), "examples", "example-" + name)
        run = subprocess.run([program, *arguments], cwd=self.dir, capture_output=True, check=False, timeout=60)
        self.assertEqual(run.returncode, status, run.stderr)
        return run

    def digests(self, *arguments):
        document = self.weir("load", "--json", "--digest", *arguments).json
        return {t["name"]: t["xxh3_64"] for t in document["tensors"]}

    def test_load_prints_what_the_command_finds(self):
        self.weir("make-model", "--size", "2MiB", "--shards", "2", "--tensors", "12", "--odd", "m")
        lines = [line.split("  ", 1) for line in self.example("load", "m").stdout.decode().splitlines()]
        self.assertEqual({name: digest for digest, name in lines}, self.digests("m"))

    def test_slice_reads_the_rows_of_a_rank(self):
        self.weir("make-model", "--size", "1MiB", "--tensors", "8", "m")
        rows = next(t for t in self.weir("inspect", "--json", "m").json["tensors"]
                    if t["name"] == "lm_head.weight")["shape"][0]
        for rank in range(3):
            start, stop = rows * rank // 3, rows * (rank + 1) // 3
            digest = self.digests("--names", "lm_head.weight", "--slice", f"lm_head.weight:0:{start}:{stop}", "m")
            out = self.example("slice", "m", "lm_head.weight", str(rank), "3").stdout.decode()
            self.assertEqual(out, f"{digest['lm_head.weight']}  lm_head.weight[{start}:{stop}]\n")

    def test_copy(self):
        with open(self.path("from"), "wb") as to:
            to.write(some(9 << 20))
        shared = f"/dev/shm/weir-example-{os.getpid()}"
        for target in (self.path("to"), shared):
            self.example("copy", "from", target)
            with open(target, "rb") as file:
                self.assertEqual(file.read(), some(9 << 20))
        os.unlink(shared)

    def test_failures_are_said(self):
        for name, arguments in (("load", ["nothing"]), ("slice", ["nothing", "a", "0", "1"]), ("copy", ["nothing", "to"])):
            self.assertIn(b"nothing", self.example(name, *arguments, status=1).stderr)
            self.example(name, status=2)


if __name__ == "__main__":
    main()
