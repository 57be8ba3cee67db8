# SPDX-License-Identifier: Apache-2.0
"""weir.bench: are the figures right, and does it survive readers that are not?"""
import csv
import html.parser
import itertools
import json
import os
import re
import subprocess
import sys
import time

import pytest

from weir.bench import options, rounds, tables, worker

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = 20_000_000

OLD_RAW = ("backend buffer_size chunk_size num_processes rank iteration num_files total_bytes_read read_time wall_time "
           "throughput_mbps throughput_gbps round_wall_time success error").split()
OLD_SUMMARY = ("backend buffer_size_mb chunk_size_mb num_processes throughput_gbps_median throughput_gbps_mean "
               "throughput_gbps_min throughput_gbps_max throughput_gbps_std wall_time_median wall_time_mean "
               "num_iterations").split()
OLD_HEADERS_RAW = ("op backend buffer_size batch_size num_threads num_processes rank iteration num_files total_files_read "
                   "headers_per_second wall_time round_wall_time success error").split()
OLD_HEADERS_SUMMARY = ("backend batch_size num_threads num_processes headers_per_second_median headers_per_second_mean "
                       "headers_per_second_min headers_per_second_max headers_per_second_std wall_time_median "
                       "wall_time_mean num_iterations").split()


@pytest.fixture
def folder(tmp_path):
    """Four files, sparse: their content is nobody's concern but the comparison's."""
    for n in range(4):
        path = tmp_path / f"model-{n}.safetensors"
        path.touch()
        os.truncate(path, SIZE)
    (tmp_path / "model-0.safetensors").write_bytes(os.urandom(4096) + bytes(SIZE - 4096))
    return tmp_path


def bench(folder, reader, *more, seconds=60):
    """Runs the command; returns how it ended, and where its tables are."""
    paths = os.pathsep.join([HERE, *filter(None, sys.path)])
    command = [sys.executable, "-m", "weir.bench", "--mount-point", str(folder), "--output-dir", str(folder / "out"),
               "--backends", ",".join(f"bench_readers:{name}" for name in reader.split(",")), "--warmup", "0", *more]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, timeout=seconds, capture_output=True, text=True)


def rows(folder, name):
    with open(folder / "out" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def small(*more):
    return ("--buffer-sizes", "1", "--chunk-sizes", "1", "--verify", "none", *more)


MATRIX = list(itertools.product((1, 3, 10), (1, 2, 4)))


@pytest.mark.parametrize("iterations, processes", MATRIX)
def test_C_66_a_reader_of_one_gigabyte_a_second_is_reported_as_that(folder, monkeypatch, iterations, processes):
    """In simulated time: the reader's sleeps are all that passes."""
    clock = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + round(seconds * 1e9)))
    monkeypatch.syspath_prepend(HERE)
    files = tuple(sorted(str(path) for path in folder.glob("*.safetensors")))
    combination = options.Combination("read_chunked", "bench_readers:Steady", 1.0, 1.0, processes)
    works = [worker.Work(worker.Job(combination, rank, files[rank::processes], "", 64, "cpu", False, "none", 1, 1))
             for rank in range(processes)]
    result = rounds.Result(combination)
    for number in range(iterations):
        released, samples = clock[0], []
        for work in works:  # at once: the clock goes back for each
            clock[0] = released
            samples.append(work.iteration())
        result.iterations.append(rounds.Iteration(number, tuple(samples), 0.0))
    assert result.rates.median == pytest.approx(1e9 * processes, rel=0.02)
    assert result.rates.least == pytest.approx(result.rates.most, rel=0.02)
    for row in tables.raw(result):
        assert float(row["throughput_gbps"]) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("iterations, processes", [(1, 1), (10, 2)])
def test_C_66_processes_that_really_sleep(folder, iterations, processes):
    """On a loaded machine a sleep lasts longer, but not five times as long, and never less."""
    done = bench(folder, "Steady", *small("--iterations", str(iterations), "--num-processes", str(processes)))
    assert done.returncode == 0, done.stderr
    assert len(rows(folder, "benchmark_raw")) == iterations * processes
    summary, = rows(folder, "benchmark_summary")
    assert 0.2 < float(summary["throughput_gbps_median"]) / processes <= 1.01


