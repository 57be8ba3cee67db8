# SPDX-License-Identifier: Apache-2.0
"""Progress: callbacks and the bar."""

import io
import sys

import pytest

import weir
from weir import progress


def test_a_callback_sees_the_start_and_the_end(small):
    told = []
    weir.load(small.path, progress=lambda done, total: told.append((done, total)))
    total = sum(map(len, small.content.values()))
    assert told[0][1] == total and told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_PR_29_what_a_callback_raises_comes_out_once_and_leaks_nothing(small):
    model = weir.open(small.path)
    calls = []

    def fail(done, total):
        calls.append(done)
        if done:
            raise LookupError("mine")

    memory = bytearray(100_000)
    references = sys.getrefcount(memory)
    for _ in range(20):
        with pytest.raises(LookupError, match="mine"):
            weir.load(model, out={"große": memory}, progress=fail)
    assert sys.getrefcount(memory) == references
    memory.append(0)  # nobody looks at it any more
    assert weir.load(model)["a"].tobytes() == small.content["a"]


def test_what_the_first_call_raises_ends_the_load(small):
    def fail(done, total):
        raise LookupError

    with pytest.raises(LookupError):
        weir.load(small.path, progress=fail)


def test_a_bar_is_drawn_where_it_is_asked_for(small, capsys):
    weir.load(small.path, progress="bar")
    drawn = capsys.readouterr().err
    assert drawn.endswith("\n") and "100%|" in drawn and "/s]" in drawn
    weir.load(small.path, progress=True)  # standard error is no terminal here
    assert capsys.readouterr().err == ""


def test_a_bar_that_is_half_full():
    to = io.StringIO()
    bar = progress.Bar(to)
    bar(500, 1000)
    assert " 50%|" + "█" * 12 + " " * 12 + "| 500 B/1.00 kB [" in to.getvalue()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (99_960_000, "100 MB"), (12.3e9, "12.3 GB")],
)
def test_sizes_have_three_figures(count, text):
    assert progress.size(count) == text


def test_anything_else_is_refused(small):
    with pytest.raises(weir.ArgumentError):
        weir.load(small.path, progress="loud")
