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

from weir import frameworks, slicing
from weir.errors import Closed

if TYPE_CHECKING:
    from weir.safe import File


def boxes_of(file: File, plan: Mapping[str, slice | None] | None) -> dict[str, slicing.Box]:
    """What a plan asks for; all of it is checked before anything is read."""
    if plan is None:
        return {name: slicing.whole(file.info(name).shape) for name in file.by_offset()}
    if not isinstance(plan, Mapping):
        raise TypeError(f"{type(plan).__name__!r} object is not an instance of 'dict'")
    boxes = {name: _box(file, name, rows) for name, rows in plan.items()}
    return {name: boxes[name] for name in file.by_offset() if name in boxes}


def _box(file: File, name: str, rows: slice | None) -> slicing.Box:
    from weir.safe import refuse

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

    Any number of threads may take from one loader.  The first failure of the load is raised by
    whoever asks for a tensor that did not arrive.
    """

    def __init__(
        self, file: File, boxes: Mapping[str, slicing.Box], adapter: frameworks.Adapter
    ) -> None:
        plan, self._arrays = file.plan(boxes, adapter)
        self._names = list(boxes)
        self._adapter = adapter
        self._there: set[str] = set()
        self._errors: dict[str, Exception] = {}
        self._changed = threading.Condition()
        self._waiting = False  # one thread waits for the transfer, the others for that thread
        self._closed = False
        self._transfer = plan.start()

    def names(self) -> list[str]:
        """The names that this loader hands out, in the order of the file."""
        return list(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def take(self, name: str) -> Any:
        """One tensor; waits until its bytes are there."""
        from weir.safe import refuse

        with self._changed:
            if name not in self._names:
                refuse(f"{name} is not in the prefetch plan")
            while name not in self._there and name not in self._errors:
                if name not in self._arrays:
                    refuse(f"{name} was taken already")
                self._wait()
            return self._hand_out(name)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """``(name, tensor)`` of all that were not taken, as their bytes arrive."""
        while True:
            with self._changed:
                while not self._there and not self._errors and self._arrays:
                    self._wait()
                name = next(iter(self._there or self._errors), None)
                if name is None:
                    return
                item = name, self._hand_out(name)
            yield item

    def close(self) -> None:
        """Stops the load and lets go of what was not taken; what was taken lives on."""
        with self._changed:
            self._closed = True
            self._transfer.cancel()
            self._there.clear()
            self._errors.clear()
            self._arrays.clear()
            self._changed.notify_all()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hand_out(self, name: str) -> Any:
        array = self._arrays.pop(name, None)
        self._there.discard(name)
        error = self._errors.pop(name, None)
        if error:
            raise error
        return self._adapter.give(array)

    def _wait(self) -> None:
        """Until something changed; called, and left, with the lock held."""
        from weir.safe import as_safetensors

        if self._closed:
            raise as_safetensors(Closed("this loader was closed"))
        if self._waiting:
            self._changed.wait()
            return
        self._waiting = True
        self._changed.release()
        dones: list[Any] = []
        try:
            dones = self._transfer.wait()
        finally:
            self._changed.acquire()
            self._waiting = False
            self._changed.notify_all()
        for done in dones:
            self._settle(done)
        if not dones:
            self._give_up()

    def _give_up(self) -> None:
        """Nothing will arrive any more; what did not, never will."""
        for name in self._arrays.keys() - self._there - self._errors.keys():
            self._errors[name] = Closed(f"the load ended before {name}")

    def _settle(self, done: Any) -> None:
        if done.tag not in self._arrays or done.released:
            return
        if done.error:
            self._errors[done.tag] = done.error
        else:
            self._there.add(done.tag)