def test_C_67_sizes_are_not_rounded(folder):
    assert bench(folder, "Steady", "--buffer-sizes", "0.5,1.25", "--chunk-sizes", "0.5,1.25", "--num-processes", "1",
                 "--verify", "none").returncode == 0
    assert [row["buffer_size_mb"] for row in rows(folder, "benchmark_summary")] == ["0.5", "1.25"]
    assert {row["chunk_size"] for row in rows(folder, "benchmark_raw")} == {"0.5", "1.25"}


@pytest.mark.parametrize("reader, message", [
    ("Failing", "the disk is gone"), ("Dying", "ended with status 7"), ("Short", "19999999 of 20000000"),
    ("Unwilling", "no ring to be had"), ("Missing", "Missing")])
def test_C_67_a_process_that_fails_is_a_row(folder, reader, message):
    done = bench(folder, f"{reader},Steady", *small("--num-processes", "3"))
    assert done.returncode == 1
    failed, *good = rows(folder, "benchmark_raw")
    assert failed["success"] == "false" and message in failed["error"]
    assert len(good) == 9 and all(row["success"] == "true" for row in good), "the next reader is measured"


def test_C_67_bytes_that_never_came_are_noticed(folder):
    done = bench(folder, "Liar", "--buffer-sizes", "1", "--chunk-sizes", "1", "--num-processes", "1")
    assert done.returncode == 1
    assert "wrong bytes between 0 and" in rows(folder, "benchmark_raw")[0]["error"]


def test_C_68_the_old_columns_are_there(folder):
    assert bench(folder, "Steady", *small("--num-processes", "1", "--benchmark-op", "both", "--batch-sizes", "2",
                                          "--num-threads", "4")).returncode == 0
    for name, columns in (("benchmark_raw", OLD_RAW), ("benchmark_summary", OLD_SUMMARY),
                          ("benchmark_headers_batch_raw", OLD_HEADERS_RAW),
                          ("benchmark_headers_batch_summary", OLD_HEADERS_SUMMARY)):
        assert set(columns) <= set(rows(folder, name)[0]), name


def test_the_page_stands_alone(folder):
    assert bench(folder, "Steady", *small("--num-processes", "1,2")).returncode == 0
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")

    class Reader(html.parser.HTMLParser):
        tags = []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)
            assert not any(name in ("src", "href") for name, _ in attrs)

    Reader().feed(page)
    assert Reader.tags.count("svg") == 4 and Reader.tags.count("rect") > 10
    assert "nan" not in page and "inf" not in page


def test_json_says_what_the_tables_say(folder):
    done = bench(folder, "Steady", *small("--num-processes", "2", "--json", "--quiet"))
    told = json.loads(done.stdout)
    assert told["kind"] == "reader" and told["files"] == 4
    cell, = told["cells"]
    summary, = rows(folder, "benchmark_summary")
    assert cell["bytes_per_second"]["median"] == pytest.approx(1e9 * float(summary["throughput_gbps_median"]), rel=1e-4)
    assert done.stderr == ""


@pytest.mark.parametrize("more, count", [
    ([], 44), (["--no-equal-chunk-buffer"], 124), (["--decouple-chunk-buffer"], 204),
    (["--benchmark-op", "headers_batch", "--backends", "python,cpp"], 120),
    (["--mode", "single", "--backends", "cpp", "--buffer-sizes", "64", "--chunk-sizes", "8"], 1)])
def test_the_grid_has_its_size(folder, more, count):
    assert len(options.grid(options.parse(["--mount-point", str(folder), *more]))) == count


@pytest.mark.parametrize("wrong", [["--buffer-sizes", "0"], ["--num-processes", "x"], ["--backends", "cp"],
                                   ["--file-pattern", "/nowhere/*"], ["--iterations", "0"]])
def test_a_wrong_command_line_is_refused(folder, wrong, capsys):
    with pytest.raises(SystemExit) as end:
        options.parse(["--mount-point", str(folder), *wrong])
    assert end.value.code == 2 and capsys.readouterr().err


