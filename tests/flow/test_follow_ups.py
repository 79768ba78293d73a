"""Follow-up questions: what is searched for, what is kept under which key, and what happens without a model."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from connectors.errors import Transient
from connectors.memory.hot import MemoryHotCache
from connectors.memory.rewriter import MemoryRewriter
from runtime.settings import Queries, Settings
from streams.queries.condense import AS_IT_IS, JOINED, Condense, joined
from streams.queries.hot import Hot
from tests.flow.inline import Lanes
from topics.queries import AnswerEvent, Turn

HISTORY = [
    Turn(role="user", content="Where was the green valve built?"),
    Turn(role="assistant", content="In Oslo [1]."),
]
FOLLOW_UP = "And when is it oiled?"
ALONE = "When is the green valve oiled?"


async def filled(rewriter: MemoryRewriter | None = None, settings: Settings | None = None) -> Lanes:
    lanes = Lanes(settings or Settings())
    await lanes.put("valves", b"The green valve was built in Oslo. It is oiled in May.", content_type=b"text/plain")
    await lanes.put("cats", b"Cats sleep for most of the day and hunt at dusk.", content_type=b"text/plain")
    lanes.retrieve._condense = Condense(lanes.settings.queries, rewriter, lanes.clock)
    return lanes


def found(events: list[AnswerEvent]) -> dict[str, Any]:
    assert events[-1].type == "answer", events[-1].data
    return dict(events[-1].data["retrieval"])


async def test_a_model_makes_the_question_stand_alone() -> None:
    """What it says is searched for, answered, and told; nothing is degraded, and the history goes no further."""
    rewriter = MemoryRewriter(lambda question, history: f'I think:\n"{ALONE}"\n')
    events = await (await filled(rewriter)).ask(FOLLOW_UP, history=HISTORY)
    answer = events[-1].data
    assert rewriter.asked == [FOLLOW_UP]
    assert answer["standalone"] == ALONE and "May" in answer["text"] and not answer.get("degraded")


async def test_a_question_without_history_is_left_alone() -> None:
    """No model is asked, and nothing is said of it."""
    rewriter = MemoryRewriter(lambda question, history: ALONE)
    answer = (await (await filled(rewriter)).ask(ALONE))[-1].data
    assert not rewriter.asked and "standalone" not in answer and not answer.get("degraded")


@pytest.mark.parametrize("says", ["", " \n ", "x" * 5000])
async def test_what_is_no_question_is_not_taken(says: str) -> None:
    """Nothing, or more than a question may have: then terms are joined, and the label says so."""
    lanes = await filled(MemoryRewriter(lambda question, history: says))
    retrieval = found(await lanes.ask(FOLLOW_UP, history=HISTORY, mode="retrieve"))
    assert (
        retrieval["degraded"] == [JOINED] and retrieval["standalone"] == f"{FOLLOW_UP} Where was the green valve built"
    )


async def test_without_an_endpoint_terms_are_joined() -> None:
    """Each such answer is labelled, whether terms were joined or the question seemed to stand alone."""
    lanes = await filled()
    retrieval = found(await lanes.ask("And in Oslo?", history=HISTORY, mode="retrieve"))
    assert retrieval["passages"][0]["doc_id"] == "valves" and retrieval["degraded"] == [JOINED]
    retrieval = found(await lanes.ask("When do cats go hunting in the day?", history=HISTORY, mode="retrieve"))
    assert retrieval["degraded"] == [AS_IT_IS] and "standalone" not in retrieval


JOINS: list[tuple[str, Sequence[str], str]] = [
    ("And for Windows?", ["How do I install it on Linux?"], "And for Windows? How do I install it on Linux"),
    ("How do I start it on my machine?", ["What is Freshet?"], "How do I start it on my machine? What is Freshet"),
    ("Which ports does the gateway listen on?", ["What is Freshet?"], "Which ports does the gateway listen on?"),
    ("Why?", ["first question", "second question"], "Why? second question"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "before", "expected"), JOINS)
def test_what_terms_are_joined(question: str, before: Sequence[str], expected: str) -> None:
    """Those of the latest question that are missing, and only to a question that is short or points back."""
    assert joined(question, [Turn(role="user", content=each) for each in before]) == expected


async def test_a_model_that_is_away_is_not_waited_for_by_all() -> None:
    """After two failures the next question does not ask it, and all are answered with joined terms."""
    rewriter = MemoryRewriter(lambda question, history: ALONE)
    rewriter.failure = Transient("away", reason="away")
    lanes = await filled(rewriter)
    for _ in range(3):
        assert found(await lanes.ask(FOLLOW_UP, history=HISTORY, mode="retrieve"))["degraded"] == [JOINED]
    assert len(rewriter.asked) == 2


async def test_a_model_that_is_silent_takes_its_share_only() -> None:
    """A quarter of what is left until the deadline, at most; then terms are joined."""

    class Silent(MemoryRewriter):
        async def rewrite(self, question: str, history: Sequence[Turn], seconds: float) -> str:
            await asyncio.sleep(30)
            return ALONE

    lanes = await filled(Silent(lambda question, history: ALONE), Settings(queries=Queries(rewrite_timeout=20)))
    retrieval = found(await lanes.ask(FOLLOW_UP, history=HISTORY, mode="retrieve", seconds=1.0))
    assert retrieval["degraded"] == [JOINED] and retrieval["timings"]["condense"] < 500


async def test_the_hot_tier_knows_the_question_that_stands_alone() -> None:
    """The same words after another conversation get other passages; the same question asked alone gets the same."""
    meant = {"valve": ALONE, "cats": "When do cats hunt?"}
    rewriter = MemoryRewriter(
        lambda question, history: next(q for word, q in meant.items() if word in history[0].content)
    )
    lanes = await filled(rewriter)
    lanes.retrieve._hot = Hot(MemoryHotCache(), "test", 300)
    searched: list[str] = []
    find = lanes.retrieve._search.find

    async def counted(question: Any, *more: Any) -> Any:
        searched.append(question.question)
        return await find(question, *more)

    lanes.retrieve._search.find = counted  # type: ignore[method-assign, assignment]
    about_cats = [Turn(role="user", content="Do cats sleep?")]
    first = found(await lanes.ask("And when?", history=HISTORY, mode="retrieve"))["passages"]
    other = found(await lanes.ask("And when?", history=about_cats, mode="retrieve"))["passages"]
    alone = found(await lanes.ask(ALONE, mode="retrieve"))["passages"]
    assert first == alone and first[0]["doc_id"] == "valves" and other[0]["doc_id"] == "cats"
    assert searched == [ALONE, "When do cats hunt?"]
