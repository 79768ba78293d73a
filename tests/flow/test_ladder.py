"""What becomes of an answer when models fail: tried again, handed down, ended in time."""

import time
from collections.abc import AsyncGenerator, Sequence

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from connectors.ports import Delta
from tests.flow.inline import Lanes
from topics.queries import AnswerEvent, Passage

QUESTION = "Where was the green valve built?"


class Scripted:
    """A model that fails as it is told, once for each error, after half a sentence; then it answers."""

    name = "scripted"

    def __init__(self, *errors: ConnectorError, dropped: int = 0) -> None:
        self._errors, self._dropped = list(errors), dropped
        self.given: list[float] = []
        self.closed = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def stream(self, question: str, passages: Sequence[Passage], seconds: float) -> AsyncGenerator[Delta, None]:
        self.given.append(seconds)
        try:
            if self._dropped:
                yield Delta("", self._dropped)
            if self._errors:
                yield Delta("Half of a ")
                raise self._errors.pop(0)
            for number in range(1, len(passages) + 1):
                yield Delta(f"See [{number}]. ")
        finally:
            self.closed += 1


async def asked(model: Scripted, seconds: float = 10.0, *, alone: bool = False) -> list[AnswerEvent]:
    lanes = Lanes()
    await lanes.put("valves", b"The green valve was built in Oslo. It closes by hand.", content_type=b"text/plain")
    await lanes.put("other", b"The green valve was built in a dock.", content_type=b"text/plain")
    lanes.writes(model, alone=alone)
    return await lanes.ask(QUESTION, seconds=seconds)


async def test_a_cut_stream_is_tried_again_as_a_new_attempt() -> None:
    """Half an answer is followed by a whole one of the same model, which is not degraded and holds nothing of it."""
    events = await asked(Scripted(Transient("cut", reason="cut")))
    answer = events[-1]
    assert answer.data["model"] == "scripted" and not answer.data.get("degraded") and "Half" not in answer.data["text"]
    half = [e for e in events if e.type == "token" and e.data["text"].startswith("Half")]
    assert len(half) == 1 and half[0].attempt != answer.attempt


async def test_the_next_model_of_the_ladder_answers_and_says_so() -> None:
    """A model that goes on failing is left after three tries, and the answer names the rung and the reason."""
    model = Scripted(*[Transient("down", reason="endpoint") for _ in range(9)])
    answer = (await asked(model))[-1].data
    assert len(model.given) == model.closed == 3
    assert answer["degraded"] == ["model-0:endpoint"] and answer["model"] == "extractive" and "Oslo" in answer["text"]


async def test_what_fails_for_ever_is_tried_once() -> None:
    """A wrong key, a wrong name, and an endpoint that was silent for its whole time are not asked again."""
    for error in (Permanent("no", reason="key"), Transient("silent", reason="timeout")):
        model = Scripted(error)
        answer = (await asked(model))[-1].data
        assert len(model.given) == 1 and answer["degraded"] == [f"model-0:{error.reason}"]


async def test_retry_after_is_waited_for_where_it_fits() -> None:
    """A busy endpoint is asked again when it said, and not at all when that is too late for this question."""
    began = time.monotonic()
    answer = (await asked(Scripted(Overloaded("busy", retry_after=1.0))))[-1].data
    assert time.monotonic() - began >= 1.0 and answer["model"] == "scripted" and not answer.get("degraded")
    began = time.monotonic()
    answer = (await asked(Scripted(Overloaded("busy", retry_after=30.0))))[-1].data
    assert time.monotonic() - began < 1.0 and answer["degraded"] == ["model-0:overloaded"]


async def test_a_model_leaves_time_for_the_next() -> None:
    """All but the last model must be done before the deadline; the last may take it all."""
    model = Scripted()
    await asked(model, seconds=10.0)
    assert 7.5 < model.given[0] <= 8.0
    await asked(model, seconds=10.0, alone=True)
    assert 9.5 < model.given[1] <= 10.0


async def test_tries_share_one_limit() -> None:
    """What the first try and the pause took is missing from the second, and not from the models further down."""
    model = Scripted(Overloaded("busy", retry_after=1.0))
    await asked(model, seconds=4.0)
    assert model.given[0] <= 3.0 and model.given[0] - model.given[1] >= 1.0


async def test_no_model_is_an_error_with_the_reasons() -> None:
    """Where nothing is left to answer, the job ends with an error that names what each model failed of."""
    error = (await asked(Scripted(Permanent("no", reason="model")), alone=True))[-1]
    assert error.type == "error" and error.data["reason"] == "unavailable" and "model-0:model" in error.data["message"]


async def test_dropped_passages_are_neither_cited_nor_offered() -> None:
    """What the model did not see is in no citation and no receipt, and the answer says how many those were."""
    whole, short = (await asked(Scripted()))[-1].data, (await asked(Scripted(dropped=1)))[-1].data
    assert [c["marker"] for c in whole["citations"]] == [1, 2] and not whole.get("degraded")
    assert [c["marker"] for c in short["citations"]] == [1] and "[2]" not in short["text"]
    assert short["degraded"] == ["passages-dropped:1"]
    assert list(short["documents"]) == [whole["citations"][0]["doc_id"]]
