"""What was measured, whole: every question's ranking, so that two reports can be compared later.

Figures are worked out from the rankings and answers, and written beside them for whoever reads the file.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cli.evaluation.asking import Outcome
from cli.evaluation.intervals import Interval, interval
from cli.evaluation.questions import Case, QuestionsError
from cli.evaluation.scores import ANSWER, DEPTH, METRICS, RANKING, answer_scores, ranking_scores

FORMAT = 1

Scores = Mapping[str, float]


class Asked(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A question and its outcome by mode."""

    case: Case
    outcomes: dict[str, Outcome]


class Figures(msgspec.Struct, kw_only=True):
    """One mode.  ``timings`` are milliseconds: median and 95th percentile of each step."""

    scores: dict[str, Interval]
    timings: dict[str, tuple[float, float]]
    degraded: dict[str, int]
    failed: dict[str, str]  # id -> reason


class Difference(msgspec.Struct, kw_only=True):
    """``mode`` minus ``base`` over the questions that both have a value for."""

    mode: str
    base: str
    metric: str
    interval: Interval


class Report(msgspec.Struct, kw_only=True):
    """The file that `--json` writes and `--compare` reads."""

    format: int
    settings: dict[str, Any]
    machine: dict[str, Any]
    modes: dict[str, Figures]
    differences: list[Difference]
    questions: list[Asked]

    @property
    def failed(self) -> int:
        """Outcomes that are failures."""
        return sum(len(figures.failed) for figures in self.modes.values())


def scores_of(case: Case, outcome: Outcome, answers: bool) -> dict[str, float]:
    """Of one question in one mode; what failed is worth nothing and counts."""
    scores = ranking_scores(outcome.ranked, case.relevant)
    if answers:
        scores |= answer_scores(outcome.text or "", outcome.cited, case.answers, case.relevant)
    return scores


def make_report(asked: Sequence[Asked], settings: dict[str, Any], machine: dict[str, Any]) -> Report:
    """Every figure of every mode, and every mode beside those before it."""
    modes = list(asked[0].outcomes)
    scored = {mode: scored_by_id(asked, mode, settings["answers"]) for mode in modes}
    for each in asked:
        for outcome in each.outcomes.values():
            outcome.ranked = outcome.ranked[:DEPTH]  # what no figure looks at is not written down
    return Report(
        format=FORMAT,
        settings=settings,
        machine=machine,
        modes={mode: _figures(asked, mode, scored[mode]) for mode in modes},
        differences=[
            found
            for place, mode in enumerate(modes)
            for base in modes[:place]
            for found in differences(mode, scored[mode], base, scored[base])
        ],
        questions=list(asked),
    )


def scored_by_id(asked: Sequence[Asked], mode: str, answers: bool) -> dict[str, Scores]:
    """Scores of each question in one mode."""
    return {each.case.id: scores_of(each.case, each.outcomes[mode], answers) for each in asked}


def differences(mode: str, scored: Mapping[str, Scores], base: str, before: Mapping[str, Scores]) -> list[Difference]:
    """By metric, paired by question."""
    found = []
    for metric in METRICS:
        pairs = [
            scores[metric] - before[id_][metric]
            for id_, scores in scored.items()
            if metric in scores and metric in before.get(id_, {})
        ]
        if pairs:
            found.append(Difference(mode=mode, base=base, metric=metric, interval=interval(pairs)))
    return found


def compare(old: Report, new: Report) -> list[Difference]:
    """``new`` minus ``old`` for every mode that both have, over the questions that both asked."""
    answers = old.settings["answers"] and new.settings["answers"]
    shared = {each.case.id: each.case for each in old.questions}
    same = [each for each in new.questions if shared.get(each.case.id) == each.case]
    if not same:
        raise QuestionsError("the reports have no question in common: compare reports of one file")
    return [
        found
        for mode in new.modes
        if mode in old.modes
        for found in differences(
            mode, scored_by_id(same, mode, answers), mode, scored_by_id(old.questions, mode, answers)
        )
    ]


def read_report(path: Path) -> Report:
    """A report that `--json` wrote."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise QuestionsError(f"{path}: {error}; it must be a file that `freshet eval --json` wrote") from None


def write_report(report: Report, path: Path) -> None:
    """As JSON, sorted as it is defined."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def _figures(asked: Sequence[Asked], mode: str, scored: Mapping[str, Scores]) -> Figures:
    outcomes = {each.case.id: each.outcomes[mode] for each in asked}
    had = [outcome for outcome in outcomes.values() if not outcome.failed]
    steps = dict.fromkeys(step for outcome in had for step in outcome.timings)
    timings = {step: [o.timings[step] for o in had if step in o.timings] for step in steps}
    values = {metric: [s[metric] for s in scored.values() if metric in s] for metric in (*RANKING, *ANSWER)}
    return Figures(
        scores={metric: interval(found) for metric, found in values.items() if found},
        timings={step: _middle_and_tail(found) for step, found in timings.items()},
        degraded=dict(Counter(label for outcome in had for label in outcome.degraded)),
        failed={id_: outcome.failed for id_, outcome in outcomes.items() if outcome.failed},
    )


def _middle_and_tail(values: Sequence[float]) -> tuple[float, float]:
    median, tail = np.percentile(values, [50, 95])
    return round(float(median), 2), round(float(tail), 2)
