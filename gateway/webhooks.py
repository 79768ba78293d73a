"""Routes of webhooks: a tenant's endpoints, their secrets, and what was delivered to them.

The gateway writes down and reads; endpoints are called by the notify worker.  A secret is shown when it is made and
cannot be had again: it is derived each time, and nothing keeps it.
"""

import secrets as random
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from msgspec.structs import replace

from connectors.webhook_ports import Endpoint, EndpointRef, Salt, WebhookStore, secret_of
from gateway.bodies import JSON, check_parameters, content_type, decode_json, read_body
from gateway.caller import Callers
from gateway.documents import json_response
from gateway.openapi import Doc
from gateway.problems import Problem, invalid
from gateway.webhook_deliveries import TENANT, WEBHOOK_ID, Endpoints, make_delivery_routes
from gateway.webhook_payloads import (
    EndpointBody,
    EndpointChange,
    EndpointList,
    EndpointView,
    RotationBody,
    endpoint_errors,
    view_of,
)
from runtime.settings import Settings

MAX_ENDPOINTS = 50  # of a tenant
MAX_SALTS = 3  # that sign at once
MAX_ROTATION = 30 * 86400  # seconds
BODY_BYTES = 16 * 1024
_TAKEN = ("malformed", "timed-out", "unsupported-media-type", "too-large", "invalid", "unavailable")


