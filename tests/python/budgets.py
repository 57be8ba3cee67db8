# SPDX-License-Identifier: Apache-2.0
"""What the tests of budgets share: memory of a framework's arrays, counted as long as it lives."""

import asyncio
import weakref

import files
import pytest

import weir
import weir.aio

MIB = 1 << 20
BUDGET = 4 * MIB


def written(path):
    """A file of 24 tensors of a MiB, each full of its number."""
    files.write(path, {f"t{n}": ("U8", (MIB,), bytes([n]) * MIB) for n in range(24)})
    return path


def complete(seen):
    return seen == {f"t{n}": n for n in range(24)}


class Meter:
    """Bytes of all arrays that a framework allocated, now and at most."""

    def __init__(self, monkeypatch, adapter):
        self.now = self.most = 0
        empty = adapter.empty

        def counted(this, dtype, shape):
            array = empty(this, dtype, shape)
            self.add(array.nbytes)
            owner = array.untyped_storage() if hasattr(array, "untyped_storage") else array
            weakref.finalize(owner, self.add, -array.nbytes)
            return array

        monkeypatch.setattr(adapter, "empty", counted)

    def add(self, size):
        self.now += size
        self.most = max(self.most, self.now)


def at_once(use, path, **options):
    """Iterates over a stream, and lets `use` have each array."""
    for name, array in weir.stream(path, budget=BUDGET, **options):
        use(name, array)
        if use.drops:
            del array


def in_a_loop(use, path, **options):
    async def main():
        async for name, array in weir.aio.stream(path, budget=BUDGET, **options):
            use(name, array)
            if use.drops:
                del array

    asyncio.run(main())


EACH = pytest.mark.parametrize("stream", [at_once, in_a_loop])


class Reads:
    """A caller who lets go before he asks for the next one, or after (a loop's variable)."""

    def __init__(self, drops):
        self.drops, self.seen = drops, {}

    def __call__(self, name, array):
        self.seen[name] = int(array.reshape(-1)[-1])


class Keeps(Reads):
    """A caller who keeps a part of each."""

    def __init__(self):
        super().__init__(True)
        self.kept = []

    def __call__(self, name, array):
        super().__call__(name, array)
        self.kept.append(array[:1])
