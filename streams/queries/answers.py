"""Answers that were written a moment ago, given again where a model would be told exactly the same.

The key is the lineage: tenant, principals, question, generation, model and its settings, and each passage with its
version and text.  Retrieval has just checked these passages against the manifests, so a document that changed since
makes another key, and what is found under this one came of what counts now.  Only the text is kept; its markers are
checked against the passages again.  What is degraded, or says that nothing was found, is not kept.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import msgspec

from connectors.models.prompt import SYSTEM
from connectors.search_ports import HotCache
from runtime import metrics
from runtime.logs import logger
from runtime.settings import Settings
from streams.queries.hot import normal
from streams.queries.spare import SpareCache
from topics.codec import DecodeError, decode, encode
from topics.headers import Hop
from topics.identity import DocumentRef, digest
from topics.queries import Passage, Retrieval

PIECE: Final = 200  # characters of a kept answer that share an event
TIER: Final = "answers"
log = logger(__name__)


class Kept(msgspec.Struct, kw_only=True):
    """What is kept: what the model wrote, as it wrote it."""

    text: str


class Answers(SpareCache):
    """Of a worker.  ``made_by`` tells apart all settings that an answer depends on."""

    def __init__(self, cache: HotCache, made_by: str) -> None:
        super().__init__("answer cache", cache)
        self._made_by = made_by
        self._writing: dict[str, asyncio.Event] = {}

    def key(self, retrieval: Retrieval, hop: Hop, passages: Sequence[Passage], model: str) -> str:
        """The same where a model would be told the same for the same people, and nowhere else."""
        told = [[p.doc_id, p.version, p.chunk_id, p.title, p.uri, p.section, p.text] for p in passages]
        asked = normal(retrieval.question).encode("utf-8", "surrogatepass")
        who = sorted(set(hop.principals))
        parts = ["answer", hop.tenant, who, retrieval.generation, model, told]
        return digest(self._made_by.encode(), asked, msgspec.json.encode(parts))

    async def find(self, key: str) -> str | None:
        """What the model wrote to exactly this."""
        value = await self._try(lambda: self._cache.get(key))
        try:
            text = decode(value, Kept).text if value is not None else None
        except DecodeError as error:
            log.warning("not an entry of the answer cache", error=str(error)[:300])
            metrics.cache_refused.labels("unreadable").inc()
            text = None
        (metrics.cache_misses if text is None else metrics.cache_hits).labels(TIER).inc()
        return text

    async def keep(self, key: str, hop: Hop, passages: Sequence[Passage], text: str) -> None:
        """Remember what was written."""
        refs = list({DocumentRef(hop.tenant, passage.doc_id): None for passage in passages})
        await self._try(lambda: self._cache.put(key, encode(Kept(text=text)), refs))

    @contextlib.asynccontextmanager
    async def turn(self, key: str, seconds: float) -> AsyncIterator[None]:
        """While somebody else in this worker writes the same answer, wait for it, but not for longer than this."""
        if (other := self._writing.get(key)) is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await other.wait()
            yield
            return
        ours = self._writing[key] = asyncio.Event()
        try:
            yield
        finally:
            del self._writing[key]
            ours.set()


def pieces(text: str) -> Iterator[str]:
    """A kept answer as it is streamed."""
    return (text[at : at + PIECE] for at in range(0, len(text), PIECE))


def written_by(settings: Settings) -> str:
    """All that an answer depends on beside the model's name, the question and the passages."""
    versions = [endpoint.settings for endpoint in settings.llm.versions]
    return msgspec.json.encode([SYSTEM, versions, settings.queries.min_score]).decode()
