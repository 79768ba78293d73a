"""Make the deliveries that are due.

Looks into the state store for what is due, claims it for a while, calls the endpoint and records what came of it.  A
worker that dies leaves its claims to run out, and another makes those deliveries again, with the same id.  Each
endpoint has a few places of its own, so one that is slow holds up nobody else.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from connectors.errors import Transient
from connectors.webhook_ports import (
    MOST_TRIES_SHOWN,
    Claim,
    Delivery,
    EndpointRef,
    Receipt,
    Try,
    WebhookSender,
    WebhookStore,
    secret_of,
)
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff
from runtime.settings import Webhook

LOOK_SECONDS = 0.25  # between looks for what has come due
CLAIM_MARGIN = 30.0  # seconds beyond the longest try: for a store that is slow
STOP_SECONDS = 5.0  # for tries under way when the worker stops; what does not end is made again
VISITS = 128  # endpoints in one look
JITTER = (0.8, 1.2)
GONE = "it answered 410 Gone"
log = logger(__name__)


class Courier:
    """Runs beside the notify stage."""

    def __init__(self, settings: Webhook, store: WebhookStore, sender: WebhookSender) -> None:
        self._settings, self._store, self._sender = settings, store, sender
        self._news = asyncio.Event()
        self._under_way: Counter[EndpointRef] = Counter()
        self._tries: set[asyncio.Task[None]] = set()
        self._silent: set[EndpointRef] = set()  # did not answer the last time: a place is enough to see whether it does
        metrics.webhooks_under_way.set_function(lambda: float(len(self._tries)))

    @property
    def under_way(self) -> int:
        """Tries that have begun and not ended."""
        return len(self._tries)

    def wake(self) -> None:
        """There may be something to do at once."""
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        backoff = Backoff(first=0.2, cap=5.0)
        delays = backoff.delays()
        try:
            while True:
                self._news.clear()
                try:
                    began = await self.look()
                    delays, wait = backoff.delays(), 0.0 if began else LOOK_SECONDS
                except Transient as error:
                    log.warning("deliveries cannot be looked for; trying again", reason=str(error)[:300])
                    wait = next(delays)
                if wait:
                    await self._wait(wait)
        finally:
            await self._finish()

    async def look(self) -> int:
        """Begin what is due and has a place; how many tries were begun."""
        began, now = 0, await self._store.now()
        for ref in await self._store.due(now, VISITS):
            if not (places := self._settings.in_flight - len(self._tries)):
                break
            own = 1 if ref in self._silent else self._settings.per_endpoint
            began += await self._visit(ref, now, min(places, own - self._under_way[ref]))
        return began

    async def _visit(self, ref: EndpointRef, now: int, places: int) -> int:
        endpoint = await self._store.endpoint(ref)
        if endpoint is None:
            await self._store.remove(ref)
            return 0
        if endpoint.disabled is not None:
            await self._store.rest(ref)
            return 0
        until = now + int((self._settings.timeout + CLAIM_MARGIN) * 1000)
        claims = await self._store.claim(ref, now, until, max(0, places))
        key = await self._store.key() if claims else b""
        secrets = [secret_of(key, endpoint.id, salt) for salt in endpoint.live_salts(now)]
        for claim in claims:
            task = asyncio.create_task(self._deliver(ref, endpoint.url, secrets, claim, now))
            self._tries.add(task)
            self._under_way[ref] += 1
            task.add_done_callback(lambda task: self._ended(ref, task))
        return len(claims)

    def _ended(self, ref: EndpointRef, task: "asyncio.Task[None]") -> None:
        self._tries.discard(task)
        self._under_way -= Counter([ref])  # keeps no zeros
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a delivery failed for a reason of ours; it is made again when its claim is over", exc_info=error)

    async def _deliver(self, ref: EndpointRef, url: str, secrets: Sequence[str], claim: Claim, at: int) -> None:
        began = time.monotonic()
        receipt = await self._sender.send(url, claim.delivery.id, at // 1000, claim.body, secrets)
        took = time.monotonic() - began
        (self._silent.discard if receipt.status else self._silent.add)(ref)
        metrics.webhook_tries.labels(receipt.reason).inc()
        metrics.webhook_seconds.observe(took)
        outcome = settled(self._settings, claim.delivery, receipt, at, int(took * 1000))
        try:
            await self._store.settle(ref, claim, outcome)
            if receipt.reason == "gone":
                await self._disable(ref)
        except Transient as error:
            log.warning("a try cannot be recorded; it is made again", delivery=outcome.id, reason=str(error)[:300])

    async def _disable(self, ref: EndpointRef) -> None:
        """An endpoint that says it is gone for good is not called again until its owner says so."""
        while (endpoint := await self._store.endpoint(ref)) is not None and endpoint.disabled is None:
            if await self._store.put(replace(endpoint, disabled=GONE), instead_of=endpoint):
                log.warning("endpoint is disabled", endpoint=ref.id, tenant=ref.tenant, why=GONE)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    async def _finish(self) -> None:
        if self._tries:
            _, left = await asyncio.wait(self._tries, timeout=STOP_SECONDS)
            for task in left:
                task.cancel()


def settled(settings: Webhook, delivery: Delivery, receipt: Receipt, at: int, ms: int) -> Delivery:
    """A delivery after one more try: made, to be tried again at a later time, or given up."""
    shown = Try(at=at, ms=ms, status=receipt.status, error=receipt.error)
    tries = [*delivery.tries, shown][-MOST_TRIES_SHOWN:]
    if receipt.delivered:
        return replace(delivery, state="delivered", next_at=None, tries=tries)
    failures = delivery.failures + 1
    if receipt.reason == "gone" or failures > len(settings.delays):
        return replace(delivery, state="failed", next_at=None, failures=failures, tries=tries)
    wait = settings.delays[failures - 1] * random.uniform(*JITTER)
    if receipt.retry_after is not None:
        wait = max(wait, min(receipt.retry_after, settings.retry_after))
    return replace(delivery, state="waiting", next_at=at + ms + int(wait * 1000), failures=failures, tries=tries)
