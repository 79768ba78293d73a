"""Routes for operators: /healthz, /readyz, /metrics, and the watch that measures the lanes in the background."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from connectors.errors import ConnectorError
from connectors.ports import LaneBoard, ManifestStore
from gateway.caller import Callers
from gateway.desk import Desk
from gateway.documents import json_response
from gateway.openapi import Doc
from gateway.ports import Log
from runtime import metrics
from runtime.logs import logger
from topics.identity import DEFAULT_TENANT, DocumentRef
from topics.registry import PURGE, QUEUES, SOURCES

WATCH_SECONDS = 2.0
WATCH_DEADLINE = 10.0
CHECK_SECONDS = 8.0
REUSE_SECONDS = 1.0  # probes of several balancers cost one look
# Told, and no reason to be unready: the user's topics are not ours to make, and an edge that is away stops nobody else.
_NOTES = frozenset({"sources", f"lane.{PURGE}"})
_PROBE = DocumentRef(DEFAULT_TENANT, "freshet/readiness")  # need not exist: reading it proves that Redis answers
_log = logger("gateway.health")


class Check(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that readiness depends on."""

    ok: bool
    reason: str | None = None


class Readiness(msgspec.Struct, kw_only=True):
    """Whether questions can be answered and documents become visible."""

    ready: bool
    checks: dict[str, Check]


class Alive(msgspec.Struct, kw_only=True):
    """The process answers."""

    status: str = "ok"
    in_flight: int


async def look(
    log: Log, manifests: ManifestStore, board: LaneBoard | None = None, hide: Callable[[str], str] = str
) -> Readiness:
    """Ask everything; never raises, never takes long.  Without a board nothing is known of pauses."""

    async def state() -> dict[str, str | None]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await manifests.status([_PROBE])
                return {"state": None, "audit": await manifests.distrusted()}
        except (ConnectorError, TimeoutError) as error:
            return {"state": str(error) or "no answer in time"}

    async def lanes() -> dict[str, str | None]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await log.checks()
        except (ConnectorError, TimeoutError) as error:
            return {"broker": str(error) or "no answer in time"}

    async def pauses() -> dict[str, str]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                paused = await board.paused([*QUEUES, *SOURCES.readers]) if board else {}
        except (ConnectorError, TimeoutError):  # it lives where the state does, which is asked of as well
            return {}
        return {f"lane.{lane}": f"paused since {_moment(why.since)}: {why.reason}" for lane, why in paused.items()}

    of_log, of_state, of_pauses = await asyncio.gather(lanes(), state(), pauses())
    found = {**of_log, **of_state}
    found |= {name: reason for name, reason in of_pauses.items() if found.get(name) is None}
    checks = {
        name: Check(ok=why is None or name in _NOTES, reason=why and hide(why)) for name, why in sorted(found.items())
    }
    return Readiness(ready=all(check.ok for check in checks.values()), checks=checks)


def _moment(millis: int) -> str:
    return f"{datetime.fromtimestamp(millis // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


async def watch(log: Log, desk: Desk) -> None:
    """Keep the gauges of the lanes true, workers alive or dead; runs until cancelled."""
    complained = False
    while True:
        desk.tidy()
        metrics.in_flight.labels("gateway").set(desk.in_flight)
        try:
            async with asyncio.timeout(WATCH_DEADLINE):
                for queue, length in (await log.queue_lengths()).items():
                    metrics.queue_length.labels(queue).set(length)
            complained = False
        except (ConnectorError, TimeoutError) as error:
            if not complained:
                _log.warning("queue lengths are not known; they keep their last value", reason=str(error) or "timeout")
            complained = True
        except Exception:  # a bug here must not end the watch for good
            _log.exception("the watch of the lanes failed")
        await asyncio.sleep(WATCH_SECONDS)


def make_health_routes(
    log: Log,
    manifests: ManifestStore,
    desk: Desk,
    callers: Callers,
    board: LaneBoard | None = None,
    hide: Callable[[str], str] = str,
) -> list[HTTPRouteHandler]:
    """Build the routes."""
    latest: tuple[float, asyncio.Future[Readiness]] | None = None

    @get("/healthz", opt={"doc": Doc(gives={200: {"application/json": Alive}})})
    async def healthz() -> Response[bytes]:
        """Tell that the process answers; asks nothing else."""
        return json_response(Alive(in_flight=desk.in_flight), 200)

    @get(
        "/readyz", opt={"doc": Doc(gives={200: {"application/json": Readiness}, 503: {"application/json": Readiness}})}
    )
    async def readyz(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Tell whether all that answers depend on is there: broker, topics, state, reply partitions, every lane.

        Reasons name servers: where there are API keys, only one with the scope admin is told them.
        """
        nonlocal latest
        if latest is None or time.monotonic() - latest[0] > REUSE_SECONDS:
            latest = time.monotonic(), asyncio.ensure_future(look(log, manifests, board, hide))
        found = await asyncio.shield(latest[1])
        if not callers.is_admin(request):
            found = Readiness(ready=found.ready, checks={name: Check(ok=c.ok) for name, c in found.checks.items()})
        return json_response(found, 200 if found.ready else 503, {} if found.ready else {"Retry-After": "2"})

    @get("/metrics", opt={"doc": Doc(scope="admin", gives={200: {"text/plain": None}})})
    async def prometheus(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Metrics of this gateway, in Prometheus' text format."""
        callers.admit(request)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [healthz, readyz, prometheus]
