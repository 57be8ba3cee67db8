# SPDX-License-Identifier: Apache-2.0
"""The package on a mount of 3FS: what its files are read by, and what is left there."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from mounted import BUILD, TESTS, mount, python  # noqa: F401

COMMAND = os.path.join(BUILD, "cli", "weir")
READER = os.path.join(os.path.dirname(TESTS), "python", "compat", "fastsafetensor-3fs-reader")


def model_on(mount):
    """A model in two files, made behind the mount; its path there."""
    made = os.path.join(mount.source, "model")
    subprocess.run(
        [COMMAND, "make-model", made, "--size", "4MiB", "--shards", "2", "--dtypes", "F32", "--quiet"],
        check=True,
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
    assert [cell["verified_bytes"] > 3 << 20 for cell in told["cells"]] == [True, True]


def test_the_bench_reads_from_one_mount(mount):  # noqa: F811
    done = bench(mount, "3fs://" + model_on(mount), os.path.join(mount.source, "file"))
    assert done.returncode == 2 and "one after the other" in done.stderr


# ---- The end of the interpreter ----

BEGIN = """
import atexit, os, sys, threading, time
path, links = sys.argv[1:]

def look():
    left = [name for name in os.listdir(links) if not name.startswith("submit-ios")]
    shared = [name for name in os.listdir("/dev/shm") if not name.startswith("sem.")]
    print("left:", left, shared, flush=True)

atexit.register(look)  # before weir's, so it runs after that
import weir
"""


def ends(mount, code):  # noqa: F811
    """A program that reads a model of the mount and ends: what it printed, how long it took."""
    path = model_on(mount)
    links = os.path.join(mount.point, "3fs-virt", "iovs")
    started = time.monotonic()
    told = python(BEGIN + textwrap.dedent(code), path, links)
    return told, time.monotonic() - started


KEPT = {
    "nothing": "weir.load(path)",
    "model": "model = weir.open(path); weir.load(model)",
    "arrays": "arrays = weir.load(path)",
    "context": "mine = weir.Context(); model = weir.open(path, context=mine); a = weir.load(model)",
    "object": "o = weir.open_object(path + '/model-00001-of-00002.safetensors')\nweir.load(path)",
    "plan": "model = weir.open(path); weir.load(model); p = weir.Plan(); p.tensors(model); len(p)",
    "stream": "s = weir.stream(path, budget='1MiB'); a = next(s)",
    "queue": "m = weir.open(path); q = weir.Queue(); p = weir.Plan(); p.tensors(m)\n"
    "t = p.start(queue=q)",
}


@pytest.mark.parametrize("kept", KEPT)
def test_nothing_stays_registered_at_the_end(mount, kept):  # noqa: F811
    code = f"""
weir.default_context()
{KEPT[kept]}
print(len(os.listdir(links)) > 3, weir.default_context().pid == os.getpid())
"""
    told, _ = ends(mount, code)
    assert told.splitlines() == ["True True", "left: [] []"]


def test_an_exit_with_daemon_threads_that_load(mount):  # noqa: F811
    told, seconds = ends(mount, """
        def load():
            while True:
                weir.load(path)
                for name, array in weir.stream(path, budget="1MiB"):
                    pass

        for _ in range(3):
            threading.Thread(target=load, daemon=True).start()
        time.sleep(0.3)
        print(len(os.listdir(links)) > 3)
        threading.excepthook = lambda given: None
        """)  # fmt: skip
    assert told.splitlines()[0] == "True" and seconds < 20


def test_an_exit_with_daemon_threads_that_wait(mount):  # noqa: F811
    """In a transfer, in a queue: each is let out of its call."""
    told, seconds = ends(mount, """
        context = weir.Context()
        context.put_memory("m", bytes(1 << 16))
        context.behave_memory(20)
        source = weir.open_object("memory://m", context=context)
        weir.load(path)

        def run():
            plan = weir.Plan(context=context)
            plan.range(source, 0, 4096)
            plan.run()

        def wait():
            weir.Queue().wait()

        for target in (run, wait, wait):
            threading.Thread(target=target, daemon=True).start()
        threading.excepthook = lambda given: os.write(1, given.exc_value.code.encode() + b'\\n')
        time.sleep(0.3)
        """)  # fmt: skip
    assert told.splitlines()[-1] == "left: [] []" and seconds < 10
    assert sorted(told.splitlines()[:-1]) == ["CLOSED"] * 3


def test_a_forked_child_ends_what_is_its_own(mount):  # noqa: F811
    """And not what is its parent's, which goes on."""
    told, _ = ends(mount, """
        model = weir.open(path)
        before = len(weir.load(model))
        child = os.fork()
        if child == 0:
            own = len(os.listdir(links))
            weir.load(path)
            print(len(os.listdir(links)) > own, flush=True)
            atexit.unregister(look)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(len(weir.load(model)) == before, flush=True)
        """)  # fmt: skip
    assert told.splitlines() == ["True", "True", "left: [] []"]


def test_a_forked_child_that_ends_at_once(mount):  # noqa: F811
    told, _ = ends(mount, """
        stream = weir.stream(path, budget="1MiB")
        first = next(stream)
        child = os.fork()
        if child == 0:
            atexit.unregister(look)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(sum(1 for _ in stream) > 1)
        """)  # fmt: skip
    assert told.splitlines() == ["True", "left: [] []"]


def test_a_child_of_multiprocessing(mount):  # noqa: F811
    told, _ = ends(mount, """
        import multiprocessing, multiprocessing.util

        def work():
            multiprocessing.util.Finalize(None, look, exitpriority=-200)
            weir.load(path)
            print(len(os.listdir(links)) > 3, flush=True)

        atexit.unregister(look)
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        print(child.exitcode)
        """)  # fmt: skip
    assert told.splitlines() == ["True", "left: [] []", "0"]


def test_a_handler_that_reads_after_the_end(mount):  # noqa: F811
    told, _ = ends(mount, """
        atexit.unregister(look)
        atexit.register(lambda: print(len(weir.load(path, framework="numpy")) > 1))
        weir._native.end()
        print(len(weir.load(path, framework="numpy")) > 1)
        """)  # fmt: skip
    assert told.splitlines() == ["True", "True"]


def test_an_exit_while_the_daemon_stands_still(mount):  # noqa: F811
    """Nobody answers; the end waits a little, and goes."""
    path = model_on(mount)
    code = """
        import os, sys, threading, time, weir, weir._native
        def read():
            file = sys.argv[1] + "/model-00001-of-00002.safetensors"
            weir._native.Reader(4096).read_chunked(file, 0, 0, 1 << 20)

        threading.excepthook = lambda given: os.write(1, given.exc_value.code.encode() + b'\\n')
        stream = weir.stream(sys.argv[1], budget="1MiB")
        first = next(stream)
        print("ready", flush=True)
        sys.stdin.readline()
        threading.Thread(target=read, daemon=True).start()
        time.sleep(0.3)
        """
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), path], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout.readline() == "ready\n"
    mount.stop()
    started = time.monotonic()
    told, _ = program.communicate("\n", timeout=60)
    mount.daemon.process.send_signal(signal.SIGCONT)
    assert time.monotonic() - started < 15 and program.returncode == 0
    assert told in ("CANCELLED\n", "")  # it may be let out too late to say so
