"""Routes of what was and will be delivered to a tenant's webhooks, and what they share with those of endpoints."""

import secrets as random
from collections.abc import Callable
from typing import Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from connectors.webhook_ports import Delivery, Endpoint, EndpointRef, State, WebhookStore
from gateway.bodies import JSON, check_parameters
from gateway.caller import Callers
from gateway.documents import json_response
from gateway.openapi import Doc, Parameter
from gateway.problems import Problem, invalid
from gateway.webhook_payloads import DeliveryPage, DeliveryView, delivery_view
from topics.webhooks import message_body, message_id

MAX_PAGE = 100
CHANGES = 5  # tries of a change that another one comes before
STATES: tuple[State, ...] = ("waiting", "delivered", "failed")
TENANT = Parameter("Freshet-Tenant", "header", "A known tenant; `default` when absent.")
WEBHOOK_ID = Parameter("webhook_id", "path", "The webhook's id.")
_DELIVERY = Parameter("delivery_id", "path", "The delivery's id: its `webhook-id`.")
_PAGE = (
    Parameter("limit", "query", f"1 to {MAX_PAGE}; 50 when absent.", {"type": "integer"}),
    Parameter("before", "query", "Begin behind this delivery: `next` of the page before."),
    Parameter("state", "query", "Only these.", {"type": "string", "enum": list(STATES)}),
)


class Endpoints:
    """A tenant's endpoints, for routes."""

    def __init__(self, store: WebhookStore, callers: Callers) -> None:
        self.store, self._callers = store, callers

    def ref(self, request: Request[Any, Any, Any], webhook_id: str) -> EndpointRef:
        """The one that is meant: of the caller's tenant, whatever its id."""
        return EndpointRef(self._callers.of(request).tenant, webhook_id[:80])

    async def find(self, ref: EndpointRef) -> Endpoint:
        """It, or 404."""
        if (endpoint := await self.store.endpoint(ref)) is None:
            raise Problem("not-found", "there is no such webhook")
        return endpoint

    async def find_enabled(self, ref: EndpointRef) -> Endpoint:
        """It, or 409 where nothing would be sent to it."""
        endpoint = await self.find(ref)
        if endpoint.disabled is not None:
            raise Problem("conflict", f"this webhook is disabled ({endpoint.disabled}): enable it first")
        return endpoint

    async def change(self, ref: EndpointRef, changed: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """It, as it is after a change that loses no other one."""
        for _ in range(CHANGES):
            before = await self.find(ref)
            if await self.store.put(after := changed(before), instead_of=before):
                return after
        raise Problem("unavailable", "others change this webhook all the time; try again", retry_after=1)


def make_delivery_routes(endpoints: Endpoints) -> list[HTTPRouteHandler]:
    """Build the routes."""

    @post(
        "/v1/webhooks/{webhook_id:str}/ping",
        status_code=202,
        opt={
            "doc": Doc(
                scope="admin",
                gives={202: {JSON: DeliveryView}},
                parameters=(WEBHOOK_ID, TENANT),
                problems=("not-found", "conflict", "invalid", "unavailable"),
            )
        },
    )
    async def ping_webhook(request: Request[Any, Any, Any], webhook_id: str) -> Response[bytes]:
        """Send a message of the type `ping`; how it went is told by the deliveries."""
        ref = endpoints.ref(request, webhook_id)
        check_parameters(request)
        endpoint = await endpoints.find_enabled(ref)
        now = await endpoints.store.now()
        ping = Delivery(id=message_id(endpoint.id, random.token_hex(16)), type="ping", created=now, next_at=now)
        if await endpoints.store.enqueue(ref, ping, message_body("ping", now, {"webhook": endpoint.id})) == "full":
            raise Problem("conflict", "too many deliveries wait for this webhook already")
        return json_response(delivery_view(ping), 202)

    @get(
        "/v1/webhooks/{webhook_id:str}/deliveries",
        opt={
            "doc": Doc(
                scope="admin",
                gives={200: {JSON: DeliveryPage}},
                parameters=(WEBHOOK_ID, TENANT, *_PAGE),
                problems=("not-found", "invalid", "unavailable"),
            )
        },
    )
    async def list_deliveries(request: Request[Any, Any, Any], webhook_id: str) -> Response[bytes]:
        """List what was and will be delivered, newest first: tries, statuses, and when the next try is."""
        ref = endpoints.ref(request, webhook_id)
        check_parameters(request, ("limit", "before", "state"))
        limit, before, state = _limit(request), request.query_params.get("before"), _state(request)
        await endpoints.find(ref)
        page = await endpoints.store.deliveries(ref, limit, before and before[:80], state)
        views = [delivery_view(each) for each in page]
        return json_response(DeliveryPage(deliveries=views, next=page[-1].id if len(page) == limit else None), 200)

    @get(
        "/v1/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}",
        opt={
            "doc": Doc(
                scope="admin",
                gives={200: {JSON: DeliveryView}},
                parameters=(WEBHOOK_ID, _DELIVERY, TENANT),
                problems=("not-found", "invalid", "unavailable"),
            )
        },
    )
    async def get_delivery(request: Request[Any, Any, Any], webhook_id: str, delivery_id: str) -> Response[bytes]:
        """Tell of one delivery."""
        ref = endpoints.ref(request, webhook_id)
        check_parameters(request)
        await endpoints.find(ref)
        return json_response(delivery_view(_known(await endpoints.store.delivery(ref, delivery_id[:80]))), 200)

    @post(
        "/v1/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/redeliver",
        status_code=202,
        opt={
            "doc": Doc(
                scope="admin",
                gives={202: {JSON: DeliveryView}},
                parameters=(WEBHOOK_ID, _DELIVERY, TENANT),
                problems=("not-found", "conflict", "invalid", "unavailable"),
            )
        },
    )
    async def redeliver(request: Request[Any, Any, Any], webhook_id: str, delivery_id: str) -> Response[bytes]:
        """Deliver once more, at once, with the same `webhook-id`, made or not."""
        ref = endpoints.ref(request, webhook_id)
        check_parameters(request)
        await endpoints.find_enabled(ref)
        now = await endpoints.store.now()
        return json_response(delivery_view(_known(await endpoints.store.again(ref, delivery_id[:80], now))), 202)

    return [ping_webhook, list_deliveries, get_delivery, redeliver]


def _known(delivery: Delivery | None) -> Delivery:
    if delivery is None:
        raise Problem("not-found", "there is no such delivery, or it is no longer remembered")
    return delivery


def _limit(request: Request[Any, Any, Any]) -> int:
    text = request.query_params.get("limit", "50")
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_PAGE):
        raise invalid(f"1 to {MAX_PAGE} deliveries fit on a page", parameter="limit")
    return int(text)


def _state(request: Request[Any, Any, Any]) -> State | None:
    text = request.query_params.get("state")
    if text is not None and text not in STATES:
        raise invalid(f"{', '.join(STATES)} are the states", parameter="state")
    return text
