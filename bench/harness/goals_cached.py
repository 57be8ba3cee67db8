# SPDX-License-Identifier: Apache-2.0
"""Rows E6 to E9, E12, E13: cached files, odd destinations, many files, many processes."""
import os
import random
import threading
import time

from . import cache, machine, pairs
from .bench import NotHere
from .goals_direct import copied, count, cpu, wall
from .pairs import GIB, Rounds
from .report import AT_LEAST, AT_MOST, Check, Row, printed
from .sides import WeirLoad
from .stats import Ratio, median


def e6(bench):
    """Warm, copied."""
    row = Row("E6", "warm, copied into a touched destination")
    loop = bench.yard("pread loop", "pread")
    weir = bench.keep(bench.subject.into("weir"))
    one = bench.keep(bench.subject.into("weir, 1 lane", "-l", "1"))
    two = bench.keep(bench.subject.into("weir, 2 lanes", "-l", "2"))
    rounds = bench.rounds([loop, weir, one, two], "warm")
    row.add(cpu("CPU, a pread loop = 1", rounds.cpu_ratio(weir.name, loop.name), 1.05, 1.15),
            wall("wall of two lanes, one lane = 1", rounds.wall_ratio(two.name, one.name), 1.8, 1.6),
            count("bytes copied for each byte delivered", copied(rounds.answers[weir.name]), 1.0))
    ratio = rounds.wall_ratio(weir.name, loop.name)
    row.add(printed("wall, a pread loop = 1", ratio.value, ratio, " x"))
    row.table("2 GiB a run", rounds)
    return row


def e7(bench):
    """Warm, mapped, then summed."""
    row = Row("E7", "warm, mapped, then every byte summed")
    memory = bench.yard("summing what is mapped already", "sum", "-m", "memory")
    loop = bench.yard("pread loop and sum", "pread", "-s")
    weir = bench.keep(bench.subject.mapped())
    cache.forget(bench.data.big)  # and read again in one go: pages read one by one would be mapped one by one
    rounds = bench.rounds([memory, loop, weir], "warm")
    row.add(cpu("CPU, summing alone = 1", rounds.cpu_ratio(weir.name, memory.name), 1.1, 1.3),
            cpu("CPU, pread and sum = 1", rounds.cpu_ratio(weir.name, loop.name), 0.6, 0.8))
    row.table("2 GiB a run", rounds)
    return row


