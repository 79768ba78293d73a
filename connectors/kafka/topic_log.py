"""One topic, read without a group, through aiokafka."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.errors import Transient
from connectors.kafka.reach import reach
from connectors.ports import LoggedRecord
from runtime.brokers import aiokafka_options, librdkafka_options
from runtime.logs import logger
from runtime.settings import Kafka
from topics.headers import read_headers

log = logger(__name__)
_BATCH = 500  # records at once: bounds memory together with the fetch size
_FETCH_BYTES = 9 * 1024 * 1024  # of one partition: no less than the largest record
_FETCH_WAIT_MS = 100  # 500 by default; a broker answers in order, so asking for the end waits behind a fetch


class KafkaTopicLog:
    """:class:`connectors.ports.TopicLog`.  One reader at a time; the ends may be asked for beside it."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: list[TopicPartition] = []
        self._places: dict[int, int] = {}  # where the consumer stands

    async def open(self) -> None:
        if self._consumer is not None:
            return
        consumer = AIOKafkaConsumer(
            **aiokafka_options(self._kafka),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            request_timeout_ms=int(self._kafka.request_timeout * 1000),
        )
        async with self._calling("open"):
            try:
                await self._start(consumer)
                numbers = consumer.partitions_for_topic(self._topic) or await self._look_up(consumer)
                self._partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
                consumer.assign(self._partitions)
            except BaseException:
                await consumer.stop()
                raise
        self._consumer, self._places = consumer, {}

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def identity(self) -> str:
        """Its name and the id that Kafka gave it, where we may ask for that."""
        return await asyncio.to_thread(self._described)

    def _described(self) -> str:
        admin = AdminClient(librdkafka_options(self._kafka))
        asked = admin.describe_topics(TopicCollection([self._topic]), request_timeout=self._kafka.request_timeout)
        try:
            return f"{self._topic} {asked[self._topic].result(self._kafka.request_timeout).topic_id}"
        except KafkaException as error:
            log.debug("the topic's id is not known", topic=self._topic, error=str(error))
            return self._topic

    async def starts(self) -> dict[int, int]:
        async with self._calling("first offsets"):
            found = await self._open.beginning_offsets(self._partitions)
        return {place.partition: offset for place, offset in found.items()}

    async def ends(self) -> dict[int, int]:
        async with self._calling("last offsets"):
            found = await self._open.end_offsets(self._partitions)
        return {place.partition: offset for place, offset in found.items()}

    async def read(self, places: Mapping[int, int], seconds: float) -> tuple[list[LoggedRecord], dict[int, int]]:
        consumer = self._open
        wanted = [place for place in self._partitions if place.partition in places]
        async with self._calling("read"):
            for place in self._partitions:
                number = place.partition
                if number not in places:
                    consumer.pause(place)
                    continue
                consumer.resume(place)
                if self._places.get(number) != places[number]:
                    consumer.seek(place, places[number])
            found = await consumer.getmany(*wanted, timeout_ms=int(seconds * 1000), max_records=_BATCH)
            self._places = {place.partition: await consumer.position(place) for place in wanted}
        records = [
            LoggedRecord(m.partition, m.offset, m.key, m.value, read_headers(m.headers), m.timestamp)
            for messages in found.values()
            for m in messages
        ]
        return records, dict(self._places)

    async def _start(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await consumer.start()
        except KafkaError:
            await reach(self._kafka)  # says why, where no broker lets us in
            raise

    async def _look_up(self, consumer: AIOKafkaConsumer) -> set[int]:
        await consumer._client.force_metadata_update()  # it knows only topics that somebody has asked for
        await consumer.topics()
        numbers = consumer.partitions_for_topic(self._topic)
        if not numbers:
            raise Transient(f"topic {self._topic} is not there: run `freshet topics apply`", reason="topic")
        return set(numbers)

    @property
    def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise Transient(f"{self._topic} is not open", reason="closed")
        return self._consumer

    @asynccontextmanager
    async def _calling(self, doing: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._kafka.request_timeout):
                yield
        except (KafkaError, TimeoutError, OSError) as error:
            raise Transient(f"{self._topic}, {doing}: {error!r}", reason="broker") from error
