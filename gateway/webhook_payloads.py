"""Bodies of the routes of webhooks, and what is told of endpoints and deliveries.  Pure."""

from typing import get_args

import msgspec

from connectors.webhook_ports import Delivery, Endpoint, State
from gateway.problems import FieldError
from runtime.targets import Forbidden, Policy
from topics.fields import Refused, check_text
from topics.webhooks import EventName

EVENTS: tuple[EventName, ...] = get_args(EventName)
MAX_DESCRIPTION = 200


class EndpointBody(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An endpoint.  ``events`` are those that it is told; all when absent."""

    url: str
    events: list[EventName] = msgspec.field(default_factory=lambda: list(EVENTS))
    description: str | None = None


class EndpointChange(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is to be changed of an endpoint; what is absent stays.  ``disabled`` false lets it be called again."""

    url: str | msgspec.UnsetType = msgspec.UNSET
    events: list[EventName] | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType | None = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class RotationBody(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``overlap``: seconds that the old secret signs beside the new one; 0 for one that others know."""

    overlap: int | None = None


class EndpointView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An endpoint.  ``secret`` is shown when it is made, and never again.  Times are milliseconds since 1970.

    ``signatures`` counts the secrets that sign now; ``waiting`` deliveries are yet to be made, ``dropped`` ones never
    will be, since too many waited.
    """

    id: str
    url: str
    events: list[EventName]
    description: str | None = None
    created: int
    disabled: str | None = None
    signatures: int
    waiting: int | None = None
    dropped: int | None = None
    secret: str | None = None


class EndpointList(msgspec.Struct, kw_only=True):
    """A tenant's endpoints, the oldest first."""

    webhooks: list[EndpointView]


class TryView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One try: when, how long it took, and the status that came back or what went wrong."""

    at: int
    ms: int
    status: int | None = None
    error: str | None = None


class DeliveryView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A delivery; ``id`` is the `webhook-id` of each of its tries.  ``tries`` are the last 20, oldest first."""

    id: str
    type: str
    state: State
    created: int
    next_at: int | None = None
    failures: int = 0
    tries: list[TryView] = []


class DeliveryPage(msgspec.Struct, kw_only=True):
    """Deliveries, newest first; ``next`` is the `before` of the next page."""

    deliveries: list[DeliveryView]
    next: str | None = None


def view_of(endpoint: Endpoint, now: int, secret: str | None = None) -> EndpointView:
    """What is told of an endpoint."""
    return EndpointView(
        id=endpoint.id,
        url=endpoint.url,
        events=endpoint.events,
        description=endpoint.description,
        created=endpoint.created,
        disabled=endpoint.disabled,
        signatures=len(endpoint.live_salts(now)),
        secret=secret,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """What is told of a delivery."""
    return msgspec.convert(delivery, DeliveryView, from_attributes=True)


def endpoint_errors(body: EndpointBody | EndpointChange, policy: Policy) -> list[FieldError]:
    """What the types do not say; where a name leads is known only when it is called."""
    errors = []
    if body.url is not msgspec.UNSET:
        try:
            policy.check_url(str(body.url))
        except Forbidden as error:
            errors.append(FieldError(str(error), pointer="/url"))
    if body.events is not msgspec.UNSET and not body.events:
        errors.append(FieldError(f"name at least one of {', '.join(EVENTS)}", pointer="/events"))
    if isinstance(body.description, str):
        try:
            check_text("description", body.description, MAX_DESCRIPTION)
        except Refused as refused:
            errors.append(FieldError(refused.reason, pointer="/description"))
    return errors
