"""Follow our reply partitions of ``answers``.

Partitions are assigned by arithmetic (p modulo replicas), without a group: no join, no rebalance, no commit.  Reading
begins at the end as it was before the first question was accepted; what lies before is read by ``replay.py``.
"""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from gateway.ports import Deliver, LoggedEvent, Wanted
from runtime import tracing
from runtime.logs import logger
from topics.codec import DecodeError, decode
from topics.headers import TRACEPARENT, read_headers
from topics.queries import FINAL, AnswerEvent

RETRY_SECONDS = 1.0
REQUEST_SECONDS = 5.0
BATCH = 500
HANDED = 4  # batches that the loop has yet to take; behind them reading waits, and then the broker
_TRANSIENT = (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT)
_log: structlog.stdlib.BoundLogger = logger("gateway.answers")

READER = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",  # only after an outage so long that our place has been deleted
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 50,
    "queued.max.messages.kbytes": 16 * 1024,  # default 64 MiB for each consumer
}


def taken(consumer: Consumer, seconds: float) -> list[Message]:
    """Messages as soon as there are any (``consume`` alone would wait for a full batch)."""
    first = consumer.poll(seconds)
    return [] if first is None else [first, *consumer.consume(BATCH, 0)]


def event_of(message: Message) -> LoggedEvent | None:
    """The event in a message; None where it is none of ours."""
    value, offset = message.value(), message.offset()
    if value is None or offset is None:
        return None
    try:
        event = decode(value, AnswerEvent)
    except DecodeError as error:
        _log.warning("an answer event cannot be read", offset=offset, reason=str(error))
        return None
    held: Any = message.headers() if tracing.on() and event.type in FINAL else []  # pairs; the stubs name another form
    trace = read_headers(held).get(TRACEPARENT)
    return LoggedEvent(offset, event, len(value), trace.decode("utf-8", "replace") if trace else None)


class ReplyReader:
    """The thread that reads our partitions and hands events of live jobs to the loop."""

    def __init__(self, client: Mapping[str, Any], topic: str, replica: int, replicas: int) -> None:
        self._config = {**client, **READER}
        self._topic, self._replica, self._replicas = topic, replica, replicas
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.assigned: tuple[int, ...] = ()

    def open(self, deliver: Deliver, wanted: Wanted) -> None:
        """Start; partitions appear in :attr:`assigned` once they are being read."""
        self._stop.clear()
        target = (asyncio.get_running_loop(), deliver, wanted)
        self._thread = threading.Thread(target=self._run, args=target, name="kafka-answers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; blocks for a moment."""
        self._stop.set()
        if self._thread:
            self._thread.join(REQUEST_SECONDS)
        self._thread, self.assigned = None, ()

    def _run(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, wanted: Wanted) -> None:
        complained = False
        while not self._stop.is_set():
            consumer = Consumer(self._config)
            try:
                self._assign(consumer)
                complained = False
                _log.info("reply partitions assigned", partitions=list(self.assigned))
                self._follow(consumer, loop, deliver, wanted)
            except (KafkaException, LookupError) as error:
                if not complained:
                    _log.warning("reply partitions cannot be read; trying again", reason=str(error))
                complained = True
            finally:
                self.assigned = ()
                consumer.close()
            self._stop.wait(RETRY_SECONDS)

    def _assign(self, consumer: Consumer) -> None:
        topic = consumer.list_topics(self._topic, timeout=REQUEST_SECONDS).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        mine = [p for p in sorted(topic.partitions) if p % self._replicas == self._replica]
        if not mine:
            raise LookupError(f"{self._topic} has {len(topic.partitions)} partitions: none for replica {self._replica}")
        places = []
        for partition in mine:
            marks = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=REQUEST_SECONDS)
            if marks is None:
                raise LookupError(f"end of {self._topic} is not known")
            places.append(TopicPartition(self._topic, partition, marks[1]))
        consumer.assign(places)
        self.assigned = tuple(mine)

    def _follow(self, consumer: Consumer, loop: asyncio.AbstractEventLoop, deliver: Deliver, wanted: Wanted) -> None:
        room = threading.Semaphore(HANDED)

        def take(events: list[LoggedEvent]) -> None:
            room.release()
            deliver(events)

        while not self._stop.is_set():
            events: list[LoggedEvent] = []
            for message in taken(consumer, 0.2):
                error = message.error()
                if error is not None:
                    if error.code() not in _TRANSIENT:
                        raise KafkaException(error)
                    continue
                key = message.key()
                if key is not None and wanted(_text(key)) and (event := event_of(message)):
                    events.append(event)
            if events:
                while not room.acquire(timeout=0.2):
                    if self._stop.is_set():
                        return
                try:
                    loop.call_soon_threadsafe(take, events)
                except RuntimeError:  # the loop has ended
                    return


def _text(key: bytes | str) -> str:
    return key if isinstance(key, str) else key.decode("utf-8", "replace")
