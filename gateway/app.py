"""The ASGI application: routes, lifespan, and what surrounds every request."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Message, Receive, Scope, Send

from connectors.errors import ConnectorError
from connectors.job_ports import JobStore
from connectors.ports import LaneBoard, ManifestStore
from connectors.search_ports import Promotions
from connectors.webhook_ports import WebhookStore
from gateway import docs_page
from gateway.admission import Admission
from gateway.book import JobBook
from gateway.bulk import make_bulk_route
from gateway.caller import Callers
from gateway.cancelling import Canceller
from gateway.completions import make_completion_route
from gateway.desk import Desk
from gateway.documents import RAW_ID, make_document_routes
from gateway.embeddings import make_embedding_routes
from gateway.epochs import WriteEpoch
from gateway.health import make_health_routes, watch
from gateway.intake import DocumentDoor
from gateway.job_routes import make_job_routes
from gateway.leaving import Leaving
from gateway.mcp_door import McpDoor
from gateway.openapi import describe
from gateway.payloads import longest_timeout
from gateway.ports import Log
from gateway.problems import respond
from gateway.promoter import Promoter
from gateway.queries import make_query_routes
from gateway.questions import Questions
from gateway.shedding import Shedder
from gateway.shelf import make_shelf_routes
from gateway.stale import Watches
from gateway.tools import Tools
from gateway.webhooks import make_webhook_routes
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff
from runtime.secrets import Redactor
from runtime.settings import Settings

_DOCUMENTS = b"/v1/documents/"
_log = logger("gateway.app")


class Gateway(Litestar):
    """Litestar with what its router cannot do around it: raw document ids, cheap refusals, counting every request."""

    desk: Desk
    watches: Watches
    shedder: Shedder

    def let_go(self) -> None:
        """End all streams and waits: they go on at another gateway."""
        self.desk.stop()
        self.watches.stop()

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        """Entry point of the server."""
        if scope["type"] != ScopeType.HTTP:
            await super().__call__(scope, receive, send)
            return
        keep_raw_id(scope)  # type: ignore[arg-type]
        began, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)  # type: ignore[arg-type]

        try:
            if await self.shedder.lets_in(scope, receive, sent):  # type: ignore[arg-type]
                await super().__call__(scope, receive, sent)
        finally:
            route = str(scope.get("path_template") or "unmatched")
            metrics.http_requests.labels(route, str(status)).inc()
            metrics.http_seconds.labels(route).observe(time.perf_counter() - began)


def keep_raw_id(scope: dict[str, Any]) -> None:
    """Set a document's id aside as it stands in the path: routers decode it and fold its slashes.

    The router then sees one plain segment in its place.
    """
    raw = bytes(scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0]
    if raw.startswith(_DOCUMENTS) and len(raw) > len(_DOCUMENTS):
        scope.setdefault("state", {})[RAW_ID] = raw[len(_DOCUMENTS) :]
        scope["path"] = _DOCUMENTS.decode() + "_"


def create_app(
    settings: Settings,
    manifests: ManifestStore,
    log: Log,
    board: LaneBoard | None = None,
    promotions: Promotions | None = None,
    webhooks: WebhookStore | None = None,
    jobs: JobStore | None = None,
) -> Gateway:
    """Build the application; opening and closing of what it uses is part of its lifespan.

    Without a board readiness knows nothing of lanes that stand still; without promotions edges ask each time; without
    a store of them there are no webhooks; and without a store of jobs there are no lists of jobs and no idempotency
    keys, and what the log no longer keeps is gone.
    """
    admission, book = Admission(settings.gateway, len(settings.tenants) > 1), JobBook(jobs)
    desk = Desk(log, admission, longest_timeout(settings), settings.kafka.reply_partitions, book)
    callers, hide = Callers(settings), Redactor(settings.secrets)
    epoch, watches = WriteEpoch(log), Watches(manifests, settings.gateway.notify_stale_for)
    promoter = Promoter(settings, promotions)
    door = DocumentDoor(log, manifests, epoch, settings.kafka.request_timeout)
    questions = Questions(settings, log, desk, book, webhooks)
    shedder = Shedder(settings, questions, callers, hide)
    canceller = Canceller(log)
    leaving = Leaving(canceller)
    mcp = McpDoor(settings, callers, Tools(settings, questions, manifests, log, leaving))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await log.open(desk.deliver, desk.wanted)
        await promoter.open()
        tasks = [asyncio.create_task(work) for work in (_open(manifests), watch(log, desk), epoch.run(), watches.run())]
        beside = [port for port in (board, webhooks) if port]
        tasks += [asyncio.create_task(_open(port)) for port in (*beside, jobs) if port]
        _log.info("gateway started", replica=settings.gateway.replica)
        try:
            async with mcp.running():
                yield
        finally:
            app.let_go()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await leaving.close()
            await desk.close()
            await book.close()
            await log.close()
            await manifests.close()
            await promoter.close()
            for each in beside:
                await each.close()
            _log.info("gateway stopped")

    app = Gateway(
        route_handlers=[
            *make_document_routes(settings, manifests, door, callers),
            make_bulk_route(settings, door, callers),
            *make_query_routes(shedder, questions, desk, callers, watches),
            *make_job_routes(desk, canceller, book, callers),
            *(make_webhook_routes(settings, webhooks, callers) if webhooks else ()),
            *make_shelf_routes(settings, questions, callers, promoter),
            make_completion_route(settings, questions, callers, leaving, hide),
            *make_embedding_routes(settings, questions, callers, hide),
            mcp.route(),
            *make_health_routes(log, manifests, desk, callers, board, hide),
            *_description(callers.keyed),
        ],
        lifespan=[lifespan],
        exception_handlers={Exception: lambda request, error: respond(request, error, hide)},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # bodies are bounded where they are read, with the number in the answer
    )
    app.desk, app.watches, app.shedder = desk, watches, shedder
    return app


async def _open(state: ManifestStore | LaneBoard | WebhookStore | JobStore) -> None:
    """Open what lies in the state store, however long it stays away: publishing does not need it."""
    for delay in Backoff().delays():
        try:
            await state.open()
            return
        except ConnectorError as error:
            _log.warning("the state store cannot be opened; trying again", reason=str(error))
        await asyncio.sleep(delay)


def _description(keyed: bool) -> list[HTTPRouteHandler]:
    """Routes that describe the others."""

    @get("/schema/openapi.json")
    async def openapi_json(request: Any) -> Response[bytes]:
        """The OpenAPI document."""
        return Response(msgspec.json.encode(describe(request.app, keyed)), media_type="application/json")

    @get("/docs")
    async def docs(request: Any) -> Response[bytes]:
        """The OpenAPI document for people."""
        return Response(docs_page.render(describe(request.app, keyed)), media_type="text/html")

    return [openapi_json, docs]
