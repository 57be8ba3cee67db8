# SPDX-License-Identifier: Apache-2.0
"""Coroutines: waiting on the descriptor, several loops, cancellation."""

import asyncio
import gc
import threading
import time

import files
import numpy as np
import pytest

import weir
import weir.aio


def slow(latency, tensors=4):
    """A plan over memory:// whose requests take that long."""
    context = weir.Context()
    context.put_memory("m", bytes(range(256)) * 64)
    context.behave_memory(latency)
    plan = weir.Plan(context=context)
    source = weir.open_object("memory://m", context=context)
    for number in range(tensors):
        plan.range(source, number * 64, 4096, tag=number)
    return plan


def test_a_load_beside_others(small):
    async def main():
        model = await weir.aio.open(small.path)
        loads = [weir.aio.load(model) for _ in range(8)] + [weir.aio.load(small.path, framework="numpy")]
        return await asyncio.gather(*loads)

    for tensors in asyncio.run(main()):
        assert {n: a.tobytes() for n, a in tensors.items()} == small.content


def test_a_plan_can_be_awaited(small):
    async def main():
        plan = weir.Plan()
        plan.tensor(weir.open(small.path), "a", slices=np.s_[2:4])
        return await plan

    assert asyncio.run(main())["a"].shape == (2, 32)


def test_the_loop_goes_on_while_a_load_waits():
    async def main():
        task = asyncio.create_task(weir.aio.run(slow(0.3)))
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks, await task

    ticks, arrays = asyncio.run(main())
    assert ticks >= 10 and len(arrays) == 4


def test_several_loops_in_several_threads(small):
    results = []

    def run():
        results.append(asyncio.run(weir.aio.load(small.path)))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(tensors["a"].tobytes() == small.content["a"] for tensors in results)
    assert len(results) == 6


def test_cancelling_the_task_cancels_the_load():
    async def main():
        task = asyncio.create_task(weir.aio.run(slow(2, 64)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 4


def test_a_deadline_of_the_caller():
    async def main():
        async with asyncio.timeout(0.1):
            await weir.aio.run(slow(1.5))

    with pytest.raises(TimeoutError):
        asyncio.run(main())


def test_a_deadline_of_the_load():
    with pytest.raises(weir.Timeout):
        asyncio.run(weir.aio.run(slow(1.5), timeout=0.1))


def test_a_failure_is_raised(small):
    async def main():
        plan = weir.Plan()
        plan.range(small.path, 0, 1 << 30)
        await plan

    with pytest.raises(weir.ContentError):
        asyncio.run(main())


def test_a_stream_within_a_budget(tmp_path):
    path = tmp_path / "m.safetensors"
    content = files.write(path, {f"t{n}": ("U8", (1 << 20,)) for n in range(12)})

    async def main():
        seen = {}
        async for name, array in weir.aio.stream(path, budget="3MiB"):
            seen[name] = array.tobytes() == content[name]
            del array
            await asyncio.sleep(0)
        return seen

    seen = asyncio.run(main())
    assert len(seen) == 12 and all(seen.values())


def test_a_stream_that_is_left_early(small):
    async def main():
        async for _ in weir.aio.stream(small.path):
            break
        return await weir.aio.load(small.path)

    assert len(asyncio.run(main())) == len(small.tensors)
    gc.collect()


def test_a_busy_consumer_does_not_make_the_loop_spin():
    async def main():
        async for _ in weir.aio.arrivals(slow(0.01)):
            before = time.process_time()
            await asyncio.sleep(0.3)
            return time.process_time() - before

    assert asyncio.run(main()) < 0.15


def test_progress_of_a_coroutine():
    told = []
    asyncio.run(weir.aio.run(slow(0.02), progress=lambda done, total: told.append((done, total))))
    assert told[0][1] == told[-1][1] == 4 * 4096 == told[-1][0]
