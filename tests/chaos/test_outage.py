"""The verdict on an outage of the vector store, on histories made by hand."""

from collections.abc import Callable

import pytest

from chaos.outage import Run, judge
from chaos.questions import Asked


def calm(seconds: int = 60) -> list[Asked]:
    return [Asked(due=float(n), took=0.02, passages=5) for n in range(seconds)]


def history() -> list[Run]:
    """A run without a fault, and one with an outage from 20 to 50 in which all went as promised."""
    asked = calm(100)
    for one in asked[20:52]:
        one.degraded = ["vector-unavailable"]
    return [Run("none", calm(100)), Run("refused", asked, began=20.0, ended=50.0)]


def test_an_outage_that_nobody_felt_is_no_violation() -> None:
    """All answered, all labelled, as quick as before, normal after two seconds."""
    runs = history()
    assert judge(runs, vector_deadline=0.3) == []
    assert runs[1].normal_after == 2.0


def fail_one(run: Run) -> None:
    run.asked[30].error = "503"


def slow_down(run: Run) -> None:
    for asked in run.asked:
        asked.took = 0.03


def hang(run: Run) -> None:
    run.asked[30].took = 2.0


def keep_silent(run: Run) -> None:
    run.asked[40].degraded = []


def stay_degraded(run: Run) -> None:
    for asked in run.asked[50:]:
        asked.degraded = ["vector-unavailable"]


def find_nothing(run: Run) -> None:
    run.asked[40].passages = 0


def lose_an_edit(run: Run) -> None:
    run.edits_lost = 1


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (fail_one, "1 questions failed, the first with 503"),
        (slow_down, "mean latency is 1.50"),
        (hang, "p99 in the outage"),
        (keep_silent, "1 answers in the outage are not labelled"),
        (stay_degraded, "not normal within"),
        (find_nothing, "1 answers without a passage"),
        (lose_an_edit, "1 edits did not become visible"),
    ],
)
def test_each_broken_promise_is_told(harm: Callable[[Run], None], told: str) -> None:
    """One thing wrong, one sentence about it (a question that hangs also raises the mean)."""
    runs = history()
    harm(runs[1])
    assert any(told in sentence for sentence in judge(runs, vector_deadline=0.3))
