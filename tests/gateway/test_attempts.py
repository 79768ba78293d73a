"""Readers of a job whose work ran more than once."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.attempts import RESTARTED, Attempts
from tests.gateway.builders import event, token, whole_story
from topics.queries import FINAL, AnswerEvent


def types(events: list[AnswerEvent]) -> list[str]:
    """What a reader sees of these events."""
    attempts = Attempts()
    return [emission.type for each in events for emission in attempts.feed(each)]


def text_seen(events: list[AnswerEvent]) -> str:
    """The text that a reader holds in the end, who throws all away at `restarted`."""
    attempts, text = Attempts(), ""
    for each in events:
        for emission in attempts.feed(each):
            if emission.type == RESTARTED:
                text = ""
            elif emission.type == "token":
                text += emission.data["text"]
    return text


def test_one_attempt_passes_unchanged() -> None:
    """Work that ran once is passed on event by event."""
    story = whole_story()
    assert types(story) == [e.type for e in story]


def test_a_newer_attempt_restarts_the_text() -> None:
    """When generation runs again after tokens went out, `restarted` comes first, and then one whole text."""
    story = [token("a", 0, "half "), event("generate", "b", 0, "generating"), token("b", 1, "whole")]
    assert types(story) == ["token", RESTARTED, "generating", "token"]
    assert text_seen(story) == "whole"


def test_no_restart_without_tokens() -> None:
    """Nothing was passed on that would be void, so nothing is said."""
    assert types([event("generate", "a", 0, "generating"), event("generate", "b", 0, "generating")]) == [
        "generating",
        "generating",
    ]


def test_each_further_attempt_restarts_again() -> None:
    """`restarted` comes once per attempt that voids tokens, not once per job."""
    assert types([token("a", 0, "x"), token("b", 0, "y"), token("c", 0, "z")]) == [
        "token",
        RESTARTED,
        "token",
        RESTARTED,
        "token",
    ]


def test_events_of_an_older_attempt_are_ignored() -> None:
    """A slow first worker that goes on writing is not heard once a second one has begun."""
    story = [token("a", 0, "a0"), token("b", 0, "b0"), token("a", 1, "a1"), token("b", 1, "b1")]
    assert text_seen(story) == "b0b1"
    assert types([*story, event("generate", "a", 2, "answer")])[-1] == "token"


def test_duplicates_are_ignored() -> None:
    """A sequence number that came before says nothing new."""
    assert types([token("a", 0, "x"), token("a", 0, "x"), token("a", 1, "y"), token("a", 0, "x")]) == ["token"] * 2


def test_nothing_follows_a_final_event() -> None:
    """After the answer neither a newer attempt nor an error is heard."""
    story = whole_story()
    assert types([*story, token("late", 0, "x"), event("generate", "late", 1, "error")]) == [e.type for e in story]


def test_stages_are_followed_each_by_itself() -> None:
    """A retrieval that runs again does not void the text that is being written."""
    story = [event("retrieve", "r1", 0, "retrieving"), token("a", 0, "x"), event("retrieve", "r2", 0, "passages")]
    assert types([*story, token("a", 1, "y")]) == ["retrieving", "token", "passages", "token"]


def test_a_retrieval_that_fails_late_does_not_end_the_job() -> None:
    """Once generation has begun, the error of a retrieval that ran again is not the job's."""
    late = event("retrieve", "r2", 0, "error", {"reason": "expired"})
    assert types([token("a", 0, "x"), late, event("generate", "a", 1, "answer")]) == ["token", "answer"]


def test_a_retrieval_may_be_final() -> None:
    """In mode retrieve the retrieval's own answer ends the job."""
    attempts = Attempts()
    attempts.feed(event("retrieve", "r1", 0, "answer"))
    assert attempts.final is not None


@st.composite
def deliveries(draw: st.DrawFn) -> list[AnswerEvent]:
    """Up to four attempts at one answer, each cut off anywhere, interleaved in any order, with duplicates."""
    runs = []
    for n in range(draw(st.integers(1, 4))):
        name = f"a{n}"
        run = [token(name, seq, f"{name}.{seq} ") for seq in range(draw(st.integers(0, 5)))]
        if draw(st.booleans()):
            run.append(event("generate", name, len(run), "answer"))
        runs.append(run)
    mixed: list[AnswerEvent] = []
    while any(runs):
        run = draw(st.sampled_from([r for r in runs if r]))
        mixed.append(run.pop(0))
        if draw(st.booleans()):
            mixed.append(mixed[draw(st.integers(0, len(mixed) - 1))])
    return mixed


@given(deliveries())
def test_never_two_texts_mixed(story: list[AnswerEvent]) -> None:
    """Whatever comes in whatever order: what is held is a beginning of one attempt's text, and one final event."""
    pieces = text_seen(story).split()
    assert len({piece.split(".")[0] for piece in pieces}) <= 1
    assert [int(piece.split(".")[1]) for piece in pieces] == list(range(len(pieces)))
    seen = types(story)
    assert sum(kind in FINAL for kind in seen) <= 1
    assert not any(kind in FINAL for kind in seen[:-1])
