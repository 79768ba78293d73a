"""What commands read from `control` and write to it."""

import time
from collections.abc import Callable
from contextlib import closing

from confluent_kafka import KafkaError, Message, Producer

from connectors.errors import Transient
from gateway.control import ControlReader
from gateway.kafka_log import client_config
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics import registry
from topics.codec import encode, schema_header
from topics.control import Epoch, Generation, LlmVersions
from topics.epochs import ANNOUNCING, PATIENCE, READ_EVERY, Epochs, epoch_key, first_epoch
from topics.versions import KEY, read_versions

NEW_TOPIC_SECONDS = 10.0  # a topic that was just made has no leader for a moment


def control_reader(settings: Settings) -> ControlReader:
    """Reads the epochs; to be closed."""
    kafka = settings.kafka
    client = {**client_config(settings), "group.id": f"{kafka.prefix}.cli"}  # required; nothing is ever committed
    topic = registry.CONTROL.full_name(kafka.prefix, settings.documents.generation)
    return ControlReader(client, topic, first_epoch(kafka.prefix, kafka.partitions))


def read_epochs(settings: Settings) -> tuple[Epochs, bool]:
    """All epochs, and whether `control` tells of them; :class:`Transient` where it cannot be read."""
    until = time.monotonic() + NEW_TOPIC_SECONDS
    with closing(control_reader(settings)) as reader:
        while True:
            try:
                found = reader.read()
                return found, found.first is not reader.first
            except Transient:
                if time.monotonic() > until:
                    raise
            time.sleep(0.1)


def read_llm(settings: Settings) -> LlmVersions | None:
    """What `control` says of language models, None while it says nothing; :class:`Transient` where it is not known."""
    with closing(control_reader(settings)) as reader:
        reader.read()
        return read_versions(reader.records)


def tell(settings: Settings, make: Callable[[], Epoch | Generation | LlmVersions]) -> None:
    """Put a record into `control`: made once the broker has answered, and there within two seconds.

    :class:`Transient` where it is not known whether it is there.
    """
    topic = registry.CONTROL.full_name(settings.kafka.prefix, settings.documents.generation)
    producer = Producer(
        {
            **librdkafka_options(settings.kafka),
            "partitioner": "murmur2_random",
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": int(ANNOUNCING * 1000),
        }
    )
    errors: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        errors.append(error)

    producer.list_topics(topic, timeout=settings.kafka.request_timeout)
    record = make()
    key = _key(record)
    headers: list[tuple[str, str | bytes | None]] = [*schema_header(record).items()]
    producer.produce(topic, encode(record), key, headers=headers, on_delivery=delivered)
    producer.flush(ANNOUNCING + 1)
    if errors != [None]:
        raise Transient(
            "the broker has not confirmed the record, but may have it: see `freshet epoch list`, `freshet llm status`"
        )


def _key(record: Epoch | Generation | LlmVersions) -> str:
    if isinstance(record, LlmVersions):
        return KEY
    return epoch_key(record) if isinstance(record, Epoch) else f"generation/{record.name}"


class WriteEpoch:
    """The epoch that takes writes, for a command that publishes: waits where a gateway would answer 503."""

    def __init__(self, settings: Settings) -> None:
        self._reader = control_reader(settings)
        self._epochs: Epochs | None = None
        self._read_at = 0.0

    def close(self) -> None:
        self._reader.close()

    def current(self) -> Epoch:
        """Raises :class:`Transient` where that can no longer be known."""
        while True:
            self._look()
            assert self._epochs is not None
            found = self._epochs.writes_at(time.time())
            if isinstance(found, Epoch):
                return found
            time.sleep(found)

    def _look(self) -> None:
        began = time.monotonic()
        if self._epochs is not None and began - self._read_at < READ_EVERY:
            return
        try:
            self._epochs, self._read_at = self._reader.read(), began
        except Transient:
            if self._epochs is None or time.monotonic() - self._read_at > PATIENCE:
                raise


def write_epoch(settings: Settings) -> Epoch:
    """As :class:`WriteEpoch`, once."""
    with closing(WriteEpoch(settings)) as epoch:
        return epoch.current()
