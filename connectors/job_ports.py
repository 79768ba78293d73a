"""The port of durable jobs: what is known of a job beside the log, and for longer than the log keeps it.

The log stays the truth: what is here was read there (by the deliver stage), or is there as well.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

JobState: TypeAlias = Literal["accepted", "retrieving", "generating", "done", "failed", "expired", "cancelled"]
ENDED: frozenset[str] = frozenset({"done", "failed", "expired", "cancelled"})
MAX_QUESTION = 500  # characters of a question that lists show


class JobRef(msgspec.Struct, frozen=True, order=True):
    """A job: its tenant and its id.  Ids of later jobs are greater."""

    tenant: str
    job_id: str


class FinalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Which event of the log ended the job, and where it lies."""

    type: str
    attempt: str
    seq: int
    offset: int
    at: int  # ms since 1970


class StoredJob(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A job.  ``newest`` names the attempt of each stage that counts; ``data`` is the final event's.

    ``webhook`` is the id of the endpoint that is told of its end, or ``*`` for all of the tenant's.

    ``passages`` and ``data`` are None where they are not known, or were not asked for.
    """

    ref: JobRef
    state: JobState = "accepted"
    deadline: int = 0
    principals: list[str] = []
    webhook: str | None = None
    question: str = ""
    newest: dict[str, str] = {}
    passages_offset: int | None = None
    final: FinalEvent | None = None
    passages: list[Any] | None = None
    data: dict[str, Any] | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who uses an idempotency key, for which body.  ``until`` is when the claim of an unpublished job lapses, ms."""

    job_id: str
    body: str  # digest
    deadline: int
    published: bool = False
    until: int = 0


class JobStore(Protocol):
    """Jobs and idempotency keys of all tenants; each is kept for ``FRESHET_JOB_TTL`` seconds.

    May raise :class:`connectors.errors.ConnectorError`, as every port.
    """

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def put(self, job: StoredJob) -> None:
        """A job was accepted: remember question, deadline and principals; what was told of it before stays."""

    async def tell(self, jobs: Sequence[StoredJob]) -> None:
        """Remember all but the question; passages and data that are None stay as they are known."""

    async def read(self, refs: Sequence[JobRef], *, whole: bool = True) -> list[StoredJob | None]:
        """Jobs, in order; without passages and data unless ``whole``."""

    async def page(self, tenant: str, before: str | None, limit: int) -> tuple[list[StoredJob], str | None]:
        """A tenant's jobs older than the id ``before``, newest first, not whole; and where the next page begins.

        One that was forgotten meanwhile is left out; None says that there are no more.
        """

    async def held(self, tenant: str, key: str) -> Claim | None:
        """The claim on an idempotency key, if somebody has it."""

    async def claim(self, tenant: str, key: str, claim: Claim) -> Claim:
        """Take an idempotency key, unless somebody has; returns the claim that holds."""

    async def reclaim(self, tenant: str, key: str, held: Claim, claim: Claim) -> bool:
        """Replace the claim that was held, if it still holds."""
