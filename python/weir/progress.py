# SPDX-License-Identifier: Apache-2.0
"""How far a load is: a callback, or a bar on the terminal.

``progress=`` is False (nothing), True (a bar, where standard error is a terminal), ``"bar"`` (a bar in any
case) or a function that is called with the bytes that are there and the bytes in all: at the start, as
completions arrive, and a last time at the end.  What it raises ends the load, and the caller gets it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from weir.errors import ArgumentError

Callback = Callable[[int, int], Any]
Progress = bool | str | Callback | None

INTERVAL = 0.1
"""Seconds between two calls while nothing arrives."""

_WIDTH = 24
_BLOCKS = " ▏▎▍▌▋▊▉█"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """A number of bytes in three figures."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    figures = 0 if unit == 0 or count >= 99.95 else 1 if count >= 9.995 else 2
    return f"{count:.{figures}f} {_UNITS[unit]}"


def clock(seconds: float) -> str:
    """A time as minutes and seconds."""
    whole = int(min(seconds, 359_999))
    hours, rest = divmod(whole, 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02}:{rest % 60:02}"


def bar(share: float) -> str:
    """A bar that is full for 1."""
    eighths = round(min(max(share, 0.0), 1.0) * _WIDTH * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (_BLOCKS[part] if part else "")).ljust(_WIDTH)


class Bar:
    """A bar on a terminal, drawn at most ten times a second."""

    def __init__(self, to: TextIO | None = None) -> None:
        self._to = to or sys.stderr
        self._started = time.monotonic()
        self._drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._drawn < INTERVAL:
            return
        self._drawn = now
        spent = max(now - self._started, 1e-9)
        left = spent * (total - done) / done if done else 0.0
        share = done / total if total else 1.0
        self._to.write(
            f"\r{share:4.0%}|{bar(share)}| {size(done)}/{size(total)} "
            f"[{clock(spent)}<{clock(left)}, {size(done / spent)}/s]\x1b[K"
        )
        self._to.flush()

    def close(self) -> None:
        """Leaves the bar as it is, and goes to the next line."""
        if self._drawn:
            self._to.write("\n")
            self._to.flush()


class Told:
    """Whoever wants to know how far a transfer is."""

    def __init__(self, progress: Progress) -> None:
        self._bar: Bar | None = None
        self.tell: Callback | None = None
        if progress == "bar" or (progress is True and sys.stderr and sys.stderr.isatty()):
            self.tell = self._bar = Bar()
        elif callable(progress):
            self.tell = progress
        elif progress not in (True, False, None):
            raise ArgumentError('progress is True, False, "bar" or a function')

    def close(self) -> None:
        """The load has ended."""
        if self._bar:
            self._bar.close()
