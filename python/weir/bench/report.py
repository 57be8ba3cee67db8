# SPDX-License-Identifier: Apache-2.0
"""One HTML page with what was measured: nothing in it asks a network for anything."""
import html
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

from weir.bench import charts, figures
from weir.bench.options import Options
from weir.bench.rounds import Iteration, Result

Key = TypeVar("Key", bound=Hashable)

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1b2733;--soft:#5b6b7a;--grid:#dde4ea}
@media(prefers-color-scheme:dark){:root{--back:#11181f;--text:#e4eaf0;--soft:#93a4b4;--grid:#2a3641}}
body{background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}p,.unit{color:var(--soft)}
svg{width:100%;height:auto}svg text{fill:var(--text);font:12px system-ui,sans-serif}svg text.unit{fill:var(--soft)}
.grid{stroke:var(--grid)}.line{fill:none;stroke-width:2}.spread{stroke-width:1.5;opacity:.55}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
td:first-child,th:first-child{text-align:left}.bad{color:#c2372b}code{font-size:.9em;overflow-wrap:anywhere}
"""
PALETTE = ("#2f7fd1", "#e0812b", "#2f9e62", "#b6499b", "#8a6bd8", "#c2372b", "#2aa3a3", "#8b8f2a")


def colours() -> str:
    return "".join(f".c{n}{{fill:{colour};stroke:{colour}}}.line.c{n}{{fill:none}}" for n, colour in enumerate(PALETTE))


def escaped(words: object) -> str:
    return html.escape(str(words))


def point(result: Result, x: float, unit: float) -> charts.Point:
    rates = result.rates
    return charts.Point(x, rates.median / unit, rates.least / unit, rates.most / unit,
                        f"{result.combination}: {result.told_rate()}")


def best_by(results: list[Result], key: Callable[[Result], Key]) -> dict[Key, Result]:
    """The fastest result of each key."""
    found: dict[Key, Result] = {}
    for result in results:
        name = key(result)
        if name not in found or result.rates.median > found[name].rates.median:
            found[name] = result
    return found


def series(results: list[Result], x: Callable[[Result], float], unit: float) -> dict[str, list[charts.Point]]:
    """A line for each reader, of the fastest results at each x."""
    best = best_by([result for result in results if x(result)],
                   lambda result: (result.combination.backend, x(result)))
    lines: dict[str, list[charts.Point]] = {}
    for (backend, place), result in best.items():
        lines.setdefault(backend, []).append(point(result, place, unit))
    return lines


def latencies(results: list[Result]) -> dict[str, dict[str, float]]:
    best = best_by(results, lambda result: result.combination.backend)
    return {f"p{part}": {backend: figures.percentile(result.latencies, part / 100) * 1e3
                         for backend, result in best.items()} for part in (50, 90, 95, 99)}


def spans(one: Iteration) -> dict[str, list[tuple[float, float, str]]]:
    """When each process was in a call of its reader."""
    rows = {}
    for sample in one.samples:
        rows[f"process {sample.rank}"] = [
            ((start - one.start_ns) * 1e-9 if start > one.start_ns else 0.0, (end - one.start_ns) * 1e-9,
             f"call {n}: {(end - start) * 1e-6:.1f} ms") for n, (start, end) in enumerate(sample.calls[:2000])
            if end > one.start_ns]
    return rows


def section(title: str, words: str, drawn: str) -> str:
    return f"<h2>{escaped(title)}</h2><p>{escaped(words)}</p>{drawn}"


def drawings(results: list[Result], headers: bool) -> list[str]:
    unit, name = (1.0, "headers/s") if headers else (1e9, "GB/s")
    across = "files in a call" if headers else "buffer, MiB"

    def sizes(result: Result) -> float:
        return result.combination.batch if headers else result.combination.buffer

    kind = "Headers" if headers else "Throughput"
    parts = []
    by_size = series(results, sizes, unit)
    if by_size:
        parts.append(section(f"{kind} by {across.split(',')[0]}", "The fastest setting at each size; the bar is the spread.",
                             charts.lines(by_size, name, across, f"{kind} by {across}")))
    parts.append(section(f"{kind} by processes", "The fastest setting for each number of processes.",
                         charts.lines(series(results, lambda result: result.combination.processes, unit), name,
                                      "processes", f"{kind} by processes")))
    parts.append(section("Latency", "Of single calls of the reader, in each reader's fastest setting.",
                         charts.bars(latencies(results), "ms", "Latency percentiles")))
    fastest = max(results, key=lambda result: result.rates.median)
    parts.append(section("Timeline", f"The first iteration of {fastest.combination}: when each process was in a call.",
                         charts.timeline(spans(fastest.iterations[0]), "Timeline")))
    return parts


def row(result: Result) -> str:
    if result.error:
        return (f'<tr><td>{escaped(result.combination)}</td><td class="bad" colspan="6">{escaped(result.error)}</td></tr>')
    rates, unit = result.rates, 1.0 if result.combination.operation == "headers_batch" else 1e9
    shares = [one.cached_share for one in result.iterations]
    cells = (result.combination, f"{rates.median / unit:.2f}", f"{rates.least / unit:.2f} .. {rates.most / unit:.2f}",
             f"{figures.percentile(result.latencies, 0.95) * 1e3:.1f} ms", f"{result.cpu_seconds_per_gib:.3f}",
             f"{result.peak_rss_bytes / (1 << 20):.0f} MiB", f"{100 * sum(shares) / len(shares):.0f} %")
    return "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in cells) + "</tr>"


def table(results: list[Result], headers: bool) -> str:
    titles = ("setting", "headers/s" if headers else "GB/s", "spread", "p95 call", "CPU s/GiB", "peak memory", "cached")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(map(row, results))}</table></div>'


def told_place(chosen: Options) -> str:
    return f"of {', '.join(chosen.uris)}" if chosen.uris else f"below {chosen.mount_point}"


def page(chosen: Options, results: list[Result], command: str) -> str:
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
             f"<title>weir bench reader</title><style>{STYLE}{colours()}</style><h1>weir bench reader</h1>",
             f"<p>{escaped(time.strftime('%Y-%m-%d %H:%M'))}, {escaped(platform.node())}: {len(chosen.files)} files "
             f"{escaped(told_place(chosen))}, {chosen.iterations} iterations, cache: {escaped(chosen.cache)}, "
             f"{'download only' if chosen.download_only else 'device: ' + escaped(chosen.device)}, {os.cpu_count()} "
             f"processors, Python {escaped(platform.python_version())}.</p><p><code>{escaped(command)}</code></p>"]
    for operation in chosen.operations:
        mine = [result for result in results if result.combination.operation == operation]
        good = [result for result in mine if result.iterations and not result.error]
        if good:
            parts += drawings(good, operation == "headers_batch")
        parts.append(f"<h2>Figures</h2>{table(mine, operation == 'headers_batch')}")
    return "".join(parts) + "</html>\n"


def write(path: str, chosen: Options, results: list[Result]) -> None:
    """Under its name only when it is whole."""
    command = "weir bench reader " + shlex.join(sys.argv[1:])
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(page(chosen, results, command))
    os.replace(path + ".new", path)