def make_webhook_routes(settings: Settings, store: WebhookStore, callers: Callers) -> list[HTTPRouteHandler]:
    """Build the routes."""
    policy, rotation = settings.webhook.policy, settings.webhook.rotation
    endpoints = Endpoints(store, callers)

    async def shown(endpoint: Endpoint, now: int | None = None, *, secret: bool = False) -> EndpointView:
        derived = secret_of(await store.key(), endpoint.id, endpoint.salts[0].salt) if secret else None
        view = view_of(endpoint, await store.now() if now is None else now, derived)
        view.waiting, view.dropped = await store.backlog(EndpointRef(endpoint.tenant, endpoint.id))
        return view

    async def body_of(request: Request[Any, Any, Any], body: type[msgspec.Struct]) -> Any:
        content_type(request, (JSON,))
        check_parameters(request)
        return decode_json(await read_body(request, BODY_BYTES, "a webhook"), body)

    @post(
        "/v1/webhooks",
        status_code=201,
        opt={
            "doc": Doc(
                scope="admin",
                gives={201: {JSON: EndpointView}},
                takes={JSON: EndpointBody},
                parameters=(TENANT,),
                problems=(*_TAKEN, "conflict"),
                headers={"Location": "where the webhook is"},
            )
        },
    )
    async def create_webhook(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Make a webhook; its secret is in this answer and in no other one."""
        caller = callers.of(request)
        body: EndpointBody = await body_of(request, EndpointBody)
        if errors := endpoint_errors(body, policy):
            raise Problem("invalid", errors=errors)
        if len(await store.endpoints(caller.tenant)) >= MAX_ENDPOINTS:
            raise Problem("conflict", f"there are {MAX_ENDPOINTS} webhooks already: remove one first")
        endpoint = Endpoint(
            id=f"we_{random.token_hex(12)}",
            tenant=caller.tenant,
            url=body.url,
            events=list(dict.fromkeys(body.events)),
            description=body.description,
            created=await store.now(),
            salts=[_salt()],
        )
        await store.put(endpoint)
        return json_response(await shown(endpoint, secret=True), 201, {"Location": f"/v1/webhooks/{endpoint.id}"})

    @get(
        "/v1/webhooks",
        opt={
            "doc": Doc(
                scope="admin",
                gives={200: {JSON: EndpointList}},
                parameters=(TENANT,),
                problems=("invalid", "unavailable"),
            )
        },
    )
    async def list_webhooks(request: Request[Any, Any, Any]) -> Response[bytes]:
        """List the tenant's webhooks."""
        caller = callers.of(request)
        check_parameters(request)
        now = await store.now()
        views = [await shown(each, now) for each in await store.endpoints(caller.tenant)]
        return json_response(EndpointList(webhooks=views), 200)

    @get(
        "/v1/webhooks/{webhook_id:str}",
        opt={
            "doc": Doc(
                scope="admin",
                gives={200: {JSON: EndpointView}},
                parameters=(WEBHOOK_ID, TENANT),
                problems=("not-found", "invalid", "unavailable"),
            )
        },
    )
    async def get_webhook(request: Request[Any, Any, Any], webhook_id: str) -> Response[bytes]:
        """Tell of a webhook: where it leads, whether it is disabled, how much waits for it."""
        ref = endpoints.ref(request, webhook_id)
        check_parameters(request)
        return json_response(await shown(await endpoints.find(ref)), 200)

    @patch(
        "/v1/webhooks/{webhook_id:str}",
        opt={
            "doc": Doc(
                scope="admin",
                gives={200: {JSON: EndpointView}},
                takes={JSON: EndpointChange},
                parameters=(WEBHOOK_ID, TENANT),
                problems=(*_TAKEN, "not-found"),
            )
        },
    )
    async def change_webhook(request: Request[Any, Any, Any], webhook_id: str) -> Response[bytes]:
        """Change a webhook, disable it, or let it be called again."""
        ref = endpoints.ref(request, webhook_id)
        body: EndpointChange = await body_of(request, EndpointChange)
        if errors := endpoint_errors(body, policy):
            raise Problem("invalid", errors=errors)
        given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
        if "disabled" in given:
            given["disabled"] = "on request" if given["disabled"] else None
        return json_response(await shown(await endpoints.change(ref, lambda before: replace(before, **given))), 200)

    @delete(
        "/v1/webhooks/{webhook_id:str}",
        status_code=204,
        opt={
            "doc": Doc(
                scope="admin",
                gives={204: {}},
                parameters=(WEBHOOK_ID, TENANT),
                problems=("not-found", "invalid", "unavailable"),
            )
        },
    )
    async def remove_webhook(request: Request[Any, Any, Any], webhook_id: str) -> None:
        """Remove a webhook and all that waits for it."""
        ref = endpoints.ref(request, webhook_id)
        check_parameters(request)
        if not await store.remove(ref):
            raise Problem("not-found", "there is no such webhook")

    @post(
        "/v1/webhooks/{webhook_id:str}/rotate",
        status_code=200,
        opt={
            "doc": Doc(
                scope="admin",
                gives={200: {JSON: EndpointView}},
                takes={JSON: RotationBody},
                parameters=(WEBHOOK_ID, TENANT),
                problems=(*_TAKEN, "not-found"),
            )
        },
    )
    async def rotate_secret(request: Request[Any, Any, Any], webhook_id: str) -> Response[bytes]:
        """Make a new secret; for a while messages bear a signature by each."""
        ref = endpoints.ref(request, webhook_id)
        body: RotationBody = await body_of(request, RotationBody)
        if body.overlap is not None and not 0 <= body.overlap <= MAX_ROTATION:
            raise invalid(f"0 to {MAX_ROTATION} seconds", pointer="/overlap")
        fresh, now = _salt(), await store.now()
        until = now + (rotation if body.overlap is None else body.overlap) * 1000

        def rotated(before: Endpoint) -> Endpoint:
            old = [replace(each, until=min(each.until or until, until)) for each in before.salts]
            kept = [each for each in old if each.until is not None and each.until > now]
            return replace(before, salts=[fresh, *kept][:MAX_SALTS])

        return json_response(await shown(await endpoints.change(ref, rotated), secret=True), 200)

    return [
        create_webhook,
        list_webhooks,
        get_webhook,
        change_webhook,
        remove_webhook,
        rotate_secret,
        *make_delivery_routes(endpoints),
    ]


def _salt() -> Salt:
    return Salt(salt=random.token_hex(16))
