"""Simulate how often the 95 % interval of image AUROC contains the true AUROC.

The scores of both classes are normal with equal variance. Over 10,000 test sets a coverage of .95 has a standard error
of .002. The result is in docs/how-a-number-is-made.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

from harness.cli.command import Parser, one_line_errors, run_script
from harness.metrics.ranking import auroc, rank
from harness.metrics.uncertainty import Interval, delong_interval, newcombe_interval

AREAS = (0.95, 0.97, 0.99, 0.999)
IMAGES = ((63, 20), (100, 50), (200, 30))
"""Defective and normal test images."""


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--sets", type=int, default=10_000, help="simulated test sets for each cell (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(arguments.seed)
    print("| defective and normal images | " + " | ".join(f"AUROC {area:g}" for area in AREAS) + " |")
    print("|---|" + "---:|" * len(AREAS))
    for sizes in IMAGES:
        cells = (_cell(list(_draw(rng, area, *sizes, arguments.sets)), area) for area in AREAS)
        print(f"| {sizes[0]} and {sizes[1]} | " + " | ".join(cells) + " |", flush=True)
    return 0


def _draw(rng: np.random.Generator, area: float, n_positives: int, n_negatives: int, n: int) -> Iterator[Interval]:
    """Yield the interval of each of n simulated test sets."""
    distance = NormalDist().inv_cdf(area) * sqrt(2)
    for _ in range(n):
        ranked = rank(rng.normal(distance, 1, n_positives), rng.normal(0, 1, n_negatives))
        yield delong_interval(ranked, 0.95) or newcombe_interval(auroc(ranked), n_positives, n_negatives, 0.95)


def _cell(intervals: Sequence[Interval], area: float) -> str:
    """Give the coverage, and the shares of the intervals that lie below the true AUROC and above it."""
    below = sum(interval.high < area for interval in intervals) / len(intervals)
    above = sum(interval.low > area for interval in intervals) / len(intervals)
    return f"{1 - below - above:.3f} ({below:.3f}, {above:.3f})"


if __name__ == "__main__":
    sys.exit(run_script(main))
