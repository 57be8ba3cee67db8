# SPDX-License-Identifier: Apache-2.0
"""Groups of two and three ranks (gloo, on this machine), one of them of the ranks 1 and 2 alone."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("fastsafetensors")

import fst_lib  # noqa: E402, F401  (finds the drop-in)

HERE = os.path.dirname(os.path.abspath(__file__))


def run_ranks(what, ranks, folder, **environment):
    """Runs the ranks together; a rank that fails, or a group that hangs, fails the test."""
    command = [sys.executable, os.path.join(HERE, "fst_rank.py"), what]
    with open(os.path.join(folder, "log"), "w+") as log:
        running = [
            subprocess.Popen(
                [*command, str(rank), str(ranks), str(folder)],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )
            for rank in range(ranks)
        ]
        try:
            codes = [process.wait(timeout=120) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
        log.seek(0)
        assert codes == [0] * ranks, log.read()


@pytest.mark.parametrize("ranks", [2, 3])
def test_C_53_get_shards_and_push(tmp_path, ranks):
    run_ranks("weir", ranks, tmp_path)


def test_C_84_the_3fs_loader_on_three_ranks_and_a_subgroup(tmp_path):
    pytest.importorskip("fastsafetensor_3fs_reader")
    run_ranks("3fs", 3, tmp_path)


def test_C_48_auto_loader_on_two_ranks(tmp_path):
    pytest.importorskip("fastsafetensor_3fs_reader")
    config = tmp_path / "config.json"
    config.write_text('{"loader": "3fs"}')
    run_ranks("auto", 2, tmp_path, FASTSAFETENSORS_CONFIG=str(config))
