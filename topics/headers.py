"""Kafka headers: what a hop needs to know before it reads the value."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias, TypeVar

import msgspec

from topics.identity import DEFAULT_TENANT, check_tenant

TOKEN = "freshet-token"  # place of the version in `documents`, minted once, kept through retries and redrives
SCHEMA = "freshet-schema"  # record name and schema version, e.g. chunks/1
PUBLISHED_AT = "freshet-published-at"  # event time at the source, ms since 1970; default is the record's timestamp
MIRRORED = "freshet-mirrored"  # on a null in an earlier epoch of `documents`: version of the later delete it copies
SOURCE = "freshet-source"  # on a document that was mapped: topic/partition/offset of the record it came from
CONTENT_TYPE = "content-type"
TITLE, URI, METADATA, ACCESS = "title", "uri", "metadata", "access"  # beside a raw body in `documents`
JOB, TENANT, PRINCIPALS, DEADLINE = "freshet-job", "freshet-tenant", "freshet-principals", "freshet-deadline"
REPLY_PARTITION = "freshet-reply-partition"
WEBHOOK = "freshet-webhook"  # endpoint that is told how the job ends, * for all of the tenant's
MODE = "freshet-mode"  # where no answer is wanted, but passages or vectors: nobody comes back for them later
EVENT = "freshet-event"  # type of an answer event, for readers who pass most of them by
PRIORITY = "freshet-priority"  # `batch`; absent where somebody waits for the answer
TRACEPARENT = "traceparent"

_LAST_MS = 253_402_300_799_999  # the end of the year 9999
_LAST_PARTITION = 65_535  # what fits a job id

T = TypeVar("T")
Priority: TypeAlias = Literal["interactive", "batch"]
Headers: TypeAlias = Mapping[str, bytes]
RawHeaders: TypeAlias = Iterable[tuple[str, bytes | None]]


def read_headers(raw: RawHeaders | Mapping[str, bytes | None] | None) -> dict[str, bytes]:
    """Headers by name; of several with one name the last counts, as in Kafka's own ``lastHeader``."""
    if raw is None:
        return {}
    pairs = raw.items() if isinstance(raw, Mapping) else raw
    return {name: value for name, value in pairs if value is not None}


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """What every hop of a question carries beside its record."""

    job_id: str
    deadline: int  # absolute, ms since 1970
    reply_partition: int
    tenant: str = DEFAULT_TENANT
    principals: list[str] = []
    traceparent: str | None = None
    webhook: str | None = None  # an endpoint's id, or EVERY_ENDPOINT
    mode: str = "answer"
    priority: Priority = "interactive"

    def expired(self, now: float | None = None) -> bool:
        return self.remaining(now) <= 0

    def remaining(self, now: float | None = None) -> float:
        """Seconds left until the deadline."""
        return self.deadline / 1000 - (time.time() if now is None else now)

    def headers(self) -> dict[str, bytes]:
        pairs = {
            JOB: self.job_id.encode(),
            DEADLINE: str(self.deadline).encode(),
            REPLY_PARTITION: str(self.reply_partition).encode(),
            TENANT: self.tenant.encode(),
            PRINCIPALS: msgspec.json.encode(self.principals),
        }
        if self.traceparent:
            pairs[TRACEPARENT] = self.traceparent.encode()
        if self.webhook:
            pairs[WEBHOOK] = self.webhook.encode()
        if self.mode != "answer":
            pairs[MODE] = self.mode.encode()
        if self.priority != "interactive":
            pairs[PRIORITY] = self.priority.encode()
        return pairs

    @classmethod
    def of(cls, headers: Headers) -> "Hop":
        """Read back; ``ValueError`` names a header that is missing or malformed."""
        return cls(
            job_id=_field(headers, JOB, bytes.decode),
            deadline=_field(headers, DEADLINE, lambda value: _within(value, _LAST_MS)),
            reply_partition=_field(headers, REPLY_PARTITION, lambda value: _within(value, _LAST_PARTITION)),
            tenant=_field(headers, TENANT, lambda value: check_tenant(value.decode()), DEFAULT_TENANT),
            principals=_field(headers, PRINCIPALS, lambda value: msgspec.json.decode(value, type=list[str]), []),
            traceparent=_field(headers, TRACEPARENT, bytes.decode, "") or None,
            webhook=_field(headers, WEBHOOK, bytes.decode, "") or None,
            mode=_field(headers, MODE, bytes.decode, "answer"),
            priority=_field(headers, PRIORITY, lambda value: msgspec.convert(value.decode(), Priority), "interactive"),
        )


def _field(headers: Headers, name: str, read: Callable[[bytes], T], *otherwise: T) -> T:
    if name not in headers:
        if otherwise:
            return otherwise[0]
        raise ValueError(f"header {name} is missing")
    try:
        return read(headers[name])
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise ValueError(f"header {name} is not as a gateway writes it: {headers[name][:40]!r}") from None


def _within(text: bytes, last: int) -> int:
    """A number; one that is out of bounds would overflow far from here."""
    value = int(text)
    if not 0 <= value <= last:
        raise ValueError(f"not between 0 and {last}")
    return value
