"""The log on Kafka: producer, reply reader, replays and lanes behind the one port."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaError

from gateway.answers import ReplyReader
from gateway.control import ControlReader
from gateway.lanes import Lanes
from gateway.ports import Asked, CaughtUp, Deliver, LoggedEvent, Place, Wanted, Written
from gateway.producer import KafkaProducer
from gateway.replay import Replayer
from runtime import tracing
from runtime.brokers import denied, distrusted, librdkafka_options
from runtime.logs import logger
from runtime.settings import Settings
from topics.epochs import Epochs, first_epoch
from topics.registry import ANSWERS, CONTROL, QUERIES, QUERIES_BATCH
from topics.spec import TopicSpec

FLUSH_SECONDS = 5.0
_log = logger("gateway.kafka_log")


def client_config(settings: Settings) -> dict[str, Any]:
    """What all clients of this gateway have in common."""
    kafka, gateway = settings.kafka, settings.gateway
    return {
        **librdkafka_options(kafka),
        "client.id": f"{kafka.prefix}.gateway-{gateway.replica}",
        "allow.auto.create.topics": False,
        "reconnect.backoff.max.ms": 1000,  # default 10 s: too long a silence after a broker is back
        "topic.metadata.refresh.interval.ms": 30_000,
        "topic.metadata.propagation.max.ms": 5_000,  # how long a topic may seem missing before records fail
        "socket.keepalive.enable": True,
        "log_level": 2,  # librdkafka writes a line per connection attempt; errors come through the callback below
    }


class KafkaLog:
    """See :class:`gateway.ports.Log`."""

    def __init__(self, settings: Settings) -> None:
        prefix, generation = settings.kafka.prefix, settings.documents.generation
        self._prefix, self._generation = prefix, generation
        self._away, self._refused = False, ""
        self._kafka = settings.kafka
        client = {**client_config(settings), "error_cb": self._note}
        producing = {k: v for k, v in client.items() if k != "allow.auto.create.topics"}  # a consumer's setting
        reading = {**client, "group.id": f"{prefix}.gateway"}  # required by the client; nothing is ever committed
        answers, *queries = (spec.full_name(prefix, generation) for spec in (ANSWERS, QUERIES, QUERIES_BATCH))
        self._producer = KafkaProducer(producing, settings.kafka.request_timeout, settings.documents.max_document_bytes)
        self._reader = ReplyReader(reading, answers, settings.gateway.replica, settings.gateway.replicas)
        self._replayer = Replayer(reading, queries, answers, ANSWERS.retention_ms)
        first = first_epoch(prefix, settings.kafka.partitions)
        self._control = ControlReader(reading, CONTROL.full_name(prefix, generation), first)
        self._controlling = ThreadPoolExecutor(1, thread_name_prefix="kafka-control")
        self._epochs = Epochs([first])
        sources = [source.topic for source in settings.sources]
        documents, edges = lambda: [epoch.topic for epoch in self._epochs.known], bool(settings.edge.addresses)
        self._lanes = Lanes(client, prefix, generation, documents, sources, edges=edges)

    def _note(self, error: KafkaError) -> None:
        """Say once that the brokers went away or do not let us in, not once per attempt to connect."""
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            said = "certificate" if "certificate" in error.str() else "TLS"
            login = error.code() == KafkaError._AUTHENTICATION
            refused = denied(self._kafka) if login else distrusted(self._kafka, said)
            if refused != self._refused:
                self._refused = refused
                _log.error("no broker lets us in", reason=refused)
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._away:
            self._away = True
            _log.warning("no broker can be reached")

    async def open(self, deliver: Deliver, wanted: Wanted) -> None:
        """Start."""
        self._producer.open()
        self._reader.open(deliver, wanted)

    async def close(self) -> None:
        """Stop."""
        self._replayer.close()
        self._controlling.submit(self._control.close)
        await asyncio.to_thread(self._controlling.shutdown)
        await asyncio.to_thread(self._lanes.close)
        await asyncio.gather(
            asyncio.to_thread(self._reader.close), asyncio.to_thread(self._producer.close, FLUSH_SECONDS)
        )

    async def publish(
        self, topic: TopicSpec, key: bytes, value: bytes | None, headers: Mapping[str, bytes], timeout: float,
        partition: int | None = None,
    ) -> Place:  # fmt: skip
        """Append one record."""
        name = topic.full_name(self._prefix, self._generation)
        place = await self._producer.publish(name, key, value, headers, timeout, partition)
        tracing.current().set(
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "send",
                "messaging.operation.name": "send",
                "messaging.destination.name": name,
                "messaging.destination.partition.id": str(place.partition),
                "messaging.kafka.offset": place.offset,
            }
        )
        self._away = False
        return place

    def reply_partitions(self) -> Sequence[int]:
        """Ours, while they are read."""
        return self._reader.assigned

    def replay(self, job_id: str, until: float) -> AsyncIterator[LoggedEvent | CaughtUp]:
        """A job from its beginning."""
        return self._replayer.replay(job_id, until)

    async def find_question(self, job_id: str) -> Asked | None:
        """A job's question."""
        return await self._replayer.find_question(job_id)

    async def written(self, topic: TopicSpec, partition: int, offset: int) -> Written | None:
        """A record by its place."""
        return await self._replayer.written(topic.full_name(self._prefix, self._generation), partition, offset)

    async def epochs(self) -> Epochs:
        """As `control` tells."""
        self._epochs = await asyncio.get_running_loop().run_in_executor(self._controlling, self._control.read)
        return self._epochs

    async def queue_lengths(self) -> dict[str, int]:
        """What waits."""
        return await self._lanes.queue_lengths()

    async def checks(self) -> dict[str, str | None]:
        """Broker, topics, lanes, and our own reply partitions."""
        replies = None if self._reader.assigned else "no reply partition is being read"
        found = {**await self._lanes.checks(), "replies": replies}
        if found["broker"] is None:
            self._refused = ""
        elif self._refused:
            found["broker"] = self._refused
        return found
