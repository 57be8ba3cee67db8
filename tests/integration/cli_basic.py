#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What holds for every verb: the command line, exit statuses, errors, lists of arguments, pipes, signals."""
import os
import re
import signal
import subprocess
import time

from cli_lib import CliTest, WEIR, main, some, write_model

VERBS = ["inspect", "verify", "load", "make-model", "doctor", "bench load", "bench reader", "bench ring", "ls", "cat", "cp"]


class CommandLine(CliTest):
    def test_no_verb_is_a_wrong_command_line(self):
        result = self.weir(status=2)
        self.assertEqual(result.out, b"")
        self.assertIn("usage: weir VERB", result.errors)

    def test_unknown_verb(self):
        result = self.weir("frobnicate", status=2)
        self.assertIn("no verb 'frobnicate'", result.errors)
        self.assertEqual(result.out, b"")

    def test_help_of_every_verb_has_a_synopsis_and_two_examples(self):
        overview = self.weir("--help").text
        for verb in VERBS:
            self.assertIn(verb, overview)
            text = self.weir(*verb.split(), "--help").text
            self.assertIn(f"usage: weir {verb} ", text)
            self.assertEqual(len(re.findall(r"^  weir ", text.split("examples:")[1], re.M)), 2, text)

    def test_help_verb_falls_back_where_there_is_no_manual(self):
        text = self.weir("help", "load", env={"PATH": "/nowhere"}).text
        self.assertIn("usage: weir load", text)

    def test_version_names_the_optional_parts(self):
        text = self.weir("--version").text
        self.assertRegex(text, r"^weir \d+\.\d+\.\d+\n")
        self.assertIn("liburing", text)

    def test_unknown_option_names_the_nearest(self):
        result = self.weir("load", "--dept", "3", "x", status=2)
        self.assertIn("did you mean --depth?", result.errors)

    def test_values_that_make_no_sense(self):
        for option, value in (("--depth", "many"), ("--depth", "0"), ("--depth", "-1"), ("--budget", "1.5"),
                              ("--budget", "12 MiB"), ("--device", "gpu"), ("--slice", "a:0:1"), ("--request", "99999999999999999999"),
                              ("--deadline", "soon"), ("--direct", "maybe"), ("--repeat", "")):
            result = self.weir("load", option, value, "x", status=2)
            self.assertIn(option, result.errors)

    def test_options_with_equals_and_after_arguments_and_behind_two_dashes(self):
        self.model()
        self.assertEqual(self.weir("inspect", "model.safetensors", "--sort=size", "--json").json["tensor_count"], 4)
        write_model(self.path("--json"), {"a": ("U8", [1], b"x")})
        self.assertIn(b"--json: safetensors", self.weir("inspect", "--", "--json").out)

    def test_a_missing_argument_and_one_too_many(self):
        self.weir("load", status=2)
        self.weir("make-model", "a", "b", status=2)
        self.weir("cp", "a", status=2)

    def test_wrong_command_lines_in_json(self):
        document = self.weir("load", "--json", "--depth", "many", "x", status=2).json
        self.assertError(document, "ARG")


