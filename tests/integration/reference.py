#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models that the reference package writes, read by the command; and the other way round.

Wants a Python that has safetensors, numpy and xxhash: tests/integration/reference makes one."""
import os

import numpy
import xxhash
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from cli_lib import CliTest, main

TYPES = ["bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32", "int64", "uint64",
         "float64"]


class Reference(CliTest):
    def setUp(self):
        super().setUp()
        chance = numpy.random.default_rng(1)
        self.tensors = {}
        for n, name in enumerate(TYPES):
            for m, shape in enumerate([(), (0,), (1,), (3, 5), (257, 129), (2, 0, 4), (7, 3, 2, 5)]):
                data = chance.integers(0, 2 if name == "bool" else 100, size=shape).astype(name)
                self.tensors[f"layer.{n}.{name}.{m} é"] = numpy.ascontiguousarray(data)
        save_file(self.tensors, self.path("reference.safetensors"), metadata={"made": "by the reference \u2713"})

    def test_inspect_says_what_was_written(self):
        document = self.weir("inspect", "--json", "reference.safetensors").json
        self.assertEqual(document["metadata"], {"made": "by the reference \u2713"})
        self.assertEqual({t["name"]: t["shape"] for t in document["tensors"]},
                         {name: list(data.shape) for name, data in self.tensors.items()})
        with open(self.path("reference.safetensors"), "rb") as file:
            content = file.read()
        for tensor in document["tensors"]:
            begin = tensor["offset_bytes"]
            self.assertEqual(content[begin:begin + tensor["size_bytes"]], self.tensors[tensor["name"]].tobytes())

    def test_verify_and_load_find_the_right_bytes(self):
        self.weir("verify", "reference.safetensors")
        for options in ([], ["--direct", "off"], ["--map"], ["--discard"]):
            document = self.weir("load", "--json", "--digest", *options, "reference.safetensors").json
            self.assertEqual({t["name"]: t["xxh3_64"] for t in document["tensors"]},
                             {name: xxhash.xxh3_64(data.tobytes()).hexdigest() for name, data in self.tensors.items()})

    def test_slices_are_those_of_numpy(self):
        name, data = next((n, d) for n, d in self.tensors.items() if d.shape == (7, 3, 2, 5) and d.itemsize == 8)
        for cuts in ([(0, 2, 5)], [(1, 1, 3), (3, 2, 4)], [(2, 0, 1)], [(0, 6, 7), (1, 0, 1), (2, 1, 2), (3, 4, 5)]):
            part, options = data, []
            for dim, start, stop in cuts:
                part = numpy.take(part, range(start, stop), axis=dim)
                options += ["--slice", f"{name}:{dim}:{start}:{stop}"]
            document = self.weir("load", "--json", "--digest", "--names-exact", name, *options,
                                 "reference.safetensors").json
            self.assertEqual(document["tensors"][0]["xxh3_64"],
                             xxhash.xxh3_64(numpy.ascontiguousarray(part).tobytes()).hexdigest())

    def test_made_models_are_read_by_the_reference(self):
        self.weir("make-model", "--size", "2MiB", "--shards", "2", "--tensors", "30", "--dtypes",
                  "BOOL,U8,I8,I16,F16,I32,F32,I64,F64", "m")
        digests = {t["name"]: t["xxh3_64"] for t in self.weir("load", "--json", "--digest", "m").json["tensors"]}
        found = {}
        for name in os.listdir(self.path("m")):
            if name.endswith(".safetensors"):
                found |= load_file(self.path("m", name))
        self.assertEqual({n: xxhash.xxh3_64(d.tobytes()).hexdigest() for n, d in found.items()}, digests)
        for data in found.values():
            if data.dtype.kind == "f":
                self.assertTrue(numpy.isfinite(data).all())

    def test_every_type_opens_in_the_reference(self):
        self.weir("make-model", "--size", "512KiB", "--tensors", "60", "--dtypes", "all", "--odd", "m")
        with safe_open(self.path("m", "model.safetensors"), "np") as file:
            names = set(file.keys())
        self.assertEqual(names, {t["name"] for t in self.weir("inspect", "--json", "m").json["tensors"]})


if __name__ == "__main__":
    main()
