"""How a version of the language model does: counted as metrics, and for whoever compares versions."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Final

from runtime import metrics
from streams.queries.citations import Cited
from topics.queries import Usage

BOUNDS: Final = (100, 250, 500, 1000, 2000, 3000, 5000, 7500, 10_000, 15_000, 20_000, 30_000, 60_000)  # ms


class Figures:
    """Of one version in this worker, since they were last taken away."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._counts: Counter[str] = Counter()

    def tried(self, outcome: str) -> None:
        """It was asked: ``ok``, or why it did not answer."""
        metrics.llm_requests.labels(self._version, outcome).inc()
        self._counts[f"tried.{outcome}"] += 1

    def wrote(self, usage: Usage | None, first: float | None, seconds: float, cited: Cited) -> None:
        """It answered, after ``first`` seconds of silence."""
        metrics.llm_seconds.labels(self._version).observe(seconds)
        self._counts[f"ms.{_bucket(seconds)}"] += 1
        if first is not None:
            metrics.llm_first_token_seconds.labels(self._version).observe(first)
            self._counts[f"first_ms.{_bucket(first)}"] += 1
        used = {} if usage is None else {"input": usage.input_tokens, "output": usage.output_tokens}
        for kind, tokens in used.items():
            metrics.llm_tokens.labels(self._version, kind).inc(tokens)
            self._counts[kind] += tokens
        for outcome, markers in (("kept", cited.kept), ("removed", cited.removed)):
            metrics.citations.labels(self._version, outcome).inc(markers)
            self._counts[outcome] += markers
        self._counts["uncited"] += not cited.kept

    def take(self) -> Counter[str]:
        """All that was counted; what cannot be passed on is to be given back."""
        taken, self._counts = self._counts, Counter()
        return +taken

    def give_back(self, counts: Mapping[str, int]) -> None:
        """Count these again."""
        self._counts.update(counts)


def _bucket(seconds: float) -> str:
    place = bisect_left(BOUNDS, seconds * 1000)
    return str(BOUNDS[place]) if place < len(BOUNDS) else "more"


def quantile(figures: Mapping[str, float], name: str, share: float) -> float | None:
    """Milliseconds below which so many were, as the bound of a bucket; infinite beyond the last, None of nothing."""
    counts = [figures.get(f"{name}.{bound}", 0.0) for bound in (*BOUNDS, "more")]
    left = sum(counts) * share
    if not left:
        return None
    for bound, count in zip((*BOUNDS, float("inf")), counts, strict=True):
        left -= count
        if left <= 0:
            return bound
    return float("inf")
