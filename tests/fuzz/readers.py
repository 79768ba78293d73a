"""All that reads bytes which somebody else wrote, and what it may say of them: a record, or these errors alone."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.problems import Problem
from gateway.queries import last_event_id
from runtime.sources import read_sources
from streams.documents.changes import published_at, read_change
from streams.documents.intake import read_document
from streams.documents.refused import Refused
from streams.outcome import Record
from streams.sources.map import Map
from topics.codec import DecodeError, decode_one
from topics.documents import IndexEvent
from topics.headers import Hop
from topics.identity import IdentityError, Token, Version, job_place, parse_document_key
from topics.queries import AnswerEvent, Question, Retrieval
from topics.retry import Retry

_MAPPING = """
topic = "freshet.documents"
id = "value.doc_id"
text = "value.text"
title = "value.title"
published_at = "value.published_at"
access = "value.access || ['*']"
[sources.metadata]
site = "value.metadata.site"
"""
_TENANTS = frozenset({"default"})
_map = {
    envelope: Map(read_sources(f'[[sources]]\nenvelope = "{envelope}"\n{_MAPPING}'), _TENANTS, 64)
    for envelope in ("none", "connect", "debezium")
}


def _remaining(record: Record) -> float:
    hop = Hop.of(record.headers)
    assert Hop.of(hop.headers()) == hop
    return hop.remaining()


def _one(kind: type[msgspec.Struct]) -> Callable[[Record], Any]:
    return lambda record: decode_one(record.value or b"", record.headers, kind)


OF_RECORDS: Mapping[str, tuple[Callable[[Record], Any], tuple[type[Exception], ...]]] = {
    "document": (lambda r: read_document(r.value or b"", dict(r.headers), r.timestamp), (Refused,)),
    "document key": (lambda r: parse_document_key(r.key, _TENANTS), (IdentityError,)),
    "change": (read_change, (DecodeError,)),
    "event time": (published_at, ()),
    "question": (_one(Question), (DecodeError,)),
    "retrieval": (_one(Retrieval), (DecodeError,)),
    "answer": (_one(AnswerEvent), (DecodeError,)),
    "event": (_one(IndexEvent), (DecodeError,)),
    "hop": (_remaining, (ValueError, msgspec.MsgspecError)),
    "retry": (lambda r: Retry.of(r.headers), (ValueError,)),
    **{f"map {envelope}": (stage.outcome, ()) for envelope, stage in _map.items()},
}
OF_TEXTS: Mapping[str, tuple[Callable[[str], Any], tuple[type[Exception], ...]]] = {
    "token": (Token.parse, (IdentityError,)),
    "version": (Version.parse, (IdentityError,)),
    "job id": (job_place, (IdentityError,)),
    "last event id": (last_event_id, (Problem,)),
}


def read(name: str, record: Record | str) -> Exception | None:
    """Read; gives the error where it is one of those allowed, and raises any other."""
    reader, allowed = OF_TEXTS[name] if isinstance(record, str) else OF_RECORDS[name]
    try:
        reader(record)  # type: ignore[arg-type]
    except allowed as error:
        assert str(error) or getattr(error, "reason", ""), f"{name} refuses without a word"
        return error
    return None
