"""A whole Freshet of the benchmark's own: servers, workers and gateway on ports and in a folder of their own.

What a user runs beside it is not touched, and every run begins with empty topics.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import redis
from confluent_kafka import KafkaError, Message, Producer

from connectors import build
from connectors.ports import Manifest
from deploy.local.own_stack import OwnStack, own_stack
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics import registry
from topics.identity import DocumentRef, Token

PORT_BASE = "18500"
DEADLINE = 300.0  # seconds for a batch of documents to become searchable
POLL = 0.05  # seconds between looks: seldom enough to leave the cores to what is measured

COUNTERS = {
    "encodes": ("embed", "freshet_chunks_encoded_total"),
    "written": ("index", "freshet_store_objects_written_total"),
    "deleted": ("index", "freshet_store_objects_deleted_total"),
}


@dataclass
class Installation:
    """A running Freshet, and the doors a benchmark needs."""

    stack: OwnStack
    settings: Settings

    def __post_init__(self) -> None:
        self._producer = Producer(
            {
                **librdkafka_options(self.settings.kafka),
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "log_level": 2,  # it lives a moment longer than its broker, and would say so at length
                "enable.idempotence": True,
            }
        )

    def publish(self, documents: Mapping[str, bytes | None], media_type: str = "text/plain") -> dict[str, Token]:
        """Write documents (None deletes) straight to Kafka; returns when the broker has all."""
        tokens: dict[str, Token] = {}
        topic = registry.DOCUMENTS.full_name(self.settings.kafka.prefix, self.settings.documents.generation)

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                place = Token(1, message.partition() or 0, message.offset() or 0)
                tokens[(message.key() or b"").decode()] = place

        for doc_id, value in documents.items():
            headers: list[tuple[str, str | bytes | None]] = [("content-type", media_type)]
            self._producer.produce(topic, value, doc_id, headers=headers, on_delivery=delivered)
            self._producer.poll(0)
        if self._producer.flush(30) or len(tokens) != len(documents):
            raise RuntimeError("the broker did not take every document")
        return tokens

    async def wait(self, tokens: Mapping[str, Token], poll: float = POLL) -> None:
        """Until the index has passed every token."""
        last: dict[tuple[int, int], int] = {}
        for token in tokens.values():
            place = (token.epoch, token.partition)
            last[place] = max(token.offset, last.get(place, -1))
        manifests = build.manifest_store(self.settings)
        await manifests.open()
        try:
            until = time.monotonic() + DEADLINE
            while True:
                marks = await manifests.watermarks()
                if all(marks.get(place, -1) >= offset for place, offset in last.items()):
                    return
                if time.monotonic() > until:
                    raise TimeoutError(f"not indexed after {DEADLINE:.0f} s: see {self.stack.state.folder}/logs")
                await asyncio.sleep(poll)
        finally:
            await manifests.close()

    async def chunks(self, doc_ids: list[str]) -> dict[str, int]:
        """How many chunks of each document are visible."""
        found = await self.manifests(doc_ids)
        return {doc_id: len(m.chunks) for doc_id, m in zip(doc_ids, found, strict=True) if not m.deleted}

    async def manifests(self, doc_ids: list[str]) -> list[Manifest]:
        """What is visible of each document."""
        manifests = build.manifest_store(self.settings)
        await manifests.open()
        try:
            return await manifests.read([DocumentRef("default", doc_id) for doc_id in doc_ids])
        finally:
            await manifests.close()

    async def counts(self, http: httpx.AsyncClient) -> dict[str, float]:
        """How many texts were encoded, objects written and deleted, since the workers started."""
        found = {}
        for name, (worker, metric) in COUNTERS.items():
            page = (await http.get(self.stack.metrics(worker))).text
            line = re.search(rf"^{metric} (\S+)$", page, re.MULTILINE)
            if line is None:
                raise RuntimeError(f"{worker} does not tell {metric}")
            found[name] = float(line[1])
        return found

    def forget_vectors(self) -> None:
        """Empty the embedding cache: what is measured must be encoded."""
        redis.Redis.from_url(self.settings.redis.cache_url).flushdb()

    def kill(self, name: str) -> None:
        """kill -9 of one of our own processes."""
        self.stack.send(name)


@contextmanager
def installation(settings: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """Bring it up, with these ``FRESHET_*`` settings, and take it down again."""
    base = os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    with own_stack("bench", base, {"FRESHET_PREFIX": f"b{secrets.token_hex(4)}", **(settings or {})}) as stack:
        yield Installation(stack, Settings.from_env(stack.environment))
