"""Falcon, the architecture, in a real vLLM: a tiny one of the 7B's shape answers as any other model does."""

import pytest
from pydantic import SecretStr

from connectors import build
from runtime.endpoints import Endpoint
from runtime.settings import Queries, Settings
from tests.flow.inline import Lanes
from tests.vllm.conftest import KEY, MODEL
from tests.vllm.tiny_llama import SENTENCE

pytestmark = pytest.mark.vllm


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_falcon_answers_with_citations(falcon: str, provider: str) -> None:
    """Through the real stages, by either protocol: its sentence whole, each marker a citation, its tokens counted."""
    lanes = Lanes(Settings(queries=Queries(min_score=-1, k=3)))
    for n in range(3):
        await lanes.put(f"valve-{n}", b"The green valve was built in dock %d." % n, content_type=b"text/plain")
    fields = {"provider": provider, "url": falcon, "model": MODEL, "max_tokens": 64}
    model = build.adapter(Endpoint.model_validate({"name": "falcon", "api_key": SecretStr(KEY), **fields}))
    await model.open()
    lanes.writes(model)
    try:
        answer = (await lanes.ask("Where was the green valve built?", k=3))[-1].data
    finally:
        await model.close()
    assert (answer["model"], answer["text"]) == ("falcon", SENTENCE) and not answer.get("degraded")
    assert [citation["marker"] for citation in answer["citations"]] == [1, 2, 3]
    assert answer["usage"]["output_tokens"] == len(SENTENCE.split()) + 1
