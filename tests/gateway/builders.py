"""Events, settings and a client, as small as a test can say them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
from msgspec.structs import replace

from gateway.app import Gateway
from gateway.memory_log import MemoryLog, Record
from runtime.clock import millis
from runtime.settings import Settings
from topics.codec import decode
from topics.headers import Hop
from topics.queries import AnswerEvent, EventType, Question, StageName

JOB = "0" * 36


def event(
    stage: StageName, attempt: str, seq: int, kind: EventType, data: dict[str, Any] | None = None, job_id: str = JOB
) -> AnswerEvent:
    """An event of a job."""
    return AnswerEvent(
        job_id=job_id,
        tenant="default",
        stage=stage,
        attempt=attempt,
        seq=seq,
        type=kind,
        at=millis(),
        data=data or {},
    )


def token(attempt: str, seq: int, text: str, job_id: str = JOB) -> AnswerEvent:
    """A piece of text."""
    return event("generate", attempt, seq, "token", {"text": text}, job_id)


def whole_story(job_id: str = JOB, words: tuple[str, ...] = ("All ", "is ", "well.")) -> list[AnswerEvent]:
    """A job that went as it should."""
    answer = {"text": "".join(words), "found": True, "model": "test", "generation": "g1"}
    return [
        event("retrieve", "r1", 0, "retrieving", job_id=job_id),
        event("retrieve", "r1", 1, "passages", {"passages": []}, job_id),
        event("generate", "a1", 0, "generating", job_id=job_id),
        *(token("a1", n + 1, word, job_id) for n, word in enumerate(words)),
        event("generate", "a1", len(words) + 1, "answer", answer, job_id),
    ]


def door_settings(**environment: str) -> Settings:
    """Settings with a few variables set."""
    return Settings.from_env({f"FRESHET_{name}": value for name, value in environment.items()})


@asynccontextmanager
async def serving(app: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application while its lifespan runs, in a task of its own as under a server."""
    up, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            up.set()
            await over.wait()

    living = asyncio.create_task(live())
    await up.wait()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", app)), base_url="http://door") as client:
            yield client
    finally:
        over.set()
        await living


def asked(record: Record) -> tuple[Hop, Question]:
    """What a worker reads from `queries`."""
    assert record.value is not None
    return Hop.of(record.headers), decode(record.value, Question)


def sse_events(text: str) -> list[tuple[str, str | None]]:
    """(event name, id) of a stream's events."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields.get("id")))
    return found


@asynccontextmanager
async def answering(log: MemoryLog, result: Callable[[], dict[str, Any]]) -> AsyncIterator[list[Question]]:
    """A worker that gives every question this; and the questions."""
    came: list[Question] = []

    async def work() -> None:
        while True:
            hop, question = asked(await log.next())
            came.append(question)
            log.answer(replace(event("retrieve", "r", 0, "answer", result(), hop.job_id), tenant=hop.tenant))

    working = asyncio.create_task(work())
    try:
        yield came
    finally:
        working.cancel()
