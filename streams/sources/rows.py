"""What a mapping sees of a record of the user's: key and value as JSON, without the envelope that a connector put on.

Pure.  Refuses, with a sentence, what is not JSON or not the envelope that the mapping names.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from streams.documents.refused import Refused
from streams.outcome import Record

Envelope: TypeAlias = Literal["none", "debezium", "connect"]
_WRAPPED = {"schema", "payload"}  # Kafka Connect's JsonConverter with schemas.enable
_CHANGED = {"c": "create", "u": "update", "r": "read by a snapshot"}


@dataclass(frozen=True, slots=True)
class Row:
    """``seen`` is what paths begin in.  ``gone``: the source says that it was deleted, ``tombstone``: once more."""

    seen: dict[str, Any]
    gone: bool = False
    tombstone: bool = False


def read_row(record: Record, envelope: Envelope) -> Row | None:
    """The row in a record; None where the record is about no row."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers.items()}
    seen: dict[str, Any] = {"key": _key(record.key), "headers": headers, "topic": record.topic}
    if record.value is None:
        return Row({**seen, "value": None, "envelope": None}, gone=True, tombstone=envelope == "debezium")
    whole = _json("value", record.value)
    if envelope == "none":
        return Row({**seen, "value": whole, "envelope": None})
    if envelope == "connect":
        if not (isinstance(whole, dict) and "payload" in whole):
            raise Refused(f"payload is missing: {_has(whole)}; without schemas.enable write envelope = 'none'")
        return Row({**seen, "value": whole["payload"], "envelope": whole}, gone=whole["payload"] is None)
    change = _unwrapped(whole)
    if not (isinstance(change, dict) and "op" in change):
        raise Refused(f"op is missing: {_has(change)}; this is no change event of Debezium")
    op = change["op"]
    if op == "m":  # a message that an application wrote into the database's log
        return None
    if op == "t":
        raise Refused("the table was truncated: which rows went is not said, so delete the documents yourself")
    if op == "d":
        return Row({**seen, "value": change.get("before"), "envelope": change}, gone=True)
    if op not in _CHANGED:
        raise Refused(f"op is {op!r}: c, u, r, d, t and m are known")
    if change.get("after") is None:
        raise Refused(f"after is missing, with op {op!r} ({_CHANGED[op]}): {_has(change)}")
    return Row({**seen, "value": change["after"], "envelope": change})


def hint(row: Row, envelope: Envelope) -> str:
    """What a path that is missing may be due to."""
    value = row.seen["value"]
    if envelope != "none" or not isinstance(value, dict):
        return ""
    if value.keys() == _WRAPPED:
        value = value["payload"]
        if not (isinstance(value, dict) and "op" in value):
            return " (is it Kafka Connect's envelope? write envelope = 'connect')"
    if "op" in value and value.keys() & {"before", "after"}:
        return " (is it a change event of Debezium? write envelope = 'debezium')"
    return ""


def _key(key: bytes | None) -> Any:
    """JSON where it begins like an object, a list or a quoted text; else the text itself, so that 007 stays 007."""
    if key is None:
        return None
    if key[:1] in (b"{", b"[", b'"'):
        return _unwrapped(_json("key", key))
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise Refused("key is not UTF-8") from None


def _unwrapped(value: Any) -> Any:
    return value["payload"] if isinstance(value, dict) and value.keys() == _WRAPPED else value


def _json(what: str, data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        known = ": a schema registry's serializer wrote it; let your producer or connector write plain JSON"
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(f"{what} is not JSON{known if data[:1] == bytes(1) else f': {reason}'}") from None


def _has(value: Any) -> str:
    if isinstance(value, dict):
        return f"value has {', '.join(list(value)[:20]) or 'nothing'}"
    return f"value is no object but {type(value).__name__}"
