"""The public doors: documents through Kafka, as a producer in another language writes them, and several gateways.

Clients of HTTP take the gateways by turns, and the next one where nobody listens, as behind any balancer.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import httpx
import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from chaos.documents import Revision
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics.headers import ACCESS, CONTENT_TYPE, METADATA, PUBLISHED_AT, TITLE
from topics.identity import DEFAULT_TENANT, DocumentRef, Token, document_key
from topics.registry import documents_of

POISONED = PUBLISHED_AT  # what poison is refused for
EPOCH = 1  # of a stack that is new
ANSWER_MS = 10_000  # until a record that no broker has confirmed is sent again
_POLL = 0.02


class Away(Exception):
    """The broker did not confirm a record: it may lie in the log, or not."""


class Balanced(httpx.AsyncBaseTransport):
    """Gateways by turns."""

    def __init__(self, doors: Sequence[str], limits: httpx.Limits) -> None:
        self._doors = [httpx.URL(door) for door in doors]
        self._turn = itertools.count()
        self._transport = httpx.AsyncHTTPTransport(limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        first, path = next(self._turn), request.url
        for number in range(len(self._doors)):
            door = self._doors[(first + number) % len(self._doors)]
            request.url = path.copy_with(host=door.host, port=door.port)
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError:  # nothing was sent
                if number + 1 == len(self._doors):
                    raise
        raise httpx.ConnectError("there is no gateway")

    async def aclose(self) -> None:
        await self._transport.aclose()


def balanced(doors: Sequence[str], seconds: float) -> httpx.AsyncClient:
    """A client of these gateways, whose calls take no longer than that."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    timeout = httpx.Timeout(seconds, connect=3, pool=None)
    return httpx.AsyncClient(base_url=doors[0], transport=Balanced(doors, limits), timeout=timeout)


class KafkaDoor:
    """Documents straight into the log."""

    def __init__(self, settings: Settings, epoch: int = EPOCH, tenant: str = DEFAULT_TENANT) -> None:
        kafka, self._epoch, self._tenant = settings.kafka, epoch, tenant
        self._topic = documents_of(epoch).full_name(kafka.prefix, settings.documents.generation)
        self._producer = Producer(
            {
                **librdkafka_options(kafka),
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "message.timeout.ms": ANSWER_MS,
                "linger.ms": 2,
                "log_level": 2,  # brokers die here all the time
            }
        )

    async def publish(self, revision: Revision) -> Token:
        """Its place in the log; :class:`Away` where none is known."""
        if revision.deletes:
            return await self.send(revision.doc_id, None, [])
        return await self.send(revision.doc_id, revision.text.encode(), headers_of(revision))

    async def poison(self, doc_id: str) -> None:
        """Something that no worker can take: its letter names ``POISONED``."""
        await self.send(doc_id, b"Never to be seen.", [(CONTENT_TYPE, b"text/plain"), (POISONED, b"yesterday")])

    async def send(self, doc_id: str, body: bytes | None, headers: list[tuple[str, bytes]]) -> Token:
        """One record, once."""
        return await self.send_to(self._topic, document_key(DocumentRef(self._tenant, doc_id)), body, headers)

    async def send_to(self, topic: str, key: bytes, body: bytes | None, headers: list[tuple[str, bytes]]) -> Token:
        """The same to any topic."""
        known: asyncio.Future[Token] = asyncio.get_running_loop().create_future()
        try:
            confirm = partial(_confirm, known, self._epoch)
            self._producer.produce(topic, body, key, headers=[*headers], on_delivery=confirm)
        except (BufferError, KafkaException) as error:
            raise Away(str(error)) from None
        return await known

    async def serve(self) -> None:
        """Take the broker's answers, until cancelled."""
        while True:
            self._producer.poll(0)
            await asyncio.sleep(_POLL)

    def close(self) -> None:
        """Forget what is on its way."""
        self._producer.purge()
        self._producer.flush(1)


@asynccontextmanager
async def kafka_door(settings: Settings, epoch: int = EPOCH, tenant: str = DEFAULT_TENANT) -> AsyncIterator[KafkaDoor]:
    """Open while the block runs."""
    door = KafkaDoor(settings, epoch, tenant)
    serving = asyncio.create_task(door.serve())
    try:
        yield door
    finally:
        serving.cancel()
        door.close()


def headers_of(revision: Revision) -> list[tuple[str, bytes]]:
    """What stands beside a raw body."""
    headers = [
        (CONTENT_TYPE, b"text/markdown"),
        (TITLE, revision.title.encode()),
        (METADATA, msgspec.json.encode(revision.metadata)),
    ]
    return [*headers, (ACCESS, msgspec.json.encode(revision.access))] if revision.access else headers


def _confirm(known: "asyncio.Future[Token]", epoch: int, error: KafkaError | None, message: Message) -> None:
    if known.done():
        return  # whoever waited is gone
    partition, offset = message.partition(), message.offset()
    if error is not None or partition is None or offset is None:
        known.set_exception(Away(str(error)))
    else:
        known.set_result(Token(epoch, partition, offset))
