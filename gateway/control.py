"""Read ``control``: from its beginning once, and what is new whenever it is asked.

Blocks, and is for one thread at a time: the gateway calls it from a thread of its own, the command line as it is.
"""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from connectors.errors import Transient
from gateway.answers import READER, taken
from topics.codec import DecodeError
from topics.control import Epoch
from topics.epochs import Epochs, read_epochs
from topics.headers import Headers, read_headers

ANSWER_SECONDS = 2.0  # for one look; a writer of documents cannot wait longer (topics/epochs.py)


class ControlReader:
    """The epochs of ``documents``.  ``first`` is the epoch there is while ``control`` tells of none."""

    def __init__(self, client: Mapping[str, Any], topic: str, first: Epoch) -> None:
        self._config = {**client, **READER, "enable.partition.eof": True}
        self._place, self.first = TopicPartition(topic, 0, OFFSET_BEGINNING), first
        self._consumer: Consumer | None = None
        self.records: list[tuple[bytes | None, bytes | None, Headers]] = []  # all that was read
        self._next = 0

    def close(self) -> None:
        """Let go of the broker."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def read(self) -> Epochs:
        """All epochs that were announced before this was called; :class:`Transient` where that cannot be told."""
        try:
            self._read()
            return read_epochs(self.records, self.first)
        except KafkaException as error:
            raise Transient(f"control cannot be read: {error.args[0].name()}") from None
        except DecodeError as error:
            raise Transient(f"control cannot be read here: {error}", reason="control") from error

    def _read(self) -> None:
        if self._consumer is None:
            self._consumer = Consumer(self._config)
            self._consumer.assign([self._place])
            self.records, self._next = [], 0
        marks = self._consumer.get_watermark_offsets(self._place, timeout=ANSWER_SECONDS)
        until = time.monotonic() + ANSWER_SECONDS
        while marks is None or self._next < marks[1]:
            if marks is None or time.monotonic() > until:
                raise Transient("control cannot be read in time")
            for message in taken(self._consumer, 0.1):
                error, offset = message.error(), message.offset()
                if error is None and offset is not None:
                    key, value = message.key(), message.value()
                    assert not isinstance(key, str) and not isinstance(value, str)
                    self.records.append((key, value, read_headers(message.headers())))  # type: ignore[arg-type]
                    self._next = offset + 1
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    self._next = max(self._next, offset or 0)
                elif error is not None:
                    raise KafkaException(error)
