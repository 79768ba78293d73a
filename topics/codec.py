"""Record <-> bytes.  Unknown fields are tolerated, unknown records and schema versions are refused."""

from typing import TypeVar

import msgspec

from topics.headers import SCHEMA, Headers

T = TypeVar("T", bound=msgspec.Struct)

SCHEMA_VERSION = 1  # of every record so far; a record that changes incompatibly gets the next one
_encoder = msgspec.json.Encoder()
_decoders: dict[type, msgspec.json.Decoder[msgspec.Struct]] = {}


class DecodeError(ValueError):
    """Bytes that are not the record they should be; the message names the path that is wrong."""


def schema_of(record: type[msgspec.Struct]) -> str:
    return f"{record.__name__}/{SCHEMA_VERSION}"


def encode(record: msgspec.Struct) -> bytes:
    return _encoder.encode(record)


def schema_header(record: msgspec.Struct) -> dict[str, bytes]:
    return {SCHEMA: schema_of(type(record)).encode()}


def decode(value: bytes, record: type[T]) -> T:
    """Decode JSON of one known record type."""
    decoder = _decoders.get(record)
    if decoder is None:
        decoder = _decoders[record] = msgspec.json.Decoder(record)
    try:
        return decoder.decode(value)  # type: ignore[return-value]
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a {record.__name__}: {error}") from error


def decode_any(value: bytes, headers: Headers, records: tuple[type[msgspec.Struct], ...]) -> msgspec.Struct:
    """Decode one of several records by the schema header; without a header the first type is meant."""
    named = headers.get(SCHEMA)
    if named is None:
        return decode(value, records[0])
    for record in records:
        if named.decode("utf-8", "replace") == schema_of(record):
            return decode(value, record)
    known = ", ".join(schema_of(record) for record in records)
    raise DecodeError(f"schema {named[:80]!r} is not known here (known: {known}); upgrade the readers first")


def decode_one(value: bytes, headers: Headers, record: type[T]) -> T:
    """As :func:`decode_any`, for a topic that holds one kind of record."""
    found = decode_any(value, headers, (record,))
    assert isinstance(found, record)
    return found
