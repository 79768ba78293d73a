"""A lane that was away for longer than deletes are kept does not count as current: on the real broker."""

import secrets
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from connectors import build
from connectors.memory.manifests import MemoryManifests
from runtime.clock import SystemClock
from runtime.settings import Settings
from streams.documents.absence import Absence
from topics import registry

pytestmark = pytest.mark.servers
RETENTION = 5_000  # ms
OLD, YOUNG = 60_000, 0  # ms ago


@pytest.fixture
def own(settings: Settings) -> Settings:
    """Settings with a prefix of the test's own, and its topic of two partitions."""
    kafka = settings.kafka.model_copy(
        update={"prefix": f"t{secrets.token_hex(4)}", "partitions": 2, "delete_retention_ms": RETENTION}
    )
    made = settings.model_copy(update={"kafka": kafka})
    topic = registry.DOCUMENTS.full_name(kafka.prefix, "g1")
    admin = AdminClient({"bootstrap.servers": kafka.brokers})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    return made


@pytest.mark.parametrize(
    ("ages", "read", "missed"),
    [
        ([OLD, OLD], None, False),  # a group that never was: its index is empty
        ([OLD, OLD], 2, False),  # away, and nothing unread
        ([OLD, YOUNG], 1, False),  # what is unread is young
        ([OLD, OLD, YOUNG], 1, True),
    ],
    ids=["new", "nothing-unread", "young", "old"],
)
async def test_what_counts_as_away(own: Settings, ages: list[int], read: int | None, missed: bool) -> None:
    """Distrusted is only a group that has read before and left unread what is older than deletes are kept."""
    kafka, now = own.kafka, int(time.time() * 1000)
    topic, group = registry.DOCUMENTS.full_name(kafka.prefix, "g1"), registry.group_of(kafka.prefix, "chunk", "g1")
    producer = Producer({"bootstrap.servers": kafka.brokers})
    for age in ages:
        producer.produce(topic, b"{}", b"doc", 1, timestamp=now - age)
    assert producer.flush(30) == 0
    if read is not None:
        consumer = Consumer({"bootstrap.servers": kafka.brokers, "group.id": group})
        consumer.commit(offsets=[TopicPartition(topic, 1, read)], asynchronous=False)
        consumer.close()
    manifests = MemoryManifests()
    logs = [(build.topic_log(own, registry.DOCUMENTS), build.committed(own, group, topic, kafka.partitions))]
    absence = Absence(logs, manifests, RETENTION, SystemClock())
    await absence.open()
    why = await manifests.distrusted()
    assert (why is not None and "freshet audit --repair" in why) == missed
