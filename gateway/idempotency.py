"""The same request makes the same job: who uses an idempotency key, and for which body.

A key is claimed before the question is published, and marked afterwards.  A gateway that died in between leaves a claim
that lapses: whoever comes next publishes the question again under the same job id.  Should it then lie in the log twice
it is still one job, of which readers follow the attempt that began last.  A job that was answered meanwhile is the
key's, however late; one whose deadline is over without an answer is not, and its key makes another.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request
from msgspec.structs import replace

from connectors.errors import ConnectorError, Overloaded
from connectors.job_ports import Claim
from gateway.book import JobBook
from gateway.log_time import millis
from gateway.openapi import Parameter
from gateway.payloads import QuestionBody
from gateway.problems import Problem, invalid
from runtime.logs import logger
from topics.identity import digest, job_place
from topics.queries import Mode

HEADER = "Idempotency-Key"
MAX_KEY = 255
PARAMETER = Parameter(
    HEADER,
    "header",
    "The same key and body: the same job. Another body: 409.",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
)
LEASE_MS = 6_000  # until a claim lapses whose question was not published: longer than publishing may take
YOUNG_MS = 60_000  # an older job is not published under its own id any more: who reads it again would not look so far
POLL = 0.05  # seconds between looks at a claim whose question is being published
PATIENCE = 2.5 * LEASE_MS / 1000  # seconds; in which several gateways would have to die one after the other
_log = logger("gateway.idempotency")


def key_of(request: Request[Any, Any, Any]) -> str | None:
    """The request's key, if it has one."""
    key = request.headers.get(HEADER)
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable() and key.strip()):
        raise invalid(f"1 to {MAX_KEY} printable ASCII characters", header=HEADER)
    return key


def digest_of(body: QuestionBody, mode: Mode, principals: Sequence[str], texts: Sequence[str] = ()) -> str:
    """The same for all that ask the same for the same people."""
    return digest(msgspec.json.encode([mode, principals, body, texts], order="deterministic"))


class Claims:
    """The idempotency keys of all tenants."""

    def __init__(self, book: JobBook) -> None:
        self._book = book

    async def earlier(self, tenant: str, key: str, body: str) -> Claim | None:
        """The claim of an earlier request, once it was published or has lapsed; None where there was none.

        409 for another body, 503 while somebody else has been publishing for too long.
        """
        for _ in range(int(PATIENCE / POLL)):
            held = await self._book.store.held(tenant, key)
            if held is not None and held.body != body:
                raise Problem("conflict", f"this {HEADER} came before, with another body or from somebody else")
            if held is None or held.published or held.until <= millis():
                return held
            await asyncio.sleep(POLL)
        raise Overloaded("the same request is under way", retry_after=2)

    async def take(self, tenant: str, key: str, claim: Claim, lapsed: Claim | None) -> Claim | None:
        """Take the key for a question that is about to be published; None where somebody else was faster."""
        ours = replace(claim, until=millis() + LEASE_MS)
        if lapsed is not None:
            return ours if await self._book.store.reclaim(tenant, key, lapsed, ours) else None
        return ours if await self._book.store.claim(tenant, key, ours) == ours else None

    async def published(self, tenant: str, key: str, ours: Claim) -> None:
        """The question lies in the log.  Where that cannot be marked, a repeat publishes it again, harmlessly."""
        await self._mark(tenant, key, ours, replace(ours, published=True, until=0))

    async def failed(self, tenant: str, key: str, ours: Claim) -> None:
        """It may not lie in the log: a repeat need not wait."""
        await self._mark(tenant, key, ours, replace(ours, until=0))

    async def _mark(self, tenant: str, key: str, ours: Claim, now: Claim) -> None:
        try:
            await self._book.store.reclaim(tenant, key, ours, now)
        except ConnectorError as error:
            _log.warning("a claim lapses by itself", job=ours.job_id, reason=str(error))


def may_go_on(lapsed: Claim) -> bool:
    """Whether its question may still be published under the id that was minted for it."""
    return millis() < min(lapsed.deadline, job_place(lapsed.job_id)[1] + YOUNG_MS)
