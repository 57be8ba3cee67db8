# SPDX-License-Identifier: Apache-2.0
"""Medians and intervals. A claim is the median of the pairs' ratios with a bootstrap 95 % interval."""
import random
import statistics

RESAMPLES = 2000


def median(values):
    return statistics.median(values)


def interval(values, resamples=RESAMPLES, seed=1):
    """The 95 % bootstrap interval of the median: (low, high). The seed makes a report repeatable."""
    values = list(values)
    if len(values) < 2:
        return (values[0], values[0])
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(resamples))
    return (medians[int(0.025 * resamples)], medians[int(0.975 * resamples) - 1])


class Ratio:
    """The ratios of a list of pairs, and what may be said about them."""

    def __init__(self, over, under):
        self.pairs = [a / b for a, b in zip(over, under) if b > 0]
        if not self.pairs:
            raise ValueError("no pair to compare")
        self.value = median(self.pairs)
        self.low, self.high = interval(self.pairs)

    @property
    def half_width(self):
        return (self.high - self.low) / 2

    def as_dict(self):
        return {"median": self.value, "low": self.low, "high": self.high, "pairs": self.pairs}


def spread(values):
    """'median [min..max]' as a dict."""
    return {"median": median(values), "min": min(values), "max": max(values)}
