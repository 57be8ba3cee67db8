# SPDX-License-Identifier: Apache-2.0
"""What a run says: checks against goals and floors, figures, as text and as JSON."""
import json

AT_LEAST, AT_MOST = ">=", "<="


class Check:
    """One figure beside its goal and its floor. kind: wall, cpu or count. A figure of wall time is not
    judged where the machine was too noisy, and then it cannot fail either."""

    def __init__(self, what, value, sense, goal, floor=None, kind="cpu", ratio=None, low_goal=None, unit=""):
        self.what, self.value, self.sense = what, value, sense
        self.goal, self.floor, self.kind = goal, floor, kind
        self.ratio, self.low_goal, self.unit = ratio, low_goal, unit
        self.judged = True
        self.unfair = False  # the two sides were not alike, through no fault of either

    def holds(self, bound):
        return self.value >= bound if self.sense == AT_LEAST else self.value <= bound

    @property
    def verdict(self):
        if self.goal is None:
            return "printed"
        if not self.judged:
            return "not judged"
        if self.unfair and not self.holds(self.goal):
            return "not alike"
        if self.holds(self.goal) and not (self.low_goal and self.ratio and self.ratio.low < self.low_goal):
            return "met"
        if self.floor is not None and not self.holds(self.floor):
            return "BELOW FLOOR"
        return "missed"

    def as_dict(self):
        found = {"what": self.what, "kind": self.kind, "value": self.value, "sense": self.sense, "goal": self.goal,
                 "floor": self.floor, "verdict": self.verdict}
        if self.ratio:
            found["interval"] = [self.ratio.low, self.ratio.high]
        return found

    def line(self):
        value = f"{self.value:.4g}{self.unit}"
        if self.ratio:
            value += f" ({self.ratio.low:.3g}..{self.ratio.high:.3g})"
        if self.goal is None:
            return f"    {self.what:<58} {value}"
        bounds = f"goal {self.sense} {self.goal:g}"
        if self.low_goal:
            bounds += f", lower end >= {self.low_goal:g}"
        if self.floor is not None:
            bounds += f", floor {self.floor:g}"
        return f"    {self.what:<58} {value:<26} {bounds:<44} {self.verdict}"


def printed(what, value, ratio=None, unit=""):
    return Check(what, value, AT_LEAST, None, kind="note", ratio=ratio, unit=unit)


class Row:
    """One goal: its checks, its figures, the commands of its sides."""

    def __init__(self, name, title):
        self.name, self.title = name, title
        self.checks, self.tables, self.commands, self.notes = [], {}, {}, []

    def add(self, *checks):
        self.checks.extend(checks)

    def table(self, title, rounds):
        self.tables[title] = rounds.summary()
        for side in rounds.sides:
            if side.command:
                self.commands[side.name] = " ".join(side.command)

    def as_dict(self):
        return {"name": self.name, "title": self.title, "checks": [check.as_dict() for check in self.checks],
                "figures": self.tables, "commands": self.commands, "notes": self.notes}

    def text(self):
        lines = [f"{self.name}  {self.title}"] + [check.line() for check in self.checks]
        for title, table in self.tables.items():
            lines.append(f"    -- {title}")
            lines += [figures_line(name, figures) for name, figures in table.items()]
        lines += [f"    note: {note}" for note in self.notes]
        return "\n".join(lines)


def figures_line(name, figures):
    rate, cost = figures["gb_per_second"], figures["cpu_seconds_per_gib"]
    line = (f"    {name:<34} {rate['median']:6.2f} GB/s [{rate['min']:.2f}..{rate['max']:.2f}]  "
            f"{cost['median']:.4f} s/GiB [{cost['min']:.4f}..{cost['max']:.4f}]")
    faults = figures.get("page_faults_per_gib")
    if faults is not None:
        line += f"  {faults:.0f} faults/GiB"
    return line


def figures_row(name, figures):
    rate, cost = figures["gb_per_second"], figures["cpu_seconds_per_gib"]
    faults = figures.get("page_faults_per_gib")
    return (f"|{name}|{rate['median']:.2f} [{rate['min']:.2f}..{rate['max']:.2f}]|"
            f"{cost['median']:.4f} [{cost['min']:.4f}..{cost['max']:.4f}]|{'' if faults is None else f'{faults:.0f}'}|")


class Report:
    def __init__(self, facts, arguments):
        self.facts, self.arguments = facts, arguments
        self.rows, self.errors, self.skipped = [], [], []

    def failed(self):
        below = any(check.verdict == "BELOW FLOOR" for row in self.rows for check in row.checks)
        return below or bool(self.errors)

    def as_dict(self):
        return {"machine": self.facts, "arguments": self.arguments, "rows": [row.as_dict() for row in self.rows],
                "errors": self.errors, "skipped": self.skipped}

    def write(self, path):
        with open(path, "w") as out:
            json.dump(self.as_dict(), out, indent=1)
            out.write("\n")

    def markdown(self):
        """The checks as a table, for docs/performance.md."""
        lines = ["|row|what|measured|goal|floor|verdict|", "|---|---|---|---|---|---|"]
        for row in self.rows:
            for check in row.checks:
                value = f"{check.value:.4g}"
                if check.ratio and len(check.ratio.pairs) > 1:
                    value += f" ({check.ratio.low:.3g}..{check.ratio.high:.3g})"
                goal = "" if check.goal is None else f"{check.sense} {check.goal:g}"
                floor = "" if check.floor is None else f"{check.floor:g}"
                verdict = "" if check.goal is None else check.verdict
                lines.append(f"|{row.name}|{check.what}|{value}|{goal}|{floor}|{verdict}|")
        for row in self.rows:
            for title, table in row.tables.items():
                lines += ["", f"{row.name}, {title}:", "", "|side|GB/s|CPU s/GiB|page faults/GiB|", "|---|---|---|---|"]
                lines += [figures_row(name, figures) for name, figures in table.items()]
        return "\n".join(lines) + "\n"

    def closing(self):
        verdicts = [check.verdict for row in self.rows for check in row.checks if check.goal is not None]
        count = {name: verdicts.count(name) for name in ("met", "missed", "BELOW FLOOR", "not judged", "not alike")}
        return (f"{count['met']} met, {count['missed']} missed their goal but not their floor, "
                f"{count['BELOW FLOOR']} below their floor, {count['not judged'] + count['not alike']} not judged, "
                f"{len(self.errors)} rows failed to run, {len(self.skipped)} were left out")
