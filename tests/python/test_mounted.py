# SPDX-License-Identifier: Apache-2.0
"""The package on a mount of 3FS: what its files are read by, and what is left there."""

import json
import os
import subprocess
import sys

from mounted import BUILD, TESTS, mount  # noqa: F401

COMMAND = os.path.join(BUILD, "cli", "weir")
READER = os.path.join(os.path.dirname(TESTS), "python", "compat", "fastsafetensor-3fs-reader")


def model_on(mount):
    """A model in two files, made behind the mount; its path there."""
    made = os.path.join(mount.source, "model")
    subprocess.run(
        [COMMAND, "make-model", made, "--size", "4MiB", "--shards", "2", "--quiet"], check=True
    )
    return os.path.join(mount.point, "model")


def bench(mount, *uris):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([READER, os.environ["PYTHONPATH"]]),
        "WEIR_PYTHON": sys.executable,
    }
    words = [word for uri in uris for word in ("--uri", uri)]
    return subprocess.run(
        [COMMAND, "bench", "reader", *words, "--backends", "cpp", "--buffer-sizes", "1",
         "--chunk-sizes", "1", "--num-processes", "1,2", "--verify", "all", "--json", "--quiet",
         "--output-dir", os.path.join(mount.source, "out")],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_C_07_an_address_that_is_none_by_rings(mount):  # noqa: F811
    script = """
import sys, fastsafetensor_3fs_reader as package
reader = package.create_reader("python", mount_point=sys.argv[1], fallback="never")
try:
    reader.read_chunked(sys.argv[1] + "/file", -4096, 0, 10)
except TypeError:
    print(reader.read_chunked(sys.argv[1] + "/file", 0, 0, 10), reader.statistics()["ring_bytes"])
"""
    client = os.path.join(os.path.dirname(READER), "hf3fs-py-usrbio")
    path = os.pathsep.join([READER, client, os.environ["PYTHONPATH"]])
    done = subprocess.run([sys.executable, "-c", script, mount.point], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "10 10\n"), done.stderr


def test_the_bench_reads_a_model_of_3fs(mount):  # noqa: F811
    done = bench(mount, "3fs://" + model_on(mount))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["mount_point"], told["files"]) == (mount.point, 2)
    assert [cell["verified_bytes"] > 4 << 20 for cell in told["cells"]] == [True, True]


def test_the_bench_reads_from_one_mount(mount):  # noqa: F811
    done = bench(mount, "3fs://" + model_on(mount), os.path.join(mount.source, "file"))
    assert done.returncode == 2 and "one after the other" in done.stderr
