"""The parts of a document in a row of the user's, as a mapping tells.

Pure.  What is wrong is told with the part's name and its path.  A path that is not there is refused, since a mapping
with a slip would else lose titles unseen, or open documents to everyone; a null is a part that the row has not.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from runtime.sources import Path, PathError, Source
from streams.documents.refused import Refused
from streams.sources.rows import Row, hint
from topics.documents import Document
from topics.fields import check_access, check_metadata, check_title, check_uri
from topics.identity import DEFAULT_TENANT, DocumentRef, IdentityError, check_doc_id, check_tenant

T = TypeVar("T")

_UNAVAILABLE = "__debezium_unavailable_value"  # in place of a large column that an update left as it was
_MICROSECONDS = {"days": 86_400_000_000, "s": 1_000_000, "ms": 1000, "us": 1, "ns": 0.001}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def reference(source: Source, row: Row, tenants: Collection[str]) -> DocumentRef:
    """Whose document it is, and which."""
    tenant = DEFAULT_TENANT
    if source.tenant:
        tenant = _part("tenant", source.tenant, source, row, lambda found: check_tenant(_text(_needed(found))))
    if tenant not in tenants:
        raise Refused(f"tenant {tenant[:80]!r} is unknown here: add it to FRESHET_TENANTS")
    return DocumentRef(tenant, _part("id", source.id, source, row, _doc_id))


def is_deleted(source: Source, row: Row) -> bool:
    """Whether the row stands for a document that is no more."""
    return row.gone or bool(_part("deleted", source.deleted, source, row, _flag))


def document(source: Source, row: Row, max_metadata_keys: int) -> Document:
    """The document."""

    def part(name: str, path: Path | None, read: Callable[[Any], T]) -> T:
        return _part(name, path, source, row, read)

    metadata = {name: part(f"metadata.{name}", path, lambda found: found) for name, path in source.metadata.items()}
    stated = {name: value for name, value in metadata.items() if value is not None}
    return Document(
        text=part("text", source.text, lambda found: _text(_needed(found))),
        media_type=part("media_type", source.media_type, _optional_text) or "text/plain",
        title=part("title", source.title, lambda found: check_title(_optional_text(found))),
        uri=part("uri", source.uri, lambda found: check_uri(_optional_text(found))),
        metadata=check_metadata(stated, max_metadata_keys),
        access=part("access", source.access, _access) if source.access else [],
        published_at=part("published_at", source.published_at, lambda found: _moment(found, source.published_unit)),
    )


def _part(name: str, path: Path | None, source: Source, row: Row, read: Callable[[Any], T]) -> T:
    """What ``read`` makes of what is found; None is found where there is no path, or where it may lack."""
    if path is None:
        return read(None)
    try:
        found = path.find(row.seen)
    except PathError as error:
        if source.optional & {name, name.partition(".")[0]}:
            return read(None)
        raise Refused(f"{name}: {error}{hint(row, source.envelope)}") from None
    if found == _UNAVAILABLE:
        raise Refused(
            f"{name}: {path.text} was left out by Debezium, because the update did not change it: "
            "set REPLICA IDENTITY FULL on the table"
        )
    try:
        return read(found)
    except (Refused, IdentityError) as error:
        missing = path.missing(row.seen) if found is None else None
        raise Refused(f"{name}: {missing or f'{error} (at {path.text})'}") from None


def _needed(found: Any) -> Any:
    if found is None:
        raise Refused("nothing is there")
    return found


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise Refused(f"{str(found)[:80]!r} is not text")
    return found


def _optional_text(found: Any) -> str | None:
    return None if found is None else _text(found)


def _doc_id(found: Any) -> str:
    """A whole number is written as its digits."""
    whole = isinstance(found, int) and not isinstance(found, bool)
    return check_doc_id(str(found) if whole else _text(_needed(found)))


def _flag(found: Any) -> bool:
    if found is not None and not isinstance(found, bool):
        raise Refused(f"{str(found)[:80]!r} is neither true nor false: compare it, as in value.state == 'gone'")
    return bool(found)


def _access(found: Any) -> list[str]:
    """An empty list would open the document to everyone: who means that says so."""
    if not found:
        raise Refused("nobody is named; if everyone in the tenant may see such documents, add || ['*'] to the path")
    return check_access([found] if isinstance(found, str) else found if isinstance(found, list) else [None])


def _moment(found: Any, unit: str) -> datetime | None:
    """A number counts from 1970, a text is ISO 8601; UTC where it does not say."""
    if found is None:
        return None
    try:
        if isinstance(found, str):
            moment = datetime.fromisoformat(found)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        elif isinstance(found, int | float) and not isinstance(found, bool):
            moment = _EPOCH + timedelta(microseconds=found * _MICROSECONDS[unit])
        else:
            raise ValueError
    except (ValueError, OverflowError):
        raise Refused(f"{str(found)[:80]!r} is no time: ISO 8601, or a number of {unit} since 1970, is meant") from None
    if not _EPOCH <= moment <= _LAST:
        raise Refused(f"{moment.isoformat()} lies outside the years 1970 to 9999: is published_unit right?")
    return moment
