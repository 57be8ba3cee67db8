# SPDX-License-Identifier: Apache-2.0
"""The command line, and the grid of combinations that it asks for."""
import argparse
import dataclasses
import glob
import itertools
import os
from collections.abc import Callable
from typing import TypeVar

from weir.bench import backends, places

MIB = 1 << 20
SIZES = "64,128,256,512,1024"


@dataclasses.dataclass(frozen=True)
class Combination:
    """One point of the grid.  Sizes in MiB, as they were given: 0.5 is 0.5."""

    operation: str  # read_chunked or headers_batch
    backend: str
    buffer: float = 0.0  # MiB; 0: the reader's own
    chunk: float = 0.0
    processes: int = 1
    batch: int = 0  # headers: files in one call
    threads: int = 0

    def __str__(self) -> str:
        words = [self.backend, f"{self.processes} proc"]
        if self.operation == "headers_batch":
            words += [f"headers of {self.batch}", f"{self.threads} threads"]
        elif self.buffer:
            words += [f"buffer {self.buffer:g} MiB", f"chunk {self.chunk:g} MiB"]
        return ", ".join(words)


@dataclasses.dataclass(frozen=True)
class Options:
    """What was asked for."""

    mount_point: str
    uris: tuple[str, ...]  # that were given instead of it
    files: tuple[str, ...]
    backends: tuple[str, ...]
    buffer_sizes: tuple[float, ...]
    chunk_sizes: tuple[float, ...]
    pairing: str  # equal, below or all
    processes: tuple[int, ...]
    operations: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    threads: tuple[int, ...]
    iterations: int
    warmup: int
    mode: str
    download_only: bool
    cache: str
    device: str
    depth: int
    verify: str
    timeout: float
    output_dir: str
    csv: str | None
    html: str
    no_charts: bool
    verbose: bool
    quiet: bool
    json: bool


Number = TypeVar("Number", int, float)


def numbers(kind: type[Number], least: float) -> Callable[[str], tuple[Number, ...]]:
    """A parser of comma lists of numbers, each at least `least`."""

    def parse(text: str) -> tuple[Number, ...]:
        values = []
        for word in text.split(","):
            try:
                value = kind(word)
            except ValueError:
                raise argparse.ArgumentTypeError(f"{word!r} in {text!r} is not a number") from None
            if not least <= value < 1 << 40:
                raise argparse.ArgumentTypeError(f"{word!r} in {text!r} is not at least {least:g}")
            values.append(value)
        return tuple(values)

    return parse


