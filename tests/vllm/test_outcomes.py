"""Each way in which a real vLLM, or the way to it, fails: what is tried again, and what the user gets."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import build
from connectors.errors import Permanent, Transient
from connectors.models.chat import Chat
from runtime.endpoints import Endpoint
from runtime.settings import Queries, Settings
from tests.flow.inline import Lanes
from tests.vllm.conftest import KEY, MODEL
from tests.vllm.faults import Faults
from tests.vllm.tiny_llama import SENTENCE
from topics.queries import AnswerEvent

pytestmark = pytest.mark.vllm
QUESTION = "Where was the green valve built?"
TEXT = "The green valve was built in Oslo in dock {n}. It closes by hand. "


@pytest.fixture(params=["openai", "anthropic"])
def endpoint(faults: Faults, request: pytest.FixtureRequest) -> Iterator[Faults]:
    """The proxy with nothing planned, asked by either protocol: the same server speaks both."""
    faults.plan()
    faults.provider = request.param
    yield faults
    faults.provider = "openai"


def model_of(faults: Faults, **fields: Any) -> Chat:
    """An adapter for it."""
    wanted = {"model": MODEL, "api_key": SecretStr(KEY), "max_tokens": 64, "first_token_timeout": 3.0} | fields
    found = Endpoint(name="tiny", provider=faults.provider, url=faults.url, **wanted)
    return build.adapter(found)


async def ask(faults: Faults, *, seconds: float = 10.0, documents: int = 3, words: int = 14, **llm: Any) -> AnswerEvent:
    """Ask through the real stages, with the endpoint first on the ladder; the job's last event."""
    return (await follow(faults, seconds=seconds, documents=documents, words=words, **llm))[-1]


