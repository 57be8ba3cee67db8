# SPDX-License-Identifier: Apache-2.0
"""Rows E1 to E5: cold files, against fio and against the other loaders."""
import os

from .bench import NotHere
from .pairs import GIB
from .report import AT_LEAST, AT_MOST, Check, Row, printed
from .stats import Ratio, median


def wall(what, ratio, goal, floor, low_goal=None):
    return Check(what, ratio.value, AT_LEAST, goal, floor, "wall", ratio, low_goal, " x")


def cpu(what, ratio, goal, floor):
    return Check(what, ratio.value, AT_MOST, goal, floor, "cpu", ratio, None, " x")


def count(what, value, goal, floor=None):
    return Check(what, value, AT_MOST, goal, floor, "count")


def copied(answers):
    return sum(answer.get("bytes_copied", 0) for answer in answers) / sum(answer["bytes"] for answer in answers)


def from_disk(answers):
    return sum(answer["disk_bytes"] for answer in answers) / sum(answer["bytes"] for answer in answers)


def e1(bench):
    """Cold, direct, memory kept: wall against fio's best, and against a plain reader that delivers."""
    row = Row("E1", "cold, direct, into kept memory; wall against fio's best setting")
    fio, weir, reader = bench.fio(), bench.keep(bench.subject.kept()), bench.readers()[0]
    rounds = bench.rounds([fio, weir, reader], "cold")
    bench.against_fio(row, rounds, weir, 0.98, 0.93, 0.95)
    row.add(*counters(rounds, weir))
    row.table("2 GiB a run", rounds)
    return row


def counters(rounds, side):
    """What may not depend on the machine."""
    answers = rounds.answers[side.name]
    checks = [count("bytes copied for each byte delivered", copied(answers), 0.0001),
              count("bytes from disk for each byte delivered", from_disk(answers), 1.001),
              count("page faults per GiB", rounds.per_gib(side.name, "page_faults"), 16)]
    if all(answer.get("requests") for answer in answers):
        share = median([answer["enters"] / answer["requests"] for answer in answers])
        checks.append(count("system calls that submit or wait, for each request", share, 1.01))
    return checks


def e2(bench):
    """The same, CPU, the whole file each time."""
    row = Row("E2", "the same, CPU; the whole file each time")
    weir = bench.keep(bench.subject.kept())
    probe = weir.run((bench.data.big, 0, bench.length))
    request = f"{probe.get('request_bytes', 512 << 10) >> 10}k"
    depth = probe.get("depth") or 32
    same, default = bench.fio(request, depth), bench.fio("512k", 8, tuned=False)
    plain = bench.yard("plain reader, unregistered", "uring", "-u", "-b", request, "-q", str(depth))
    pinned = [bench.keep(bench.subject.pinned())] if os.geteuid() == 0 else []
    rounds = bench.whole([same, default, plain, weir, *pinned], "cold")
    row.add(cpu(f"CPU, {same.name} (weir's own request and depth) = 1", rounds.cpu_ratio(weir.name, same.name),
                1.1, 1.4),
            cpu(f"CPU, {default.name} = 1", rounds.cpu_ratio(weir.name, default.name), 0.25, None))
    ratio = rounds.cpu_ratio(weir.name, plain.name)
    row.add(printed("CPU, a plain reader into as much unregistered memory = 1", ratio.value, ratio, " x"))
    for side in pinned:
        ratio = rounds.cpu_ratio(side.name, same.name)
        row.add(printed(f"CPU, {side.name}; {same.name} = 1", ratio.value, ratio, " x"))
    row.table(f"{bench.data.big_bytes // GIB} GiB a run", rounds)
    row.notes.append("weir chose " + ", ".join(f"{key} {probe[key]}" for key in
                                               ("kind", "lanes", "depth", "request_bytes") if key in probe))
    return row


