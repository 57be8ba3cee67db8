#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make-model, inspect, verify: models as files, and what is said of them."""
import fcntl
import hashlib
import json
import os
import resource
import stat
import struct
import subprocess

from cli_lib import WEIR, CliTest, main, some, write_model

# SHA-256 over the files of `make-model --size 3MiB --shards 3 --tensors 40 --dtypes all --odd --seed 7`,
# in the order of their names.  The same on every machine, for ever.
GOLDEN = "1b072810b020ad72ecd1aa50ff188d90b42e3da0b1e4ceae976a4201b8cee06c"
# The same for `make-model --size 1MiB --tensors 12 --dtypes F32,BF16,U8`.
GOLDEN_PLAIN = "7d95f406ffa89ebae03093fc62b7c6a8ed9067545e7e48c68acdf38ba364f68d"


def read_header(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        return size, file.read(size)


class MakeModel(CliTest):
    def digest(self, folder):
        total = hashlib.sha256()
        for name in sorted(os.listdir(self.path(folder))):
            with open(self.path(folder, name), "rb") as file:
                total.update(name.encode() + b"\0" + file.read())
        return total.hexdigest()

    def test_bytes_are_those_of_every_machine(self):
        self.weir("make-model", "--size", "3MiB", "--shards", "3", "--tensors", "40", "--dtypes", "all", "--odd",
                  "--seed", "7", "odd")
        self.assertEqual(self.digest("odd"), GOLDEN)
        self.weir("make-model", "--size", "1MiB", "--tensors", "12", "--dtypes", "F32,BF16,U8", "plain")
        self.assertEqual(self.digest("plain"), GOLDEN_PLAIN)

    def test_document_says_what_is_there(self):
        document = self.weir("make-model", "--json", "--size", "2MiB", "--shards", "2", "--tensors", "20", "m").json
        self.assertEqual((document["uri"], document["shards"], document["tensor_count"]), ("m", 2, 20))
        self.assertEqual(sorted(os.listdir(self.path("m"))),
                         ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"])
        with open(self.path("m", "model.safetensors.index.json"), encoding="utf-8") as file:
            index = json.load(file)
        self.assertEqual(index["metadata"]["total_size"], document["bytes"])
        self.assertEqual(len(index["weight_map"]), 20)
        self.assertLess(abs(document["bytes"] - 2 * 1024 * 1024), 200000)

    def test_headers_are_padded_as_the_reference_writer_does(self):
        self.weir("make-model", "--size", "1MiB", "--tensors", "11", "--dtypes", "F32,BF16,U8,F64", "m")
        size, header = read_header(self.path("m", "model.safetensors"))
        entries = json.loads(header)
        self.assertEqual(size % 8, 0)
        self.assertEqual(header.rstrip(b" "), header[:len(header.rstrip(b" "))])
        self.assertLess(len(header) - len(header.rstrip(b" ")), 8)
        self.assertEqual(entries.pop("__metadata__"), {"format": "pt"})
        for entry in entries.values():  # wide types first: everything is aligned for its type
            width = {"F32": 4, "BF16": 2, "U8": 1, "F64": 8}[entry["dtype"]]
            self.assertEqual(entry["data_offsets"][0] % width, 0)

    def test_odd_has_what_loaders_stumble_over(self):
        self.weir("make-model", "--size", "1MiB", "--tensors", "20", "--odd", "m")
        tensors = self.weir("inspect", "--json", "m").json["tensors"]
        self.assertTrue(any(t["shape"] == [] for t in tensors))
        self.assertTrue(any(t["size_bytes"] == 0 for t in tensors))
        self.assertTrue(any(t["size_bytes"] == 1 for t in tensors))
        self.assertTrue(any(t["offset_bytes"] % 2 for t in tensors if t["dtype"] == "BF16"))

    def test_a_tensors_bytes_do_not_depend_on_the_shards(self):
        digests = []
        for shards in ("1", "4"):
            self.weir("make-model", "--size", "1MiB", "--tensors", "16", "--shards", shards, "m" + shards)
            document = self.weir("load", "--json", "--digest", "m" + shards).json
            digests.append({t["name"]: t["xxh3_64"] for t in document["tensors"]})
        self.assertEqual(*digests)
        self.weir("make-model", "--size", "1MiB", "--tensors", "16", "--seed", "1", "other")
        document = self.weir("load", "--json", "--digest", "other").json
        self.assertNotEqual({t["name"]: t["xxh3_64"] for t in document["tensors"]}, digests[0])

    def test_like_takes_names_types_and_shapes(self):
        self.weir("make-model", "--size", "1MiB", "--tensors", "16", "--shards", "2", "--dtypes", "all", "a")
        self.weir("make-model", "--like", "a", "--seed", "5", "b")
        first, second = (self.weir("inspect", "--json", name).json for name in "ab")
        for document in (first, second):
            document.pop("uri")
            for shard in document["shards"]:
                shard["uri"] = os.path.basename(shard["uri"])
        self.assertEqual(first, second)
        self.assertNotEqual(self.digest("a"), self.digest("b"))
        self.weir("make-model", "--like", "a", "--size", "1MiB", "c", status=2)

    def test_every_type_is_offered_by_name(self):
        names = self.weir("make-model", "--help").text.split("--dtypes")[1].split("(all|")[1].split(")")[0]
        for name in names.split("|"):
            self.weir("make-model", "--size", "4KiB", "--tensors", "3", "--dtypes", name, name)
            tensors = self.weir("inspect", "--json", name).json["tensors"]
            self.assertEqual({t["dtype"] for t in tensors}, {name})

    def test_more_shards_than_the_soft_limit_of_descriptors_has_room_for(self):
        self.weir("make-model", "--size", "1KiB", "--tensors", "100", "--shards", "100", "many",
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024)))
        self.weir("verify", "many")

    def test_no_name_stands_there_twice(self):
        self.weir("make-model", "--size", "1KiB", "--tensors", "3", "--odd", "odd")
        self.assertIn("twice", self.weir("make-model", "--like", "odd", "--odd", "again", status=1).errors)
        self.assertFalse(os.path.exists(self.path("again")))
        self.weir("make-model", "--like", "odd", "again")
        self.weir("verify", "again")

    def test_what_does_not_fit_is_refused(self):
        self.weir("make-model", "--tensors", "2", "--shards", "3", "m", status=2)
        self.weir("make-model", "--dtypes", "F33", "m", status=2)
        self.assertEqual(os.listdir(self.dir), [])

    def test_a_file_of_that_name_is_no_directory(self):
        self.model("m")
        self.assertError(self.weir("make-model", "--json", "m", status=1).json, "ARG")


    def make(self, where, *options, status=0):
        return self.weir("make-model", "--json", "--size", "64KiB", "--tensors", "8", *options, where, status=status).json

    def test_what_would_be_read_together_with_it_stays_alone(self):
        self.make("m", "--shards", "3")
        before = self.digest("m")
        document = self.make("m", "--shards", "2", status=1)
        self.assertError(document, "CONFLICT")
        self.assertIn("-of-00003.safetensors", document["error"]["message"])
        self.make("m", status=1)
        self.assertEqual(self.digest("m"), before)
        self.make("m", "--shards", "3", "--seed", "1")  # the same names are replaced
        self.weir("verify", "m")
        self.assertNotEqual(self.digest("m"), before)

    def test_nobody_else_writes_there_meanwhile(self):
        os.mkdir(self.path("m"))
        with open(os.path.join(self.dir, "m", "config.json"), "w", encoding="utf-8"):
            pass
        fd = os.open(self.path("m"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.assertError(self.make("m", status=1), "CONFLICT")
        self.assertEqual(os.listdir(self.path("m")), ["config.json"])
        fcntl.flock(fd, fcntl.LOCK_UN)
        self.make("m")

    def test_of_many_at_once_one_wins(self):
        size = "make-model", "--size", "2MiB", "--tensors", "40", "--shards", "20", "--seed"
        makers = [subprocess.Popen([WEIR, *size, str(seed), "m"], cwd=self.dir, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL) for seed in range(4)]
        statuses = sorted(maker.wait(60) for maker in makers)
        self.assertEqual(statuses[0], 0)
        self.assertLessEqual(set(statuses), {0, 1})
        self.weir("verify", "m")
        seeds = []
        for seed in range(4):
            self.weir(*size, str(seed), f"s{seed}")
            seeds.append(self.digest(f"s{seed}"))
        self.assertIn(self.digest("m"), seeds)

    def test_one_is_one(self):
        self.assertIn(": 1 tensor, ", self.weir("make-model", "--size", "1KiB", "--tensors", "1", "m").text)
        self.assertIn("1 tensor does not fill 2 shards",
                      self.weir("make-model", "--tensors", "1", "--shards", "2", "n", status=2).errors)


class Inspect(CliTest):
    def test_document_of_one_file(self):
        path = self.model()
        size, header = read_header(path)
        document = self.weir("inspect", "--json", "--sort", "offset", "model.safetensors").json
        self.assertEqual(document["format"], "safetensors")
        self.assertEqual(document["header_bytes"], size + 8)
        self.assertEqual(document["data_bytes"], 152)
        self.assertEqual(document["size_bytes"], os.path.getsize(path))
        self.assertEqual(document["metadata"], {"format": "pt"})
        self.assertEqual(document["tensor_count"], 4)
        self.assertEqual(document["shards"], [{"uri": "model.safetensors", "size_bytes": 152 + size + 8,
                                               "tensor_count": 4}])
        entries = json.loads(header)
        for tensor in document["tensors"]:
            entry = entries[tensor["name"]]
            self.assertEqual((tensor["dtype"], tensor["shape"], tensor["shard"]),
                             (entry["dtype"], entry["shape"], 0))
            begin, end = entry["data_offsets"]
            self.assertEqual((tensor["offset_bytes"], tensor["size_bytes"]), (begin + size + 8, end - begin))

    def test_a_line_for_each_argument_in_order_and_status_1_where_one_is_broken(self):
        self.model("a.safetensors")
        self.model("c.safetensors")
        with open(self.path("b.safetensors"), "wb") as to:
            to.write(b"1234567")
        lines = self.weir("inspect", "--json", "a.safetensors", "b.safetensors", "c.safetensors", status=1).lines
        self.assertEqual([line["uri"][0] for line in lines], ["a", "b", "c"])
        self.assertError(lines[1], "H_SHORT")
        self.assertEqual(lines[2]["tensor_count"], 4)

    def test_names_sort_and_summary(self):
        self.model()
        names = [t["name"] for t in self.weir("inspect", "--json", "--names", "h.*", "model.safetensors").json["tensors"]]
        self.assertEqual(names, ["h.0.bias", "h.0.weight"])
        names = [t["name"] for t in self.weir("inspect", "--json", "--sort", "size", "model.safetensors").json["tensors"]]
        self.assertEqual(names, ["h.0.weight", "h.0.bias", "scale", "none"])
        self.assertNotIn("tensors", self.weir("inspect", "--json", "--summary", "model.safetensors").json)

    def test_text_lists_what_is_there(self):
        self.model()
        text = self.weir("inspect", "model.safetensors").text
        self.assertIn("4 tensors", text)
        self.assertRegex(text, r"h\.0\.weight\s+F32\s+\[4, 8\]\s+128 bytes")

    def test_sizes_above_32_bits_are_exact(self):
        header = b'{"a":{"dtype":"U8","shape":[5000000001],"data_offsets":[0,5000000001]}}'
        with open(self.path("big.safetensors"), "wb") as to:
            to.write(struct.pack("<Q", len(header)) + header)
            to.truncate(8 + len(header) + 5000000001)
        document = self.weir("inspect", "--json", "big.safetensors").json
        self.assertEqual(document["tensors"][0]["size_bytes"], 5000000001)

    def test_lenient_accepts_what_the_reference_does(self):
        header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}}'
        with open(self.path("a.safetensors"), "wb") as to:
            to.write(struct.pack("<Q", len(header)) + header + b"x")
        self.assertError(self.weir("inspect", "--json", "a.safetensors", status=1).json, "H_SCHEMA")
        self.assertEqual(self.weir("inspect", "--json", "--lenient", "a.safetensors").json["tensor_count"], 1)

    def header(self, name, text):
        with open(self.path(name), "wb") as to:
            to.write(struct.pack("<Q", len(text)) + text + b"x")
        return name

    def test_lenient_is_proposed_where_it_helps_and_nowhere_else(self):
        helps = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}}'
        helps_not = b'{"a":{"dtype":"U8","shape":[1]}}'
        for verb in "inspect", "verify", "load":
            said = self.weir(verb, self.header("a.safetensors", helps), status=1).errors
            self.assertIn("--lenient reads it", said)
            said = self.weir(verb, self.header("a.safetensors", helps_not), status=1).errors
            self.assertNotIn("--lenient", said)
            said = self.weir(verb, "--lenient", "a.safetensors", status=1).errors
            self.assertNotIn("--lenient", said)

    def test_a_directory_is_one_whatever_it_is_called(self):
        os.mkdir(self.path("x.json"))
        self.model("x.json/model.safetensors")
        self.assertEqual(self.weir("inspect", "--json", "x.json").json["tensor_count"], 4)

    def test_one_that_is_ignored_is_named(self):
        self.weir("make-model", "--size", "64KiB", "--shards", "2", "--tensors", "8", "m")
        self.model("m/more.safetensors")
        self.assertIn("more.safetensors: a file that the index does not name; ignored", self.weir("inspect", "m").errors)
        self.model("m/other.safetensors")
        self.assertIn("more.safetensors: 2 files that", self.weir("inspect", "m").errors)

    def test_beneath_refuses_links_that_leave_the_model(self):
        os.mkdir(self.path("m"))
        self.model("outside.safetensors")
        os.symlink("../outside.safetensors", self.path("m", "model.safetensors"))
        self.assertEqual(self.weir("inspect", "--json", "m").json["tensor_count"], 4)
        self.assertError(self.weir("inspect", "--json", "--beneath", "m", status=1).json, "DENIED")

    def test_file_uris(self):
        path = self.model("with space.safetensors")
        document = self.weir("inspect", "--json", "file://" + path.replace(" ", "%20")).json
        self.assertEqual(document["tensor_count"], 4)


