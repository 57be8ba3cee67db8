# SPDX-License-Identifier: Apache-2.0
"""What was measured as CSV, with the column names that scripts know, and as text."""
import csv
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from weir.bench import figures
from weir.bench.options import Options
from weir.bench.rounds import Result

GB, MB = 1e9, 1e6
Row = dict[str, Any]

RAW = ("backend", "buffer_size", "chunk_size", "num_processes", "rank", "iteration", "num_files", "total_bytes_read",
       "read_time", "wall_time", "throughput_mbps", "throughput_gbps", "round_wall_time", "success", "error",
       "cpu_seconds", "cached_share")
SUMMARY = ("backend", "buffer_size_mb", "chunk_size_mb", "num_processes", "throughput_gbps_median",
           "throughput_gbps_mean", "throughput_gbps_min", "throughput_gbps_max", "throughput_gbps_std",
           "wall_time_median", "wall_time_mean", "num_iterations", "throughput_gbps_p5", "throughput_gbps_p95",
           "latency_ms_p50", "latency_ms_p95", "latency_ms_p99", "cpu_seconds_per_gib", "peak_rss_bytes",
           "ready_seconds", "verified_bytes")
HEADERS_RAW = ("op", "backend", "buffer_size", "batch_size", "num_threads", "num_processes", "rank", "iteration",
               "num_files", "total_files_read", "headers_per_second", "wall_time", "round_wall_time", "success", "error")
HEADERS_SUMMARY = ("backend", "batch_size", "num_threads", "num_processes", "headers_per_second_median",
                   "headers_per_second_mean", "headers_per_second_min", "headers_per_second_max",
                   "headers_per_second_std", "wall_time_median", "wall_time_mean", "num_iterations")


def raw(result: Result) -> Iterator[Row]:
    """A row for each process and iteration; one for a combination that failed."""
    what = result.combination
    sizes: Row = {"backend": what.backend, "buffer_size": f"{what.buffer:g}", "chunk_size": f"{what.chunk:g}",
             "num_processes": what.processes, "op": what.operation, "batch_size": what.batch, "num_threads": what.threads}
    for one in result.iterations:
        for sample in one.samples:
            seconds = max((sample.end_ns - sample.start_ns) * 1e-9, 1e-9)
            yield sizes | {
                "rank": sample.rank, "iteration": one.number, "num_files": sample.files,
                "total_bytes_read": sample.bytes, "total_files_read": sample.files, "read_time": f"{seconds:.6f}",
                "wall_time": f"{seconds:.6f}", "round_wall_time": f"{one.seconds:.6f}",
                "throughput_mbps": f"{sample.bytes / seconds / MB:.3f}",
                "throughput_gbps": f"{sample.bytes / seconds / GB:.6f}",
                "headers_per_second": f"{sample.files / seconds:.3f}", "success": "true", "error": "",
                "cpu_seconds": f"{sample.cpu_seconds:.6f}", "cached_share": f"{one.cached_share:.3f}"}
    if result.error:
        yield sizes | {"success": "false", "error": result.error}


def summary(result: Result) -> Row:
    what, rates, seconds = result.combination, result.rates, result.seconds
    row: Row = {"backend": what.backend, "buffer_size_mb": f"{what.buffer:g}", "chunk_size_mb": f"{what.chunk:g}",
           "num_processes": what.processes, "batch_size": what.batch, "num_threads": what.threads,
           "wall_time_median": f"{seconds.median:.6f}", "wall_time_mean": f"{seconds.mean:.6f}",
           "num_iterations": len(result.iterations), "cpu_seconds_per_gib": f"{result.cpu_seconds_per_gib:.6f}",
           "peak_rss_bytes": result.peak_rss_bytes, "ready_seconds": f"{result.ready_seconds:.3f}",
           "verified_bytes": result.compared_bytes}
    named = {"median": rates.median, "mean": rates.mean, "min": rates.least, "max": rates.most,
             "std": rates.deviation, "p5": rates.p5, "p95": rates.p95}
    for name, value in named.items():
        row[f"throughput_gbps_{name}"] = f"{value / GB:.6f}"
        row[f"headers_per_second_{name}"] = f"{value:.3f}"
    for part in (50, 95, 99):
        row[f"latency_ms_p{part}"] = f"{figures.percentile(result.latencies, part / 100) * 1e3:.3f}"
    return row


