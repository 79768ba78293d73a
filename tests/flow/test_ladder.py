"""What becomes of an answer when models fail: tried again, handed down, ended in time."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from connectors.models.extractive import Extractive
from connectors.ports import Delta
from runtime import metrics
from streams.queries.generate import Generate
from streams.queries.ladder import Rung, guarded
from streams.queries.versions import Versions
from tests.flow.inline import Lanes
from topics.control import LlmVersions
from topics.queries import AnswerEvent, Passage, Usage

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


class Away(Scripted):
    """One that can be probed, and is away for so many probes."""

    provider = "openai"

    def __init__(self, *errors: ConnectorError, name: str = "scripted", probes: int = 0) -> None:
        super().__init__(*errors)
        self.name, self.left = name, probes

    async def probe(self, seconds: float) -> None:
        self.left -= 1
        if self.left >= 0:
            raise Transient("still down", reason="away")


async def rig(*models: Scripted) -> Lanes:
    """Models with breakers on a ladder, above quoting."""
    lanes = Lanes()
    await lanes.put("valves", b"The green valve was built in Oslo. It closes by hand.", content_type=b"text/plain")
    rungs = [guarded(model, lanes.clock) for model in models if isinstance(model, Away)]
    versions = Versions([*rungs, Rung(Extractive(lanes.encoder), lanes.clock)], LlmVersions(lead=rungs[0].name))
    lanes.generate = Generate(lanes.settings.queries, versions, lanes.publish, lanes.clock)
    return lanes


def down(times: int) -> list[ConnectorError]:
    return [Transient("down", reason="away") for _ in range(times)]


async def test_a_model_that_is_away_is_not_asked_until_a_probe_finds_it() -> None:
    """Two questions in a row find out; the next ones pass it by at once, until it answers a probe."""
    lanes = await rig(model := Away(*down(6), probes=1))
    for _ in range(2):
        assert (await lanes.ask(QUESTION))[-1].data["degraded"] == ["model-0:away"]
    assert len(model.given) == 6
    began = time.monotonic()
    events = await lanes.ask(QUESTION)
    assert events[-1].data["degraded"] == ["model-0:open"] and len(model.given) == 6 and time.monotonic() - began < 0.2
    assert [e.data["model"] for e in events if e.type == "generating"] == ["extractive"]
    breaker = lanes.generate._versions.rungs[0].breaker
    assert breaker is not None
    probing = asyncio.create_task(breaker.run())
    async with asyncio.timeout(5):
        while breaker.open:
            await asyncio.sleep(0.01)
    probing.cancel()
    assert model.left < 0 and (await lanes.ask(QUESTION))[-1].data["model"] == "scripted"


async def test_wrong_settings_are_asked_once_and_then_probed() -> None:
    """A key or a name that is refused is refused to the next question too."""
    lanes = await rig(model := Away(Permanent("no", reason="key"), probes=99))
    assert (await lanes.ask(QUESTION))[-1].data["degraded"] == ["model-0:key"]
    assert (await lanes.ask(QUESTION))[-1].data["degraded"] == ["model-0:open"] and len(model.given) == 1


async def test_what_says_nothing_for_too_short_a_time_is_not_away() -> None:
    """A question that had but a second left tells nothing of an endpoint."""
    silent = [Transient("silent", reason="timeout") for _ in range(4)]
    lanes = await rig(model := Away(*silent))
    for _ in range(4):
        await lanes.ask(QUESTION, seconds=1.5)
    assert len(model.given) == 4


async def test_the_second_endpoint_answers_and_says_which_rung_it_is() -> None:
    """Before anything is quoted the next endpoint is asked; its answer is labelled by its place and its name."""
    lanes = await rig(Away(*down(9), name="first"), second := Away(name="second"))
    answer = (await lanes.ask(QUESTION))[-1].data
    assert (answer["model"], answer["rung"], answer["degraded"]) == ("second", 1, ["model-0:away"])
    assert len(second.given) == 1
    whole = await rig(Away(name="first"), Away(name="second"))
    assert "rung" not in (await whole.ask(QUESTION))[-1].data


async def test_an_endpoint_that_asked_for_a_pause_is_not_asked_before() -> None:
    """By no question: where another endpoint can answer, that one does; where none can, the pause is waited for."""
    lanes = await rig(first := Away(Overloaded("busy", retry_after=4), name="first"), Away(name="second"))
    assert (await lanes.ask(QUESTION))[-1].data["degraded"] == ["model-0:overloaded"]
    for _ in range(3):
        assert (await lanes.ask(QUESTION))[-1].data["model"] == "second"
    assert len(first.given) == 1
    lanes = await rig(alone := Away(Overloaded("busy", retry_after=1.0)))
    began = time.monotonic()
    answers = await asyncio.gather(*(lanes.ask(QUESTION) for _ in range(3)))
    assert {each[-1].data["model"] for each in answers} == {"scripted"} and time.monotonic() - began >= 1.0
    assert max(alone.given) > 7.9 and sorted(alone.given)[-2] < 7.1  # one learnt of the pause, and all kept it


async def test_silence_is_cut_short_where_another_can_be_asked() -> None:
    """A model that says nothing leaves half of its time to the next one, which is enough for a whole answer."""

    class Silent(Away):
        async def stream(self, *arguments: Any) -> AsyncGenerator[Delta, None]:
            await asyncio.sleep(60)
            yield Delta("")

    lanes = await rig(Silent(name="first"), Away(name="second"))
    began = time.monotonic()
    answer = (await lanes.ask(QUESTION, seconds=4.0))[-1].data
    assert (answer["model"], answer["degraded"]) == ("second", ["model-0:timeout"])
    assert 1.3 < time.monotonic() - began < 2.0


async def test_what_is_streamed_is_what_the_answer_says() -> None:
    """A marker of nothing is taken out before anybody sees it, and counted."""

    class Liar(Scripted):
        async def stream(self, *arguments: Any) -> AsyncGenerator[Delta, None]:
            for piece in (" Built in", " Oslo [", "9", "]. By hand [1", ", 7].\n"):
                yield Delta(piece)
            yield Delta("", usage=Usage(70, 12))

    before = metrics.citations.labels("scripted", "removed")._value.get()
    events = await asked(Liar())
    shown = "".join(e.data["text"] for e in events if e.type == "token")
    answer = events[-1].data
    assert shown == answer["text"] == "Built in Oslo. By hand [1]."
    assert [each["marker"] for each in answer["citations"]] == [1]
    assert metrics.citations.labels("scripted", "removed")._value.get() - before == 2
    assert answer["usage"] == {"input_tokens": 70, "output_tokens": 12}
    assert 0 <= answer["timings"]["time_to_first_token_ms"] <= answer["timings"]["generate"]


async def test_where_nothing_was_found_no_model_is_asked() -> None:
    """Nor counted, nor is it said that one was away; what is streamed says so too."""
    lanes = await rig(model := Away(*down(9)))
    for _ in range(3):
        events = await lanes.ask("Who sings?")
        assert (events[-1].data["found"], events[-1].data["model"]) == (False, "scripted")
        assert "degraded" not in events[-1].data
        assert [e.data["text"] for e in events if e.type == "token"] == [events[-1].data["text"]]
    assert not model.given and not lanes.generate._versions.rungs[0].figures.take()


async def test_a_question_may_name_its_model() -> None:
    """That one is asked and no other but quoting below it; one that there is not ends the job with those there are."""
    lanes = await rig(Away(name="first"), Away(*down(9), name="second"))
    answer = (await lanes.ask(QUESTION, model="second"))[-1].data
    assert (answer["model"], answer["degraded"]) == ("extractive", ["model-0:away"])
    assert (await lanes.ask(QUESTION, model="extractive"))[-1].data["model"] == "extractive"
    error = (await lanes.ask(QUESTION, model="third"))[-1]
    assert error.type == "error" and error.data["reason"] == "invalid"
    assert "no model 'third'; there are: first, second, extractive" in error.data["message"]
