# SPDX-License-Identifier: Apache-2.0
"""Rounds: every side does the same job once a round, in random order, in the same state of the cache."""
import random

from . import cache, machine
from .sides import warn
from .stats import Ratio, median, spread

GIB = 1 << 30
GRAIN = 1 << 20


class Jobs:
    """Random ranges of one file, whole megabytes."""

    def __init__(self, path, size, length, seed=None):
        self.path, self.size, self.length = path, size, length
        self.random = random.Random(seed)

    def __call__(self):
        places = (self.size - self.length) // GRAIN
        return (self.path, self.random.randint(0, places) * GRAIN, self.length)


class Rounds:
    """The answers of each side, round by round."""

    def __init__(self, sides):
        self.sides = sides
        self.answers = {side.name: [] for side in sides}
        self.busy = {side.name: [] for side in sides}

    def column(self, name, key):
        return [answer[key] for answer in self.answers[name]]

    def rate(self, name):
        return [answer["bytes"] / answer["wall_seconds"] for answer in self.answers[name]]

    def cost(self, name):
        """CPU seconds per GiB."""
        return [answer["cpu_seconds"] / (answer["bytes"] / GIB) for answer in self.answers[name]]

    def wall_ratio(self, name, base):
        """How fast in units of the base: above 1 is faster."""
        return Ratio(self.rate(name), self.rate(base))

    def cpu_ratio(self, name, base):
        """How much CPU in units of the base: below 1 is cheaper."""
        return Ratio(self.cost(name), self.cost(base))

    def per_gib(self, name, key):
        return median([answer[key] / (answer["bytes"] / GIB) for answer in self.answers[name]])

    def summary(self):
        """One line of figures a side, for the report."""
        table = {}
        for side in self.sides:
            name = side.name
            if not self.answers[name]:
                continue
            table[name] = {
                "runs": len(self.answers[name]),
                "gb_per_second": spread([rate / 1e9 for rate in self.rate(name)]),
                "cpu_seconds_per_gib": spread(self.cost(name)),
                "machine_busy_seconds_per_gib": spread(self.busy[name]),
            }
            for key in ("page_faults", "enters", "requests", "disk_bytes", "bytes_copied"):
                if all(key in answer for answer in self.answers[name]):
                    table[name][key + "_per_gib"] = self.per_gib(name, key)
        return table


def prepare(state, job):
    """state: "cold", "warm", or a function of the job. The job's path may be a list of files."""
    if callable(state):
        state(job)
        return
    path, offset, length = job
    for file in path if isinstance(path, (list, tuple)) else [path]:
        {"cold": cache.drop, "warm": cache.warm}[state](file, offset, length)


def one(rounds, side, job, state, files):
    prepare(state, (files or job[0], job[1], job[2]))
    before = machine.busy_seconds()
    answer = side.run(job)
    busy = machine.busy_seconds() - before
    if answer["bytes"] <= 0 or answer["wall_seconds"] <= 0:
        raise ValueError(f"{side.name}: measured nothing: {answer}")
    rounds.answers[side.name].append(answer)
    rounds.busy[side.name].append(busy / (answer["bytes"] / GIB))


def run(sides, jobs, count, state, files=None, warm_ups=1, seed=None):
    """Runs `count` rounds after the untimed ones. files: what makes up the job's path, where that is a
    folder."""
    order = random.Random(seed)
    rounds, discard = Rounds(sides), Rounds(sides)
    for _ in range(warm_ups):
        job = jobs()
        for side in sides:
            one(discard, side, job, state, files)
    for number in range(count):
        job = jobs()
        for side in order.sample(sides, len(sides)):
            one(rounds, side, job, state, files)
        warn(f"    round {number + 1} of {count}")
    return rounds
