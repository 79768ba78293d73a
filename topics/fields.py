"""Bounds of a document's fields, one definition for whoever takes documents in: the door, the lane, the map.

What breaks them is refused with a sentence that says what to change.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from topics.documents import Metadata, MetadataValue
from topics.identity import PUBLIC
from topics.media_types import IN_JSON, SEEN_AS

MAX_TITLE = 1000
MAX_URI = 2048
MAX_METADATA_KEY = 128
MAX_METADATA_VALUE = 4096  # characters of one string
MAX_METADATA_LIST = 256
MAX_ACCESS = 1024
MAX_PRINCIPAL = 256
_MAX_WHOLE = 2**53  # the vector store keeps numbers as doubles: larger ones would come back changed
_DATE = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST_MS = 253_402_300_799_999  # the end of the year 9999


class Refused(ValueError):
    """A document that can never be indexed as it is; ``reason`` is a sentence that names what is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_text(field: str, value: str, longest: int, shortest: int = 0) -> str:
    """The value, if its length is within bounds and it is storable text."""
    if not shortest <= len(value) <= longest:
        raise Refused(f"{field} has {len(value)} characters: {shortest} to {longest} are allowed")
    check_characters(field, value)
    return value


def check_characters(field: str, value: str) -> None:
    """Refuse what stores cannot hold."""
    if (place := value.find("\0")) >= 0:
        raise Refused(f"{field} has a NUL character at {place}: is it binary, or UTF-16 without a charset?")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"{field} is not valid Unicode at {error.start}: it has half of a surrogate pair") from None


def check_title(value: str | None) -> str | None:
    """One line, or None when there is nothing in it."""
    if value is None:
        return None
    return " ".join(check_text("title", value, MAX_TITLE).split()) or None


def check_uri(value: str | None) -> str | None:
    """A reference without blanks inside; None when there is nothing in it."""
    if value is None:
        return None
    uri = check_text("uri", value, MAX_URI).strip()
    if any(c.isspace() or ord(c) < 32 for c in uri):
        raise Refused("uri has blanks or control characters: percent-encode them")
    return uri or None


def check_metadata(value: dict[str, Any] | None, max_keys: int) -> Metadata:
    """A flat map, safe to store and to filter on."""
    if not value:
        return {}
    if len(value) > max_keys:
        raise Refused(f"metadata has {len(value)} keys: at most {max_keys} are allowed")
    return {key: check_entry(key, item) for key, item in value.items()}


def check_entry(key: str, value: Any) -> MetadataValue:
    """The value of one key."""
    check_text("a metadata key", key, MAX_METADATA_KEY, 1)
    return _check_value(f"metadata {key!r}", value)


def _check_value(field: str, value: Any) -> MetadataValue:
    match value:
        case bool():
            return value
        case int():
            if abs(value) > _MAX_WHOLE:
                raise Refused(f"{field} is beyond 2^53 and would lose digits: send it as a string")
            return value
        case float():
            if not math.isfinite(value):
                raise Refused(f"{field} is not a finite number")
            return value
        case str():
            return check_text(field, value, MAX_METADATA_VALUE)
        case list():
            if len(value) > MAX_METADATA_LIST:
                raise Refused(f"{field} has {len(value)} items: at most {MAX_METADATA_LIST} are allowed")
            if not all(isinstance(item, str) for item in value):
                raise Refused(f"{field} is a list of other things than strings: only strings are allowed in lists")
            return [check_text(field, item, MAX_METADATA_VALUE) for item in value]
        case None:
            raise Refused(f"{field} is null: leave the key out instead")
        case _:
            raise Refused(f"{field} is nested: use strings, numbers, booleans and lists of strings")


def check_json_type(stated: str) -> None:
    """Refuse a media type that cannot stand in JSON, where there are characters only."""
    kind = SEEN_AS.get(stated.partition(";")[0].strip().lower())
    if kind not in IN_JSON:
        how = "send its bytes with that content-type" if kind else f"use {', '.join(sorted(IN_JSON))}"
        raise Refused(f"media_type {stated[:80]!r} cannot be in JSON: {how}")


def millis_of(moment: datetime) -> int:
    """A time as milliseconds since 1970, UTC where it names no zone."""
    return check_millis(((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND)


def check_millis(millis: int) -> int:
    """The milliseconds, if they lie within the years that stores and languages can tell."""
    if not 0 <= millis <= _LAST_MS:
        raise Refused("published_at lies outside the years 1970 to 9999")
    return millis


def is_date(text: str) -> bool:
    """Whether it is an RFC 3339 date or date-time, which metadata may be and ranges compare."""
    if not _DATE.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:  # the 30th of February, the 60th second
        return False
    return True


def check_access(value: list[Any] | None) -> list[str]:
    """Principals, sorted, each once; empty means everyone, which ``*`` says too."""
    if not value:
        return []
    if len(value) > MAX_ACCESS:
        raise Refused(f"access has {len(value)} entries: at most {MAX_ACCESS} are allowed")
    if not all(isinstance(principal, str) for principal in value):
        raise Refused("access has an entry that is not a string: list the names of principals")
    principals = {check_text("an access entry", principal, MAX_PRINCIPAL, 1) for principal in value}
    return [] if PUBLIC in principals else sorted(principals)
