"""Embeddings and models by the real `openai` client, with the test in the part of the workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import numpy as np
import openai
import pytest

from gateway.memory_log import MemoryLog
from tests.gateway.builders import asked, event
from topics.queries import Embedded, Question
from topics.registry import QUERIES, QUERIES_BATCH

ROWS = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, -1.0]], "<f4")


@pytest.fixture
def openai_client(client: httpx.AsyncClient) -> openai.AsyncOpenAI:
    """The real client, against the application in this process."""
    return openai.AsyncOpenAI(base_url="http://door/v1", api_key="none", http_client=client, max_retries=0)


@asynccontextmanager
async def worker(log: MemoryLog, told: int | None = None) -> AsyncIterator[list[Question]]:
    """Gives each text the next of the rows, two in an event, after an attempt that died; gives the questions."""
    came: list[Question] = []

    async def work() -> None:
        while True:
            hop, question = asked(await log.next())
            came.append(question)
            count = len(question.texts)
            some = [
                Embedded(first=n, vectors=[r.tobytes() for r in ROWS[n : min(n + 2, count)]])
                for n in range(0, count, 2)
            ]
            data: list[Any] = [msgspec.to_builtins(each) for each in some]
            receipt = {"model": "tiny", "dimension": 2, "count": told or count, "tokens": 7}
            log.answer(event("retrieve", "dead", 0, "vectors", data[0], hop.job_id))
            for seq, each in enumerate(data):
                log.answer(event("retrieve", "r", seq, "vectors", each, hop.job_id))
            log.answer(event("retrieve", "r", len(data), "answer", {"embedding": receipt}, hop.job_id))

    working = asyncio.create_task(work())
    try:
        yield came
    finally:
        working.cancel()


@pytest.mark.parametrize("form", ["float", "base64", None])
async def test_vectors_in_order(openai_client: openai.AsyncOpenAI, log: MemoryLog, form: Any) -> None:
    """Each text has its vector, in both encodings the same; the client itself asks for base64."""
    given: dict[str, Any] = {} if form is None else {"encoding_format": form}
    async with worker(log) as came:
        found = await openai_client.embeddings.create(model="freshet-embedding", input=["a", "b", "c"], **given)
    assert came[0].mode == "embed" and came[0].texts == ["a", "b", "c"]
    rows: Any = [each.embedding for each in found.data]
    if form == "base64":  # the client leaves it as it asked for it
        import base64

        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    assert np.allclose(rows, ROWS) and [each.index for each in found.data] == [0, 1, 2]
    assert found.usage.prompt_tokens == 7 and (found.model_extra or {})["freshet_encoder"] == "tiny"


async def test_one_text(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """A text alone is a list of one."""
    async with worker(log):
        found = await openai_client.embeddings.create(model="freshet-embedding", input="a")
    assert len(found.data) == 1


async def test_a_vector_that_lacks_is_an_error(openai_client: openai.AsyncOpenAI, log: MemoryLog) -> None:
    """Never fewer vectors than texts."""
    async with worker(log, told=3):
        with pytest.raises(openai.InternalServerError, match="cannot be read"):
            await openai_client.embeddings.create(model="freshet-embedding", input="a")


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    ([], {}, "1 to 64 texts"),
    (["x"] * 65, {}, "1 to 64 texts"),
    ([[1, 2]], {}, "token numbers"),
    ([1, 2], {}, "token numbers"),
    (" ", {}, "the text is empty"),
    (["a", "a\0"], {}, "NUL character"),
    (["x" * 33_000] * 2, {}, "more than 64000 characters"),
    ("x", {"dimensions": 8}, "leave dimensions out"),
    ("x", {"model": "freshet"}, "use freshet-embedding"),
]


@pytest.mark.parametrize(("texts", "more", "says"), WRONG, ids=[says for _, _, says in WRONG])
async def test_what_cannot_be_embedded(
    openai_client: openai.AsyncOpenAI, log: MemoryLog, texts: Any, more: dict[str, Any], says: str
) -> None:
    """Refused naming the field, and nothing reaches the log."""
    given: dict[str, Any] = {"model": "freshet-embedding", "input": texts, **more}
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=says):
        await openai_client.embeddings.create(**given)
    assert not log.published


async def test_the_list_of_models(openai_client: openai.AsyncOpenAI) -> None:
    """Two names, each of which is found alone, and no other."""
    assert [model.id async for model in openai_client.models.list()] == ["freshet", "freshet-embedding"]
    assert (await openai_client.models.retrieve("freshet")).owned_by == "freshet"
    with pytest.raises(openai.NotFoundError):
        await openai_client.models.retrieve("gpt-5")


async def test_many_texts_let_questions_go_first(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """A few texts wait like a question does, more of them behind all questions."""
    for count in (4, 5):
        body = {"model": "freshet-embedding", "input": ["x"] * count}
        asking = asyncio.create_task(client.post("/v1/embeddings", json=body))
        while len(log.published) < count - 3:
            await asyncio.sleep(0)
        asking.cancel()
    assert [record.topic for record in log.published] == [QUERIES, QUERIES_BATCH]
