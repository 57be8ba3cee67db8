# SPDX-License-Identifier: Apache-2.0
"""`safe_open.prefetch`: tensors of a file that load in the background.

    with weir.safe_open("model.safetensors", "pt", device="cuda:0") as file:
        loader = file.prefetch({"h.0.weight": None, "h.1.weight": slice(0, 512)})
        first = loader.take("h.0.weight")        # waits for that one
        for name, tensor in loader:              # the rest, as they arrive
            ...

Memory for everything that is planned is allocated at the start, in the framework, a piece for each
tensor.  weir.stream() is for models that do not fit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from weir import slicing
from weir.errors import Closed
from weir.safe import File, as_safetensors, refuse

if TYPE_CHECKING:
    from weir import _native
    from weir.loading import Loading
    from weir.plan import Plan


def boxes_of(file: File, plan: Mapping[str, slice | None] | None) -> dict[str, slicing.Box]:
    """What a plan asks for; all of it is checked before anything is read."""
    if plan is None:
        return {name: slicing.whole(file.info(name).shape) for name in file.by_offset()}
    if not isinstance(plan, Mapping):
        raise TypeError(f"{type(plan).__name__!r} object is not an instance of 'dict'")
    boxes = {name: _box(file, name, rows) for name, rows in plan.items()}
    return {name: boxes[name] for name in file.by_offset() if name in boxes}


def _box(file: File, name: str, rows: slice | None) -> slicing.Box:
    box = slicing.whole(file.info(name).shape)
    if rows is None:
        return box
    if not isinstance(rows, slice):
        refuse(f"prefetch plan values must be None or a slice, got {type(rows)} for {name}")
    if rows.step not in (None, 1):
        refuse(f"prefetch plan slices must have step 1, got {rows.step} for {name}")
    if not box:
        refuse(f"cannot slice rows of the 0-d tensor {name}")
    start, stop, _ = rows.indices(box[0][1])
    return ((start, max(start, stop)), *box[1:])


class Loader:
    """Tensors under way.  Each is handed out once, by `take` or by iterating.

    Any number of threads may take from one loader.  A tensor that could not be read raises its
    failure when it is asked for, once; the others are there all the same.
    """

    def __init__(self, plan: Plan) -> None:
        self._names = plan.tags
        self._left = set(plan.tags)  # not handed out yet
        self._done: dict[str, _native.Done] = {}  # of those, the ones that have ended
        self._changed = threading.Condition()
        self._waiting = False  # one thread waits for the transfer, the others for that thread
        self._loading: Loading | None = plan.start()

    def names(self) -> list[str]:
        """The names that this loader hands out, in the order of the file."""
        return list(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def take(self, name: str) -> Any:
        """One tensor; waits until its bytes are there."""
        if name not in self._names:
            refuse(f"{name} is not in the prefetch plan")
        with self._changed:
            while name not in self._done:
                self._check_open()
                if name not in self._left:
                    refuse(f"{name} was taken already")
                self._wait()
            return self._hand_out(name)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """``(name, tensor)`` of all that were not taken, as their bytes arrive."""
        while True:
            with self._changed:
                while self._left and not self._done:
                    self._wait()
                if not self._left:
                    return
                name = next(iter(self._done))
                tensor = self._hand_out(name)
            yield name, tensor
            del tensor  # the caller's is the only one

    def close(self) -> None:
        """Stops the load and lets go of what was not taken; what was taken lives on."""
        with self._changed:
            loading, self._loading = self._loading, None
            self._left.clear()
            self._done.clear()
            self._changed.notify_all()
        if loading:
            loading.cancel()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._loading is None:
            raise as_safetensors(Closed("this loader was closed"))

    def _hand_out(self, name: str) -> Any:
        done = self._done.pop(name)
        self._left.discard(name)
        if done.error:
            raise as_safetensors(done.error)
        return done.tag.give(done.buffer)

    def _wait(self) -> None:
        """Until something changed; called, and left, with the lock held."""
        loading = self._loading
        if self._waiting or loading is None:
            self._changed.wait()
            return
        self._waiting = True
        self._changed.release()
        dones: list[_native.Done] = []
        try:
            dones = loading.wait()
        finally:
            self._changed.acquire()
            self._waiting = False
            self._changed.notify_all()
        for done in dones:
            if done.tag.tag in self._left and not done.released:
                self._done[done.tag.tag] = done
