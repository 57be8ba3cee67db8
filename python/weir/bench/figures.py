# SPDX-License-Identifier: Apache-2.0
"""Medians and spreads."""
import dataclasses
import math
import statistics


def percentile(values: list[float], part: float) -> float:
    """By linear interpolation between neighbours."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Of one figure over the iterations."""

    median: float
    mean: float
    least: float
    most: float
    deviation: float
    p5: float
    p95: float


def spread(values: list[float]) -> Spread:
    if not values:
        return Spread(*[math.nan] * 7)
    return Spread(statistics.median(values), statistics.fmean(values), min(values), max(values),
                  statistics.stdev(values) if len(values) > 1 else 0.0, percentile(values, 0.05),
                  percentile(values, 0.95))