class Verify(CliTest):
    def test_ok_and_not_ok(self):
        self.model()
        document = self.weir("verify", "--json", "model.safetensors").json
        self.assertEqual(document, {"uri": "model.safetensors", "ok": True, "format": "safetensors",
                                    "tensor_count": 4})
        write_model(self.path("long.safetensors"), {"a": ("U8", [1], b"x")}, trailing=b"y")
        document = self.weir("verify", "--json", "long.safetensors", status=1).json
        self.assertFalse(document["ok"])
        self.assertError(document, "H_COVER")
        self.assertEqual(self.weir("verify", "long.safetensors", "model.safetensors", status=1).text,
                         "long.safetensors: not ok (H_COVER)\nmodel.safetensors: ok (safetensors, 4 tensors)\n")

    def test_IX_04_an_orphan_is_a_warning_to_a_load_and_an_error_here(self):
        self.weir("make-model", "--size", "64KiB", "--shards", "2", "--tensors", "8", "m")
        index = self.path("m", "model.safetensors.index.json")
        with open(index, encoding="utf-8") as file:
            document = json.load(file)
        document["weight_map"].pop("lm_head.weight")
        with open(index, "w", encoding="utf-8") as file:
            json.dump(document, file)
        self.assertIn("lm_head.weight", self.weir("load", "m").errors)
        self.assertError(self.weir("verify", "--json", "m", status=1).json, "H_SCHEMA")

    def test_IX_06_a_missing_shard_is_named(self):
        self.weir("make-model", "--size", "64KiB", "--shards", "2", "--tensors", "8", "m")
        os.unlink(self.path("m", "model-00002-of-00002.safetensors"))
        document = self.weir("verify", "--json", "m", status=1).json
        self.assertError(document, "NOTFOUND")
        self.assertIn("model-00002-of-00002", document["error"]["message"])

    def test_digests_are_written_read_and_believed(self):
        self.weir("make-model", "--size", "512KiB", "--shards", "2", "--tensors", "12", "--odd", "m")
        self.weir("verify", "--write-digests", "list", "m")
        with open(self.path("list"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        count = self.weir("inspect", "--json", "--summary", "m").json["tensor_count"]
        self.assertEqual(len(lines), count)
        for line in lines:
            self.assertRegex(line, r"^[0-9a-f]{16}  m/model-0000[12]-of-00002\.safetensors#\S+$")
        self.weir("verify", "--digests", "list", "m")
        path = self.path("m", "model-00001-of-00002.safetensors")
        with open(path, "r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)[0]
            file.seek(-1, 2)
            file.write(bytes([last ^ 1]))
        document = self.weir("verify", "--json", "--digests", "list", "m", status=1).json
        self.assertError(document, "INTEGRITY")
        self.assertIn("offset_bytes", document["error"])
        self.weir("verify", "m")  # the form is still right

    def test_lists_as_sha256sum_writes_them(self):
        path = self.model()
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        for mark in ("  ", " *"):
            with open(self.path("SHA256SUMS"), "w", encoding="utf-8") as file:
                file.write(f"{digest}{mark}model.safetensors\n")
            self.weir("verify", "--digests", "SHA256SUMS", "model.safetensors")
            # From another folder the name means the file beside the list.
            self.weir("verify", "--digests", self.path("SHA256SUMS"), path, cwd="/")
        with open(self.path("SHA256SUMS"), "w", encoding="utf-8") as file:
            file.write(f"{digest[::-1]}  model.safetensors\n")
        self.assertError(self.weir("verify", "--json", "--digests", "SHA256SUMS", "model.safetensors",
                                   status=1).json, "INTEGRITY")

    def test_a_tensor_without_a_digest_is_not_verified(self):
        self.model()
        self.weir("verify", "--write-digests", "list", "model.safetensors")
        with open(self.path("list"), encoding="utf-8") as file:
            lines = file.readlines()
        with open(self.path("list"), "w", encoding="utf-8") as file:
            file.writelines(lines[1:])
        self.assertError(self.weir("verify", "--json", "--digests", "list", "model.safetensors",
                                   status=1).json, "NOTFOUND")

    def test_a_tensor_that_is_gone_is_noticed(self):
        write_model(self.path("m.safetensors"), {"a": ("U8", [1], b"x"), "b": ("U8", [1], b"y")})
        write_model(self.path("m.safetensors.other"), {"z": ("U8", [1], b"x")})
        self.weir("verify", "--write-digests", "list", "m.safetensors", "m.safetensors.other")
        write_model(self.path("m.safetensors"), {"a": ("U8", [1], b"x")})
        document = self.weir("verify", "--json", "--digests", "list", "m.safetensors", status=1).json
        self.assertError(document, "INTEGRITY")
        self.assertIn("'b'", document["error"]["message"])
        self.weir("verify", "--digests", "list", "m.safetensors.other")

    def test_names_with_line_feeds_and_marks_survive_the_list(self):
        write_model(self.path("a#b.safetensors"), {"x\ny\\z#": ("U8", [3], b"abc"), "#": ("U8", [1], b"x")})
        self.weir("verify", "--write-digests", "list", "a#b.safetensors")
        self.weir("verify", "--digests", "list", "a#b.safetensors")

    def test_a_list_that_is_none(self):
        self.model()
        with open(self.path("list"), "w", encoding="utf-8") as file:
            file.write("hello\n")
        document = self.weir("verify", "--json", "--digests", "list", "model.safetensors", status=1).json
        self.assertIn("line 1", document["error"]["message"])

    def test_an_old_list_stays_where_the_new_one_fails(self):
        self.model()
        self.weir("verify", "--write-digests", "list", "model.safetensors")
        with open(self.path("list"), encoding="utf-8") as file:
            before = file.read()
        self.weir("verify", "--write-digests", "list", "nothing.safetensors", status=1)
        with open(self.path("list"), encoding="utf-8") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(sorted(os.listdir(self.dir)), ["list", "model.safetensors"])

    def test_only_regular_files_are_replaced_by_a_list(self):
        self.model()
        os.mkfifo(self.path("fifo"))
        with subprocess.Popen(["cat", "fifo"], cwd=self.dir, stdout=subprocess.PIPE) as reader:
            self.weir("verify", "--write-digests", "fifo", "model.safetensors")
            self.assertEqual(reader.communicate(timeout=20)[0].count(b"\n"), 4)
        self.assertTrue(stat.S_ISFIFO(os.stat(self.path("fifo")).st_mode))
        os.symlink("list", self.path("link"))
        with open(self.path("list"), "wb"):
            pass
        self.weir("verify", "--write-digests", "link", "model.safetensors")
        self.assertTrue(os.path.islink(self.path("link")))
        self.weir("verify", "--digests", "list", "model.safetensors")

    def test_content_of_an_empty_model(self):
        write_model(self.path("empty.safetensors"), {})
        self.weir("verify", "--write-digests", "list", "empty.safetensors")
        self.weir("verify", "--digests", "list", "empty.safetensors")

    def test_known_digest(self):
        write_model(self.path("a.safetensors"), {"none": ("U8", [0], b""), "some": ("U8", [5], some(5))})
        self.weir("verify", "--write-digests", "list", "a.safetensors")
        with open(self.path("list"), encoding="utf-8") as file:
            self.assertIn("2d06800538d394c2  a.safetensors#none", file.read())  # XXH3 of nothing


if __name__ == "__main__":
    main()
