"""What asks, in a process of its own: through the gateway, or the retrieval stage itself without HTTP and log.

The stage is the one that a worker runs, built by the same code from the same settings; only nobody is told of its
answers.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.http_client import Connection
from bench.paces import Ask, Taken, closed, opened
from runtime.clock import millis
from runtime.settings import Settings
from streams.bootstrap import build_stage
from streams.outcome import Emit, Output, Record
from topics.codec import encode, schema_header
from topics.headers import Hop
from topics.identity import mint_job_id
from topics.queries import Question

WARM_UP = 2.0  # seconds: connections are opened, kernels compiled for the shapes that come
SETTLE = 120.0  # seconds until what a stage keeps of the log must be whole
WHOLE = b'"degraded":[]'


@dataclass(frozen=True, slots=True)
class Pace:
    """So many clients, or else so many questions a second; ``again`` asks a hundred questions over and over."""

    seconds: float
    clients: int = 0
    rate: float = 0.0
    again: bool = False


def new_questions(texts: Sequence[str], seed: int) -> Iterator[str]:
    """Some words in a row out of some text, for ever: nearly every one is asked for the first time."""
    draw = random.Random(seed)
    words = [text.split() for text in texts]
    while True:
        source = draw.choice(words)
        start = draw.randrange(max(1, len(source) - 12))
        yield " ".join(source[start : start + draw.randint(5, 12)])


@asynccontextmanager
async def through_the_door(door: str) -> AsyncIterator[Ask]:
    """`POST /v1/retrieve`, over as many connections as are needed at once."""
    place = urlsplit(door)
    free: list[Connection] = []
    made: list[Connection] = []

    async def ask(question: str) -> bytes:
        if not free:
            made.append(Connection(str(place.hostname), int(place.port or 80)))
            free.append(made[-1])
        connection = free.pop()
        status, body = await connection.post("/v1/retrieve", msgspec.json.encode({"question": question}))
        free.append(connection)
        if status != 200 or WHOLE not in body:
            raise RuntimeError(f"{status} {body[:200]!r}")
        return body

    try:
        yield ask
    finally:
        for connection in made:
            connection.close()


@asynccontextmanager
async def in_process(environment: Mapping[str, str]) -> AsyncIterator[Ask]:
    """The retrieval stage itself."""
    settings = Settings.from_env({**environment, "FRESHET_WORKER_SLOT": "bench", "FRESHET_METRICS_PORT": "0"})

    async def nobody(_: Sequence[Output]) -> None:
        """Nobody is told."""

    stage = await build_stage("retrieve", settings, nobody)
    for port in stage.ports:
        await port.open()
    beside = [asyncio.ensure_future(run()) for run in stage.beside]
    assert stage.record_step is not None
    step = stage.record_step

    async def ask(question: str) -> bytes:
        now = time.time()
        hop = Hop(
            job_id=mint_job_id(0), deadline=int((now + 30) * 1000), reply_partition=0, tenant="default", principals=[]
        )
        asked = Question(question=question, mode="retrieve", k=settings.queries.k, asked_at=millis(now))
        headers = {**hop.headers(), **schema_header(asked)}
        outcome = await step(Record("queries", 0, 0, hop.job_id.encode(), encode(asked), headers, millis(now)))
        if not isinstance(outcome, Emit) or not (body := outcome.outputs[-1].value) or b'"error"' in body[:400]:
            raise RuntimeError(repr(outcome)[:300])
        return body

    try:
        await _settled(ask)
        yield ask
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        for port in stage.ports:
            await port.close()


async def _settled(ask: Ask) -> None:
    async with asyncio.timeout(SETTLE):
        while b'"degraded"' in await ask("What is there?"):
            await asyncio.sleep(0.5)


def few_questions(texts: Sequence[str], seed: int, count: int = 100) -> list[str]:
    """Those that are asked again and again."""
    source = new_questions(texts, seed)
    return [next(source) for _ in range(count)]


def ask_the_door(door: str, texts: Sequence[str], pace: Pace, seed: int) -> Taken:
    """One measurement; runs in the process that asks."""
    return uvloop.run(_ask_the_door(door, texts, pace, seed))


def ask_the_stage(
    environment: Mapping[str, str], texts: Sequence[str], paces: Sequence[Pace], seed: int
) -> list[Taken]:
    """Several measurements of one stage; runs in the process that asks."""
    return uvloop.run(_ask_the_stage(environment, texts, paces, seed))


async def _ask_the_door(door: str, texts: Sequence[str], pace: Pace, seed: int) -> Taken:
    async with through_the_door(door) as ask:
        return await _measured(ask, texts, pace, seed)


async def _ask_the_stage(
    environment: Mapping[str, str], texts: Sequence[str], paces: Sequence[Pace], seed: int
) -> list[Taken]:
    async with in_process(environment) as ask:
        return [await _measured(ask, texts, pace, seed + number) for number, pace in enumerate(paces)]


async def _measured(ask: Ask, texts: Sequence[str], pace: Pace, seed: int) -> Taken:
    questions = new_questions(texts, seed)
    if pace.again:
        few = few_questions(texts, seed)
        for question in few:
            await ask(question)
        questions = itertools.cycle(few)
    await closed(ask, questions, pace.clients or 8, WARM_UP)
    if pace.rate:
        return await opened(ask, questions, pace.rate, pace.seconds, seed)
    return await closed(ask, questions, pace.clients, pace.seconds)
