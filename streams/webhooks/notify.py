"""Let every notification wait for its endpoints.

Reads ``webhooks``, writes deliveries to the state store; the courier beside it makes them.  Rejects what is no
notification.  Repeating is harmless: a delivery's id comes from the endpoint's and the notification's, and one that is
known is left alone.  Acknowledged once the delivery is in the store, however long the endpoint takes.
"""

from collections.abc import Callable, Sequence

from connectors.webhook_ports import Delivery, Endpoint, EndpointRef, WebhookStore
from runtime import metrics
from streams.outcome import Drop, Emit, Outcome, Output, Record, Refuse, RefusedStatus
from topics.codec import DecodeError, decode_one
from topics.webhooks import EVERY_ENDPOINT, Notification, message_body, message_id


class Notify:
    """The stage.  ``wake`` is called when there is something new to deliver."""

    def __init__(self, store: WebhookStore, wake: Callable[[], None]) -> None:
        self._store, self._wake = store, wake

    async def step(self, record: Record) -> Outcome:
        """One notification."""
        try:
            notification = decode_one(record.value or b"", record.headers, Notification)
        except (DecodeError, ValueError) as error:
            return Refuse(str(error), "undecodable")
        endpoints = await self._endpoints(notification)
        if not endpoints:
            return Drop("no-endpoint")
        body, now = message_body(notification.type, notification.at, notification.data), await self._store.now()
        told = False
        for endpoint in endpoints:
            told |= await self._enqueue(endpoint, notification, body, now)
        return Emit() if told else Drop("no-endpoint")

    async def on_refused(self, _: Record, __: RefusedStatus, ___: str) -> Sequence[Output]:
        """Nobody waits for what cannot be read."""
        return ()

    async def _endpoints(self, notification: Notification) -> list[Endpoint]:
        """Those that are to be told, and want to be."""
        if notification.endpoint == EVERY_ENDPOINT:
            known = await self._store.endpoints(notification.tenant)
        else:
            one = await self._store.endpoint(EndpointRef(notification.tenant, notification.endpoint))
            known = [one] if one is not None else []
        return [each for each in known if notification.type in each.events]

    async def _enqueue(self, endpoint: Endpoint, notification: Notification, body: bytes, now: int) -> bool:
        if endpoint.disabled is not None:
            metrics.webhooks_dropped.labels("disabled").inc()
            return False
        delivery = Delivery(
            id=message_id(endpoint.id, notification.id), type=notification.type, created=now, next_at=now
        )
        outcome = await self._store.enqueue(EndpointRef(endpoint.tenant, endpoint.id), delivery, body)
        if outcome == "full":
            metrics.webhooks_dropped.labels("full").inc()
            return False
        self._wake()
        return True
