# SPDX-License-Identifier: Apache-2.0
"""Ranges of a file on their way to memory that somebody else owns (what plug-ins are made of)."""

import ctypes
import threading

import pytest

import weir
from weir.ranges import Piece, RangeRead

SIZE = 3 << 20


class Owner:
    """Counts, as the owner of the memory does."""

    def __init__(self):
        self.references = 0

    def acquire(self):
        self.references += 1
        return self

    def release(self):
        self.references -= 1


@pytest.fixture
def path(tmp_path):
    """A file in which each place has its own bytes."""
    path = tmp_path / "data"
    path.write_bytes(bytes(n * 7 % 251 for n in range(SIZE)))
    return str(path)


@pytest.fixture
def memory():
    """Bytes, all 0xee."""
    return ctypes.create_string_buffer(b"\xee" * SIZE, SIZE)


def pieces_of(memory, *ranges):
    """Pieces that land where they stand in the file."""
    return [Piece(a, b, ctypes.addressof(memory) + a) for a, b in ranges]


def slow(path):
    """The same bytes in small requests, at 2 MiB a second."""
    context = weir.Context(lanes=1, depth=2, request=64 << 10)
    with open(path, "rb") as file:
        context.put_memory("data", file.read())
    context.behave_memory(0.001, 0, 2 << 20)
    return RangeRead("memory://data", nbytes=SIZE, context=context)


def test_just_the_ranges_arrive(path, memory):
    read = RangeRead(path, nbytes=SIZE)
    ranges = [(0, 100), (4096, 70_001), (2_000_000, SIZE)]
    read.start(pieces_of(memory, *ranges))
    read.wait(5000, 6000)
    read.wait_all()
    read.finish()
    with open(path, "rb") as file:
        whole = file.read()
    wanted = bytearray(b"\xee" * SIZE)
    for start, end in ranges:
        wanted[start:end] = whole[start:end]
    assert memory.raw == wanted


def test_what_nobody_reads_is_refused(path, memory):
    read = RangeRead(path, nbytes=SIZE)
    read.start(pieces_of(memory, (100, 200), (200, 300)))
    read.wait(150, 250)
    for start, end in ((0, 50), (50, 150), (250, 350), (400, 500)):
        with pytest.raises(ValueError, match="not read"):
            read.wait(start, end)
    read.finish()


def test_nothing_to_read(path):
    read = RangeRead(path, nbytes=SIZE)
    read.start([])
    read.wait_all()
    read.wait(10, 10)
    read.finish()


def test_a_file_of_another_size_is_a_changed_one(path):
    with pytest.raises(weir.Error, match=f"has {SIZE} bytes, and had {SIZE + 1}") as caught:
        RangeRead(path, nbytes=SIZE + 1)
    assert (caught.value.code, caught.value.object) == ("CHANGED", path)


def test_a_file_that_shrinks_fails_the_waits_for_it(path, memory):
    read = RangeRead(path, nbytes=SIZE)
    with open(path, "r+b") as file:
        file.truncate(1000)
    read.start(pieces_of(memory, (SIZE - 5000, SIZE)))
    for _ in range(2):
        with pytest.raises(weir.Error) as caught:
            read.wait(SIZE - 10, SIZE)
        assert caught.value.code in ("TRUNCATED", "CHANGED")
    with pytest.raises(weir.Error):
        read.wait_all()
    read.finish()


def test_an_owner_is_kept_until_the_end_and_not_longer(path, memory):
    read, owner = slow(path), Owner()
    read.lend(owner)  # before it was started, nothing is lent
    assert owner.references == 0
    read.start(pieces_of(memory, (0, SIZE)))
    read.lend(owner)
    assert owner.references == 1
    read.finish()
    assert owner.references == 0
    read.lend(owner)
    assert owner.references == 0


def test_an_owner_is_let_go_with_a_read_that_nobody_finished(path, memory):
    read, owner = slow(path), Owner()
    read.start(pieces_of(memory, (0, SIZE)))
    read.lend(owner)
    del read
    assert owner.references == 0


def test_after_the_end_nothing_is_written(path, memory):
    read = slow(path)
    read.start(pieces_of(memory, (0, 64 << 10), (64 << 10, SIZE)))
    read.wait(0, 10)
    read.finish()
    assert b"\xee" * 4096 in memory.raw  # it was ended early
    before = memory.raw
    threading.Event().wait(0.3)
    assert memory.raw == before
    read.finish()
    with pytest.raises(weir.Cancelled):
        read.wait(SIZE - 10, SIZE)


def test_threads_that_wait_and_one_that_ends(path, memory):
    read = slow(path)
    cuts = list(range(0, SIZE, 256 << 10))
    read.start(pieces_of(memory, *((a, a + (256 << 10)) for a in cuts)))
    ends = []

    def wait(start):
        try:
            read.wait(start, start + 10)
            ends.append("there")
        except weir.Cancelled:
            ends.append("cancelled")

    threads = [threading.Thread(target=wait, args=(start,)) for start in cuts]
    for thread in threads:
        thread.start()
    read.wait(0, 10)
    for _ in range(2):
        threads.append(threading.Thread(target=read.finish))
        threads[-1].start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    # On a machine that is busy elsewhere all may be there before the end is asked for.
    assert len(ends) == len(cuts) and "there" in ends and set(ends) <= {"there", "cancelled"}
