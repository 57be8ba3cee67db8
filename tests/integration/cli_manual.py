#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Man pages and completions: they render, and they leave nothing out."""
import glob
import os
import re
import shutil
import subprocess
import unittest

from cli_lib import BUILD, SOURCE, CliTest, main

MAN = os.path.join(os.path.abspath(BUILD), "man")
DOCS = os.path.join(os.path.abspath(BUILD), "cli", "weir-docs")


def render(path):
    run = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", path], capture_output=True, check=True,
                         env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
    return run.stdout.decode(), run.stderr.decode()


def exported():
    """Names of the functions that the public headers declare."""
    names = set()
    for path in glob.glob(os.path.join(SOURCE, "include", "weir", "*.h")):
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        for declaration in re.findall(r"WEIR_API\b[^;]*;", text):
            names.add(re.search(r"(weir_\w+)\s*\(", declaration)[1])
    return names


@unittest.skipUnless(shutil.which("man"), "there is no man")
class Manuals(CliTest):
    def test_pages_render_without_warnings(self):
        pages = [os.path.join(MAN, page) for page in
                 subprocess.run([DOCS, "--list"], capture_output=True, check=True).stdout.decode().split()]
        for page in [*pages, os.path.join(SOURCE, "man", "weir.3")]:
            text, warnings = render(page)
            self.assertEqual(warnings, "", page)
            self.assertIn("SEE ALSO", text)

    def test_every_flag_of_the_help_stands_in_its_page(self):
        overview = self.weir("--help").text
        verbs = re.findall(r"^  ([a-z]+(?: [a-z]+|-[a-z]+)?)  ", overview.split("verbs:")[1], re.M)
        self.assertGreaterEqual(len(verbs), 9)
        for verb in verbs:
            flags = set(re.findall(r"--[a-z][a-z-]+", self.weir(*verb.split(), "--help").text.split("options:")[1]))
            page, _ = render(os.path.join(MAN, f"weir-{verb.replace(' ', '-')}.1"))
            page = page.replace("‐\n", "")
            for flag in flags:
                self.assertRegex(page, rf"(?m)^ +(-., )?{flag}\b", verb)

    def test_every_exported_function_stands_in_the_overview(self):
        text, _ = render(os.path.join(SOURCE, "man", "weir.3"))
        text = re.sub(r"[‐-]\n\s+", "", text)
        names = exported()
        self.assertGreater(len(names), 90)
        for name in names:
            self.assertIn(name + "()", text)
        for name in re.findall(r"\b(weir_\w+)\(\)", text):
            self.assertIn(name, names)  # and nothing that is gone

    def test_classes_and_variables_stand_in_section_7(self):
        text, _ = render(os.path.join(MAN, "weir.7"))
        with open(os.path.join(SOURCE, "include", "weir", "error.h"), encoding="utf-8") as file:
            classes = re.findall(r"^\tWEIR_(\w+) = -", file.read(), re.M)
        for name in classes:
            self.assertRegex(text, rf"(?m)^ +{name}\b")
        variables = set()
        for path in glob.glob(os.path.join(SOURCE, "src", "**", "*.c"), recursive=True):
            with open(path, encoding="utf-8") as file:
                variables |= set(re.findall(r'getenv\("(\w+)"\)', file.read()))
        self.assertTrue(variables)
        for name in variables:
            self.assertIn(name, text)

    def test_no_page_is_missing_from_the_build(self):
        pages = subprocess.run([DOCS, "--list"], capture_output=True, check=True).stdout.decode().split()
        self.assertLessEqual(set(pages), set(os.listdir(MAN)))


class Completion(CliTest):
    def complete(self, *words):
        script = os.path.join(MAN, "weir")
        program = (f'source "{script}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir; '
                   'printf "%s\\n" "${COMPREPLY[@]}"')
        run = subprocess.run(["bash", "-c", program, "bash", *words], capture_output=True, check=True, cwd=self.dir)
        self.assertEqual(run.stderr, b"")
        return run.stdout.decode().split()

    def test_bash_parses_the_script(self):
        subprocess.run(["bash", "-n", os.path.join(MAN, "weir")], check=True)

    def test_bash_offers_verbs_options_choices_and_files(self):
        self.assertEqual(self.complete("weir", "ins"), ["inspect"])
        self.assertEqual(self.complete("weir", "bench", ""), ["load", "reader", "ring"])
        self.assertEqual(self.complete("weir", "load", "--na"), ["--names", "--names-exact"])
        self.assertEqual(self.complete("weir", "load", "--direct", "a"), ["auto"])
        self.assertIn("--csv", self.complete("weir", "bench", "load", "--"))
        self.model()
        self.assertEqual(self.complete("weir", "verify", "mod"), ["model.safetensors"])

    @unittest.skipUnless(shutil.which("zsh"), "there is no zsh")
    def test_zsh_parses_the_script(self):
        subprocess.run(["zsh", "-n", os.path.join(MAN, "_weir")], check=True)


if __name__ == "__main__":
    main()
