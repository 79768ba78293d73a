"""Bring a document version into the log, and remember that the door took it.

The memory (``ManifestStore.accepted``) makes `pending` visible at once.  It is best effort: the log has the document
whether or not Redis is there, so a failure is logged, and for a few seconds not tried again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from litestar.datastructures import MultiDict

from connectors.errors import ConnectorError
from connectors.ports import ManifestStore
from gateway.epochs import WriteEpoch
from gateway.payloads import metadata_errors
from gateway.ports import Log
from gateway.problems import FieldError, Problem, invalid
from runtime import tracing
from runtime.clock import millis
from runtime.logs import logger
from topics.documents import Metadata
from topics.fields import Refused, check_access, check_title, check_uri, millis_of
from topics.headers import ACCESS, METADATA, PUBLISHED_AT, TITLE, TRACEPARENT, URI
from topics.identity import DocumentRef, Token, document_key
from topics.registry import documents_of

NOTE_SECONDS = 1.0  # a client is not kept waiting longer for what is best effort
REST_SECONDS = 5.0
PARAMETERS = ("title", "uri", "published_at", "access", "metadata")
_log = logger("gateway.intake")
T = TypeVar("T")


def read_parameters(query: MultiDict[Any], max_metadata_keys: int) -> dict[str, bytes]:
    """Kafka headers from the query parameters beside a body; 422 names the parameter that is wrong."""
    headers: dict[str, bytes] = {}
    if (title := query.get("title")) is not None:
        headers[TITLE] = (_checked("title", lambda: check_title(title)) or "").encode()
    if (uri := query.get("uri")) is not None:
        headers[URI] = (_checked("uri", lambda: check_uri(uri)) or "").encode()
    if access := query.getall("access", []):
        _checked("access", lambda: check_access(access))
        headers[ACCESS] = msgspec.json.encode(access)
    if (text := query.get("metadata")) is not None:
        headers[METADATA] = msgspec.json.encode(_metadata(text, max_metadata_keys))
    if (moment := query.get("published_at")) is not None:
        headers[PUBLISHED_AT] = str(_millis(moment)).encode()
    return headers


def published_headers(beside: Mapping[str, bytes], traceparent: str | None) -> dict[str, bytes]:
    """Headers of every record that the door writes to ``documents``."""
    return {**beside, TRACEPARENT: traceparent.encode()} if traceparent else dict(beside)


def _checked(parameter: str, check: Callable[[], T]) -> T:
    try:
        return check()
    except Refused as refused:
        raise invalid(refused.reason, parameter=parameter) from None


def _metadata(text: str, max_keys: int) -> Metadata:
    try:
        metadata = msgspec.json.decode(text, type=Metadata)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid(f"not a flat JSON object: {error}".replace("`", "'"), parameter="metadata") from None
    if errors := metadata_errors(metadata, max_keys):
        raise Problem("invalid", errors=[FieldError(e.detail, parameter="metadata") for e in errors])
    return metadata


def _millis(text: str) -> int:
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise invalid("not an RFC 3339 time, e.g. 2026-01-31T12:00:00Z", parameter="published_at") from None
    return _checked("published_at", lambda: millis_of(moment))


class DocumentDoor:
    """Publishes to ``documents``, to the topic of the epoch that takes writes."""

    def __init__(self, log: Log, manifests: ManifestStore, epoch: WriteEpoch, timeout: float) -> None:
        self._log, self._manifests, self._epoch, self._timeout = log, manifests, epoch, timeout
        self._resting_until = 0.0

    async def publish(self, ref: DocumentRef, value: bytes | None, headers: Mapping[str, bytes]) -> Token:
        """Append a version (None deletes) and remember it; returns when the broker has acknowledged it."""
        token = await self.append(ref, value, headers)
        await self.note({ref: (str(token.version), millis())})
        return token

    async def append(
        self, ref: DocumentRef, value: bytes | None, headers: Mapping[str, bytes], *, many: bool = False
    ) -> Token:
        """Append only; whoever appends ``many`` remembers them together, and each has a trace of its own."""
        caller = headers[TRACEPARENT].decode() if TRACEPARENT in headers else None
        parent, link = (None, caller) if many and tracing.on() else (caller, None)
        about = tracing.document(ref.path)
        with tracing.span("freshet.publish", "producer", parent=parent, link=link, attributes=about) as span:
            epoch = (await self._epoch.current()).number
            if span.traceparent:
                headers = {**headers, TRACEPARENT: span.traceparent.encode()}
            place = await self._log.publish(documents_of(epoch), document_key(ref), value, headers, self._timeout)
            token = Token(epoch, place.partition, place.offset)
            span.set({"freshet.token": str(token)})
        return token

    async def note(self, versions: Mapping[DocumentRef, tuple[str, int]]) -> None:
        """Remember versions that the log has acknowledged, with the time of day in ms; never raises."""
        if not versions or time.monotonic() < self._resting_until:
            return
        try:
            async with asyncio.timeout(NOTE_SECONDS):
                await self._manifests.accepted(versions)
        except (ConnectorError, TimeoutError) as error:
            self._resting_until = time.monotonic() + REST_SECONDS
            _log.warning("accepted documents are not shown as pending for now", reason=str(error) or "timeout")