class Errors(CliTest):
    def test_text_names_the_object_and_says_what_to_do(self):
        result = self.weir("inspect", "nothing.safetensors", status=1)
        self.assertTrue(result.errors.startswith("weir: nothing.safetensors: "), result.errors)
        self.assertEqual(len(result.errors.splitlines()), 2)
        self.assertEqual(result.out, b"")

    def test_text_names_the_tensor_and_the_numbers(self):
        header = b'{"h.7":{"dtype":"U8","shape":[2],"data_offsets":[10,8]}}'
        with open(self.path("bad.safetensors"), "wb") as to:
            to.write(len(header).to_bytes(8, "little") + header + b"12345678")
        errors = self.weir("inspect", "bad.safetensors", status=1).errors
        self.assertRegex(errors, r"weir: bad\.safetensors: tensor 'h\.7': .*10.*8")

    def test_numbers_that_can_never_be_right_are_the_command_lines_fault(self):
        for verb in (["load"], ["bench", "load"]):
            for option, value, said in (("--lanes", "65", "1 to 64"), ("--lanes", "0", "1 to 64"),
                                        ("--depth", "5000", "1 to 4096"), ("--request", "3MiB", "4KiB to 64MiB"),
                                        ("--request", "2KiB", "power of two"), ("--request", "128MiB", "64MiB")):
                errors = self.weir(*verb, option, value, "x", status=2).errors
                self.assertIn(option, errors)
                self.assertIn(said, errors)

    def test_json_has_the_class_and_no_nulls(self):
        document = self.weir("inspect", "--json", "nothing.safetensors", status=1).json
        self.assertError(document, "NOTFOUND")
        self.assertEqual(document["uri"], "nothing.safetensors")

    def test_control_bytes_never_reach_a_terminal(self):
        name = "evil\x1b[2J\u0085name"
        write_model(self.path("evil.safetensors"), {name: ("U8", [1], b"x")})
        out = self.weir("inspect", "evil.safetensors").out
        self.assertNotIn(b"\x1b", out)
        self.assertIn(b"evil\\x1b[2J", out)
        self.assertNotIn(b"\x1b", self.weir("inspect", "no\x1bthing", status=1).err)
        document = self.weir("inspect", "--json", "evil.safetensors").json
        self.assertEqual(document["tensors"][0]["name"], name)

    def test_what_turns_text_around_or_is_not_seen_never_reaches_a_terminal(self):
        unseen = "\u061c\u200b\u200f\u2028\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0041"
        name = f"\u5c64\u00e9{unseen}\U0001f600end"
        write_model(self.path("odd.safetensors"), {name: ("U8", [1], b"x")})
        for out in (self.weir("inspect", "odd.safetensors").out, self.weir("load", "--digest", "odd.safetensors").out,
                    self.weir("inspect", f"no{unseen}thing", status=1).err,
                    self.weir("load", "--names-exact", name + "-", "odd.safetensors", status=1).err):
            for character in unseen:
                self.assertNotIn(character, out.decode())
            self.assertIn(b"\\xe2\\x80\\xae", out)
        self.assertIn("\u5c64\u00e9", self.weir("inspect", "odd.safetensors").text)
        self.assertIn("\U0001f600end", self.weir("inspect", "odd.safetensors").text)
        self.assertEqual(self.weir("inspect", "--json", "odd.safetensors").json["tensors"][0]["name"], name)

    def test_names_that_are_not_utf8_are_repaired_in_json(self):
        os.rename(self.model(), os.path.join(os.fsencode(self.dir), b"caf\xe9.safetensors"))
        document = self.weir("inspect", "--json", b"caf\xe9.safetensors").json
        self.assertEqual(document["uri"], "caf\ufffd.safetensors")

    def test_PR_20_environment_that_makes_no_sense_is_named(self):
        self.model()
        for value in ("-1", "lots", "\n", "9" * 1000000):
            if len(value) > 100000:
                value = value[:100000]
            document = self.weir("inspect", "--json", "model.safetensors", status=1,
                                 env={"WEIR_BUDGET": value}).json
            self.assertError(document, "ARG")
            self.assertIn("WEIR_BUDGET", document["error"]["message"])

    def test_PR_19_locale_home_and_temporary_directory_do_not_matter(self):
        self.model()
        document = self.weir("load", "--json", "model.safetensors",
                             env={"LC_ALL": "de_DE.UTF-8", "HOME": "", "TMPDIR": "/nowhere"}).json
        self.assertGreater(document["loads"][0]["wall_seconds"], 0)


