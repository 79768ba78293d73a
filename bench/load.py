"""Load beside a measurement: documents at a share of what the lane can take, questions at a steady rate."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from bench import corpus
from bench.installation import Installation

CAPACITY_DOCUMENTS = 40
QUESTION = "How is a file opened for reading?"


def fresh(number: int, text: str) -> bytes:
    """A text whose every paragraph is new, so that no vector of it is known."""
    return "\n\n".join(f"{number}: {paragraph}" for paragraph in text.split("\n\n")).encode()


async def capacity(freshet: Installation) -> float:
    """Documents a second from Kafka to searchable, when as many as possible wait."""
    texts = [d.text for d in corpus.documents(limit=CAPACITY_DOCUMENTS)]
    began = time.perf_counter()
    batch: dict[str, bytes | None] = {f"capacity/{n}": fresh(n, text) for n, text in enumerate(texts)}
    await freshet.wait(await asyncio.to_thread(freshet.publish, batch))
    return len(texts) / (time.perf_counter() - began)


@asynccontextmanager
async def load(
    freshet: Installation, http: httpx.AsyncClient, documents: float, questions: float
) -> AsyncIterator[None]:
    """Publish and ask at these rates a second until the block ends; an error in either ends the measurement."""
    own = Installation(freshet.stack, freshet.settings)  # a producer of its own: nobody waits for its queue
    texts = itertools.cycle([d.text for d in corpus.documents(limit=CAPACITY_DOCUMENTS)])

    async def publish() -> None:
        for n, text in enumerate(texts):
            began = time.perf_counter()
            await asyncio.to_thread(own.publish, {f"load/{n}": fresh(n + CAPACITY_DOCUMENTS, text)})
            await asyncio.sleep(max(0.0, 1 / documents - (time.perf_counter() - began)))

    async def ask() -> None:
        while True:
            began = time.perf_counter()
            response = await http.post("/v1/retrieve", json={"question": QUESTION, "k": 5})
            response.raise_for_status()
            await asyncio.sleep(max(0.0, 1 / questions - (time.perf_counter() - began)))

    tasks = [asyncio.create_task(publish()), asyncio.create_task(ask())]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
