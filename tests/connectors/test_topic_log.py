"""Kafka and memory fulfil the contract of a topic log."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from connectors.errors import Transient
from connectors.kafka.topic_log import KafkaTopicLog
from connectors.memory.topic_log import MemoryTopicLog
from runtime.settings import Settings
from tests.connectors.contract.topic_log_contract import Append, TopicLogContract


class TestMemory(TopicLogContract):
    """The contract."""

    @pytest.fixture
    async def log(self) -> MemoryTopicLog:
        return MemoryTopicLog(2)

    @pytest.fixture
    def append(self, log: MemoryTopicLog) -> Append:
        async def append(partition: int, value: bytes | None) -> None:
            log.append(partition, b"key", value, {}, 1)

        return append


@pytest.mark.servers
class TestKafka(TopicLogContract):
    """The contract."""

    @pytest.fixture
    def topic(self, settings: Settings) -> str:
        name = f"{settings.kafka.prefix}.log{secrets.token_hex(4)}"
        admin = AdminClient({"bootstrap.servers": settings.kafka.brokers})
        admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
        return name

    @pytest.fixture
    async def log(self, settings: Settings, topic: str) -> AsyncIterator[KafkaTopicLog]:
        log = KafkaTopicLog(settings.kafka, topic)
        await log.open()
        yield log
        await log.close()

    @pytest.fixture
    def append(self, settings: Settings, topic: str) -> Append:
        producer = Producer({"bootstrap.servers": settings.kafka.brokers, "linger.ms": 0})

        async def append(partition: int, value: bytes | None) -> None:
            producer.produce(topic, value, b"key", partition)
            assert await asyncio.to_thread(producer.flush, 30) == 0

        return append


@pytest.mark.servers
async def test_an_absent_topic_is_transient(settings: Settings) -> None:
    """A topic that is not there, and a log that was never opened, may come to be."""
    log = KafkaTopicLog(settings.kafka, f"{settings.kafka.prefix}.nowhere")
    with pytest.raises(Transient, match="topics apply"):
        await log.open()
    with pytest.raises(Transient):
        await log.ends()
