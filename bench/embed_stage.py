"""The embed stage in one process: the runner as workers run it, a log and a cache in memory.

Records are what the chunk stage makes of the corpus, again and again, each time with a number in front of every chunk,
so that no text is known from before.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from msgspec import structs

from bench import corpus
from connectors.encoders.tokens import TokenCounter
from connectors.encoders.weights import resolve
from connectors.memory.deliveries import MemoryDeliveries
from connectors.memory.embeddings import MemoryEmbeddings
from connectors.ports import Encoder, Vectors
from runtime.settings import Settings
from streams.documents.changes import part_output
from streams.documents.embed import Embed
from streams.documents.intake import SourceDocument
from streams.documents.parts import build_parts, vector_room
from streams.documents.text.parse import parse
from streams.outcome import Output, Record, RefusedStatus, Stage
from streams.runner import Runner
from topics import registry
from topics.documents import DocumentHead, DocumentPart
from topics.headers import TOKEN
from topics.identity import DocumentRef, Token, Version, text_hash

DEADLINE = 300.0  # seconds for one run


class Made(NamedTuple):
    """Records as they lie in ``chunks``, and the texts in them."""

    messages: list[Any]
    texts: list[str]


def records(settings: Settings, at_least: int) -> Made:
    """Of whole documents, until there are so many chunks."""
    weights = resolve(settings.encoder.model)
    count, room = TokenCounter(weights.folder), vector_room(weights.dimension)
    head, version = DocumentHead(published_at=0), Version(1, 0)
    parts: list[DocumentPart] = []
    for document in corpus.documents():
        source, parsed = SourceDocument(text="", media_type="text/plain", head=head), parse(document.text, "text/plain")
        ref = DocumentRef("default", document.id)
        parts += build_parts("g1", ref, version, source, parsed, count, settings.documents, bytes_per_chunk_extra=room)
        if sum(len(part.chunks) for part in parts) >= at_least:
            break
    made = Made([], [])
    for part in itertools.cycle(parts):
        texts = [f"{number} {chunk.text}" for number, chunk in enumerate(part.chunks, len(made.texts))]
        chunks = [
            structs.replace(chunk, text=text, text_hash=text_hash(text))
            for chunk, text in zip(part.chunks, texts, strict=True)
        ]
        made.texts.extend(texts)
        made.messages.append(_message(structs.replace(part, chunks=chunks), len(made.messages)))
        if len(made.texts) >= at_least:
            return made
    raise AssertionError("unreachable")


def _message(part: DocumentPart, offset: int) -> Any:
    """As Faust gives it."""
    out = part_output(registry.CHUNKS, part, 0, {TOKEN: str(Token(1, 0, offset)).encode()})
    return SimpleNamespace(
        topic="freshet.chunks.g1", partition=0, offset=offset, key=out.key, value=out.value,
        headers=list(out.headers.items()), timestamp=0.0,
    )  # fmt: skip


class Counted:
    """An encoder, and how many texts each call of it had."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.model, self.backend, self.dimension = encoder.model, encoder.backend, encoder.dimension
        self.calls: list[int] = []

    async def encode(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(len(texts))
        return await self._encoder.encode(texts)


async def run(encoder: Encoder, messages: Sequence[Any], settings: Settings) -> float:
    """Seconds from the first record until the last is acknowledged, with its vectors written."""
    stage = Embed(encoder, MemoryEmbeddings())
    documents = settings.documents
    stream = _Log(messages)

    async def publish(outputs: Sequence[Output]) -> None:
        stream.written += len(outputs)

    async def refused(record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        raise AssertionError((record.place, status, reason))

    as_built = Stage(
        "embed", registry.CHUNKS, refused, stage.step, batch=documents.batch, linger=documents.linger, room=stage.room,
        overlap=2,
    )  # fmt: skip
    began = time.perf_counter()
    running = asyncio.create_task(Runner(as_built, publish, MemoryDeliveries(), 4).run(stream))
    async with asyncio.timeout(DEADLINE):
        await stream.finished.wait()
    seconds = time.perf_counter() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    if stream.written != len(messages):
        raise RuntimeError(f"{stream.written} records were written, {len(messages)} were expected")
    return seconds


class _Log:
    """As Faust gives it: so many records, then nothing."""

    def __init__(self, messages: Sequence[Any]) -> None:
        self._messages, self._left = messages, len(messages)
        self.written = 0
        self.finished = asyncio.Event()

    async def noack_take(self, count: int, within: object) -> AsyncIterator[list[Any]]:
        del count, within
        for message in self._messages:
            yield [SimpleNamespace(message=message)]
        await asyncio.Event().wait()

    async def ack(self, event: Any) -> None:
        del event
        self._left -= 1
        if not self._left:
            self.finished.set()
