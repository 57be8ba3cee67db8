# SPDX-License-Identifier: Apache-2.0
"""The bench that all rows stand on: data, sides, how many rounds, and whether wall time may be judged."""
import os
import time

from . import pairs
from .pairs import GIB, Jobs
from .report import AT_LEAST, Check, Row, printed
from .sides import SETTINGS, Failed, Fio, Several, peer, warn
from .subjects import one_shot, yardstick

LENGTH = 2 * GIB


class NotHere(Exception):
    """A row cannot run here; the message says what it needs."""


class Bench:
    def __init__(self, options, data, subject, user, hugetlb):
        self.options, self.data, self.subject, self.user = options, data, subject, user
        self.hugetlb = hugetlb
        self.build, self.venv = options.build, options.venv
        self.quick = options.quick
        self.pairs = 5 if options.quick else 30 if options.full else 15
        self.length = options.length
        self.noisy = "wall time is not judged with --quick" if options.quick else ""
        self.setting, self.half_width, self.alike = None, None, True
        self.peer_costs = {}
        self.started = time.monotonic()
        self.sides = []

    # Sides; all that were made are closed after the row.

    def keep(self, side):
        if side is None:
            raise NotHere("the subject has no such side")
        self.sides.append(side)
        return side

    def yard(self, name, program, *options):
        return self.keep(yardstick(self.build, name, program, *options, user=self.user))

    def peer(self, script, *args, **more):
        if not self.venv or not os.path.exists(os.path.join(self.venv, "bin", "python")):
            raise NotHere("needs the other loaders: bench/peers/setup.py")
        return self.keep(peer(self.venv, script, *args, user=self.user, **more))

    def fio(self, request=None, depth=None, tuned=True):
        if request is None:
            request, depth = self.setting.split(" x ")
        return Fio(request, depth, tuned, self.hugetlb)

    def readers(self):
        """The plain io_uring reader at fio's request and depth: into a destination as large as the job, as
        loaders have it, and into one small buffer over and over, as fio has it."""
        request, depth = self.setting.split(" x ")
        options = ["-b", request, "-q", depth, "-u"]
        small = f"{int(request.removesuffix('k')) * int(depth)}k"
        return (self.yard("plain reader", "uring", *options),
                self.yard("plain reader, small buffer", "uring", *options, "-r", small))

    def close_sides(self):
        for side in self.sides:
            side.close()
        self.sides = []

    # Rounds.

    def jobs(self, length=None):
        return Jobs(self.data.big, self.data.big_bytes, length or self.length)

    def rounds(self, sides, state, count=None, jobs=None, **more):
        return pairs.run(sides, jobs or self.jobs(), count or self.pairs, state, **more)

    def whole(self, sides, state, count=5):
        """CPU of the cheap paths: the whole file each time, in parts of one destination."""
        parts = self.data.big_bytes // self.length
        fixed = [side if isinstance(side, Fio) else Several(side, parts) for side in sides]
        job = (self.data.big, 0, self.length * parts)
        for side in sides:
            side.run((self.data.big, 0, self.length))  # its memory is there from now on
        return pairs.run(fixed, lambda: job, 3 if self.quick else count, state, warm_ups=0)

    def cold_and_touched(self, size):
        """Cold, and that much free memory was touched and freed just before: a hypervisor takes free pages
        back, and whoever touches them next pays for it."""
        touch = one_shot(self.build, "touching free memory", "fresh", str(size), user=self.user)

        def state(job):
            pairs.prepare("cold", job)
            touch.run(job)
        return state

    # What the verdicts rest on.

    def choose_setting(self):
        """The best of fio's settings, by wall, in a run of its own."""
        row = Row("fio", "which of its settings is the best here")
        sides = [self.fio(*setting.split(" x ")) for setting in SETTINGS]
        rounds = self.rounds(sides, "cold", 3 if self.quick else 5)
        rates = {side.name: pairs.median(rounds.rate(side.name)) for side in sides}
        best = max(rates, key=rates.get)
        self.setting = best.removeprefix("fio ")
        row.table("2 GiB each, cold, direct; huge pages, fixed buffers, registered files", rounds)
        row.notes.append(f"the yardstick is {best}")
        return row

    def same_against_same(self):
        """A/A: how far apart the yardstick is from itself; and whether what fio does is alike to a load."""
        row = Row("A/A", "the yardstick against itself")
        first, second = self.fio(), self.fio()
        second.name += " again"
        reader, reuse = self.readers()
        rounds = self.rounds([first, second, reader, reuse], "cold", 3 if self.quick else 15)
        wall, cpu = rounds.wall_ratio(second.name, first.name), rounds.cpu_ratio(second.name, first.name)
        gift = rounds.wall_ratio(reuse.name, reader.name)
        self.half_width, self.alike = wall.half_width, gift.low <= 1.03
        row.add(printed("wall, ratio", wall.value, wall), printed("CPU, ratio", cpu.value, cpu),
                printed("what a small buffer used again gains a plain reader", gift.value, gift, " x"))
        row.table(f"{self.setting}", rounds)
        if not self.noisy and (wall.low < 0.95 or wall.high > 1.05):
            self.noisy = f"the yardstick against itself: {wall.low:.3f}..{wall.high:.3f}, outside 0.95..1.05"
        return row

    def against_fio(self, row, rounds, side, goal, floor, low_goal=None):
        """The two checks of wall time: fio's, and a plain reader's that delivers as much as weir does. Where
        reading into one small buffer over and over is faster in itself, fio's wall is no yardstick."""
        fio, plain = rounds.wall_ratio(side.name, self.fio().name), rounds.wall_ratio(side.name, "plain reader")
        check = Check(f"wall, {self.fio().name} = 1", fio.value, AT_LEAST, goal, floor, "wall", fio, low_goal, " x")
        check.unfair = not self.alike
        row.add(check, Check("wall, a plain reader into as much memory = 1", plain.value, AT_LEAST, goal, floor, "wall",
                             plain, low_goal, " x"))
        if check.unfair:
            row.notes.append("fio reads into one small buffer over and over; that alone makes the plain reader faster "
                             "on this machine (A/A), so fio's wall is no yardstick for bytes that are delivered")

    def judge(self, row, narrow=False):
        reason = self.noisy
        if not reason and narrow and self.half_width is not None and self.half_width > 0.02:
            reason = f"the half-width of A/A is {self.half_width:.3f}, above 0.02"
        for check in row.checks:
            if check.kind == "wall" and check.goal is not None:
                check.judged = not reason
        if reason and any(check.kind == "wall" for check in row.checks):
            row.notes.append("wall time not judged: " + reason)

    def out_of_time(self):
        return self.options.minutes and time.monotonic() - self.started > 60 * self.options.minutes


def attempt(bench, report, function, **more):
    """One row; what it cannot do is said and does not end the suite."""
    warn(f"  {function.__name__}")
    try:
        rows = function(bench)
    except NotHere as reason:
        warn(f"  {function.__name__}: not run: {reason}")
        report.skipped.append(f"{function.__name__}: {reason}")
        return []
    except (Failed, RuntimeError, ValueError, OSError) as reason:
        warn(f"  {function.__name__}: failed: {reason}")
        report.errors.append(f"{function.__name__}: {reason}")
        return []
    finally:
        bench.close_sides()
    rows = rows if isinstance(rows, list) else [rows]
    for row in rows:
        bench.judge(row, narrow=row.name == "E1")
        report.rows.append(row)
    return rows
