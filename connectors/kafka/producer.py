"""A producer for who is no Faust worker; offers what :class:`streams.publisher.Publisher` needs of one."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from connectors.errors import Transient
from runtime.settings import Kafka

_ROOM = 1024 * 1024  # for headers, beside the largest document


class KafkaProducer:
    """Confirmed by all replicas, each record once."""

    def __init__(self, kafka: Kafka, max_message_bytes: int) -> None:
        self._kafka, self._max_bytes = kafka, max_message_bytes + _ROOM
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> None:
        if self._producer is not None:
            return
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka.brokers,
            acks="all",
            enable_idempotence=True,
            max_request_size=self._max_bytes,
            request_timeout_ms=int(self._kafka.request_timeout * 1000),
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise Transient(f"broker at {self._kafka.brokers}: {error!r}", reason="broker") from error
        self._producer = producer

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: int | None,
        headers: Sequence[tuple[str, bytes]],
    ) -> "asyncio.Future[RecordMetadata]":
        """The future is done when the broker has it."""
        if self._producer is None:
            raise Transient("the producer is not open", reason="closed")
        sent: asyncio.Future[RecordMetadata] = await self._producer.send(
            topic, value, key, partition, timestamp, headers
        )
        return sent
