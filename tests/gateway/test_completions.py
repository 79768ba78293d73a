"""Chat completions by the real `openai` client, with the test in the part of the workers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from msgspec.structs import replace

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.chunks import Restarted, Sent
from gateway.conversation import ChatBody, Message, latest, question_of
from gateway.memory_log import MemoryLog
from runtime.settings import Queries, Settings
from tests.gateway.builders import asked, door_settings, event, serving, token, whole_story
from topics.queries import AnswerEvent, Question, Turn

PASSAGE = {"doc_id": "a/b", "version": "1.1", "chunk_id": "c", "text": "All is well.", "score": 0.9, "published_at": 1}
CITED = {
    "marker": 1,
    "doc_id": "a/b",
    "version": "1.1",
    "chunk_id": "c",
    "text": "All is well.",
    "uri": "https://e.org/b",
}
ANSWER = {
    "text": "All is well [1].", "found": True, "model": "test", "generation": "g1", "citations": [CITED],
    "documents": {"a/b": "1.1"}, "degraded": ["vector-timeout"],
}  # fmt: skip
ASK: Any = {"model": "freshet", "messages": [{"role": "user", "content": "How is it?"}]}
Story = Callable[[str], Sequence[AnswerEvent]]


@pytest.fixture
def door() -> Settings:
    """A short history, so that a test can go beyond it."""
    return Settings.from_env({"FRESHET_QUERIES_HISTORY_TURNS": "4", "FRESHET_GATEWAY_MAX_IN_FLIGHT": "2"})


@pytest.fixture
def openai_client(client: httpx.AsyncClient) -> openai.AsyncOpenAI:
    """The real client, against the application in this process."""
    return openai.AsyncOpenAI(base_url="http://door/v1", api_key="none", http_client=client, max_retries=0)


def told(job: str, *words: str, answer: dict[str, Any] = ANSWER) -> list[AnswerEvent]:
    """A job that went as it should."""
    return [
        event("retrieve", "r1", 0, "retrieving", job_id=job),
        event("retrieve", "r1", 1, "passages", {"passages": [PASSAGE]}, job),
        event("generate", "a1", 0, "generating", job_id=job),
        *(token("a1", n + 1, word, job) for n, word in enumerate(words)),
        event("generate", "a1", len(words) + 1, "answer", answer, job),
    ]


@asynccontextmanager
async def worker(log: MemoryLog, story: Story) -> AsyncIterator[list[Question]]:
    """Answers every question with this story; gives the questions."""
    came: list[Question] = []

    async def work() -> None:
        while True:
            hop, question = asked(await log.next())
            came.append(question)
            for each in story(hop.job_id):
                log.answer(replace(each, tenant=hop.tenant))

    working = asyncio.create_task(work())
    try:
        yield came
    finally:
        working.cancel()


async def streamed(client: openai.AsyncOpenAI, **more: Any) -> list[Any]:
    """All chunks."""
    return [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True, **more)]


async def test_a_whole_answer(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """Text, citation with its place, finish reason and usage where the client looks; the rest under `freshet`."""
    async with worker(log, lambda job: told(job, "All is ", "well [1].")) as came:
        found = await openai_client.chat.completions.create(**ASK, temperature=0.2)
    message = found.choices[0].message
    assert message.content == "All is well [1]." and found.choices[0].finish_reason == "stop"
    assert message.annotations is not None
    cited = message.annotations[0].url_citation
    assert (cited.url, cited.title, message.content[cited.start_index : cited.end_index]) == (
        "https://e.org/b",
        "a/b",
        "[1]",
    )
    assert found.usage is not None and found.usage.total_tokens == 3 + 4
    extra = (found.model_extra or {})["freshet"]
    assert extra["degraded"] == ["vector-timeout"] and extra["documents"] == {"a/b": "1.1"}
    assert extra["passages"][0]["doc_id"] == "a/b" and extra["ignored"] == ["temperature"] and extra["usage_estimated"]
    assert found.id == f"chatcmpl-{extra['job_id']}" and came[0].question == "How is it?" and not came[0].history


async def test_tokens_that_were_counted(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """Where the model's endpoint counts them they are told; otherwise that they are a guess."""
    counted = {**ANSWER, "usage": {"input_tokens": 120, "output_tokens": 7}, "rung": 1}
    async with worker(log, lambda job: told(job, answer=counted)):
        found = await openai_client.chat.completions.create(**ASK)
    assert found.usage is not None and (found.usage.prompt_tokens, found.usage.total_tokens) == (120, 127)
    extra = (found.model_extra or {})["freshet"]
    assert "usage_estimated" not in extra and extra["rung"] == 1