def save(path: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    """Under its name only when it is whole."""
    with open(path + ".new", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(path + ".new", path)


def write(chosen: Options, results: list[Result]) -> None:
    for operation, prefix, columns in (("read_chunked", "benchmark", (RAW, SUMMARY)),
                                       ("headers_batch", "benchmark_headers_batch", (HEADERS_RAW, HEADERS_SUMMARY))):
        mine = [result for result in results if result.combination.operation == operation]
        if not mine:
            continue
        place = os.path.join(chosen.output_dir, prefix)
        save(f"{place}_raw.csv", columns[0], (row for result in mine for row in raw(result)))
        rows = [summary(result) for result in mine if result.iterations]
        save(f"{place}_summary.csv", columns[1], rows)
        if chosen.csv and operation == chosen.operations[0]:
            save(chosen.csv, columns[1], rows)


def spread_json(values: figures.Spread) -> dict[str, float]:
    named = {"median": values.median, "min": values.least, "max": values.most, "p5": values.p5, "p95": values.p95}
    return {name: value for name, value in named.items() if not math.isnan(value)}


def cell(result: Result) -> Row:
    what = result.combination
    rate = "headers_per_second" if what.operation == "headers_batch" else "bytes_per_second"
    told: Row = {"backend": what.backend, "operation": what.operation, "buffer_mib": what.buffer, "chunk_mib": what.chunk,
            "processes": what.processes, "batch": what.batch, "threads": what.threads}
    if result.iterations:
        told |= {rate: spread_json(result.rates), "latency_seconds": spread_json(figures.spread(result.latencies)),
                 "peak_rss_bytes": result.peak_rss_bytes, "verified_bytes": result.compared_bytes}
        if not math.isnan(result.cpu_seconds_per_gib):
            told["cpu_seconds_per_gib"] = result.cpu_seconds_per_gib
    return told | ({"error": {"message": result.error}} if result.error else {})


def show_json(chosen: Options, results: list[Result]) -> None:
    uris = {"uris": list(chosen.uris)} if chosen.uris else {}
    json.dump({"kind": "reader", "mount_point": chosen.mount_point} | uris | {"files": len(chosen.files),
               "iterations": chosen.iterations, "cache": chosen.cache, "device": chosen.device,
               "cells": [cell(result) for result in results]}, sys.stdout, indent=1)
    print()


def show(results: list[Result], to: TextIO | None = None) -> None:
    """A table for people; the best of each operation has a star."""
    to = to or sys.stdout
    for operation in dict.fromkeys(result.combination.operation for result in results):
        mine = [result for result in results if result.combination.operation == operation]
        best = max((result.rates.median for result in mine if result.iterations), default=0)
        print(f"\n{operation}\n  {'':2}{'median':>16}{'spread':>25}{'p95 call':>11}{'CPU s/GiB':>11}", file=to)
        for result in mine:
            print(line(result, best), file=to)


def line(result: Result, best: float) -> str:
    if result.error:
        return f"  ! {result.combination}: {result.error}"
    rates = result.rates
    unit, name = (1, "/s") if result.combination.operation == "headers_batch" else (GB, " GB/s")
    star = "*" if rates.median == best else " "
    return (f"  {star} {rates.median / unit:>10.2f}{name:<6}{rates.least / unit:>11.2f} .. {rates.most / unit:<10.2f}"
            f"{figures.percentile(result.latencies, 0.95) * 1e3:>8.1f} ms{result.cpu_seconds_per_gib:>11.3f}  "
            f"{result.combination}")
