# SPDX-License-Identifier: Apache-2.0
"""Arguments of the extension: what is wrong is refused, and nothing is cut to fit."""

import pytest

import weir
from weir import _native

HUGE, BIG = 1 << 64, 1 << 32


@pytest.fixture
def plan():
    return _native.Plan()


@pytest.mark.parametrize("name", ["budget", "pool", "lanes", "depth", "request", "trace_events"])
@pytest.mark.parametrize("value", [-1, HUGE, "1", 1.5, None])
def test_of_a_context(name, value):
    with pytest.raises((OverflowError, TypeError)):
        weir.Context(**{name: value})


@pytest.mark.parametrize(
    "arguments",
    [
        {"slices": [(-1, 0, 1)]},
        {"slices": [(BIG, 0, 1)]},
        {"slices": [(0, -1, 1)]},
        {"slices": [(0, 0, HUGE)]},
        {"slices": [(0, 0)]},
        {"slices": [[0, 0, 1]]},
        {"slices": 3},
        {"slices": [(0, 0, 65)]},
        {"slices": [(2, 0, 1)]},
        {"slices": [(0, 0, 1), (0, 1, 2)]},
        {"align": -1},
        {"align": BIG},
        {"align": 3},
        {"into": (0, -1, None)},
        {"into": (HUGE, 1, None)},
        {"into": (0,)},
        {"into": (0, 1, None, 0)},
        {"into": (0, 1, None, -1, 0)},
        {"into": "text"},
        {"into": b"read only"},
    ],
)
def test_of_a_tensor(small, plan, arguments):
    model = weir.open(small.path)
    with pytest.raises((OverflowError, TypeError, BufferError, weir.ArgumentError)):
        plan.tensor(model, "a", **arguments)
        plan.start().finish()
    plan = _native.Plan()
    plan.tensor(model, "a")
    assert len(plan) == 1


def test_a_plan_is_as_it_was_after_a_refusal(small, plan):
    model = weir.open(small.path)
    for wrong in ({"slices": [(9, 0, 1)]}, {"into": bytearray(3)}, {"into": 5.5}):
        with pytest.raises((TypeError, weir.ArgumentError)):
            plan.tensor(model, "a", **wrong)
    plan.tensor(model, "b")
    assert (len(plan), plan.nbytes) == (1, model["b"].nbytes)
    (done,) = plan.start().wait()
    assert bytes(done.buffer) == small.content["b"] and done.tag == "b"


@pytest.mark.parametrize("tensor", ["z", 5, -1, HUGE, None, 1.0, b"a"])
def test_of_a_name(small, plan, tensor):
    with pytest.raises((KeyError, IndexError, OverflowError, TypeError)):
        plan.tensor(weir.open(small.path), tensor)


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (HUGE, 1), (0, HUGE), ("0", 1)])
def test_of_a_range(small, plan, offset, length):
    with pytest.raises((OverflowError, TypeError)):
        plan.range(weir.open_object(small.path), offset, length)


@pytest.mark.parametrize(("offset", "length"), [(1 << 63, 1 << 63), ((1 << 64) - 1, 1)])
def test_of_a_range_beyond_all_files(small, plan, offset, length):
    with pytest.raises(weir.Error):
        plan.range(weir.open_object(small.path), offset, length)
        plan.start().finish()


@pytest.mark.parametrize("wrong", [{"max": -1}, {"max": BIG}, {"max": 0}, {"timeout": -1}, {"timeout": "1"}])
def test_of_a_wait(plan, wrong):
    with pytest.raises((OverflowError, TypeError, ValueError)):
        plan.start().wait(**wrong)
    with pytest.raises((OverflowError, TypeError, ValueError)):
        _native.Queue().wait(**wrong)


def test_of_a_start(plan):
    for wrong in ({"budget": -1}, {"queue": 3}, {"timeout": float("nan")}, {"stall": -0.1}):
        with pytest.raises((OverflowError, TypeError, ValueError)):
            plan.start(**wrong)
    assert plan.start().wait() == []


def test_what_is_no_object_of_ours(small, plan):
    for call in (
        lambda: plan.tensor("model", "a"),
        lambda: plan.range("object", 0, 1),
        lambda: _native.Plan(context=3),
        lambda: weir.Tensor(b"1234", "F32", (1,)),
        lambda: weir.Context().behave_memory(float("inf") - float("inf")),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()


@pytest.mark.parametrize("kind", ["Model", "Object", "Transfer", "Buffer"])
def test_what_is_made_by_functions_cannot_be_made_by_hand(kind):
    with pytest.raises(TypeError):
        getattr(weir, kind)()


def test_a_plan_that_is_being_filled_refuses_more(small, plan):
    model = weir.open(small.path)

    class Sneaky:
        def __index__(self):
            with pytest.raises(weir.ArgumentError):
                plan.tensor(model, "b")
            with pytest.raises(weir.ArgumentError):
                plan.start()
            return 0

    plan.tensor(model, Sneaky())
    assert len(plan) == 1
