"""The verdict on slow encoding, on histories made by hand."""

from collections.abc import Callable

import pytest

from chaos.questions import Asked
from chaos.spike import Spike, judge


def history() -> Spike:
    """A spike from 10 to 20 whose queue grew to 9 and was empty at 25."""
    queue = [(float(n), 0.0 if n < 10 or n >= 25 else 9.0) for n in range(40)]
    return Spike([Asked(float(n), 0.1, passages=5) for n in range(40)], queue, 10.0, 20.0, edits=30)


def test_a_spike_that_was_seen_and_passed_is_no_violation() -> None:
    """The queue grew and drained, and everybody was answered."""
    found = history()
    assert judge(found) == []
    assert found.drained_after == 5.0


def unseen(found: Spike) -> None:
    found.queue = [(at, 0.0) for at, _ in found.queue]


def stuck(found: Spike) -> None:
    found.queue = [(at, length if at < 20 else 9.0) for at, length in found.queue]


def failed(found: Spike) -> None:
    found.asked[15].error = "503"


def late(found: Spike) -> None:
    found.asked[15].took = 16.0


def lost(found: Spike) -> None:
    found.edits_lost = 1


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (unseen, "nobody could have seen it"),
        (stuck, "did not drain"),
        (failed, "1 questions failed"),
        (late, "1 answers came behind"),
        (lost, "1 pages did not become visible"),
    ],
)
def test_each_broken_promise_is_told(harm: Callable[[Spike], None], told: str) -> None:
    """One thing wrong, one sentence about it."""
    found = history()
    harm(found)
    assert [told in sentence for sentence in judge(found)] == [True]
