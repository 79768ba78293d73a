"""What is needed of whoever keeps endpoints and their deliveries, and of whoever calls an endpoint.

Ports, and the values that pass through them.  Times are ms since 1970.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import msgspec

from topics.webhooks import EventName

State: TypeAlias = Literal["waiting", "delivered", "failed"]
Enqueued: TypeAlias = Literal["new", "known", "full"]
MOST_TRIES_SHOWN = 20


class Salt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a secret is derived from, besides the key; after ``until`` it signs no more."""

    salt: str
    until: int | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a tenant wants to be told.  ``salts`` are newest first; ``disabled`` says why nothing is sent."""

    id: str
    tenant: str
    url: str
    events: list[EventName]
    description: str | None = None
    created: int
    salts: list[Salt]
    disabled: str | None = None

    def live_salts(self, now: int) -> list[str]:
        """Those that sign now."""
        return [each.salt for each in self.salts if each.until is None or each.until > now]


class Try(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try: the status that came back, or what went wrong."""

    at: int
    ms: int
    status: int | None = None
    error: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message to one endpoint; ``id`` is its ``webhook-id``.

    ``failures`` counts since it was last begun anew, ``tries`` lists the last ones of all, oldest first.
    """

    id: str
    type: str
    created: int
    state: State = "waiting"
    next_at: int | None = None
    failures: int = 0
    tries: list[Try] = []


@dataclass(frozen=True, slots=True)
class EndpointRef:
    """An endpoint by name."""

    tenant: str
    id: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is this worker's to make until ``until``; then somebody makes it again."""

    delivery: Delivery
    body: bytes
    until: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a try.  ``reason`` is a metric label; ``retry_after`` is what the endpoint asked for, seconds."""

    reason: str
    status: int | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def secret_of(key: bytes, endpoint_id: str, salt: str) -> str:
    """The secret that an endpoint's messages are signed with; it is derived each time and kept nowhere."""
    derived = hmac.new(key, f"webhook {endpoint_id} {salt}".encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(derived).decode()}"


class WebhookStore(Protocol):
    """Endpoints, and deliveries with their due times.  All but :meth:`open` and :meth:`close` may raise Transient."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def key(self) -> bytes:
        """What secrets are derived from: the configured one, or one that is made once and kept here."""

    async def endpoints(self, tenant: str) -> list[Endpoint]:
        """All of a tenant's, the oldest first."""

    async def endpoint(self, ref: EndpointRef) -> Endpoint | None:
        """One of them."""

    async def put(self, endpoint: Endpoint, instead_of: Endpoint | None = None) -> bool:
        """Keep a new one, or one in place of exactly that; False where another is there by now, or none.

        What waits for one that is not disabled (any more) is due as it was.
        """

    async def remove(self, ref: EndpointRef) -> bool:
        """Forget it with all its deliveries; False where there was none."""

    async def enqueue(self, ref: EndpointRef, delivery: Delivery, body: bytes) -> Enqueued:
        """Let a delivery wait for its ``next_at``, unless it is known; ``full``: too many wait for the endpoint."""

    async def now(self) -> int:
        """Time of day by the store, ms since 1970: who delivers has no other, so no jump of a clock matters."""

    async def due(self, now: int, limit: int) -> list[EndpointRef]:
        """Endpoints for which something is due, the longest unvisited first."""

    async def claim(self, ref: EndpointRef, now: int, until: int, count: int) -> list[Claim]:
        """Take up to ``count`` of what is due for an endpoint, until then; the endpoint is visited herewith."""

    async def rest(self, ref: EndpointRef) -> None:
        """Nothing of this endpoint is due until something is enqueued or the endpoint is put again."""

    async def settle(self, ref: EndpointRef, claim: Claim, delivery: Delivery) -> bool:
        """Record what came of a claim; False where the claim has run out and somebody else has it.

        A delivery that was made counts however late.
        """

    async def delivery(self, ref: EndpointRef, delivery_id: str) -> Delivery | None:
        """One delivery."""

    async def deliveries(
        self, ref: EndpointRef, limit: int, before: str | None = None, state: State | None = None
    ) -> list[Delivery]:
        """Deliveries, newest first, behind the one of this id; none behind one that is not known."""

    async def again(self, ref: EndpointRef, delivery_id: str, now: int) -> Delivery | None:
        """Begin a delivery anew, with the same id, due now; None where there is none."""

    async def backlog(self, ref: EndpointRef) -> tuple[int, int]:
        """How many deliveries wait, and how many were dropped because too many did."""


class WebhookSender(Protocol):
    """Calls endpoints."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, url: str, message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> Receipt:
        """Sign and send one message; never raises for what endpoint or network do."""
