"""Reading the records of the internal document topics, and writing their keys and headers."""

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.errors import Transient
from connectors.ports import Manifest, ManifestStore
from streams.documents.diff import Change, event_of
from streams.outcome import Output, Record, RefusedStatus
from topics import registry
from topics.codec import DecodeError, decode_any, encode, schema_header
from topics.documents import DocumentPart, DocumentRefused, LastSeen
from topics.headers import PUBLISHED_AT, TOKEN, TRACEPARENT
from topics.identity import DocumentRef, IdentityError, Token, event_key, parse_part_key, part_key
from topics.spec import TopicSpec

REFUSED_KEY = "refused"
DEFERRED_KEY = "deferred-"
OVERTAKEN_KEY = "overtaken"  # null: only the token passes, so that it ends; a newer version, or none, went before
_PASSED_ON = (TOKEN, PUBLISHED_AT, TRACEPARENT)


def identify(record: Record) -> tuple[DocumentRef, str, Token]:
    """Document, part and token that a record of ``chunks`` or ``vectors`` is about; from key and headers alone."""
    try:
        ref, part = parse_part_key(record.key)
        return ref, part, Token.parse(record.headers.get(TOKEN, b"").decode())
    except (IdentityError, UnicodeDecodeError) as error:
        raise DecodeError(f"key or {TOKEN} header: {error}") from error


@dataclass(frozen=True, slots=True)
class Waiting:
    """News of a piece of work on a version: it waits for another try, or waits no more."""

    token: Token
    work: str
    begins: bool


def read_change(record: Record) -> Change | DocumentRefused | Waiting | None:
    """What a record of ``chunks`` or ``vectors`` says; None where it is no work.  Raises :class:`DecodeError`."""
    ref, part, token = identify(record)
    if part.startswith(DEFERRED_KEY):
        return Waiting(token, part.removeprefix(DEFERRED_KEY), begins=record.value is not None)
    if record.value is None:
        return Change(ref, token, None, published_at(record)) if part == "0" else None
    value = decode_any(record.value, record.headers, (DocumentPart, DocumentRefused))
    if isinstance(value, DocumentRefused):
        return value
    assert isinstance(value, DocumentPart)
    return Change(ref, token, value, value.head.published_at)


def published_at(record: Record) -> int:
    """Event time, ms since 1970: what the source says, else when the record was written."""
    text = record.headers.get(PUBLISHED_AT, b"")
    return int(text) if text.isdigit() and len(text) < 16 else record.timestamp


def passed_on(record: Record) -> dict[str, bytes]:
    """Headers that every hop hands to the next."""
    return {name: record.headers[name] for name in _PASSED_ON if name in record.headers}


def trace_of(record: Record) -> dict[str, bytes]:
    """The header by which what comes of a record belongs to its trace."""
    return {name: record.headers[name] for name in (TRACEPARENT,) if name in record.headers}


def part_output(topic: TopicSpec, part: DocumentPart, partition: int, headers: Mapping[str, bytes]) -> Output:
    """A part as a record of ``topic``."""
    key = part_key(DocumentRef(part.tenant, part.doc_id), part.part)
    return Output(topic, key, encode(part), partition, {**headers, **schema_header(part)})


def refused_output(
    topic: TopicSpec, ref: DocumentRef, token: Token, status: RefusedStatus, reason: str, partition: int
) -> Output:
    """Tells the stages behind ``topic`` that a version will not come."""
    version = str(token.version)
    value = DocumentRefused(tenant=ref.tenant, doc_id=ref.doc_id, version=version, status=status, reason=reason[:1000])
    headers = {TOKEN: str(token).encode(), **schema_header(value)}
    return Output(topic, part_key(ref, REFUSED_KEY), encode(value), partition, headers)


def outcome_on_record(ref: DocumentRef, manifest: Manifest, seen: LastSeen) -> LastSeen:
    """The last outcome that the manifest knows; :class:`Transient` where that is an older one: this one was lost."""
    if manifest.last_seen is None or manifest.last_seen.version < seen.version:
        raise Transient(f"{ref.path}: the outcome of {seen.version} was lost", reason="view")
    return manifest.last_seen


async def record_outcome(
    manifests: ManifestStore, ref: DocumentRef, token: Token, seen: LastSeen, record: Record
) -> Output:
    """Put a version that makes nothing visible on record; returns the index event that says so.

    Raises :class:`Transient` where the record was lost at once: an event without it would be the last word.
    """
    await manifests.see(ref, seen)
    await manifests.refuse(token, seen)
    (manifest,) = await manifests.read([ref])
    event = event_of(ref, manifest, outcome_on_record(ref, manifest, seen))
    headers = {**trace_of(record), **schema_header(event)}
    return Output(registry.INDEX_EVENTS, event_key(ref), encode(event), record.partition, headers)
