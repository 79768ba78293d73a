"""Least figures that a report must reach: `[MODE:]METRIC=VALUE`."""

from collections.abc import Iterator
from dataclasses import dataclass

from cli.evaluation.asking import MODES
from cli.evaluation.questions import QuestionsError
from cli.evaluation.report import Report
from cli.evaluation.scores import METRICS


@dataclass(frozen=True, slots=True)
class Bound:
    """Without a mode it holds for each that was measured."""

    mode: str | None
    metric: str
    least: float

    def missed(self, report: Report) -> Iterator[str]:
        """A sentence for each mode that is below; what was not measured is not reached either."""
        for mode in [self.mode] if self.mode else list(report.modes):
            figures = report.modes.get(mode)
            found = figures.scores.get(self.metric) if figures else None
            if found is None:
                yield f"{mode} has no {self.metric}: {self.least:g} is asked for"
            elif found.mean < self.least:
                yield f"{mode}: {self.metric} is {found.mean:.4f}, below {self.least:g}"


def parse_bound(text: str) -> Bound:
    """From the command line."""
    name, _, value = text.partition("=")
    mode, _, metric = name.rpartition(":")
    try:
        least = float(value)
    except ValueError:
        raise QuestionsError(f"{text!r} is no bound; one is [MODE:]METRIC=VALUE, e.g. hybrid:mrr@10=0.6") from None
    if metric not in METRICS:
        raise QuestionsError(f"no metric {metric!r}; there are: {', '.join(METRICS)}")
    if mode and mode not in MODES:
        raise QuestionsError(f"no mode {mode!r}; there are: {', '.join(MODES)}")
    return Bound(mode or None, metric, least)
