"""cli/evaluation/intervals.py."""

import numpy as np
import pytest
from scipy import stats

from cli.evaluation.intervals import interval


def test_it_is_scipys() -> None:
    """Bounds are those of scipy's percentile bootstrap, up to what the draws differ by."""
    values = np.random.default_rng(3).gamma(1.0, size=120)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    found = interval(values.tolist())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert found.mean == pytest.approx(values.mean(), abs=1e-4) and found.n == 120


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    """Of 400 samples with a known mean the 95% interval holds it in 92 to 98 of a hundred."""
    draw = np.random.default_rng(5)
    samples = draw.normal(0.2, 1.0, size=(400, 80))
    held = sum(low <= 0.2 <= high for low, high in ((i.low, i.high) for i in (interval(s, 1000) for s in samples)))
    assert 0.92 <= held / 400 <= 0.98


def test_it_is_the_same_each_time_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed decides; a sample that is drawn in pieces has the same bounds up to its draws."""
    values = np.random.default_rng(7).normal(size=100).tolist()
    assert interval(values) == interval(values) != interval(values, seed=2)
    whole = interval(values)
    monkeypatch.setattr("cli.evaluation.intervals._AT_ONCE", 1000)
    pieces = interval(values)
    assert (pieces.low, pieces.high) == pytest.approx((whole.low, whole.high), abs=0.03)


def test_no_difference_is_no_difference() -> None:
    """Where both got the same on every question, the interval is 0 and nothing else."""
    found = interval([0.0] * 30)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
