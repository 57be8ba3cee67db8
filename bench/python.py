#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/python.py [--build BUILD] [--rounds N]: what the Python package costs beside the bytes (row G7).

Imports, each in a Python of its own: weir, and an empty program to compare with.  Then a file of 1,541
small tensors, whose bytes are in the page cache, as a dict: weir's own memory, each framework that is
installed, and safetensors where it is.  Microseconds a tensor, median and best of the rounds, taken in
turn; bytes are so few that they do not count.  Run it with a Python that has the packages.
"""

import argparse
import importlib.util
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

TENSORS = 1541
SHAPE = (16, 32)
HERE = os.path.dirname(os.path.abspath(__file__))


def write(path):
    """Names and sizes as a large language model has them, without the bulk."""
    header, place = {}, 0
    for number in range(TENSORS):
        size = 4 * SHAPE[0] * SHAPE[1]
        name = f"model.layers.{number // 12}.mlp.experts.{number % 12}.down_proj.weight"
        header[name] = {"dtype": "F32", "shape": SHAPE, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as to:
        to.write(struct.pack("<Q", len(text)) + text + os.urandom(place))


def imports(code, rounds):
    """Milliseconds that a statement takes in a fresh Python."""
    program = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
    runs = (subprocess.check_output([sys.executable, "-c", program]) for _ in range(rounds))
    return sorted(float(run) * 1e3 for run in runs)


def has(package):
    return importlib.util.find_spec(package) is not None


def sides(path):
    """Name to what makes the dict."""
    import weir

    model = weir.open(path)
    found = {"weir, its own memory": lambda: weir.load(model)}
    for package in ("numpy", "torch", "jax"):
        if has(package):
            found[f"weir, {package}"] = lambda package=package: weir.load(model, framework=package)
    found["weir, its own memory, from the path"] = lambda: weir.load(path)
    if has("torch"):
        found["weir, torch, from the path"] = lambda: weir.load(path, framework="torch")
    if has("safetensors"):
        import safetensors.numpy

        found["safetensors, numpy, from the path"] = lambda: safetensors.numpy.load_file(path)
    if has("safetensors") and has("torch"):
        import safetensors.torch

        found["safetensors, torch, from the path"] = lambda: safetensors.torch.load_file(path)
    return found


def measure(found, rounds):
    """Seconds of each, in turn; what is made is dropped outside the window."""
    taken = {name: [] for name in found}
    for _ in range(rounds + 1):
        for name, make in found.items():
            started = time.perf_counter()
            made = make()
            taken[name].append(time.perf_counter() - started)
            assert len(made) == TENSORS
            del made
    return {name: sorted(times[1:]) for name, times in taken.items()}  # the first one warms up


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(os.path.dirname(HERE), "build"))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    package = os.path.join(os.path.abspath(options.build), "python")
    os.environ["PYTHONPATH"] = package
    sys.path.insert(0, package)
    for code in ("import weir", "pass"):
        times = imports(code, options.rounds)
        print(f"{code:40} {statistics.median(times):8.2f} ms   best {times[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        write(path)
        for name, times in measure(sides(path), options.rounds).items():
            median, best = (1e6 * t / TENSORS for t in (statistics.median(times), times[0]))
            print(f"{name:40} {median:8.2f} us a tensor   best {best:.2f}")


if __name__ == "__main__":
    main()