def e3(bench):
    """The setting for little CPU."""
    row = Row("E3", "cold, direct, kept memory, large requests (4 MiB x 8): less CPU")
    weir, reader = bench.keep(bench.subject.kept()), bench.readers()[0]
    large = bench.keep(bench.subject.kept("weir, 4 MiB x 8", "-b", "4m", "-q", "8"))
    rounds = bench.whole([bench.fio(), weir, large, reader], "cold")
    row.add(cpu("CPU, weir's default = 1", rounds.cpu_ratio(large.name, weir.name), 0.5, 0.7))
    bench.against_fio(row, rounds, large, 0.90, None)
    row.table(f"{bench.data.big_bytes // GIB} GiB a run", rounds)
    return row


def e4(bench):
    """Fresh memory."""
    row = Row("E4", "cold, into fresh memory that weir allocates")
    kept, fresh = bench.keep(bench.subject.kept()), bench.keep(bench.subject.fresh())
    zero = bench.yard("zeroing huge pages", "fresh")
    rounds = bench.rounds([kept, fresh, zero], bench.cold_and_touched(bench.length))
    floor = [a + b for a, b in zip(rounds.cost(kept.name), rounds.cost(zero.name))]
    walls, costs = rounds.wall_ratio(fresh.name, kept.name), Ratio(rounds.cost(fresh.name), floor)
    if max(rounds.cost(fresh.name)) > 2 * min(rounds.cost(fresh.name)):
        row.notes.append(f"first touch is a lottery on this machine, for its host takes free pages back (medians: wall "
                         f"{walls.value:.3f} x, CPU {costs.value:.2f} x): each side's best round is compared")
        walls = Ratio([max(rounds.rate(fresh.name))], [max(rounds.rate(kept.name))])
        costs = Ratio([min(rounds.cost(fresh.name))], [min(floor)])
    row.add(wall("wall, kept memory (E1) = 1", walls, 0.95, 0.85),
            cpu("CPU, kept memory + zeroing = 1", costs, 1.15, None),
            count("page faults per GiB", rounds.per_gib(fresh.name, "page_faults"), 600))
    row.table("2 GiB a run", rounds)
    return row


def e1t(bench):
    """io_uring forbidden."""
    row = Row("E1t", "E1 with io_uring forbidden, as in most containers")
    wrap = [os.path.join(bench.build, "bench", "yard", "yard-no-uring")]
    weir = bench.keep(bench.subject.kept())
    threads = bench.keep(bench.subject.kept("weir, io_uring forbidden", wrap=wrap))
    rounds = bench.rounds([weir, threads], "cold")
    row.add(wall("wall, with io_uring (E1) = 1", rounds.wall_ratio(threads.name, weir.name), 0.95, 0.85))
    row.table("2 GiB a run", rounds)
    large = bench.whole([weir, threads], "cold")
    row.add(cpu("CPU, with io_uring (E2) = 1", large.cpu_ratio(threads.name, weir.name), 1.2, 1.6),
            count("bytes copied for each byte delivered", copied(rounds.answers[threads.name]), 0.0001),
            count("page faults per GiB", rounds.per_gib(threads.name, "page_faults"), 16))
    row.table(f"{bench.data.big_bytes // GIB} GiB a run", large)
    return row


def e1t_peer(bench):
    """E5b with io_uring forbidden to both."""
    row = Row("E1t/E5b", "E5b with io_uring forbidden to both")
    wrap = [os.path.join(bench.build, "bench", "yard", "yard-no-uring")]
    runai = bench.peer("library_runai.py", name="Run:ai's library, io_uring forbidden", worker=True)
    runai.command = wrap + runai.command
    weir = bench.keep(bench.subject.kept("weir, io_uring forbidden", wrap=wrap))
    rounds = bench.rounds([runai, weir], "cold")
    walls, costs = rounds.wall_ratio(weir.name, runai.name), rounds.cpu_ratio(weir.name, runai.name)
    row.add(printed("wall, Run:ai's library = 1", walls.value, walls, " x"),
            printed("CPU, Run:ai's library = 1", costs.value, costs, " x"))
    row.table("2 GiB a run", rounds)
    return row