async def follow(faults: Faults, *, seconds: float, documents: int, words: int, **llm: Any) -> list[AnswerEvent]:
    lanes = Lanes(Settings(queries=Queries(min_score=-1, k=documents)))
    for n in range(documents):
        text = (TEXT.format(n=n) * (1 + words // 14)).encode()
        await lanes.put(f"valve-{n}", text, content_type=b"text/plain")
    model = model_of(faults, **llm)
    await model.open()
    lanes.writes(model)
    try:
        return await lanes.ask(QUESTION, seconds=seconds, k=documents)
    finally:
        await model.close()


def is_whole(answer: AnswerEvent) -> bool:
    """Whether the model's own answer arrived, with nothing to apologise for."""
    return answer.data["model"] == MODEL and answer.data["text"] == SENTENCE and not answer.data.get("degraded")


def is_quoted(answer: AnswerEvent, label: str) -> bool:
    """Whether the answer was quoted instead, and says why."""
    return answer.data["model"] == "extractive" and "Oslo" in answer.data["text"] and answer.data["degraded"] == [label]


async def test_a_healthy_endpoint_answers(endpoint: Faults) -> None:
    """The model's text arrives whole and once, and each marker in it is a citation."""
    answer = await ask(endpoint)
    assert is_whole(answer) and endpoint.asked == 1
    assert [citation["marker"] for citation in answer.data["citations"]] == [1, 2, 3]
    used = answer.data["usage"]
    assert used["output_tokens"] == len(SENTENCE.split()) + 1 and 100 < used["input_tokens"] < 400
    assert 0 < answer.data["timings"]["time_to_first_token_ms"] <= answer.data["timings"]["generate"]


@pytest.mark.parametrize(
    ("wrong", "reason", "says"),
    [({"model": "nobody"}, "model", "FRESHET_LLM_MODEL"), ({"api_key": SecretStr("no")}, "key", "FRESHET_LLM_API_KEY")],
)
async def test_wrong_settings_are_told_once(endpoint: Faults, wrong: dict[str, Any], reason: str, says: str) -> None:
    """A wrong model name or key: asked once, quoted instead, and the log names the setting and never the key."""
    assert is_quoted(await ask(endpoint, **wrong), f"model-0:{reason}") and endpoint.asked == 1
    model = model_of(endpoint, **wrong)
    await model.open()
    with pytest.raises(Permanent, match=says) as failure:
        _ = [delta async for delta in model.stream(QUESTION, [], 10)]
    await model.close()
    assert KEY not in str(failure.value)


async def test_a_probe_costs_a_token(endpoint: Faults) -> None:
    """It passes where the server answers, and fails as a question would where it does not."""
    model = model_of(endpoint)
    await model.open()
    await model.probe(10)
    assert endpoint.asked == 1
    endpoint.plan("silence")
    with pytest.raises(Transient, match="silent"):
        await model.probe(0.5)
    await model.close()


async def test_too_many_requests(endpoint: Faults) -> None:
    """429 with a wait that fits is waited for and answered; with one that does not, it is quoted at once."""
    endpoint.plan(429, retry_after=1)
    began = time.monotonic()
    assert is_whole(await ask(endpoint)) and endpoint.asked == 2 and time.monotonic() - began > 1
    endpoint.plan(429, retry_after=60)
    assert is_quoted(await ask(endpoint), "model-0:overloaded") and endpoint.asked == 1


@pytest.mark.parametrize(("fault", "reason"), [(500, "endpoint"), ("cut", "cut")])
async def test_what_passes_is_tried_again(endpoint: Faults, fault: int | str, reason: str) -> None:
    """500 and a stream cut in the middle: once or twice, the answer is whole all the same; thrice, it is quoted."""
    endpoint.plan(fault, fault)
    assert is_whole(await ask(endpoint)) and endpoint.asked == 3
    endpoint.plan(fault, fault, fault, fault)
    assert is_quoted(await ask(endpoint), f"model-0:{reason}") and endpoint.asked == 3


@pytest.mark.parametrize("fault", ["silence", "stall"])
async def test_silence_ends_before_the_deadline(endpoint: Faults, fault: str) -> None:
    """An endpoint that says nothing, or nothing more, is left in time to quote, by its own limit or the question's."""
    for seconds, silence in ((10.0, 1.0), (4.0, 20.0)):
        endpoint.plan(fault)
        began = time.monotonic()
        answer = await ask(endpoint, seconds=seconds, first_token_timeout=silence)
        assert is_quoted(answer, "model-0:timeout") and endpoint.asked == 1
        assert time.monotonic() - began < 4.0


def dropped(answer: AnswerEvent, documents: int) -> int:
    """How many passages the answer says were dropped, once its citations and receipt were seen to agree."""
    (label,) = answer.data["degraded"]
    name, _, count = label.partition(":")
    kept = documents - int(count)
    assert name == "passages-dropped" and answer.data["model"] == MODEL and len(answer.data["documents"]) == kept
    assert [citation["marker"] for citation in answer.data["citations"]] == list(range(1, min(kept, 3) + 1))
    assert ("[3]" in answer.data["text"]) == (kept >= 3)
    return int(count)


async def test_a_long_prompt_loses_its_weakest_passages(endpoint: Faults) -> None:
    """The window is learnt from the endpoint, so the first request fits; what was dropped is told and not cited."""
    assert dropped(await ask(endpoint, documents=5, words=180), 5) >= 3 and endpoint.asked == 1


async def test_a_refusal_tells_the_window(endpoint: Faults) -> None:
    """Where the endpoint lists no window, its refusal does, and the second request fits."""
    endpoint.plan(lists_models=False)
    assert dropped(await ask(endpoint, documents=10, words=180), 10) >= 7 and endpoint.asked == 2


async def test_a_window_set_too_large_still_ends_well(endpoint: Faults) -> None:
    """With a window set that the endpoint has not, the prompt is made shorter until it is taken."""
    answer = await ask(endpoint, documents=10, words=180, context_tokens=100_000)
    assert dropped(answer, 10) >= 4 and 2 <= endpoint.asked <= 4


async def test_a_window_for_nothing_is_quoted(endpoint: Faults) -> None:
    """When not even the best passage fits, the endpoint is not asked at all."""
    answer = await ask(endpoint, documents=2, words=180, context_tokens=256)
    assert is_quoted(answer, "model-0:window") and endpoint.asked == 0
