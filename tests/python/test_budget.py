# SPDX-License-Identifier: Apache-2.0
"""Streams within a budget: how much memory of a framework's there is at once, measured."""

import asyncio

import pytest
from budgets import BUDGET, EACH, MIB, Keeps, Meter, Reads, at_once, complete, written

import weir
import weir.aio
from weir.frameworks import numpy as adapter


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "m.safetensors")


@pytest.fixture
def meter(monkeypatch):
    return Meter(monkeypatch, adapter.Adapter)


@EACH
@pytest.mark.parametrize("drops", [True, False])
def test_arrays_of_a_framework_stay_within_the_budget(path, meter, stream, drops):
    use = Reads(drops)
    stream(use, path, framework="numpy", borrow=False)
    assert complete(use.seen)
    assert 2 * MIB <= meter.most <= BUDGET


@EACH
def test_borrowed_arrays_take_no_memory_of_the_framework(path, meter, stream):
    use = Reads(True)
    stream(use, path, framework="numpy", borrow=True)
    assert complete(use.seen) and meter.most == 0


@EACH
def test_an_adapter_that_would_copy_does_not_borrow_within_a_budget(
    path, meter, stream, monkeypatch
):
    monkeypatch.setattr(adapter.Adapter, "borrows", False)
    use = Reads(True)
    stream(use, path, framework="numpy", borrow=True)
    assert complete(use.seen) and 0 < meter.most <= BUDGET


@EACH
def test_who_keeps_all_gets_them_one_at_a_time(path, meter, stream):
    use = Keeps()
    stream(use, path, framework="numpy", borrow=False)
    assert complete(use.seen) and meter.most == 24 * MIB  # a part keeps all of its array


def test_what_is_kept_is_not_allocated_beside(path, meter):
    """Three of four MiB are kept: of the others there is one at a time."""
    kept, most = [], 0
    for _, array in weir.stream(path, framework="numpy", budget=BUDGET):
        if len(kept) < 3:
            kept.append(array)
        elif len(kept) == 3 and not most:
            kept.append(None)
        else:
            most = max(most, meter.now)
        del array
    assert MIB * 4 <= most <= BUDGET


def test_arrays_that_cannot_be_watched_count_until_the_next(path, meter, monkeypatch):
    monkeypatch.setattr(adapter.Adapter, "owner", lambda self, array, given: 1)
    use = Reads(True)
    at_once(use, path, framework="numpy")
    assert complete(use.seen) and meter.most <= BUDGET


def test_cuts_count_as_what_they_leave(path, meter):
    cuts = {f"t{n}": (0, 0, 1000) for n in range(24)}
    for _ in weir.stream(path, framework="numpy", slices=cuts, budget=24000):
        break
    assert meter.most == 24000


def test_a_tensor_beyond_the_budget_comes_alone(path, meter):
    for _, array in weir.stream(path, framework="numpy", budget=1000):
        del array
    assert meter.most == MIB


def test_a_stream_of_a_framework_that_is_left_early(path):
    async def main():
        async for _ in weir.aio.stream(path, framework="numpy", borrow=False, budget=BUDGET):
            break
        return await weir.aio.load(path)

    assert len(asyncio.run(main())) == 24


def test_what_is_to_be_there_at_the_end_has_to_fit(path):
    size = 24 * MIB
    for refused in (size - 1, 1):
        with pytest.raises(ValueError, match="one by one"):
            weir.load(path, budget=refused)
        with pytest.raises(ValueError, match="one by one"):
            asyncio.run(weir.aio.load(path, budget=refused))
    assert len(weir.load(path, budget=2 * size)) == len(weir.open(path))
    # A framework's memory is its own.
    assert len(weir.load(path, framework="numpy", budget=size // 2)) == len(weir.open(path))