def half_cached(bench, row, weir, loop, run, label):
    """Rounds over three states of the cache: cold, warm, and half in runs of `run` bytes."""
    jobs, rounds = bench.jobs(), Rounds([])
    names = ("cold", "warm", "half", "loop")
    rounds.answers = {name: [] for name in names}
    uncached = []
    for side in (weir, loop):
        side.run(jobs())  # its memory is there from now on
    for number in range(max(3, bench.pairs // 3)):
        job = jobs()
        for name in random.sample(names, len(names)):
            if name in ("cold", "warm"):
                pairs.prepare(name, job)
            else:
                there = cache.warm_part(*job, run, 0.5, number)
                if name == "half":
                    uncached.append(job[2] - there)
            rounds.answers[name].append((loop if name == "loop" else weir).run(job))
    disk = [answer["disk_bytes"] / part for answer, part in zip(rounds.answers["half"], uncached)]
    best = [(a["wall_seconds"] * part + b["wall_seconds"] * (a["bytes"] - part)) / a["bytes"] for a, b, part in
            zip(rounds.answers["cold"], rounds.answers["warm"], uncached)]
    slower = Ratio([answer["wall_seconds"] for answer in rounds.answers["half"]], best)
    return rounds, median(disk), slower


def e8(bench):
    """Half the file cached."""
    row = Row("E8", "half of it cached")
    weir = bench.keep(bench.subject.kept())
    loop = bench.yard("pread loop", "pread")
    rounds, disk, slower = half_cached(bench, row, weir, loop, 2 << 20, "2 MiB")
    row.add(Check("runs of 2 MiB: bytes from disk / uncached bytes", disk, AT_MOST, 1.02, None, "count"),
            Check("runs of 2 MiB: wall, cached part at E6 + rest at E1 = 1", slower.value, AT_MOST, 1.10, 1.25,
                  "wall", slower, None, " x"))
    if not bench.quick:
        rounds, disk, slower = half_cached(bench, row, weir, loop, 4096, "4 KiB")
        ratio = rounds.wall_ratio("half", "loop")
        row.add(wall("pages of 4 KiB: wall, a buffered pread loop = 1", ratio, 1.0, 0.9),
                printed("pages of 4 KiB: bytes from disk / uncached bytes", disk))
    return row


def e9(bench):
    """Destinations of any alignment."""
    row = Row("E9", "a model, cold, one destination a tensor, none of them aligned")
    weir, odd = bench.keep(bench.subject.kept()), bench.keep(bench.subject.odd())
    memcpy = bench.yard("memcpy", "copy")
    files = bench.data.files(bench.data.model)
    rounds = Rounds([memcpy, weir, odd])
    jobs = bench.jobs()
    untimed = Rounds(rounds.sides)
    for number in range(max(3, bench.pairs // 3) + 1):
        big = jobs()
        for side in random.sample([memcpy, weir, odd], 3):
            job, parts = (big, None) if side is not odd else ((bench.data.model, 0, 0), files)
            pairs.one(rounds if number else untimed, side, job, "cold", parts)
    sums = [a + b for a, b in zip(rounds.cost(memcpy.name), rounds.cost(weir.name))]
    row.add(cpu("CPU, memcpy + E2 = 1", Ratio(rounds.cost(odd.name), sums), 1.15, 1.3),
            count("bytes copied for each byte delivered", copied(rounds.answers[odd.name]), 1.001))
    for name, cost in bench.peer_costs.items():
        row.add(Check(f"CPU, {name} = 1", median(rounds.cost(odd.name)) / cost, AT_MOST, 0.5, None, "cpu", unit=" x"))
    row.table("2 GiB, or the model", rounds)
    return row


def spawn_seconds(command, times):
    """Wall seconds of a process from start to end, each time."""
    found = []
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
    for _ in range(times):
        start = time.monotonic()
        child = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        status = os.waitpid(child, 0)[1]
        found.append(time.monotonic() - start)
        if status:
            raise RuntimeError(f"{' '.join(command)}: status {status}")
    os.close(null)
    return found


def e12(bench):
    """Many small files."""
    row = Row("E12", "100 shards of 16 tensors, warm: open, parse, plan; weir inspect of one")
    folder = bench.data.many
    files, times = bench.data.files(folder), 20
    weir = bench.keep(bench.subject.opening())
    loop = bench.keep(_Shards(bench, files, times))
    rounds = Rounds([loop, weir])
    for file in files:
        cache.warm(file)
    for number in range(bench.pairs + 1):
        for side in random.sample([loop, weir], 2):
            answer = side.run((folder, 0, times))
            if number:
                rounds.answers[side.name].append({**answer, "bytes": len(files) * times})
    cost = Ratio([a["cpu_seconds"] for a in rounds.answers[weir.name]],
                 [a["cpu_seconds"] for a in rounds.answers[loop.name]])
    clock = Ratio([a["wall_seconds"] for a in rounds.answers[weir.name]],
                  [a["wall_seconds"] for a in rounds.answers[loop.name]])
    row.add(cpu("CPU, a loop of open + pread + close = 1", cost, 1.5, 2),
            Check("wall, the same loop = 1", clock.value, AT_MOST, 1.5, 2, "wall", clock, None, " x"))
    for side in (loop, weir):
        each = median([a["wall_seconds"] for a in rounds.answers[side.name]]) / times / len(files)
        row.add(printed(f"{side.name}: microseconds a shard", each * 1e6))
    inspect, nothing = [], []
    for _ in range(10):
        inspect += spawn_seconds(bench.subject.inspect(files[0]), 5)
        nothing += spawn_seconds(["/bin/true"], 5)
    # The fastest of each: a process is short, and whatever else runs can only add to it.
    limit = 2 * min(nothing) + 0.002
    row.add(Check("weir inspect of one / (2 x /bin/true + 2 ms)", min(inspect) / limit, AT_MOST, 1.0, None, "count"),
            printed("weir inspect, ms", min(inspect) * 1e3), printed("/bin/true, ms", min(nothing) * 1e3))
    return row


class _Shards(WeirLoad):
    """The loop of open, pread and close, which takes its files on the command line."""

    def __init__(self, bench, files, times):
        command = [os.path.join(bench.build, "bench", "yard", "yard-shards"), "-n", str(times), *files]
        super().__init__("open + pread + close", command, bench.user)

    def answer(self, text):
        from .sides import parse
        return parse(text, self.name)


def at_once(sides, job):
    """All sides do the same job at the same time; their answers."""
    answers = {}

    def do(side):
        answers[side] = side.run(job)

    threads = [threading.Thread(target=do, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(answers) < len(sides):
        raise RuntimeError("a process failed")
    return list(answers.values())


def e13(bench):
    """Eight processes, one file."""
    row = Row("E13", "8 processes load one file at once, cache=fill")
    free = int(machine.first(r"MemAvailable:\s+(\d+)", machine.text("/proc/meminfo")) or 0) << 10
    length = GIB if free > 14 * GIB else GIB // 2
    sides = [bench.keep(bench.subject.kept(f"weir {i}", "-c", "fill")) for i in range(8)]
    jobs = bench.jobs(length)
    disk, slower = [], []
    for number in range(max(3, bench.pairs // 3) + 1):
        job = jobs()
        pairs.prepare("cold", job)
        if number == 0:
            at_once(sides, job)
            continue
        alone = sides[0].run(job)["wall_seconds"]
        pairs.prepare("cold", job)
        answers = at_once(sides, job)
        disk.append(sum(answer["disk_bytes"] for answer in answers) / length)
        slower.append(max(answer["wall_seconds"] for answer in answers) / alone)
    ratio = Ratio(slower, [1.0] * len(slower))
    row.add(Check("bytes from disk / bytes of the file", median(disk), AT_MOST, 1.05, 1.2, "count"),
            Check("wall of the last, one process alone = 1", ratio.value, AT_MOST, 1.15, 1.4, "wall", ratio, None, " x"))
    row.notes.append(f"{length // (1 << 20)} MiB of the file, into each of 8 destinations")
    return row


ROWS = [e6, e7, e8, e9, e12, e13]
__all__ = ["ROWS", "NotHere"]
