"""Publish to Kafka and await the broker's acknowledgement.

librdkafka sends from threads of its own; one thread of ours serves its delivery reports and hands each to the event
loop.  What may be queued is bounded, so a broker that is away costs memory up to that bound and then answers 503.
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Producer

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from gateway.log_time import LOG_TIME
from gateway.ports import Place, RecordTooLarge
from runtime.logs import logger

MAX_QUEUED = 10_000  # records
MAX_QUEUED_KBYTES = 64 * 1024  # eight of the largest documents
_HEADROOM = 1024 * 1024  # the client also counts key, headers and framing; the broker has the last word anyway
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
_REFUSED = (KafkaError.INVALID_RECORD, KafkaError.POLICY_VIOLATION)
_log = logger("gateway.producer")


def translate(error: KafkaError, what: str) -> ConnectorError:
    """A Kafka error as one of ours; the message holds no address and no credential."""
    if error.code() in _TOO_LARGE:
        return RecordTooLarge(f"the broker takes no record of this size in {what}", reason="too-large")
    if error.code() in _REFUSED:
        return Permanent(f"the broker refuses the record for {what}: {error.name()}", reason=error.name().lower())
    if error.code() == KafkaError._QUEUE_FULL:
        return Overloaded("too many records wait for the broker", retry_after=2)
    return Transient(f"the log did not take the record for {what}: {error.name()}", reason=error.name().lower())


class KafkaProducer:
    """Idempotent, partitioned as Java, Connect and aiokafka do it, without linger."""

    def __init__(self, client: Mapping[str, Any], request_timeout: float, max_record_bytes: int) -> None:
        self._config = {
            **client,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "partitioner": "murmur2_random",
            "message.timeout.ms": int(request_timeout * 1000),
            "message.max.bytes": max_record_bytes + _HEADROOM,
            "queue.buffering.max.messages": MAX_QUEUED,
            "queue.buffering.max.kbytes": max(MAX_QUEUED_KBYTES, (max_record_bytes + _HEADROOM) // 1024 + 1),
        }
        self._producer: Producer | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def open(self) -> None:
        """Start; connects in the background."""
        self._stop.clear()
        self._producer = Producer(self._config)
        self._thread = threading.Thread(target=self._serve, name="kafka-producer", daemon=True)
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Send what is queued, within ``seconds``; blocks."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        if self._producer and (left := self._producer.flush(seconds)):
            _log.warning("records were not acknowledged before the stop", records=left)
        self._producer = self._thread = None

    def _serve(self) -> None:
        while not self._stop.is_set():
            producer = self._producer
            if producer is not None:
                producer.poll(0.1)

    async def publish(
        self, topic: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes], timeout: float,
        partition: int | None = None,
    ) -> Place:  # fmt: skip
        """See :meth:`gateway.ports.Log.publish`."""
        if self._producer is None:
            raise Transient("the gateway is stopping")
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[Place] = loop.create_future()

        def settle(error: KafkaError | None, partition: int, offset: int) -> None:
            if acknowledged.done():  # whoever waited has left
                return
            if error is None:
                acknowledged.set_result(Place(partition, offset))
            else:
                acknowledged.set_exception(translate(error, topic))

        def report(error: KafkaError | None, message: Any) -> None:
            if not error and (stamped := message.timestamp())[0] == TIMESTAMP_LOG_APPEND_TIME:
                LOG_TIME.heard(stamped[1], sent)
            place = (-1, -1) if error else (message.partition(), message.offset())
            try:
                loop.call_soon_threadsafe(settle, error, *place)
            except RuntimeError:  # the loop has ended: nobody waits
                return

        try:
            where, sent = -1 if partition is None else partition, time.monotonic()
            self._producer.produce(topic, value, key, where, headers=list(headers.items()), on_delivery=report)
        except BufferError:
            raise Overloaded("too many records wait for the broker", retry_after=2) from None
        except KafkaException as error:
            self._replace_if_fatal(error.args[0])
            raise translate(error.args[0], topic) from None
        try:
            async with asyncio.timeout(timeout):
                return await acknowledged
        except TimeoutError:
            raise Transient(f"the log has not acknowledged within {timeout:.0f} s", reason="timeout") from None

    def _replace_if_fatal(self, error: KafkaError) -> None:
        """An idempotent producer that lost its place in the sequence never sends again; a new one does."""
        if error.fatal():
            _log.warning("the producer starts anew", reason=error.name())
            self._producer = Producer(self._config)
