"""Webhooks: the record that says what a tenant's endpoints are to be told, and what goes out to them because of it.

``webhooks`` -> notify -> the endpoints
"""

from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import msgspec

from topics.identity import digest

EVERY_ENDPOINT = "*"  # in place of an endpoint's id
EventName: TypeAlias = Literal["answer", "error"]


class Notification(msgspec.Struct, kw_only=True):
    """Something happened that endpoints are to be told.

    ``id`` names it: the same happening told twice has the same id, and is delivered once.  ``endpoint`` is one of the
    tenant's, or ``*`` for all that want the ``type``.  ``at`` is ms since 1970; ``data`` goes out as it is.
    """

    id: str
    tenant: str
    endpoint: str
    type: EventName
    at: int
    data: dict[str, Any]


class WebhookMessage(msgspec.Struct, kw_only=True):
    """The body of a webhook, as Standard Webhooks has it.

    ``data`` has `job_id`, `links`, and the `answer` or the `error`.  An answer that is larger than
    FRESHET_WEBHOOK_MAX_BYTES is null here: `left_out` says so, and `links` where it is.
    """

    type: str
    timestamp: str
    data: dict[str, Any]


def message_body(type_: str, at: int, data: dict[str, Any]) -> bytes:
    """What is signed and sent, byte for byte the same at every try."""
    moment = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode(WebhookMessage(type=type_, timestamp=moment, data=data))


def message_id(endpoint_id: str, notification_id: str) -> str:
    """``webhook-id``: the same for every try, of whichever worker."""
    return f"msg_{digest(endpoint_id.encode(), notification_id.encode())}"