class Lists(CliTest):
    def test_files_from_a_file_and_from_standard_input(self):
        names = [self.model(f"{n}.safetensors") for n in range(3)]
        with open(self.path("list"), "w", encoding="utf-8") as to:
            to.write("\n".join(names[1:]) + "\n\n")
        lines = self.weir("inspect", "--json", "--summary", names[0], "--files-from", "list").lines
        self.assertEqual([line["uri"] for line in lines], names)
        lines = self.weir("inspect", "--json", "--summary", "--files-from", "-", "-0",
                          given="\0".join(names).encode()).lines
        self.assertEqual([line["uri"] for line in lines], names)

    def test_a_list_that_is_not_there(self):
        self.assertError(self.weir("verify", "--json", "--files-from", "nothing", status=1).json, "IO")

    def test_ten_thousand_arguments_in_order(self):
        self.model()
        names = [f"f{n}.safetensors" for n in range(10000)]
        for name in names:
            os.link(self.path("model.safetensors"), self.path(name))
        os.truncate(self.path("model.safetensors"), 100)
        self.model("good.safetensors")
        os.unlink(self.path(names[77]))
        os.link(self.path("good.safetensors"), self.path(names[77]))
        lines = self.weir("verify", "--json", *names, status=1).lines
        self.assertEqual([line["uri"] for line in lines], names)
        self.assertEqual([line["uri"] for line in lines if line["ok"]], [names[77]])


class Pipes(CliTest):
    def test_a_closed_pipe_ends_quietly(self):
        write_model(self.path("big.safetensors"),
                    {f"tensor.{n}": ("U8", [1], b"x") for n in range(50000)})
        for options in ("", "--json"):
            run = subprocess.run(f"'{WEIR}' inspect {options} big.safetensors | head -c 10 >/dev/null; "
                                 "echo ${PIPESTATUS[0]}", shell=True, executable="/bin/bash",
                                 cwd=self.dir, capture_output=True, check=True, timeout=60)
            self.assertEqual(run.stdout, b"0\n")
            self.assertEqual(run.stderr, b"")

    def test_cat_into_a_closed_pipe_ends_quietly(self):
        with open(self.path("zeroes"), "wb") as to:
            to.truncate(1 << 26)
        run = subprocess.run(f"'{WEIR}' cat zeroes | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
                             shell=True, executable="/bin/bash", cwd=self.dir, capture_output=True,
                             check=True, timeout=60)
        self.assertEqual((run.stdout, run.stderr), (b"0\n", b""))

    def test_a_full_device_is_an_error(self):
        self.model()
        with open("/dev/full", "wb") as full:
            run = subprocess.run([WEIR, "inspect", "model.safetensors"], cwd=self.dir, stdout=full,
                                 stderr=subprocess.PIPE, check=False, timeout=60)
        self.assertEqual(run.returncode, 1)
        self.assertIn(b"No space left", run.stderr)

    def test_PR_35_a_standard_error_that_is_full_or_closed_harms_nothing(self):
        self.model()
        run = subprocess.run(f"'{WEIR}' load --progress=bar --json model.safetensors 2>/dev/full",
                             shell=True, cwd=self.dir, stdout=subprocess.PIPE, check=True, timeout=60)
        self.assertIn(b'"tensor_count":4', run.stdout)

    def test_PR_11_descriptors_0_to_2_closed_at_start(self):
        self.model()
        run = subprocess.run(f"'{WEIR}' verify --json model.safetensors <&- 2>&-; echo $?", shell=True,
                             cwd=self.dir, stdout=subprocess.PIPE, check=True, timeout=60)
        self.assertTrue(run.stdout.endswith(b"0\n"), run.stdout)
        before = open(self.path("model.safetensors"), "rb").read()
        run = subprocess.run(f"'{WEIR}' verify model.safetensors >&-; echo $?", shell=True, cwd=self.dir,
                             capture_output=True, check=True, timeout=60)
        self.assertEqual(run.stdout, b"1\n")
        self.assertEqual(open(self.path("model.safetensors"), "rb").read(), before)


class Progress(CliTest):
    def test_none_where_nobody_would_see_it(self):
        self.model()
        self.assertEqual(self.weir("load", "model.safetensors").err, b"")

    def test_a_bar_where_it_was_asked_for_and_none_with_quiet(self):
        self.model()
        self.assertIn(b"load", self.weir("load", "--progress", "model.safetensors").err)
        self.assertEqual(self.weir("load", "--progress", "--quiet", "model.safetensors").err, b"")

    def test_plain_has_no_control_codes(self):
        self.model()
        err = self.weir("load", "--progress=plain", "model.safetensors").err
        self.assertTrue(err.endswith(b"\n"))
        self.assertFalse(set(err) & set(range(10)) | set(err) & set(range(11, 32)), err)


