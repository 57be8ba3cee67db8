# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG text: lines with their spread, bars in groups, spans of time.

Colours are classes (c0, c1, ...), which the page's style fills in for light and dark screens.
"""
import dataclasses
import html
import math

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 72, 160, 28, 44
COLOURS = 8


@dataclasses.dataclass(frozen=True)
class Point:
    """One figure, with its spread."""

    x: float
    y: float
    low: float
    high: float
    note: str = ""


def nice(most: float) -> tuple[float, float]:
    """A step and an end for an axis from 0 that reaches `most`."""
    if not most > 0 or math.isinf(most):
        return 1.0, 1.0
    raw = most / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= raw * (1 - 1e-9))
    return step, step * math.ceil(most / step - 1e-9)


def number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10000 else f"{value:,.0f}"


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{html.escape(words)}</text>'


def frame(parts: list[str], height: int, label: str) -> str:
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(label)}">'
            + "".join(parts) + "</svg>")


def vertical(most: float, unit: str) -> tuple[list[str], float]:
    """The axis at the left, with its lines; and its end."""
    step, end = nice(most)
    parts = [text(LEFT - 8, TOP - 16, unit, "end", "unit")]
    for n in range(round(end / step) + 1):
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * n * step / end
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(text(LEFT - 8, y + 4, number(n * step), "end"))
    return parts, end


def legend(names: list[str]) -> list[str]:
    parts = []
    for n, name in enumerate(names):
        y = TOP + 8 + 18 * n
        parts.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="11" height="11" class="c{n % COLOURS}"/>')
        parts.append(text(WIDTH - RIGHT + 28, y + 1, name))
    return parts


def height_of(y: float, end: float) -> float:
    return (HEIGHT - TOP - BOTTOM) * y / end


def lines(series: dict[str, list[Point]], unit: str, across: str, label: str) -> str:
    """A line for each name; each step of x has the same width, for x doubles."""
    steps = sorted({point.x for points in series.values() for point in points})
    parts, end = vertical(max((point.high for points in series.values() for point in points), default=0), unit)
    room = (WIDTH - LEFT - RIGHT) / max(len(steps), 1)
    place = {x: LEFT + room * (n + 0.5) for n, x in enumerate(steps)}
    parts += [text(place[x], HEIGHT - BOTTOM + 18, number(x), "middle") for x in steps]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across, "middle", "unit"))
    for n, points in enumerate(series.values()):
        parts += line(sorted(points, key=lambda point: point.x), place, end, f"c{n % COLOURS}")
    return frame(parts + legend(list(series)), HEIGHT, label)


def line(points: list[Point], place: dict[float, float], end: float, colour: str) -> list[str]:
    base = HEIGHT - BOTTOM
    path = " ".join(f"{place[point.x]:.1f},{base - height_of(point.y, end):.1f}" for point in points)
    parts = [f'<polyline points="{path}" class="line {colour}"/>']
    for point in points:
        x = place[point.x]
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base - height_of(point.low, end):.1f}" '
                     f'y2="{base - height_of(point.high, end):.1f}" class="spread {colour}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{base - height_of(point.y, end):.1f}" r="4" class="{colour}">'
                     f"<title>{html.escape(point.note)}</title></circle>")
    return parts


def bars(groups: dict[str, dict[str, float]], unit: str, label: str) -> str:
    """Groups of bars: {group: {name: value}}."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    parts, end = vertical(max((value for group in groups.values() for value in group.values()), default=0), unit)
    room = (WIDTH - LEFT - RIGHT) / max(len(groups), 1)
    wide = min(room * 0.8 / max(len(names), 1), 40)
    for n, (group, values) in enumerate(groups.items()):
        middle = LEFT + room * (n + 0.5)
        parts.append(text(middle, HEIGHT - BOTTOM + 18, group, "middle"))
        for m, name in enumerate(names):
            if name not in values:
                continue
            tall = height_of(values[name], end)
            x = middle + (m - len(names) / 2) * wide
            parts.append(f'<rect x="{x:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}" width="{wide * 0.9:.1f}" height="{tall:.1f}" '
                         f'class="c{m % COLOURS}"><title>{html.escape(f"{group}, {name}: {number(values[name])} {unit}")}'
                         "</title></rect>")
    return frame(parts + legend(names), HEIGHT, label)


def timeline(rows: dict[str, list[tuple[float, float, str]]], label: str) -> str:
    """A row for each name; spans of (start, end, note) in seconds."""
    end = max((stop for spans in rows.values() for _, stop, _ in spans), default=0.0) or 1.0
    step, _ = nice(end)
    tall, across = 22, WIDTH - LEFT - 20
    bottom = TOP + tall * len(rows)
    parts = []
    for n in range(int(end / step) + 1):
        x = LEFT + across * n * step / end
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" class="grid"/>')
        parts.append(text(x, bottom + 16, f"{number(n * step)} s", "middle"))
    for n, (name, spans) in enumerate(rows.items()):
        y = TOP + tall * n
        parts.append(text(LEFT - 8, y + 15, name, "end"))
        for m, (start, stop, note) in enumerate(spans):
            wide = max(across * (stop - start) / end - 0.6, 0.4)
            parts.append(f'<rect x="{LEFT + across * start / end:.2f}" y="{y + 3}" width="{wide:.2f}" height="{tall - 6}" '
                         f'class="c{m % 2}"><title>{html.escape(note)}</title></rect>')
    return frame(parts, bottom + 26, label)
