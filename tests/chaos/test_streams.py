"""The verdict on streams: it misses nothing that a client could miss."""

import pytest

from chaos.streams import Event, Stream, judge

LOG: list[Event] = [
    ("1", "retrieving", {}),
    ("2", "passages", {"passages": []}),
    ("3", "generating", {"model": "m"}),
    ("4", "token", {"text": "w0 "}),
    ("5", "token", {"text": "w1 [1]"}),
    ("6", "answer", {"text": "w0 w1 [1]"}),
]
AGAIN: list[Event] = [*LOG[:4], (None, "restarted", {"attempt": "b"}), *[(f"1{e[0]}", e[1], e[2]) for e in LOG[2:]]]


def stream(events: list[Event]) -> Stream:
    return Stream("job", [(None, "accepted", {}), *events])


def test_a_stream_that_is_whole() -> None:
    """Nothing is wrong with what the log has, begun again or not."""
    assert judge(stream(LOG), LOG, restarts=False) == []
    assert judge(stream(AGAIN), AGAIN, restarts=True) == []


@pytest.mark.parametrize("at", range(len(LOG)))
def test_every_event_counts(at: int) -> None:
    """One that is missing, comes twice, or changes places with the next is seen."""
    assert judge(stream(LOG[:at] + LOG[at + 1 :]), LOG, restarts=False)
    assert judge(stream(LOG[: at + 1] + LOG[at:]), LOG, restarts=False)
    if at + 1 < len(LOG):
        assert judge(stream([*LOG[:at], LOG[at + 1], LOG[at], *LOG[at + 2 :]]), LOG, restarts=False)


def test_a_text_that_is_not_the_answers() -> None:
    """Two attempts in one text, or half of one, are seen even where the log itself has them so."""
    mixed = [event for event in AGAIN if event[1] != "restarted"]
    assert judge(stream(mixed), mixed, restarts=False)
    half = [*LOG[:4], LOG[5]]
    assert judge(stream(half), half, restarts=False)


def test_restarts_where_they_belong() -> None:
    """A worker that died must be told of, and none may be told of that did not."""
    assert judge(stream(LOG), LOG, restarts=True)
    assert judge(stream(AGAIN), AGAIN, restarts=False)


def test_an_end_that_is_none() -> None:
    """An error, or nothing at all, is no answer."""
    failed: list[Event] = [*LOG[:3], ("9", "error", {"reason": "expired"})]
    assert judge(stream(failed), failed, restarts=False)
    assert judge(stream([]), [], restarts=False)
