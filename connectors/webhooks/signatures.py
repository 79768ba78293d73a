"""Signatures by Standard Webhooks 1.0.0, made by its own library."""

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed_headers(message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers; one signature for each secret that is in force (``at`` is seconds since 1970)."""
    text, moment = body.decode(), datetime.fromtimestamp(at, UTC)
    signatures = (Webhook(secret).sign(message_id, moment, text) for secret in secrets)
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": " ".join(signatures)}
