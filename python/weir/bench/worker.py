# SPDX-License-Identifier: Apache-2.0
"""One process of a combination: made ready, parked at a barrier, then it reads its files and tells.

Everything slow happens before the first barrier: imports, the reader, the destination, the comparison of
bytes.  Times are of the monotonic clock, which all processes of a machine share.
"""
from __future__ import annotations

import dataclasses
import mmap
import os
import resource
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from weir.bench import backends
from weir.bench.options import MIB, Combination

WINDOW = 8 * MIB


@dataclasses.dataclass(frozen=True)
class Job:
    """What one process does."""

    combination: Combination
    rank: int
    files: tuple[str, ...]  # this process's own
    mount_point: str
    depth: int
    device: str
    download_only: bool
    verify: str
    rounds: int
    timeout: float


@dataclasses.dataclass(frozen=True)
class Sample:
    """One process in one iteration."""

    rank: int
    bytes: int
    files: int
    start_ns: int
    end_ns: int
    cpu_seconds: float
    calls: tuple[tuple[int, int], ...]  # of the reader: start and end


@dataclasses.dataclass(frozen=True)
class Ready:
    """Made ready: what that took, and how many bytes were compared."""

    rank: int
    seconds: float
    compared_bytes: int


@dataclasses.dataclass(frozen=True)
class Ended:
    """It goes well."""

    rank: int
    peak_rss_bytes: int


@dataclasses.dataclass(frozen=True)
class Failed:
    """It does not."""

    rank: int
    message: str


class HostMemory:
    """A destination in this process, made before the clock runs."""

    def __init__(self, size: int):
        self.memory = mmap.mmap(-1, max(size, 1))
        self.view = memoryview(self.memory)
        self.view[::mmap.PAGESIZE] = bytes(len(self.view[::mmap.PAGESIZE]))

    @property
    def address(self) -> int:
        import ctypes

        return ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def read(self, start: int, length: int) -> bytes:
        return bytes(self.view[start:start + length])

    def wait(self) -> None:
        pass


class DeviceMemory:
    """A destination on a GPU, from torch."""

    def __init__(self, size: int, device: str):
        import torch

        self.torch = torch
        self.tensor = torch.empty(max(size, 1), dtype=torch.uint8, device=device)

    @property
    def address(self) -> int:
        return int(self.tensor.data_ptr())

    def read(self, start: int, length: int) -> bytes:
        return bytes(self.tensor[start:start + length].cpu().numpy())

    def wait(self) -> None:
        self.torch.cuda.synchronize(self.tensor.device)


Memory = HostMemory | DeviceMemory
Calls = list[tuple[int, int]]


def destination(job: Job, size: int) -> Memory | None:
    if job.download_only:
        return None
    return HostMemory(size) if job.device == "cpu" else DeviceMemory(size, job.device)


class Work:
    """A reader, where it reads to, and what it reads."""

    def __init__(self, job: Job):
        self.job = job
        combination = job.combination
        self.sizes = {path: os.stat(path).st_size for path in job.files}
        self.chunk = int(combination.chunk * MIB)
        self.reader = backends.make(combination.backend, job.mount_point, job.depth, combination.buffer)
        reads = combination.operation == "read_chunked"
        self.memory = destination(job, max(self.sizes.values(), default=0)) if reads else None

    def read(self, path: str) -> int:
        size = self.sizes[path]
        got = self.reader.read_chunked(path, self.memory.address if self.memory else 0, 0, size, self.chunk)
        if got != size:
            raise RuntimeError(f"{path}: {got} of {size} bytes were read")
        return size

    def compare(self, path: str, memory: Memory) -> int:
        """The delivered bytes against the file's, as the kernel reads them."""
        size = self.read(path)
        memory.wait()
        with open(path, "rb", buffering=0) as file:
            for start in range(0, size, WINDOW):
                wanted = os.pread(file.fileno(), WINDOW, start)
                if memory.read(start, len(wanted)) != wanted:
                    raise RuntimeError(f"{path}: wrong bytes between {start} and {start + len(wanted)}")
        return size

    def compared(self) -> int:
        if not self.memory or self.job.verify == "none":
            return 0
        files = self.job.files[:1 if self.job.verify == "first" else None]
        return sum(self.compare(path, self.memory) for path in files)

    def read_all(self, calls: Calls) -> tuple[int, int]:
        """Bytes and files of one iteration."""
        total = 0
        for path in self.job.files:
            start = time.monotonic_ns()
            total += self.read(path)
            calls.append((start, time.monotonic_ns()))
        if self.memory:
            self.memory.wait()
        return total, len(self.job.files)

    def headers_all(self, calls: Calls) -> tuple[int, int]:
        files, batch = self.job.files, self.job.combination.batch
        total = 0
        for first in range(0, len(files), batch):
            start = time.monotonic_ns()
            found = self.reader.read_headers_batch(list(files[first:first + batch]), self.job.combination.threads)
            calls.append((start, time.monotonic_ns()))
            total += sum(length for _, length, _ in found.values())
        return total, len(files)

    def iteration(self) -> Sample:
        calls: Calls = []
        once = self.read_all if self.job.combination.operation == "read_chunked" else self.headers_all
        cpu, start = time.process_time(), time.monotonic_ns()
        total, files = once(calls)
        end = time.monotonic_ns()
        return Sample(self.job.rank, total, files, start, end, time.process_time() - cpu, tuple(calls))


def work(job: Job, barrier: Barrier, pipe: Connection[Any, Any]) -> None:
    start = time.monotonic()
    made = Work(job)
    compared = made.compared()
    pipe.send(Ready(job.rank, time.monotonic() - start, compared))
    for _ in range(job.rounds):
        barrier.wait(job.timeout)
        pipe.send(made.iteration())
    made.reader.close()
    pipe.send(Ended(job.rank, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10))


def main(job: Job, barrier: Barrier, pipe: Connection[Any, Any]) -> None:
    """The process.  Whatever goes wrong is told, and nobody waits for this one at the barrier."""
    try:
        work(job, barrier, pipe)
    except KeyboardInterrupt:
        barrier.abort()
    except Exception as error:  # the message is the row's, and the run goes on
        pipe.send(Failed(job.rank, f"{type(error).__name__}: {error}"))  # before the others fail of it
        barrier.abort()
    finally:
        pipe.close()
