# SPDX-License-Identifier: Apache-2.0
"""Which combination runs, and how long the rest will take."""
import math
import sys
import time

from weir.bench.rounds import Result


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class Progress:
    """One line that is written over on a terminal; a line for each combination elsewhere."""

    def __init__(self, total: int, shown: bool, each: bool = False):
        self.total, self.shown, self.each = total, shown, each
        self.done = 0
        self.label = ""
        self.started = time.monotonic()
        self.over = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown and self.over:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def left(self) -> str:
        if not self.done:
            return ""
        each = (time.monotonic() - self.started) / self.done
        return f", {clock(each * (self.total - self.done))} left"

    def begin(self, label: str) -> None:
        self.label = label
        if self.shown and self.over:
            print(f"\r\033[K{self.done + 1} of {self.total}: {label}{self.left()}", end="", file=sys.stderr, flush=True)

    def end(self, result: Result) -> None:
        self.done += 1
        if not self.shown:
            return
        rate = result.rates.median
        told = result.error or ("no figure" if math.isnan(rate) else result.told_rate())
        start = "\r\033[K" if self.over else ""
        print(f"{start}{self.done} of {self.total}: {self.label}: {told}{self.left()}", file=sys.stderr, flush=True)
        for one in result.iterations if self.each else ():
            print(f"      iteration {one.number}: {one.bytes:,} bytes in {one.seconds:.4f} s, CPU {one.cpu_seconds:.3f} s, "
                  f"{one.cached_share:.0%} cached before", file=sys.stderr, flush=True)