def model_peers(bench):
    """Every loader of a whole model, as its users call it."""
    return [bench.peer("load_safetensors.py", "{path}", name="safetensors, cloned"),
            bench.peer("load_safetensors.py", "{path}", "pread", name="safetensors, pread"),
            bench.peer("load_fastsafetensors.py", "{path}", name="fastsafetensors"),
            bench.peer("load_tensorizer.py", "{path}", name="tensorizer"),
            bench.peer("load_runai.py", "{path}", name="Run:ai's package")]


def e5a(bench):
    """Against the loaders that people use, each in a process of its own."""
    row = Row("E5a", "a model of four shards, cold, fresh memory, a process each, as users call them")
    weir = bench.keep(bench.subject.model())
    peers = model_peers(bench)
    if not os.path.exists(os.path.join(bench.data.model, "model.tensors")):
        bench.prepare_tensorizer()
    files = bench.data.files(bench.data.model) + [os.path.join(bench.data.model, "model.tensors")]
    jobs, few = (lambda: (bench.data.model, 0, 0)), 2 if bench.quick else 4
    state = bench.cold_and_touched(bench.data.model_gib * GIB)
    rounds = bench.rounds([weir, *peers], state, few, jobs, files=files, warm_ups=0 if bench.quick else 1)
    bench.peer_costs = {side.name: median(rounds.cost(side.name)) for side in peers}
    judged = [side for side in peers if side.name != "Run:ai's package"]
    best = max(judged, key=lambda side: median(rounds.rate(side.name)))
    row.table("all of them", rounds)
    close = bench.rounds([weir, best], state, jobs=jobs, files=files, warm_ups=0)
    row.add(wall(f"wall, {best.name} (the fastest) = 1", close.wall_ratio(weir.name, best.name), 1.3, 1.15),
            cpu(f"CPU, {best.name} = 1", close.cpu_ratio(weir.name, best.name), 0.5, 0.7))
    for side in peers:
        ratio = rounds.wall_ratio(weir.name, side.name)
        row.add(printed(f"wall, {side.name} = 1", ratio.value, ratio, " x"))
    row.table("against the fastest", close)
    versions = {side.name: rounds.answers[side.name][0].get("version", "?") for side in peers}
    row.notes.append("versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return row


def e5b(bench):
    """Run:ai's own library, its defaults."""
    row = Row("E5b", "cold, kept memory, against Run:ai's own library with its defaults")
    runai = bench.peer("library_runai.py", name="Run:ai's library", worker=True)
    weir = bench.keep(bench.subject.kept())
    rounds = bench.rounds([runai, weir], "cold")
    row.add(wall("wall, Run:ai's library = 1", rounds.wall_ratio(weir.name, runai.name), 1.00, 0.95, 0.97),
            cpu("CPU, Run:ai's library = 1", rounds.cpu_ratio(weir.name, runai.name), 0.6, 0.8))
    row.table("2 GiB a run", rounds)
    row.notes.append(f"version {rounds.answers[runai.name][0]['version']}")
    return row


def e5c(bench):
    """The same when the pages are cached."""
    row = Row("E5c", "pages cached, kept memory, against Run:ai's library in its buffered mode")
    buffered = bench.peer("library_runai.py", name="Run:ai's library, sync_buffered", worker=True,
                          env={"RUNAI_STREAMER_FS_STRATEGY": "sync_buffered"})
    default = bench.peer("library_runai.py", name="Run:ai's library", worker=True)
    weir = bench.keep(bench.subject.kept())
    rounds = bench.rounds([buffered, default, weir], "warm")
    row.add(wall("wall, sync_buffered = 1", rounds.wall_ratio(weir.name, buffered.name), 1.3, 1.0),
            cpu("CPU, sync_buffered = 1", rounds.cpu_ratio(weir.name, buffered.name), 1.0, 1.2))
    for what, ratio in (("wall", rounds.wall_ratio(weir.name, default.name)),
                        ("CPU", rounds.cpu_ratio(weir.name, default.name))):
        row.add(printed(f"{what}, its default = 1", ratio.value, ratio, " x"))
    row.table("2 GiB a run", rounds)
    return row


ROWS = [e1, e2, e3, e4, e1t, e1t_peer, e5a, e5b, e5c]
__all__ = ["ROWS", "NotHere"]
