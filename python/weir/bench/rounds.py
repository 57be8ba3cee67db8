# SPDX-License-Identifier: Apache-2.0
"""The processes of one combination: started once, released together for each iteration.

An iteration lasts from when the last process was released to when the last one had ended, and its bytes
are what was read in it: nothing that happens between iterations is in any figure.
"""
import dataclasses
import math
import multiprocessing
import multiprocessing.connection
import threading
import time
from typing import Any, TypeVar

from weir.bench import cache, figures, worker
from weir.bench.options import Combination, Options

NS = 1e-9
MAKE_READY_SECONDS = 300
REASON_SECONDS = 10


Word = TypeVar("Word", worker.Ready, worker.Sample, worker.Ended)


class Broken(Exception):
    """The combination cannot go on, and why."""


@dataclasses.dataclass(frozen=True)
class Iteration:
    """All processes, once."""

    number: int
    samples: tuple[worker.Sample, ...]
    cached_share: float

    @property
    def start_ns(self) -> int:
        return max(sample.start_ns for sample in self.samples)

    @property
    def seconds(self) -> float:
        return max((max(sample.end_ns for sample in self.samples) - self.start_ns) * NS, NS)

    @property
    def bytes(self) -> int:
        return sum(sample.bytes for sample in self.samples)

    @property
    def files(self) -> int:
        return sum(sample.files for sample in self.samples)

    @property
    def cpu_seconds(self) -> float:
        return sum(sample.cpu_seconds for sample in self.samples)


@dataclasses.dataclass
class Result:
    """What came of one combination."""

    combination: Combination
    iterations: list[Iteration] = dataclasses.field(default_factory=list)
    error: str | None = None
    ready_seconds: float = math.nan  # the slowest process: imports, reader, memory, comparison
    compared_bytes: int = 0
    peak_rss_bytes: int = 0

    @property
    def rates(self) -> figures.Spread:
        """Bytes a second, or headers a second."""
        headers = self.combination.operation == "headers_batch"
        return figures.spread([(one.files if headers else one.bytes) / one.seconds for one in self.iterations])

    @property
    def seconds(self) -> figures.Spread:
        return figures.spread([one.seconds for one in self.iterations])

    @property
    def cpu_seconds_per_gib(self) -> float:
        total = sum(one.bytes for one in self.iterations)
        return sum(one.cpu_seconds for one in self.iterations) / (total / (1 << 30)) if total else math.nan

    @property
    def latencies(self) -> list[float]:
        """Seconds of each call of the reader."""
        return [(end - start) * NS for one in self.iterations for sample in one.samples for start, end in sample.calls]

    def told_rate(self) -> str:
        if self.combination.operation == "headers_batch":
            return f"{self.rates.median:,.0f} headers/s"
        return f"{self.rates.median / 1e9:.2f} GB/s"


def device_of(wanted: str, download_only: bool) -> str:
    if wanted != "auto":
        return wanted
    if download_only:
        return "cpu"
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


class Crew:
    """The processes, and what they say."""

    def __init__(self, chosen: Options, combination: Combination, device: str):
        spawn = multiprocessing.get_context("spawn")
        self.timeout = chosen.timeout
        self.barrier = spawn.Barrier(combination.processes + 1)
        self.pipes, self.processes = [], []
        for rank in range(combination.processes):
            here, there = spawn.Pipe(duplex=False)
            place = f"{device}:{rank}" if device == "cuda" and combination.processes > 1 else device
            job = worker.Job(combination, rank, chosen.files[rank::combination.processes], chosen.mount_point, chosen.depth,
                             _on_machine(place), chosen.download_only, chosen.verify, chosen.warmup + chosen.iterations,
                             chosen.timeout)
            process = spawn.Process(target=worker.main, args=(job, self.barrier, there), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def hear(self, kind: type[Word], seconds: float) -> list[Word]:
        """One word of that kind from each process."""
        until = time.monotonic() + seconds
        waiting: dict[Any, int] = dict(zip(self.pipes, range(len(self.pipes))))
        words: list[Word] = []
        while waiting:
            said = multiprocessing.connection.wait(list(waiting), max(0.0, until - time.monotonic()))
            if not said:
                raise Broken(f"{len(waiting)} of {len(self.pipes)} processes did not answer within {seconds:g} s")
            for pipe in said:
                words.append(self.word(pipe, waiting.pop(pipe), kind))
        return sorted(words, key=lambda word: word.rank)

    def word(self, pipe: Any, rank: int, kind: type[Word]) -> Word:
        try:
            word = pipe.recv()
        except EOFError:
            self.processes[rank].join(5)
            raise Broken(f"process {rank} ended with status {self.processes[rank].exitcode}") from None
        if isinstance(word, kind):
            return word
        if isinstance(word, worker.Failed) and word.message.startswith("BrokenBarrierError"):
            raise Broken(self.reason() or word.message)
        raise Broken(word.message if isinstance(word, worker.Failed) else f"process {rank} said {word!r}")

    def reason(self) -> str | None:
        """Why the barrier broke: what the one process says that failed first."""
        talking: list[Any] = list(self.pipes)
        until = time.monotonic() + REASON_SECONDS
        while talking and time.monotonic() < until:
            heard: list[Any] = list(multiprocessing.connection.wait(talking, 0.1))
            for pipe in heard:
                try:
                    word = pipe.recv()
                except EOFError:
                    talking.remove(pipe)
                    continue
                if isinstance(word, worker.Failed) and not word.message.startswith("BrokenBarrierError"):
                    return word.message
        return None

    def release(self) -> None:
        try:
            self.barrier.wait(self.timeout)
        except threading.BrokenBarrierError:
            raise Broken(self.reason() or "a process failed before it was released") from None

    def end(self) -> None:
        self.barrier.abort()
        for process in self.processes:
            process.join(0.5)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self.pipes:
            pipe.close()


def _on_machine(place: str) -> str:
    """cuda:7 on a machine with four GPUs is cuda:3."""
    kind, colon, index = place.partition(":")
    if kind != "cuda" or not colon:
        return place
    import torch

    return f"cuda:{int(index) % max(torch.cuda.device_count(), 1)}"


def iterate(chosen: Options, crew: Crew, result: Result) -> None:
    ready = crew.hear(worker.Ready, MAKE_READY_SECONDS + chosen.timeout)
    result.ready_seconds = max(word.seconds for word in ready)
    result.compared_bytes = sum(word.compared_bytes for word in ready)
    for number in range(-chosen.warmup, chosen.iterations):
        cached = cache.prepare(chosen.files, chosen.cache)
        crew.release()
        one = Iteration(number, tuple(crew.hear(worker.Sample, chosen.timeout)), cached)
        if number >= 0:
            result.iterations.append(one)
    result.peak_rss_bytes = max(word.peak_rss_bytes for word in crew.hear(worker.Ended, chosen.timeout))


def measure(chosen: Options, combination: Combination) -> Result:
    """One combination.  What fails is in the result, as a row of its own."""
    result = Result(combination)
    try:
        crew = Crew(chosen, combination, device_of(chosen.device, chosen.download_only))
    except Exception as error:
        result.error = f"{type(error).__name__}: {error}"
        return result
    try:
        iterate(chosen, crew, result)
    except Broken as broken:
        result.error = str(broken)
    finally:
        crew.end()
    return result
