"""How sure a figure is: bootstrap over questions, paired where two ways of searching answered the same ones."""

from collections.abc import Sequence

import msgspec
import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 1
_AT_ONCE = 2_000_000  # drawn numbers: bounds the memory of a long file


class Interval(msgspec.Struct, frozen=True):
    """A mean of ``n`` questions and the bounds that hold it at :data:`LEVEL`."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float], resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """Percentile bootstrap of the mean; of differences by question it is the paired one."""
    sample = np.asarray(values, dtype=float)
    draw, count = np.random.default_rng(seed), len(sample)
    rows = max(1, _AT_ONCE // count)
    means = np.concatenate(
        [
            sample[draw.integers(count, size=(min(rows, resamples - start), count))].mean(axis=1)
            for start in range(0, resamples, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(round(float(sample.mean()), 4), round(float(low), 4), round(float(high), 4), count)
