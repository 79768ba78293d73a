"""Read one job again from the log, whichever gateway accepted it.

The job id carries reply partition and start time: the broker finds the offset by time, and only what lies behind it is
read.  Each reading has a consumer of its own, in a thread of a bounded pool, closed when its reader leaves.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import Transient
from gateway.answers import READER, REQUEST_SECONDS, event_of, taken
from gateway.log_time import LOG_TIME
from gateway.ports import Asked, CaughtUp, Expunged, LoggedEvent, Written
from topics.codec import DecodeError, decode
from topics.headers import Hop, read_headers
from topics.identity import job_place, partition_of
from topics.queries import Question

MAX_READERS = 72  # the desk's 64 replays, and look-ups of questions beside them
WORKER_SKEW_MS = 60_000  # of a topic whose records bear the worker's clock: one that was made by hand, or long ago
OWN_SKEW_MS = 5_000  # the gateway knows the brokers' time from the last question that they took
PUBLISH_MS = 120_000  # a question is published so soon after its job began, or not at all


@dataclass(frozen=True, slots=True)
class Span:
    """Where to begin and what was the end; ``expunged``: records of that time may have been deleted."""

    start: int
    end: int
    expunged: bool


class Replayer:
    """Looks jobs up in ``queries`` and ``answers``."""

    def __init__(self, client: Mapping[str, Any], queries: Sequence[str], answers: str, retention_ms: int) -> None:
        self._config = {**client, **READER, "enable.partition.eof": True}
        self._queries, self._answers, self._retention_ms = queries, answers, retention_ms
        self._pool = ThreadPoolExecutor(MAX_READERS, thread_name_prefix="kafka-replay")
        self._closing = threading.Event()

    def close(self) -> None:
        """End all readings."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def replay(self, job_id: str, until: float) -> AsyncIterator[LoggedEvent | CaughtUp]:
        """See :meth:`gateway.ports.Log.replay`."""
        loop, stop = asyncio.get_running_loop(), threading.Event()
        arrived: asyncio.Queue[LoggedEvent | CaughtUp | Exception | None] = asyncio.Queue()

        def put(item: LoggedEvent | CaughtUp | Exception | None) -> None:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, item)
            except RuntimeError:  # the loop has ended
                stop.set()

        def read() -> None:
            try:
                self._read(job_id, until, put, stop)
            except Exception as error:
                put(error)
            finally:
                put(None)

        self._pool.submit(read)
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, KafkaException):
                    raise Transient(f"the log cannot be read: {item.args[0].name()}") from None
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()

    def _read(
        self, job_id: str, until: float, put: Callable[[LoggedEvent | CaughtUp], None], stop: threading.Event
    ) -> None:
        partition, started = job_place(job_id)
        consumer = Consumer(self._config)
        try:
            span = self._span(consumer, self._answers, partition, started - WORKER_SKEW_MS)
            consumer.assign([TopicPartition(self._answers, partition, span.start)])
            caught_up = span.start >= span.end
            if caught_up:
                put(CaughtUp())
            while not (stop.is_set() or self._closing.is_set()):
                for message in taken(consumer, 0.1):
                    if not _at_end(message):
                        if message.key() == job_id.encode() and (event := event_of(message)):
                            put(event)
                        if (message.offset() or 0) + 1 < span.end:
                            continue
                    if not caught_up:
                        caught_up = True
                        put(CaughtUp())
                if caught_up and LOG_TIME.seconds() >= until:
                    return
        finally:
            consumer.close()

    async def written(self, topic: str, partition: int, offset: int) -> Written | None:
        """See :meth:`gateway.ports.Log.written`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, self._written, TopicPartition(topic, partition, offset)
            )
        except KafkaException as error:
            raise Transient(f"the log cannot be read: {error.args[0].name()}") from None

    def _written(self, place: TopicPartition) -> Written | None:
        consumer = Consumer(self._config)
        try:
            marks = consumer.get_watermark_offsets(place, timeout=REQUEST_SECONDS)
            if marks is None or not marks[0] <= place.offset < marks[1]:
                return None
            consumer.assign([place])
            message = consumer.poll(REQUEST_SECONDS)
            if message is None:
                raise Transient("the log is too slow to read a record", reason="timeout")
            if _at_end(message) or message.offset() != place.offset:  # compacted: the next one that is left comes
                return None
            held: Any = message.headers() or []
            key, value = message.key(), message.value()
            assert not isinstance(key, str) and not isinstance(value, str)
            return Written(key, value, read_headers(held))
        finally:
            consumer.close()

    async def find_question(self, job_id: str) -> Asked | None:
        """See :meth:`gateway.ports.Log.find_question`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._find, job_id)
        except KafkaException as error:
            raise Transient(f"the log cannot be read: {error.args[0].name()}") from None

    def _find(self, job_id: str) -> Asked | None:
        expunged = False
        for topic in self._queries:
            try:
                if (found := self._find_in(topic, job_id)) is not None:
                    return found
            except Expunged:
                expunged = True
        if expunged:
            raise Expunged("the log no longer keeps this job")
        return None

    def _find_in(self, name: str, job_id: str) -> Asked | None:
        _, started = job_place(job_id)
        key = job_id.encode()
        consumer = Consumer(self._config)
        try:
            topic = consumer.list_topics(name, timeout=REQUEST_SECONDS).topics[name]
            if topic.error is not None or not topic.partitions:
                raise Transient("the topic of questions is not there")
            partition = partition_of(key, len(topic.partitions))
            span = self._span(consumer, name, partition, started - OWN_SKEW_MS)
            consumer.assign([TopicPartition(name, partition, span.start)])
            deadline, place = time.monotonic() + 2 * REQUEST_SECONDS, span.start
            while place < span.end:
                if time.monotonic() > deadline or self._closing.is_set():
                    raise Transient("the log is too slow to look the job up")
                for message in taken(consumer, 0.2):
                    if _at_end(message):
                        place = span.end
                        break
                    place = (message.offset() or 0) + 1
                    if message.key() == key:
                        return _asked(message)
                    kind, at = message.timestamp()
                    if kind == TIMESTAMP_LOG_APPEND_TIME and at > started + PUBLISH_MS:  # any other may be ahead
                        place = span.end
                        break
            if span.expunged:
                raise Expunged("the log no longer keeps this job")
            return None
        finally:
            consumer.close()

    def _span(self, consumer: Consumer, topic: str, partition: int, since_ms: int) -> Span:
        place = TopicPartition(topic, partition, since_ms)
        marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_SECONDS)
        found = consumer.offsets_for_times([place], timeout=REQUEST_SECONDS)[0]
        if found.error is not None:
            raise KafkaException(found.error)
        if marks is None:
            raise Transient("the log does not say where it ends")
        low, high = marks
        if found.offset < 0:  # nothing is as young as that
            old = since_ms < LOG_TIME.millis() - self._retention_ms
            return Span(high, high, expunged=old)
        return Span(max(found.offset, low), high, expunged=0 < low == max(found.offset, low))


def _at_end(message: Message) -> bool:
    """Whether this is no record but the news that there are no more; any other error is raised."""
    error = message.error()
    if error is None:
        return False
    if error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return True


def _asked(message: Message) -> Asked | None:
    value = message.value()
    held: Any = message.headers() or []  # pairs; the stubs also name a form that is only taken, never given
    try:
        return None if value is None else Asked(Hop.of(read_headers(held)), decode(value, Question))
    except (DecodeError, ValueError):
        return None
