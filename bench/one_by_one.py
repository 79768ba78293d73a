"""The worker that Freshet is measured against: the brief's "minimal Python worker", record by record.

Consume one chunk from Kafka, encode it with torch in fp32, produce its vector as JSON.  As in the brief, except that
the client is confluent-kafka (quicker than kafka-python) and that it stops after the last chunk.
"""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from runtime.brokers import librdkafka_options
from runtime.settings import Kafka

_TIMEOUT = 60.0  # seconds without a record, or for a broker's answer


class NoRecord(RuntimeError):
    """Kafka gave nothing in time."""


@contextmanager
def chunk_topics(kafka: Kafka, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A topic that holds the texts as the brief's records, and an empty one for vectors; both go at the end."""
    admin = AdminClient(librdkafka_options(kafka))
    run = uuid.uuid4().hex[:8]
    source, target = f"{kafka.prefix}.bench.chunks.{run}", f"{kafka.prefix}.bench.vectors.{run}"
    for done in admin.create_topics([NewTopic(name, 1, kafka.replication) for name in (source, target)]).values():
        done.result(_TIMEOUT)
    try:
        producer = Producer({**librdkafka_options(kafka), "partitioner": "murmur2_random"})
        for number, text in enumerate(texts):
            record = {"doc_id": f"doc-{number // 4}", "chunk_id": number, "text": text}
            producer.produce(source, json.dumps(record).encode())
        if producer.flush(_TIMEOUT):
            raise NoRecord(f"the broker at {kafka.brokers} does not acknowledge")
        yield source, target
    finally:
        for done in admin.delete_topics([source, target]).values():
            done.result(_TIMEOUT)


def seconds(kafka: Kafka, network: Any, source: str, target: str, count: int) -> float:
    """Time from the first record taken to the last vector acknowledged.  ``network`` is a SentenceTransformer."""
    consumer = Consumer(
        {
            **librdkafka_options(kafka),
            "group.id": f"{source}.{uuid.uuid4().hex[:8]}",
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer({**librdkafka_options(kafka), "partitioner": "murmur2_random"})
    try:
        consumer.subscribe([source])
        message = _next(consumer)
        start = time.perf_counter()
        for number in range(count):
            record = json.loads(message.value() or b"")
            vector = network.encode(record["text"], convert_to_tensor=True, show_progress_bar=False)
            out = {"doc_id": record["doc_id"], "chunk_id": record["chunk_id"], "vector": vector.cpu().numpy().tolist()}
            producer.produce(target, json.dumps(out).encode())
            producer.poll(0)
            if number + 1 < count:
                message = _next(consumer)
        if producer.flush(_TIMEOUT):
            raise NoRecord("the broker does not acknowledge")
        return time.perf_counter() - start
    finally:
        consumer.close()


def _next(consumer: Consumer) -> Message:
    message = consumer.poll(_TIMEOUT)
    if message is None or message.error():
        raise NoRecord(f"nothing to consume: {message.error() if message else 'no record came'}")
    return message
