"""Dead letters, read from their topics as anybody may who looks at the log."""

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from chaos.history import Letter
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics.registry import LANES
from topics.spec import dead_letters_of

_REASONS = ("__connect.errors.exception.class.name", "__connect.errors.exception.message")
SECONDS = 30.0


def dead_letters(settings: Settings) -> list[Letter]:
    """All that there are; raises :class:`TimeoutError` where they cannot be read."""
    kafka = settings.kafka
    topics = [dead_letters_of(lane).full_name(kafka.prefix, settings.documents.generation) for lane in LANES]
    consumer = Consumer(
        {**librdkafka_options(kafka), "group.id": f"{kafka.prefix}.campaign", "enable.auto.commit": False}
    )
    try:
        return [letter for topic in topics for letter in _of(consumer, topic)]
    finally:
        consumer.close()


def _of(consumer: Consumer, topic: str) -> Iterator[Letter]:
    until = time.monotonic() + SECONDS
    known = consumer.list_topics(topic, timeout=SECONDS).topics[topic].partitions
    ends, places = dict[int, int](), list[TopicPartition]()
    for partition in known:
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=SECONDS)
        if first < end:
            ends[partition] = end
            places.append(TopicPartition(topic, partition, first))
    consumer.assign(places)
    while ends:
        message = consumer.poll(1.0)
        if message is not None:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            letter = _letter(message)
            if letter.partition in ends and letter.offset + 1 >= ends[letter.partition]:
                del ends[letter.partition]
            yield letter
        if time.monotonic() > until:
            raise TimeoutError(f"{topic} was not read within {SECONDS:g} s")


def _letter(message: Message) -> Letter:
    headers, key = dict(message.headers() or []), message.key()
    reasons = [_text(headers.get(name)) for name in _REASONS]
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None
    return Letter(
        topic=message.topic() or "",
        partition=partition,
        offset=offset,
        reason=": ".join(reasons),
        key=_text(key),
    )


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
