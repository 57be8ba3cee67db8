# SPDX-License-Identifier: Apache-2.0
"""PR-29: interrupts, fork, threads, the end of the interpreter, sub-interpreters; what stays behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import files
import numpy as np
import pytest

import weir


def slow_plan(latency, count=4):
    context = weir.Context()
    context.put_memory("m", bytes(1 << 16))
    context.behave_memory(latency)
    source = weir.open_object("memory://m", context=context)
    plan = weir.Plan(context=context)
    for number in range(count):
        plan.range(source, number * 4096, 4096)
    return plan


def run(code, *arguments, timeout=60):
    """A Python of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


SLOW = """
import os, sys, threading, time, weir
context = weir.Context()
context.put_memory("m", bytes(1 << 16))
context.behave_memory(30)
source = weir.open_object("memory://m", context=context)
plan = weir.Plan(context=context)
for n in range(16):
    plan.range(source, n * 4096, 4096, out=bytearray(4096))
"""


# ---- Interrupts ----


def test_PR_29_an_interrupt_ends_a_wait():
    # Who started us may have interrupts ignored, as a shell has for what it puts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        slow_plan(30).run()
    assert time.monotonic() - started < 5


def test_a_handler_that_returns_does_not_end_it():
    seen = []
    old = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        assert len(slow_plan(0.4).run()) == 4
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(seen) >= 2


# ---- Threads ----


def test_PR_29_the_interpreter_runs_while_a_load_waits():
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.01):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    slow_plan(0.4).run()
    stop.set()
    thread.join()
    assert len(ticks) >= 5


def test_one_model_in_many_threads(small):
    model = weir.open(small.path)
    wrong = []

    def load():
        for _ in range(50):
            if weir.load(model)["a"].tobytes() != small.content["a"]:
                wrong.append(1)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_transfer_that_ends_under_a_waiter():
    transfer = slow_plan(2).native.start()
    failures = []

    def wait():
        try:
            transfer.wait()
        except weir.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    transfer.finish()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert transfer.finished
    with pytest.raises(weir.Closed):
        transfer.wait()


def test_a_model_closed_by_another_thread_while_it_loads(tmp_path):
    path = tmp_path / "m.safetensors"
    content = files.write(path, {f"t{n}": ("U8", (1 << 18,)) for n in range(32)})
    model = weir.open(path)
    plan = weir.Plan()
    plan.tensors(model)
    loading = plan.start()
    threading.Thread(target=model.close).start()
    assert {name: array.tobytes() for name, array in loading} == content


# ---- Memory that is lent ----


def failing(latency):
    """A load into memory of the caller's that fails while its request is under way."""
    plan = slow_plan(latency, 0)
    mine = bytearray(4096)
    plan.range(weir.open_object("memory://m", context=plan.context), 0, 4096, out=mine)
    with pytest.raises(weir.Timeout):
        plan.run(timeout=0.05)
    gc.collect()
    return mine


def test_memory_comes_back_with_its_request():
    failing(0.5).append(0)


def test_memory_that_may_still_be_written_is_kept():
    mine = failing(30)
    with pytest.raises(BufferError):
        mine.append(0)


# ---- Fork ----


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_PR_29_a_forked_child_has_a_context_of_its_own(small):
    model = weir.open(small.path)
    kept = weir.load(model)
    running = slow_plan(0.5).native.start()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert kept["a"].tobytes() == small.content["a"]
            for inherited in (lambda: weir.load(model), running.wait, running.finish):
                try:
                    inherited()
                except weir.Closed:
                    continue
                raise AssertionError("an inherited handle worked")
            assert weir.default_context().pid == os.getpid()
            assert weir.load(small.path)["a"].tobytes() == small.content["a"]
            del model, kept, running
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert len(running.wait()) > 0
    running.finish()
    assert weir.load(model)["a"].tobytes() == small.content["a"]


def load_there(path):
    import weir

    return weir.load(path)["a"].tobytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_PR_29_multiprocessing(small, method):
    weir.load(small.path)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(load_there, [str(small.path)] * 4) == [small.content["a"]] * 4


# ---- The end ----


