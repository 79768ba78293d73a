"""How the lanes are: what waits in front of each, and whether somebody works there.

Asked of the broker, so it is also true when all workers are dead.  Not asked through the admin interface:
``list_consumer_group_offsets`` of librdkafka 2.16 takes the whole process down (seen here, in ``rd_kafka_cgrp_op``)
when the coordinator of a group is still being found, because an admin client has no group; and
``describe_consumer_groups`` has been seen to abort on late answers (librdkafka issue 4605).  A consumer that never
subscribes asks for the same offsets, joins nothing and commits nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.errors import Transient
from topics.registry import ALL, DOCUMENTS, LANES, PURGE, QUEUES, SOURCES, group_of

ANSWER_SECONDS = 4.0  # for one request; a gateway that cannot tell in this time says so
_EARLIEST, _LATEST = -2, -1  # in place of a time, as in Kafka's ListOffsets


class Lanes:
    """Reads group offsets and members.  ``documents`` tells the topics of all its epochs, which are one queue.

    So are ``sources``, the topics of the user's own; they have a lane only where there are any, and so have ``edges``.
    """

    def __init__(
        self,
        client: Mapping[str, Any],
        prefix: str,
        generation: str,
        documents: Callable[[], Sequence[str]] | None = None,
        sources: Sequence[str] = (),
        *,
        edges: bool = False,
    ) -> None:
        self._client, self._first = dict(client), DOCUMENTS.full_name(prefix, generation)
        self._documents = documents or (lambda: [self._first])
        self._topics = [spec.full_name(prefix, generation) for spec in ALL]
        self._groups = {stage: group_of(prefix, stage, generation) for spec in LANES for stage in spec.readers}
        self._queues = {
            name: (spec.full_name(prefix, generation), stage)
            for name, (spec, stage) in QUEUES.items()
            if edges or stage != PURGE
        }
        if edges:
            self._groups[PURGE] = group_of(prefix, PURGE, generation)
        self._sources, mapped = sources, SOURCES.full_name(prefix, generation)
        if sources:
            for stage in SOURCES.readers:
                self._groups[stage], self._queues[stage] = group_of(prefix, stage, generation), (mapped, stage)
        self._several: dict[str, Callable[[], Sequence[str]]] = {self._first: self._documents, mapped: lambda: sources}
        self._consumers: dict[str, Consumer] = {}
        self._admin: AdminClient | None = None
        self._measuring = ThreadPoolExecutor(1, thread_name_prefix="kafka-lanes")  # one at a time: not thread-safe
        self._checking = ThreadPoolExecutor(1, thread_name_prefix="kafka-checks")

    def close(self) -> None:
        """Stop asking; blocks for as long as a request under way takes."""
        self._checking.shutdown(wait=False, cancel_futures=True)
        self._measuring.shutdown(wait=True, cancel_futures=True)
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    async def queue_lengths(self) -> dict[str, int]:
        """See :meth:`gateway.ports.Log.queue_lengths`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._measuring, self._queue_lengths)
        except KafkaException as error:
            raise Transient(f"queue lengths are not known: {error.args[0].name()}") from None

    async def checks(self) -> dict[str, str | None]:
        """Broker, topics, and every lane."""
        return await asyncio.get_running_loop().run_in_executor(self._checking, self._checks)

    def _queue_lengths(self) -> dict[str, int]:
        lengths: dict[str, int] = {}
        for queue, (topic, stage) in self._queues.items():
            group = self._groups[stage]
            consumer = self._consumers.get(group)
            if consumer is None:
                settings = {**self._client, "group.id": group, "enable.auto.commit": False}
                consumer = self._consumers[group] = Consumer(settings)
            for name in self._several[topic]() if topic in self._several else [topic]:
                partitions = list(consumer.list_topics(name, timeout=ANSWER_SECONDS).topics[name].partitions)
                if partitions:
                    lengths[queue] = lengths.get(queue, 0) + self._waiting(consumer, name, partitions)
        return lengths

    @staticmethod
    def _waiting(consumer: Consumer, topic: str, partitions: list[int]) -> int:
        def at(time: int) -> dict[int, int]:
            places = [TopicPartition(topic, partition, time) for partition in partitions]
            return {p.partition: p.offset for p in consumer.offsets_for_times(places, timeout=ANSWER_SECONDS)}

        first, last = at(_EARLIEST), at(_LATEST)
        asked = [TopicPartition(topic, partition) for partition in partitions]
        done = {p.partition: p.offset for p in consumer.committed(asked, timeout=ANSWER_SECONDS)}
        return sum(max(0, last[p] - max(done[p], first[p])) for p in partitions)

    def _checks(self) -> dict[str, str | None]:
        if self._admin is None:
            self._admin = AdminClient({k: v for k, v in self._client.items() if k != "allow.auto.create.topics"})
        try:
            known = self._admin.list_topics(timeout=ANSWER_SECONDS).topics
        except KafkaException as error:
            return {"broker": error.args[0].name()}
        missing = [topic for topic in dict.fromkeys([*self._topics, *self._documents()]) if topic not in known]
        found: dict[str, str | None] = {"broker": None}
        found["topics"] = f"missing: {', '.join(missing)}; run `freshet topics apply`" if missing else None
        absent = [topic for topic in self._sources if topic not in known]
        if absent:
            found["sources"] = f"missing: {', '.join(absent)}, which FRESHET_SOURCES names"
        for stage, group in self._groups.items():
            if not (absent and stage in SOURCES.readers):  # it waits for them
                found[f"lane.{stage}"] = self._alive(self._admin, group)
        return found

    @staticmethod
    def _alive(admin: AdminClient, group: str) -> str | None:
        try:
            members = [member for found in admin.list_groups(group, timeout=ANSWER_SECONDS) for member in found.members]
        except KafkaException as error:
            return f"not known: {error.args[0].name()}"
        if not members:
            return "no worker"
        return None if any(assigned(m.assignment or b"") for m in members) else "workers have no partitions yet"


def assigned(assignment: bytes) -> dict[str, set[int]]:
    """Partitions by topic that a member has.  Kafka's consumer protocol: version, then topics with their partitions."""
    found: dict[str, set[int]] = {}
    at = 2

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(assignment[at - size : at], "big")

    for _ in range(number(4)):
        length = number(2)
        topic, at = assignment[at : at + length].decode(), at + length
        found[topic] = {number(4) for _ in range(number(4))}
    return found
