"""Records out of Faust's events, as they lie in Kafka or, of a retry topic, as they were the first time."""

from typing import Any

from streams.outcome import Record
from topics.headers import read_headers
from topics.retry import Retry, without_retry


def size_of(event: Any) -> int:
    """Bytes of an event's value."""
    return len(event.message.value or b"")


def record_of(event: Any) -> Record:
    """The raw record behind a Faust event."""
    m = event.message
    return Record(
        m.topic, m.partition, m.offset, m.key, m.value, read_headers(m.headers), int((m.timestamp or 0) * 1000)
    )


def retried_record_of(event: Any) -> Record:
    """The original record behind an event of a retry topic; as it lies there, where its headers do not tell."""
    copy = record_of(event)
    try:
        retry = Retry.of(copy.headers)
    except ValueError:
        return copy
    headers = without_retry(copy.headers)
    return Record(
        retry.topic, retry.partition, retry.offset, copy.key, copy.value, headers, retry.timestamp, retry, copy.place
    )
