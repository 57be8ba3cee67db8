# SPDX-License-Identifier: Apache-2.0
"""Releases of fastsafetensors before the one that the venv has, each from a folder of its own.

The folders are made here, below the build folder, by pip; where that has no network the cases are
skipped. torch and the rest come from the venv."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("WEIR_BUILD", os.path.join(HERE, "../../build"))


def release(version):
    """The folder with that release."""
    folder = os.path.join(BUILD, "fastsafetensors-" + version)
    if not os.path.isdir(folder):
        made = subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder + ".new",
             "fastsafetensors==" + version], capture_output=True, text=True)  # fmt: skip
        if made.returncode:
            pytest.skip(f"fastsafetensors {version} cannot be had: {made.stderr.strip()[-100:]}")
        os.rename(folder + ".new", folder)
    return folder


def run(version, folder):
    """fst_old.py over that release."""
    path = os.pathsep.join([release(version), *filter(None, [os.environ.get("PYTHONPATH")]), HERE])
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "fst_old.py"), version, str(folder)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=100)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()


def test_C_83_a_base_class_without_owner_chunks_and_readiness(tmp_path):
    assert run("0.3.2", tmp_path) == ["copier", "loader", "failure", "pipeline", "auto"]


def test_C_83_a_base_class_with_chunks_and_without_readiness(tmp_path):
    assert run("0.4.0", tmp_path) == ["copier", "loader", "failure", "pipeline", "auto", "budget"]
