"""Endpoints and deliveries in dicts.  Same contract as Redis, except that nothing is forgotten by itself.

And an endpoint that is called by nobody's network: it answers what a test tells it to.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from connectors.webhook_ports import Claim, Delivery, Endpoint, EndpointRef, Enqueued, Receipt, State
from runtime.clock import Clock, SystemClock, millis


@dataclass
class _Shelf:
    """What is kept of one endpoint's deliveries."""

    deliveries: dict[str, Delivery] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    due: dict[str, int] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)  # in order of their ends
    dropped: int = 0


class MemoryWebhooks:
    """:class:`connectors.webhook_ports.WebhookStore`."""

    def __init__(self, max_waiting: int = 10_000, log_entries: int = 1000, clock: Clock | None = None) -> None:
        self._max_waiting, self._log_entries = max_waiting, log_entries
        self._clock = clock or SystemClock()
        self._endpoints: dict[EndpointRef, Endpoint] = {}
        self._shelves: dict[EndpointRef, _Shelf] = {}
        self._ready: dict[EndpointRef, int] = {}
        self._secret = secrets.token_bytes(32)

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def key(self) -> bytes:
        return self._secret

    async def now(self) -> int:
        return millis(self._clock.now())

    async def endpoints(self, tenant: str) -> list[Endpoint]:
        found = [each for ref, each in self._endpoints.items() if ref.tenant == tenant]
        return sorted(found, key=lambda each: (each.created, each.id))

    async def endpoint(self, ref: EndpointRef) -> Endpoint | None:
        return self._endpoints.get(ref)

    async def put(self, endpoint: Endpoint, instead_of: Endpoint | None = None) -> bool:
        ref = EndpointRef(endpoint.tenant, endpoint.id)
        if self._endpoints.get(ref) != instead_of:
            return False
        self._endpoints[ref] = endpoint
        if endpoint.disabled is None and (due := self._shelf(ref).due):
            self._ready[ref] = min(due.values())
        return True

    async def remove(self, ref: EndpointRef) -> bool:
        self._shelves.pop(ref, None)
        self._ready.pop(ref, None)
        return self._endpoints.pop(ref, None) is not None

    async def enqueue(self, ref: EndpointRef, delivery: Delivery, body: bytes) -> Enqueued:
        shelf = self._shelf(ref)
        if delivery.id in shelf.deliveries:
            return "known"
        if len(shelf.due) >= self._max_waiting:
            shelf.dropped += 1
            return "full"
        shelf.deliveries[delivery.id], shelf.bodies[delivery.id] = delivery, body
        self._let_wait(ref, delivery.id, delivery.next_at or delivery.created)
        return "new"

    async def due(self, now: int, limit: int) -> list[EndpointRef]:
        return [ref for ref, at in sorted(self._ready.items(), key=lambda item: item[1]) if at <= now][:limit]

    async def claim(self, ref: EndpointRef, now: int, until: int, count: int) -> list[Claim]:
        shelf = self._shelf(ref)
        ids = sorted((each for each, at in shelf.due.items() if at <= now), key=lambda each: shelf.due[each])[:count]
        shelf.due |= dict.fromkeys(ids, until)
        if shelf.due:
            self._ready[ref] = max(min(shelf.due.values()), now)
        else:
            self._ready.pop(ref, None)
        return [Claim(shelf.deliveries[each], shelf.bodies[each], until) for each in ids]

    async def rest(self, ref: EndpointRef) -> None:
        self._ready.pop(ref, None)

    async def settle(self, ref: EndpointRef, claim: Claim, delivery: Delivery) -> bool:
        shelf = self._shelf(ref)
        if delivery.id not in shelf.deliveries:
            return False
        if delivery.state != "delivered" and shelf.due.get(delivery.id) != claim.until:
            return False
        shelf.deliveries[delivery.id] = delivery
        if delivery.state == "waiting":
            self._let_wait(ref, delivery.id, delivery.next_at or 0)
            return True
        shelf.due.pop(delivery.id, None)
        shelf.done = [each for each in shelf.done if each != delivery.id] + [delivery.id]
        while len(shelf.done) > self._log_entries:
            old = shelf.done.pop(0)
            del shelf.deliveries[old], shelf.bodies[old]
        return True

    async def delivery(self, ref: EndpointRef, delivery_id: str) -> Delivery | None:
        return self._shelf(ref).deliveries.get(delivery_id)

    async def deliveries(
        self, ref: EndpointRef, limit: int, before: str | None = None, state: State | None = None
    ) -> list[Delivery]:
        found = sorted(self._shelf(ref).deliveries.values(), key=lambda each: (each.created, each.id), reverse=True)
        if before is not None:
            ids = [each.id for each in found]
            found = found[ids.index(before) + 1 :] if before in ids else []
        return [each for each in found if state in (None, each.state)][:limit]

    async def again(self, ref: EndpointRef, delivery_id: str, now: int) -> Delivery | None:
        shelf = self._shelf(ref)
        if (before := shelf.deliveries.get(delivery_id)) is None:
            return None
        delivery = shelf.deliveries[delivery_id] = replace(before, state="waiting", failures=0, next_at=now)
        shelf.done = [each for each in shelf.done if each != delivery_id]
        self._let_wait(ref, delivery_id, now)
        return delivery

    async def backlog(self, ref: EndpointRef) -> tuple[int, int]:
        return len(self._shelf(ref).due), self._shelf(ref).dropped

    def _shelf(self, ref: EndpointRef) -> _Shelf:
        return self._shelves.setdefault(ref, _Shelf())

    def _let_wait(self, ref: EndpointRef, delivery_id: str, at: int) -> None:
        self._shelf(ref).due[delivery_id] = at
        self._ready[ref] = min(at, self._ready.get(ref, at))


class MemorySender:
    """:class:`connectors.webhook_ports.WebhookSender`; ``sent`` has (url, id, at, body, secrets) of each call."""

    def __init__(self, answer: Callable[[str, str], Receipt] | None = None) -> None:
        self.answer = answer
        self.sent: list[tuple[str, str, int, bytes, tuple[str, ...]]] = []

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def send(self, url: str, message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> Receipt:
        self.sent.append((url, message_id, at, body, tuple(secrets)))
        return self.answer(url, message_id) if self.answer else Receipt("delivered", 200)
