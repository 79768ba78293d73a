"""Commits and reads on logs with holes and transactions, and what becomes of outputs."""

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer as LogReader
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from runtime.settings import Settings
from streams.app import Consumer, ConsumerThread, create_app
from streams.publisher import Publisher
from tests.upstream import worker
from tests.upstream.lanes import Lane, lives_with, scenario, stays, until

pytestmark = pytest.mark.servers
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}


@pytest.fixture
def quick_cleaner(settings: Settings) -> Iterator[None]:
    """The broker's log cleaner looks ten times a second, not every 15 s."""
    admin = AdminClient({"bootstrap.servers": settings.kafka.brokers})
    (broker,) = admin.list_topics(timeout=10).brokers

    def alter(operation: AlterConfigOpType) -> None:
        entry = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=operation)
        resource = ConfigResource(ResourceType.BROKER, str(broker), incremental_configs=[entry])
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(10)

    alter(AlterConfigOpType.SET)
    yield
    alter(AlterConfigOpType.DELETE)


def offsets(lane: Lane) -> list[int]:
    """The offsets that are still in the log."""
    reader = LogReader({"bootstrap.servers": lane.run.brokers, "group.id": "reader", "enable.partition.eof": True})
    reader.assign([TopicPartition(lane.name, 0, 0)])
    found: list[int] = []
    while (message := reader.poll(10)) is not None and message.error() is None:
        found.append(message.offset() or 0)
    reader.close()
    return found


@scenario(worker.each, topic=COMPACTED, start=False, consumer_group_instance_id="slot")
def test_commits_stall_behind_a_first_offset_that_survived(lane: Lane, quick_cleaner: None) -> None:
    """On a compacted log whose offset 0 survives, commits stall at 1 until a restart; with our consumer they do not."""
    lane.send("ok", key=b"first")
    lane.send(*["ok"] * 20, key=b"often")

    def compacted() -> bool:
        lane.send("ok", key=b"roll")  # a segment in use is never compacted
        return offsets(lane)[:2] == [0, 20]

    until(compacted, "not compacted")
    end = offsets(lane)[-1] + 1
    lane.start()
    ours = lane.start(transport="ours", group=f"{lane.name}-ours")
    lane.until_committed(end, group=ours.group)
    until(lambda: lane.first.done == ours.done, lane)
    lane.until_committed(1)
    assert stays(lambda: lane.committed() == 1)
    lane.first.kill()
    again = lane.start()
    until(lambda: again.done == ours.done[1:], lane)
    lane.until_committed(end)
    lives_with(Consumer._new_offset, "return last + 1")
    lives_with(Consumer._add_gap, "Holes need no bookkeeping")


@scenario(worker.each)
def test_aborted_records_are_read(lane: Lane) -> None:
    """Consumers read what a transaction aborted, unless the application is exactly-once; ours never do."""
    for finish, word in (("abort_transaction", "ok"), ("commit_transaction", "ok")):
        writer = Producer({"bootstrap.servers": lane.run.brokers, "transactional.id": f"{lane.name}-{finish}"})
        writer.init_transactions(20)
        writer.begin_transaction()
        writer.produce(lane.name, lane.value(word), b"key", 0)
        writer.flush(10)
        getattr(writer, finish)(20)
    ours = lane.start(transport="ours", group=f"{lane.name}-ours")
    exactly = lane.start(group=f"{lane.name}-exactly", settings={"processing_guarantee": "exactly_once"})
    until(lambda: 1 in lane.first.done and 1 in ours.done and 1 in exactly.done, lane)
    assert lane.first.done == [0, 1]
    assert ours.done == exactly.done == [1]
    lives_with(ConsumerThread._create_worker_consumer, '_isolation_level = "read_committed"')


@scenario(worker.each, "send", "send and await", "ok")
def test_failed_output_is_only_a_warning(lane: Lane) -> None:
    """An output that the broker refuses is a warning in the log, and the input is committed without it; only awaiting
    the future that ``send()`` returns raises."""
    lane.until_committed(3)
    assert lane.first.done == [0, 2] and lane.first.numbers("failed") == [1]
    assert "_on_published error" in lane.first.log
    reader = LogReader({"bootstrap.servers": lane.run.brokers, "group.id": "reader"})
    assert reader.get_watermark_offsets(TopicPartition(lane.run.output, 0), timeout=10) == (0, 0)
    reader.close()
    lives_with(Publisher.__call__, "await asyncio.gather(*futures)")
    lives_with(create_app, "producer_request_timeout=kafka.request_timeout")


@scenario(worker.each, "ok", "ok", transport="refused")
def test_refused_commit_is_believed(lane: Lane) -> None:
    """When the broker refuses a commit, Faust believes it all the same, and does not try that offset again."""
    until(lambda: lane.first.done == [0, 1], lane)
    assert stays(lambda: lane.committed() is None)
    lane.send("tell")
    until(lambda: lane.first.numbers("believes") == [2], lane)
    lives_with(Consumer._new_offset, "acked.clear()")