class Signals(CliTest):
    def start(self, *arguments):
        return subprocess.Popen([WEIR, *arguments], cwd=self.dir, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def catches(self, run, number):
        with open(f"/proc/{run.pid}/status", encoding="utf-8") as lines:
            caught = next(line for line in lines if line.startswith("SigCgt:"))
        return int(caught.split()[1], 16) >> (number - 1) & 1

    def until_it_listens(self, run, number, when=lambda: True):
        start = time.monotonic()
        while not (self.catches(run, number) and when()) and run.poll() is None and time.monotonic() - start < 20:
            time.sleep(0.005)

    def interrupt(self, number, *arguments, when=lambda: True, after=0.0):
        """Sends the signal once it is listened to and something is so, and a little later."""
        run = self.start(*arguments)
        self.until_it_listens(run, number, when)
        time.sleep(after)
        run.send_signal(number)
        out, err = run.communicate(timeout=30)
        return run.returncode, out, err

    def test_interrupt_removes_what_was_half_written_and_exits_130(self):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            code, _, _ = self.interrupt(number, "make-model", "--size", "8GiB", "--shards", "3", "m", after=0.1,
                                        when=lambda: os.path.isdir(self.path("m")) and os.listdir(self.path("m")))
            self.assertEqual(code, status)
            self.assertEqual(os.listdir(self.dir), [])

    def ends_at_once(self, run, number):
        """Whoever waits, and for whom nobody is in a hurry."""
        self.addCleanup(run.kill)
        self.until_it_listens(run, number)
        time.sleep(0.3)
        self.assertIsNone(run.poll())
        run.send_signal(number)
        self.assertEqual(run.wait(timeout=20), 128 + number)

    def test_a_signal_ends_the_wait_for_a_reader(self):
        with open(self.path("large"), "wb") as to:
            to.truncate(16 << 20)
        write_model(self.path("wide"), {f"tensor number {n}": ("U8", [0], b"") for n in range(5000)})
        for arguments in (["cat", "large"], ["inspect", "wide"], ["inspect", "--json", "wide"]):
            with subprocess.Popen([WEIR, *arguments], cwd=self.dir, stdout=subprocess.PIPE) as run:
                self.ends_at_once(run, signal.SIGTERM)

    def test_a_signal_ends_the_wait_for_a_list(self):
        for verb in ("verify", "ls", "load", "cat"):
            with subprocess.Popen([WEIR, verb, "--files-from", "-"], cwd=self.dir, stdin=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as run:
                self.ends_at_once(run, signal.SIGINT)

    def test_interrupted_load_still_writes_its_document(self):
        with open(self.path("m.safetensors"), "wb") as to:
            header = b'{"a":{"dtype":"U8","shape":[8589934592],"data_offsets":[0,8589934592]}}'
            to.write(len(header).to_bytes(8, "little") + header)
            to.truncate(8 + len(header) + 8589934592)
        code, out, err = self.interrupt(signal.SIGINT, "load", "--json", "--repeat", "100", "m.safetensors",
                                        after=0.4)
        self.assertEqual(code, 130, (out, err))
        self.assertIn(b'"loads":', out)

    def test_interrupted_copy_leaves_nothing(self):
        with open(self.path("from"), "wb") as to:
            to.write(some(1000) * 200000)
        before = set(os.listdir("/dev/shm"))
        name = f"weir-copy-test-{os.getpid()}"

        def there():
            return [n for n in set(os.listdir("/dev/shm")) - before if name in n]

        code, _, err = self.interrupt(signal.SIGINT, "cp", "from", "/dev/shm/" + name, when=there)
        left = there()
        sizes = [os.path.getsize(os.path.join("/dev/shm", n)) for n in left]
        for n in left:
            os.unlink(os.path.join("/dev/shm", n))
        self.assertIn(code, (0, 130), err)  # it may have been done before
        if left or code == 0:  # whole under its name, or nothing at all
            self.assertEqual((left, sizes), ([name], [os.path.getsize(self.path("from"))]))


if __name__ == "__main__":
    main()
