"""Read what producers write to ``documents``.

Takes a record's value, headers and timestamp; gives text, or the bytes of a document that must be read first, with
media type and head.  Refuses, with a sentence that names the field, whatever cannot be stored as it was meant.  Pure,
so twice gives the same.

Two forms are read: JSON as small as ``{"text": "..."}`` (no content-type, or application/json; unknown fields are
tolerated), and a raw body with a ``content-type``, its other fields in headers.  Beside JSON those headers fill in
what the JSON leaves out, so that an access list in a header is never dropped unseen.
"""

import re
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from streams.documents.refused import Refused
from streams.documents.text.charsets import decode_text, meta_charset
from streams.documents.text.kinds import check_kind
from streams.documents.text.parse import PARSERS
from topics.codec import schema_of
from topics.documents import Document, DocumentHead
from topics.fields import (
    check_access,
    check_characters,
    check_json_type,
    check_metadata,
    check_millis,
    check_title,
    check_uri,
    millis_of,
)
from topics.headers import ACCESS, CONTENT_TYPE, METADATA, PUBLISHED_AT, SCHEMA, TITLE, URI
from topics.media_types import HTML, READ, SEEN_AS, TEXTS

T = TypeVar("T")

JSON = "application/json"
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\s;\"']{1,80})", re.IGNORECASE)


class SourceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document version as it came, decoded and checked.

    ``body`` is there where ``text`` is not yet: bytes that are read in a process of their own.
    """

    text: str
    media_type: str
    head: DocumentHead
    body: bytes | None = None


class _Inbound(msgspec.Struct, frozen=True):
    """:class:`topics.documents.Document` as loose as JSON is, so that refusals can name what is wrong."""

    text: str
    media_type: str = "text/plain"
    title: str | None = None
    uri: str | None = None
    metadata: dict[str, Any] | None = None
    access: list[Any] | None = None
    published_at: datetime | None = None


def read_document(
    value: bytes, headers: dict[str, bytes], timestamp_ms: int, *, max_metadata_keys: int = 64
) -> SourceDocument:
    """The document in one record of ``documents``; :class:`Refused` tells the producer what to change."""
    schema = headers.get(SCHEMA)
    if schema is not None and (said := schema.decode("utf-8", "replace")) != schema_of(Document):
        raise Refused(f"header {SCHEMA} says {said[:80]!r}: only {schema_of(Document)} is known here")
    declared, body = _header(headers, CONTENT_TYPE), None
    beside = _Inbound(
        text="",
        title=_header(headers, TITLE),
        uri=_header(headers, URI),
        metadata=_json_header(headers, METADATA, dict[str, Any]),
        access=_json_header(headers, ACCESS, list[Any]),
    )
    media_type, charset = _content_type(declared or JSON)
    if media_type == JSON:
        hint = "" if declared else "; a raw body needs a content-type header"
        if not value.strip():
            raise Refused("value is empty: a null value deletes a document, an empty one does not")
        try:
            text = decode_text(value, charset, "value")
        except Refused:
            if declared:
                raise
            raise Refused("value is not JSON in UTF-8" + hint) from None
        document = _parse("value", text, _Inbound, hint)
    elif SEEN_AS.get(media_type) in TEXTS:
        check_kind(value, media_type)
        if charset is None and SEEN_AS[media_type] == HTML:
            charset = meta_charset(value)
        document = _Inbound(text=decode_text(value, charset, "value", detect=True), media_type=media_type)
    elif media_type in SEEN_AS:
        check_kind(value, media_type)
        document, body = _Inbound(text="", media_type=media_type), value
    else:
        raise Refused(f"content-type {media_type[:80]!r} is not supported: use {JSON} or {', '.join(READ)}")
    kind = SEEN_AS.get(_content_type(document.media_type)[0], "")
    if media_type == JSON:
        check_json_type(document.media_type)
    check_characters("text", document.text)
    if body is None and kind not in PARSERS:
        body = document.text.encode()
    # The stricter of two lists cannot be told from outside; one that is empty never opens what the other closes.
    head = DocumentHead(
        title=check_title(document.title or beside.title),
        uri=check_uri(document.uri or beside.uri),
        media_type=kind,
        metadata=check_metadata({**(beside.metadata or {}), **(document.metadata or {})}, max_metadata_keys),
        access=check_access(document.access or beside.access),
        published_at=_published_at(document.published_at, _header(headers, PUBLISHED_AT), timestamp_ms),
    )
    return SourceDocument(text=document.text if body is None else "", media_type=kind, head=head, body=body)


def _header(headers: dict[str, bytes], name: str) -> str | None:
    if name not in headers:
        return None
    try:
        return headers[name].decode()
    except UnicodeDecodeError:
        raise Refused(f"header {name} is not UTF-8") from None


def _json_header(headers: dict[str, bytes], name: str, kind: type[T]) -> T | None:
    text = _header(headers, name)
    return None if text is None else _parse(f"header {name}", text, kind)


def _parse(name: str, text: str, kind: type[T], hint: str = "") -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").removeprefix(".")
        raise Refused(f"{name}{f' field {field}' if field else ''}: {problem}".replace("`", "'")) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(f"{name} is not valid JSON: {problem}{hint}") from None


def _content_type(header: str) -> tuple[str, str | None]:
    charset = _CHARSET.search(header)
    return header.partition(";")[0].strip().lower(), charset[1] if charset else None


def _published_at(stated: datetime | None, header: str | None, timestamp_ms: int) -> int:
    if stated is not None:
        return millis_of(stated)
    if header is None:
        return max(timestamp_ms, 0)  # Kafka's own "no timestamp" is -1
    digits = header.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise Refused(f"header {PUBLISHED_AT} is {header[:40]!r}: milliseconds since 1970 are meant")
    return check_millis(int(digits))
