"""Calls endpoints by HTTP/1.1: signed, bounded in time and in what is read of the answer.

Delivery: one request for each call, never repeated here.  No redirects are followed, nothing is read from the
environment (no proxies), no cookies are kept, and what an endpoint answers beyond its status is not looked at.
"""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from connectors.webhook_ports import Receipt
from connectors.webhooks.checked_network import CheckedNetwork, Resolve, SystemResolver, Unresolved
from connectors.webhooks.signatures import signed_headers
from runtime.settings import Webhook
from runtime.targets import Forbidden

READ_BYTES = 16 * 1024  # of an answer, so that its connection may be used again; what says more loses it
IDLE_SECONDS = 5.0
USER_AGENT = "Freshet-Webhooks/1 (+https://www.standardwebhooks.com)"


class HttpSender:
    """:class:`connectors.webhook_ports.WebhookSender`."""

    def __init__(self, settings: Webhook, resolve: Resolve | None = None) -> None:
        self._settings, self._given = settings, resolve
        self._resolver: SystemResolver | None = None
        self._pools: dict[str, httpcore.AsyncConnectionPool] = {}

    async def open(self) -> None:
        tls = httpcore.default_ssl_context()
        if self._settings.ca:
            tls.load_verify_locations(cadata=self._settings.ca)
        resolve = self._given or SystemResolver(self._settings.in_flight)
        self._resolver = resolve if isinstance(resolve, SystemResolver) else None
        for scheme in ("https", "http"):
            self._pools[scheme] = httpcore.AsyncConnectionPool(
                ssl_context=tls,
                max_connections=self._settings.in_flight,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=CheckedNetwork(self._settings.policy, scheme, resolve),
            )

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()
        self._pools = {}
        if self._resolver:
            self._resolver.close()

    async def send(self, url: str, message_id: str, at: int, body: bytes, secrets: Sequence[str]) -> Receipt:
        headers = signed_headers(message_id, at, body, secrets)
        try:
            target = self._settings.policy.check_url(url)
            async with asyncio.timeout(self._settings.timeout):
                return await self._post(self._pools[target.scheme], url, headers, body)
        except Forbidden as error:
            return Receipt("forbidden", error=str(error))
        except Unresolved as error:
            return Receipt("unresolved", error=str(error))
        except (TimeoutError, httpcore.TimeoutException):
            return Receipt("timeout", error=f"no answer within {self._settings.timeout:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            return Receipt("unreachable", error=f"{type(error).__name__}: {error}"[:300])

    async def _post(
        self, pool: httpcore.AsyncConnectionPool, url: str, headers: dict[str, str], body: bytes
    ) -> Receipt:
        own = {"content-type": "application/json", "user-agent": USER_AGENT, "accept": "*/*", **headers}
        pairs = [(name.encode(), value.encode()) for name, value in own.items()]
        async with pool.stream("POST", url, headers=pairs, content=body) as response:
            status, given = response.status, dict(response.headers)
            read = 0
            async for piece in response.aiter_stream():
                read += len(piece)
                if read > READ_BYTES:
                    break
        after = seconds_of(given.get(b"Retry-After", given.get(b"retry-after", b"")).decode("latin-1"))
        return receipt_of(status, after)


def receipt_of(status: int, retry_after: float | None) -> Receipt:
    """What a status means: only 2xx is success, and a redirect is none."""
    if 200 <= status < 300:
        return Receipt("delivered", status)
    reason = "gone" if status == 410 else "redirect" if 300 <= status < 400 else f"{status // 100}xx"
    return Receipt(reason, status, retry_after=retry_after)


def seconds_of(retry_after: str, now: datetime | None = None) -> float | None:
    """``Retry-After`` as seconds from now; None where it says nothing that can be understood."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