def test_the_command_and_the_module_have_the_same_options():
    command = os.path.join(os.environ["WEIR_BUILD"], "cli", "weir")
    told = subprocess.run([command, "bench", "reader", "--help"], capture_output=True, text=True, check=True).stdout
    theirs = set(re.findall(r"(?<!\S)--([a-z-]+)", told))
    mine = {flag[2:] for action in options.parser()._actions for flag in action.option_strings if flag.startswith("--")}
    assert mine <= theirs and theirs - mine <= {"progress", "help"}


def test_the_command_hands_its_options_on(folder):
    command = os.path.join(os.environ["WEIR_BUILD"], "cli", "weir")
    paths = os.pathsep.join([HERE, *filter(None, sys.path)])
    done = subprocess.run(
        [command, "bench", "reader", "--mount-point", folder, "--output-dir", folder / "out", "--backends",
         "bench_readers:Steady", "--mode", "single", "--verify", "none", "--quiet"], text=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": paths, "WEIR_PYTHON": sys.executable}, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(rows(folder, "benchmark_summary")) == 1


@pytest.fixture
def model(tmp_path):
    """A small model in two files, with an index; a blank in its path."""
    command = os.path.join(os.environ["WEIR_BUILD"], "cli", "weir")
    made = tmp_path / "a model"
    subprocess.run([command, "make-model", made, "--size", "2MiB", "--shards", "2", "--tensors", "9", "--quiet"], check=True)
    return made


def shards(model):
    return sorted(str(path) for path in model.glob("*.safetensors"))


@pytest.mark.parametrize("spell", [
    lambda model: [f"file://{str(model).replace(' ', '%20')}"],
    lambda model: [f"file://localhost{str(model).replace(' ', '%20')}"],
    lambda model: [str(model)],
    lambda model: [str(model / "model.safetensors.index.json")],
    lambda model: shards(model),
    lambda model: [str(model), *shards(model)]], ids=["uri", "host", "path", "index", "files", "twice"])
def test_a_uri_is_its_files(model, spell):
    given = [word for uri in spell(model) for word in ("--uri", uri)]
    chosen = options.parse(given)
    assert sorted(chosen.files) == shards(model) and len(shards(model)) == 2
    assert (chosen.mount_point, list(chosen.uris)) == (str(model), given[1::2])


@pytest.mark.parametrize("uri, why", [
    ("s3://bucket/model", "`weir bench load`"), ("memory://x", "names none"), ("file://elsewhere/x", "another machine"),
    ("file:///a%zz", "means no byte"), ("file:///nowhere", "nowhere"), ("3fs:///dev/null", "3FS")])
def test_a_uri_that_readers_cannot_open_is_refused(uri, why, capsys):
    with pytest.raises(SystemExit) as end:
        options.parse(["--uri", uri])
    assert end.value.code == 2 and why in capsys.readouterr().err


def test_3fs_demands_a_mount(model, capsys):
    with pytest.raises(SystemExit):
        options.parse(["--uri", f"3fs://{shards(model)[0]}"])
    assert "is on no mount of 3FS" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--uri", "/tmp", "--mount-point", "/tmp"], ["--uri", "/tmp", "--file-pattern", "*"]])
def test_either_a_mount_point_or_uris(words, capsys):
    with pytest.raises(SystemExit) as end:
        options.parse(words)
    assert end.value.code == 2 and "--uri" in capsys.readouterr().err


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_a_uri_is_read_and_compared(model, cache):
    """By the command, which hands both URIs on."""
    command = os.path.join(os.environ["WEIR_BUILD"], "cli", "weir")
    first, second = shards(model)
    done = subprocess.run(
        [command, "bench", "reader", "--uri", f"file://{first.replace(' ', '%20')}", "--uri", second, "--output-dir",
         model / "out", "--backends", "bench_readers:Honest", "--mode", "single", "--cache", cache, "--verify", "all",
         "--num-processes", "2", "--quiet", "--json"], text=True, capture_output=True, timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([HERE, *filter(None, sys.path)]), "WEIR_PYTHON": sys.executable})
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["files"], len(told["uris"]), told["mount_point"]) == (2, 2, str(model))
    size = sum(os.path.getsize(path) for path in (first, second))
    assert told["cells"][0]["verified_bytes"] == size
    raw = rows(model, "benchmark_raw")
    assert sum(int(row["total_bytes_read"]) for row in raw) == size * 3
    if cache == "warm":
        assert {row["cached_share"] for row in raw} == {"1.000"}
