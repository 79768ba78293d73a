"""What a record in a retry topic carries beside its own key, value and headers: whence it came, how often it failed.

Whoever reads it puts the original together again, place in the log and timestamp included, so that a retried record is
to a stage what it was the first time: same version, same partition.
"""

from collections.abc import Mapping

import msgspec

from topics.headers import Headers

PREFIX = "freshet-retry-"
_MAX_REASON = 1000  # characters


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Times are ms since 1970.  ``attempts`` counts failed tries that speak against the record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    attempts: int
    not_before: int
    first_failed: int
    last_failed: int
    reason: str

    def headers(self) -> dict[str, bytes]:
        """One header a field, readable by people."""
        fields = msgspec.structs.asdict(self) | {"reason": self.reason[:_MAX_REASON]}
        return {header_of(name): str(value).encode() for name, value in fields.items()}

    @classmethod
    def of(cls, headers: Headers) -> "Retry":
        """Read back; ``ValueError`` names a header that is missing or malformed."""
        fields = {}
        for field in msgspec.structs.fields(cls):
            name = header_of(field.name)
            if name not in headers:
                raise ValueError(f"header {name} is missing")
            fields[field.name] = headers[name].decode("utf-8", "replace")
        try:
            return msgspec.convert(fields, cls, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"headers {PREFIX}*: {error}") from None


def header_of(field: str) -> str:
    """Name of the header of a field."""
    return PREFIX + field.replace("_", "-")


def without_retry(headers: Mapping[str, bytes]) -> dict[str, bytes]:
    """The record's own headers."""
    return {name: value for name, value in headers.items() if not name.startswith(PREFIX)}
