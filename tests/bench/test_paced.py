"""The endpoint that keeps time: campaigns and benchmarks rest on it."""

import time
from collections.abc import AsyncIterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from bench.paced import MODEL, Endpoint, Pace

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What?"}]


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[Endpoint, str]]:
    """One that serves on a free port."""
    endpoint = Endpoint(Pace(rate=200, tokens=20))
    server = await endpoint.serve(0)
    yield endpoint, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def client(url: str) -> openai.AsyncOpenAI:
    """The real client, which tries once."""
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=5)


async def streamed(url: str) -> tuple[str, float]:
    """The text of one answer, and the seconds from the question to its last token."""
    async with client(url) as openai_:
        began = time.monotonic()
        chunks = await openai_.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        text = ""
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                text += chunk.choices[0].delta.content
    return text, time.monotonic() - began


async def test_streams_numbered_words_at_its_rate(endpoint: tuple[Endpoint, str]) -> None:
    """20 tokens at 200 a second take 95 ms or more, and all of them are there in order."""
    _, url = endpoint
    text, took = await streamed(url)
    assert text.replace("[1]", "").split() == [f"w{n}" for n in range(20)]
    assert took >= 0.095


async def test_answers_whole_and_lists_its_model(endpoint: tuple[Endpoint, str]) -> None:
    """Without stream the same text comes at once, and the model that it names is listed."""
    _, url = endpoint
    async with client(url) as openai_:
        answer = await openai_.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert (answer.choices[0].message.content or "").endswith("w19 [1]")
        assert answer.usage is not None and answer.usage.completion_tokens == 20
        assert [model.id async for model in openai_.models.list()] == [MODEL]


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("busy", openai.RateLimitError),
        ("error", openai.InternalServerError),
        ("cut", httpx.RemoteProtocolError),
        ("stall", httpx.ReadTimeout),
        ("silence", openai.APITimeoutError),
    ],
)
async def test_fails_as_it_is_told(endpoint: tuple[Endpoint, str], mode: str, error: type[Exception]) -> None:
    """Each mode looks to the real client like the failure that it is named for, and ends when told so."""
    served, url = endpoint
    async with httpx.AsyncClient(base_url=url) as http, client(url) as openai_:
        assert (await http.post("/control", json={"mode": mode, "after": 3})).status_code == 200
        with pytest.raises((error, httpx.ReadError) if mode == "cut" else error):
            chunks = await openai_.with_options(timeout=0.5).chat.completions.create(
                model=MODEL, messages=MESSAGES, stream=True
            )
            async for _ in chunks:
                pass
        assert (await http.post("/control", json={"mode": "well"})).status_code == 200
    text, _ = await streamed(url)
    assert text.endswith("w19 [1]")
    assert served.counts[mode] == 1


async def test_refuses_a_pace_that_is_none(endpoint: tuple[Endpoint, str]) -> None:
    """A misspelt control changes nothing and says so."""
    served, url = endpoint
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/control", json={"mode": "slwo"})).status_code == 400
        assert (await http.post("/control", json={"raet": 1})).status_code == 400
        assert (await http.get("/control")).json()["pace"]["rate"] == 200
    assert served.pace.mode == "well"