@pytest.mark.parametrize(
    "code",
    [
        "transfer = plan.native.start()",
        "iterator = iter(plan.start())",
        "threading.Thread(target=plan.run, daemon=True).start(); time.sleep(0.2)",
        "transfer = plan.native.start(); cycle = [transfer]; cycle.append(cycle)",
        "import builtins; builtins.kept = plan.native.start()",
        "transfer = plan.native.start(); sys.exit(0)",
    ],
)
def test_PR_29_the_interpreter_ends_with_loads_running(code):
    started = time.monotonic()
    run(SLOW + "\n" + code)
    assert time.monotonic() - started < 20


def test_arrays_that_are_left_at_the_end(small):
    run(
        """
        import builtins, sys, weir
        builtins.kept = weir.load(sys.argv[1])
        builtins.more = [weir.load(sys.argv[1])]
        builtins.more.append(builtins.more)
        """,
        small.path,
    )


def test_PR_29_sub_interpreters(small):
    run(
        """
        import sys
        try:
            import _xxsubinterpreters as sub
        except ImportError:
            import _interpreters as sub
        import weir
        code = f"import weir; assert len(weir.open({sys.argv[1]!r})) == 5"
        for _ in range(3):
            one = sub.create()
            sub.run_string(one, code)
            sub.destroy(one)
        assert len(weir.open(sys.argv[1])) == 5
        """,
        small.path,
    )


# ---- What stays behind ----


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_extensions_show_their_init_function_and_nothing_else():
    folder = os.path.dirname(weir._native.__file__)
    for name in (name for name in os.listdir(folder) if name.endswith(".so")):
        shown = subprocess.check_output(
            ["nm", "-D", "--defined-only", os.path.join(folder, name)], text=True
        )
        init = "PyInit_" + name.split(".")[0]
        assert [line.split()[-1] for line in shown.splitlines()] == [init]


def test_importing_starts_nothing():
    out = run(
        """
        import os, sys
        before = set(os.listdir("/proc/self/fd"))
        import weir
        print(len(os.listdir("/proc/self/task")), len(set(os.listdir("/proc/self/fd")) - before))
        print([name for name in ("numpy", "torch", "jax", "asyncio") if name in sys.modules])
        """
    )
    assert out.split("\n")[:2] == ["1 0", "[]"]


def test_ten_thousand_loads_leave_nothing(small):
    model = weir.open(small.path)
    names = ["a", "b", "c"]
    for _ in range(500):
        weir.load(model, names=names)
    before, descriptors = resident(), len(os.listdir("/proc/self/fd"))
    for _ in range(10_000):
        weir.load(model, names=names)
    assert resident() - before < 2 << 20
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("keep", [False, True])
def test_loads_that_fail_leave_nothing(small, keep):
    """keep: the completion's own exception is raised, and ties a cycle that the collector has to find."""
    source = weir.open_object(small.path)
    size = small.path.stat().st_size

    def fail():
        plan = weir.Plan()
        plan.range(source, size - 10, 1 << 20, out=bytearray(1 << 20))
        if keep:
            (done,) = plan.native.start().wait()
            raise done.error
        plan.run()

    def fail_often(times):
        for _ in range(times):
            with pytest.raises(weir.ContentError):
                fail()
        gc.collect()

    fail_often(20)
    before = resident()
    fail_often(100)
    assert resident() - before < 20 << 20


def test_failures_leave_nothing(small, tmp_path):
    model = weir.open(small.path)
    mine = np.zeros((64, 32), "f4")
    references = sys.getrefcount(mine), sys.getrefcount(model)

    def fail():
        for attempt in (
            lambda: weir.load(model, out={"b": mine}),
            lambda: weir.load(model, names=["a", "z"], out={"a": mine}),
            lambda: weir.open(tmp_path / "none"),
            lambda: weir.load(model, slices={"a": (0, 9, 3)}, out={"a": mine}),
        ):
            with pytest.raises((weir.Error, KeyError)):
                attempt()

    for _ in range(50):
        fail()
    before = resident()
    for _ in range(500):
        fail()
    assert resident() - before < 2 << 20
    assert (sys.getrefcount(mine), sys.getrefcount(model)) == references