async def test_a_version_of_the_language_model(log: MemoryLog, manifests: MemoryManifests) -> None:
    """Each has a name of its own, which is listed, and asks for that one."""
    settings = door_settings(
        LLM_ENDPOINTS='[[endpoints]]\nname = "org/tiny"\nurl = "http://127.0.0.1:9/v1"\nmodel = "t"'
    )
    async with serving(create_app(settings, manifests, log)) as http, worker(log, whole_story) as came:
        client = openai.AsyncOpenAI(base_url="http://door/v1", api_key="none", http_client=http, max_retries=0)
        assert [m.id async for m in client.models.list()] == ["freshet", "freshet/org/tiny", "freshet-embedding"]
        assert (await client.models.retrieve("freshet/org/tiny")).id == "freshet/org/tiny"
        found = await client.chat.completions.create(**{**ASK, "model": "freshet/org/tiny"})
    assert found.model == "freshet/org/tiny" and came[0].model == "org/tiny"


async def test_a_streamed_answer(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """Passages come first, then the text as it is written, then citations, then usage if asked for."""
    async with worker(log, lambda job: told(job, "All is ", "well [1].")):
        chunks = await streamed(openai_client, stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[1].model_extra["freshet"]["passages"][0]["text"] == "All is well."
    assert [c.choices[0].delta.content for c in chunks[2:4]] == ["All is ", "well [1]."]
    assert chunks[4].choices[0].finish_reason == "stop"
    assert chunks[4].choices[0].delta.model_extra["annotations"][0]["url_citation"]["start_index"] == 12
    assert chunks[4].model_extra["freshet"]["degraded"] == ["vector-timeout"]
    assert not chunks[5].choices and chunks[5].usage.completion_tokens == 4 and len(chunks) == 6


async def test_the_stream_ends_as_clients_expect(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Every event is a JSON object in one line, and the last says [DONE]; no usage where none was asked for."""
    async with worker(log, lambda job: told(job, "All")):
        answer = await client.post("/v1/chat/completions", json={**ASK, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    assert all(json.loads(line)["choices"] for line in lines)


async def test_what_was_not_streamed_is_sent_at_the_end(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """An answer without tokens, such as that nothing was found, is its text all the same."""
    nothing = {"text": "Not found in the documents.", "found": False, "model": "test", "generation": "g1"}
    async with worker(log, lambda job: told(job, answer=nothing)):
        chunks = await streamed(openai_client)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Not found in the documents."


def begun_twice(first: Sequence[str], second: Sequence[str]) -> Story:
    """A worker dies in mid-stream, and the work runs again."""

    def story(job: str) -> list[AnswerEvent]:
        again = [token("a2", n + 1, word, job) for n, word in enumerate(second)]
        end = event("generate", "a2", 9, "answer", {**ANSWER, "text": "".join(second)}, job)
        begin = event("generate", "a2", 0, "generating", job_id=job)
        return [*told(job, *first)[:-1], begin, *again, end]

    return story


@pytest.mark.parametrize("second", [["All is well", " [1]."], ["All", " is", " well [1]."], ["All is we", "ll [1]."]])
async def test_an_answer_begun_anew_goes_on(
    openai_client: openai.AsyncOpenAI, log: MemoryLog, second: list[str]
) -> None:
    """Where the new attempt says what was sent and more, nothing is missing and nothing comes twice."""
    async with worker(log, begun_twice(["All is ", "we"], second)):
        chunks = await streamed(openai_client)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "All is well [1]."
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("second", [["All was well."], ["No."], ["All is"]])
async def test_an_answer_that_reads_otherwise_ends_with_an_error(
    openai_client: openai.AsyncOpenAI, log: MemoryLog, second: list[str]
) -> None:
    """What was sent cannot be taken back, so nobody is left with two beginnings; the error says where the answer is."""
    came: list[str] = []
    async with worker(log, begun_twice(["All is ", "we"], second)):
        with pytest.raises(openai.APIError, match=r"begun anew.*/v1/queries/"):
            async for chunk in await openai_client.chat.completions.create(**ASK, stream=True):
                came += [chunk.choices[0].delta.content or ""]
    assert "".join(came) == "All is we"


def test_held_text_is_bounded_by_what_was_sent() -> None:
    """A new attempt is held while it repeats, and told as soon as it goes further or elsewhere."""
    sent = Sent()
    assert sent.feed("abc") == "abc"
    sent.restart()
    assert (sent.feed("a"), sent.feed("b"), sent.feed("cd")) == ("", "", "d")
    sent.restart()
    with pytest.raises(Restarted):
        sent.feed("abX")


async def test_failure_before_the_first_word_is_a_status(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """In a stream too: the client's own retries then work; later it is an error in the stream."""

    def fails(job: str) -> list[AnswerEvent]:
        return [
            *told(job)[:-1],
            event("generate", "a1", 1, "error", {"reason": "unavailable", "message": "no model"}, job),
        ]

    async with worker(log, fails):
        with pytest.raises(openai.InternalServerError, match="no model") as caught:
            await streamed(openai_client)
        assert caught.value.status_code == 502
        with pytest.raises(openai.InternalServerError, match="no model"):
            await openai_client.chat.completions.create(**ASK)

    def cut(job: str) -> list[AnswerEvent]:
        end = event("generate", "a1", 3, "error", {"reason": "expired", "message": "too late"}, job)
        return [*told(job, "All")[:-1], end]

    async with worker(log, cut):
        with pytest.raises(openai.APIError, match="too late") as ended:
            await streamed(openai_client)
    assert ended.value.code == "expired"
    async with worker(log, lambda job: told(job, "All", answer={"text": 5})):
        with pytest.raises(openai.APIError, match="cannot be read"):
            await streamed(openai_client)


async def test_the_history_is_what_was_said_before(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """The last turns that fit, oldest first; system messages and blank ones are none, and parts of text are read."""
    said = [("system", "Be kind."), ("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", " "),
            ("user", "four"), ("assistant", "five")]  # fmt: skip
    messages: Any = [{"role": role, "content": text} for role, text in said]
    messages.append({"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "six?"}]})
    async with worker(log, whole_story) as came:
        found = await openai_client.chat.completions.create(
            model="freshet", messages=messages, extra_body={"freshet": {"k": 3, "at_least": ["1.0.5"]}}
        )
    assert came[0].question == "And\nsix?" and (came[0].k, came[0].at_least) == (3, ["1.0.5"])
    assert [turn.content for turn in came[0].history] == ["two", "three", "four", "five"]
    assert [turn.role for turn in came[0].history] == ["assistant", "user", "user", "assistant"]
    assert (found.model_extra or {})["freshet"]["ignored"] == ["system messages"]


def test_a_history_stays_within_its_characters() -> None:
    """Of the turn that does not fit its beginning is taken, of those before nothing."""
    turns = [Turn(role="user", content=letter * 6) for letter in "abc"]
    assert [turn.content for turn in latest(turns, Queries(history_chars=9))] == ["bbb", "cccccc"]
    assert latest(turns, Queries(history_turns=0)) == []
    body = ChatBody(
        model="freshet", messages=[Message(role="user", content="x" * 9000), Message(role="user", content="q")]
    )
    assert len(question_of(body, Settings()).history[0].content) == 8000


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "gpt-5"}, "there is no model 'gpt-5': use freshet", "model"),
    ({"messages": []}, "1 to 2000 messages", "messages"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "its role must be user", "messages[0].role"),
    ({"messages": [{"role": "user", "content": " "}]}, "the question is empty", "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x" * 4001}]}, "more than 4000 characters", "messages[0].content"),
    ({"messages": [{"role": "user", "content": "a\0b"}]}, "NUL character", "messages[0].content"),
    ({"messages": [{"role": "king", "content": "x"}]}, "Invalid enum value 'king'", "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "tools are not called", "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "'image_url' cannot be read: send text", "messages[0].content[0]"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools are not called: leave tools out", "tools"),
    ({"response_format": {"type": "json_object"}}, "answers are text", "response_format"),
    ({"n": 2}, "one answer is given", "n"),
    ({"logprobs": True}, "log probabilities are not given", "logprobs"),
    ({"stop": ["x"]}, "answers end where they end", "stop"),
    ({"stream_options": {"include_usage": True}}, "only with stream", "stream_options"),
    ({"freshet": {"k": 0}}, "passages can be asked for", "freshet.k"),
    ({"freshet": {"top_k": 5}}, "unknown field 'top_k'", "freshet.top_k"),
    ({"best_of": 3}, "unknown field 'best_of'", "best_of"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "says", "param"), WRONG, ids=[says for _, says, _ in WRONG])
async def test_what_cannot_be_taken_is_named(
    openai_client: openai.AsyncOpenAI, log: MemoryLog, change: dict[str, Any], says: str, param: str
) -> None:
    """Refused by a status that the client knows, in the shape that it reads, naming the field; no question is asked."""
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        await openai_client.post("/chat/completions", body={**ASK, **change}, cast_to=httpx.Response)
    assert says in str(caught.value) and caught.value.param == param and not log.published
    assert caught.value.type == "invalid_request_error"
    if param == "model":
        assert isinstance(caught.value, openai.NotFoundError) and caught.value.code == "model_not_found"


async def test_what_says_nothing_is_taken(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """Fields that ask for what is done anyway are no reason to refuse."""
    same = {
        "tools": [],
        "tool_choice": "none",
        "n": 1,
        "response_format": {"type": "text"},
        "logprobs": False,
        "stop": None,
    }
    async with worker(log, whole_story):
        found = await openai_client.chat.completions.create(**ASK, extra_body=same)
    assert found.choices[0].message.content == "All is well."


async def test_too_many_are_a_429(openai_client: openai.AsyncOpenAI, client: httpx.AsyncClient) -> None:
    """With Retry-After, which the client's own retries heed."""
    for _ in range(2):
        await client.post("/v1/queries", json={"question": "q"})
    with pytest.raises(openai.RateLimitError) as caught:
        await openai_client.chat.completions.create(**ASK)
    assert int(caught.value.response.headers["retry-after"]) >= 1 and caught.value.code == "rate_limit_exceeded"


async def test_an_outage_is_a_503(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """With Retry-After, so that the client comes back."""
    log.failure = Transient("broker is away")
    with pytest.raises(openai.InternalServerError) as caught:
        await openai_client.chat.completions.create(**ASK)
    assert caught.value.status_code == 503 and caught.value.response.headers["retry-after"] == "2"
    assert caught.value.type == "server_error"