def names(text: str) -> tuple[str, ...]:
    """A comma list of names of readers."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    for name in found:
        if not backends.known(name):
            raise argparse.ArgumentTypeError(
                f"there is no reader {name!r}; there are {', '.join(backends.NAMES)}, and MODULE:FACTORY")
    if not found:
        raise argparse.ArgumentTypeError("names no reader")
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="weir bench reader", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Measures readers of safetensors files, for each combination of settings, in processes that "
        "start together.  Sizes are in MiB; rates are told in GB/s, 10^9 bytes a second.",
        epilog="examples:  weir bench reader --mount-point /mnt/3fs --backends cpp,python --download-only   |   "
        "weir bench reader --uri file:///models/llama --backends mock,cpp --buffer-sizes 8 --chunk-sizes 8 --cache cold")
    what = made.add_argument_group("what is read")
    what.add_argument("--mount-point", help="the 3FS mount, or any directory; must be given, or --uri")
    what.add_argument("--file-pattern", help="which files; default: MOUNT_POINT/*.safetensors")
    what.add_argument("--uri", action="append", default=[], help="file:// or 3fs://, or a path: a file or a model to read "
                      "instead; may be given many times")
    what.add_argument("--cache", choices=("keep", "cold", "warm"), default="keep",
                      help="before each iteration: files dropped from the page cache, read into it, or left as they are")
    what.add_argument("--device", default="auto", help="where to: cpu, cuda, cuda:N; auto: a GPU where torch has one")
    what.add_argument("--download-only", action="store_true", help="nothing is copied to a destination")
    what.add_argument("--verify", choices=("first", "all", "none"), default="first",
                      help="whose bytes are compared in an untimed pass: each process's first file, all, none")
    grid_of = made.add_argument_group("the grid")
    grid_of.add_argument("--backends", type=names, default="mock,python,cpp", help="which readers; MODULE:FACTORY is one, too")
    grid_of.add_argument("--buffer-sizes", type=numbers(float, 2**-20), default=SIZES, help="MiB")
    grid_of.add_argument("--chunk-sizes", type=numbers(float, 2**-20), default=SIZES, help="MiB")
    grid_of.add_argument("--no-equal-chunk-buffer", action="store_true", help="all chunks up to the buffer's size")
    grid_of.add_argument("--decouple-chunk-buffer", action="store_true", help="all pairs")
    grid_of.add_argument("--num-processes", type=numbers(int, 1), default="1,2,4,8")
    grid_of.add_argument("--benchmark-op", choices=("read_chunked", "headers_batch", "both"), default="read_chunked")
    grid_of.add_argument("--batch-sizes", type=numbers(int, 1), default="8,16,32,64,128", help="headers: files in a call")
    grid_of.add_argument("--num-threads", type=numbers(int, 1), default="4,8,16", help="headers: threads of a call")
    grid_of.add_argument("--depth", type=int, default=64, help="requests in flight: the readers' `entries`")
    grid_of.add_argument("--mode", choices=("grid", "single"), default="grid", help="single: the first of each list")
    how = made.add_argument_group("how often, and where to")
    how.add_argument("--iterations", type=int, default=3)
    how.add_argument("--warmup", type=int, default=1, help="iterations that are not counted")
    how.add_argument("--timeout", type=float, default=600, help="seconds that one iteration may take")
    how.add_argument("--output-dir", default="./benchmark_results")
    how.add_argument("--csv", metavar="FILE", help="the summary there, too")
    how.add_argument("--html", metavar="FILE", help="the page; default: report.html in the output directory")
    how.add_argument("--no-charts", action="store_true", help="no page")
    how.add_argument("--verbose", action="store_true", help="each iteration is told")
    how.add_argument("--quiet", action="store_true", help="files only: nothing is printed")
    how.add_argument("--json", action="store_true", help="one JSON document instead of text")
    return made


def read_from(given: argparse.Namespace) -> places.Places:
    """The files, and the mount point that readers are told."""
    if given.uri:
        if given.mount_point or given.file_pattern:
            raise places.Refused("--uri says what is read: neither --mount-point nor --file-pattern goes with it")
        return places.find(given.uri)
    if not given.mount_point:
        raise places.Refused("--mount-point DIR must be given, or --uri URI")
    pattern = given.file_pattern or os.path.join(glob.escape(given.mount_point), "*.safetensors")
    files = tuple(sorted(path for path in glob.glob(pattern) if os.path.isfile(path)))
    if not files:
        raise places.Refused(f"no file is named like {pattern}: write some with `weir make-model`, or give --file-pattern")
    return places.Places(given.mount_point, files)


def parse(arguments: list[str] | None = None) -> Options:
    made = parser()
    given = made.parse_args(arguments)
    if given.iterations < 1 or given.warmup < 0 or given.depth < 1 or given.timeout <= 0:
        made.error("--iterations, --depth and --timeout are positive, --warmup is not negative")
    try:
        found = read_from(given)
    except places.Refused as refused:
        made.error(str(refused))
    both = ("read_chunked", "headers_batch")
    return Options(
        mount_point=found.mount_point, uris=tuple(given.uri), files=found.files, backends=given.backends, buffer_sizes=given.buffer_sizes,
        chunk_sizes=given.chunk_sizes, processes=given.num_processes, batch_sizes=given.batch_sizes,
        pairing="all" if given.decouple_chunk_buffer else "below" if given.no_equal_chunk_buffer else "equal",
        operations=both if given.benchmark_op == "both" else (given.benchmark_op,), threads=given.num_threads,
        iterations=given.iterations, warmup=given.warmup, mode=given.mode, download_only=given.download_only,
        cache=given.cache, device=given.device, depth=given.depth, verify=given.verify, timeout=given.timeout,
        output_dir=given.output_dir, csv=given.csv, html=given.html or os.path.join(given.output_dir, "report.html"),
        no_charts=given.no_charts, verbose=given.verbose, quiet=given.quiet, json=given.json)


def sizes(chosen: Options) -> list[tuple[float, float]]:
    """Buffer and chunk, in MiB."""
    if chosen.mode == "single":
        return [(chosen.buffer_sizes[0], chosen.chunk_sizes[0])]
    pairs = itertools.product(chosen.buffer_sizes, chosen.chunk_sizes)
    if chosen.pairing == "equal":
        return [(buffer, chunk) for buffer, chunk in pairs if chunk == buffer]
    return [(buffer, chunk) for buffer, chunk in pairs if chunk <= buffer or chosen.pairing == "all"]


def grid(chosen: Options) -> list[Combination]:
    """All combinations.  The mock has no sizes, and is measured once for each number of processes."""
    first = 1 if chosen.mode == "single" else None
    found = []
    for backend, processes in itertools.product(chosen.backends[:first], chosen.processes[:first]):
        if "read_chunked" in chosen.operations:
            pairs = [(0.0, 0.0)] if backend == "mock" else sizes(chosen)
            found += [Combination("read_chunked", backend, buffer, chunk, processes) for buffer, chunk in pairs]
        if "headers_batch" in chosen.operations:
            found += [Combination("headers_batch", backend, 0.0, 0.0, processes, batch, threads)
                      for batch, threads in itertools.product(chosen.batch_sizes[:first], chosen.threads[:first])]
    return found
