"""Route of bulk publishing: NDJSON in, a summary out.

Takes one document per line, in a stream of any length; memory holds one window of lines.  A line that is wrong is
counted and named and does not stop the others.  An outage does: the 503 says how many lines were taken and with which
line to go on, and sending a line twice does no harm.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from connectors.errors import ConnectorError, Permanent
from gateway.bodies import JSON, check_parameters, check_unconditional, content_type, decode_json, pieces, too_large
from gateway.caller import Caller, Callers
from gateway.documents import json_response
from gateway.intake import DocumentDoor, published_headers
from gateway.openapi import Doc, Parameter
from gateway.payloads import BulkLine, document_errors
from gateway.problems import FieldError, Problem, invalid, problem_of
from runtime.clock import millis
from runtime.settings import Settings
from topics.codec import encode, schema_header
from topics.documents import Document
from topics.identity import DocumentRef, IdentityError, Token, check_doc_id

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
WINDOW_LINES = 64
WINDOW_BYTES = 32 * 1024 * 1024
MAX_ERRORS = 100  # told one by one; the rest is counted
_FRAME = 64 * 1024  # of a line, beside its text: id, names of fields, escapes


class LineError(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line that was refused; lines count from 1."""

    line: int
    status: int
    title: str
    id: str | None = None
    detail: str | None = None
    errors: list[FieldError] = []


class BulkSummary(msgspec.Struct, kw_only=True):
    """``tokens``: the newest freshness token of each partition that was written; asking with all covers every line."""

    accepted: int = 0
    refused: int = 0
    errors: list[LineError] = []
    errors_left_out: int = 0
    tokens: list[str] = []


async def lines(body: AsyncIterator[bytes], limit: int) -> AsyncIterator[tuple[int, bytes | None]]:
    """Lines with their numbers, blank ones left out; None for a line over ``limit``, which is not kept."""
    number, held, skipping = 1, bytearray(), False
    async for piece in body:
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            held += b"" if skipping else piece[start:end]
            if skipping or len(held) > limit:
                yield number, None
            elif held.strip():
                yield number, bytes(held)
            number, held, skipping, start = number + 1, bytearray(), False, end + 1
        if not skipping:
            held += piece[start:]
        if len(held) > limit:
            held, skipping = bytearray(), True
    if skipping:
        yield number, None
    elif held.strip():
        yield number, bytes(held)


def read_line(line: bytes | None, limit: int, max_metadata_keys: int) -> tuple[str, bytes | None]:
    """Id and value of a line; :class:`Problem` tells what is wrong with it."""
    if line is None:
        raise too_large(limit, "a document")
    given = decode_json(line, BulkLine)
    try:
        check_doc_id(given.id)
    except IdentityError as error:
        raise invalid(str(error), pointer="/id") from None
    if given.deleted == (given.text is not msgspec.UNSET):
        raise invalid('give either text or "deleted": true', pointer="/text")
    if errors := document_errors(given, max_metadata_keys):
        raise Problem("invalid", errors=errors)
    document = given.document()
    value = None if document is None else encode(document)
    if value is not None and len(value) > limit:
        raise too_large(limit, "a document")
    return given.id, value


class _Run:
    """One bulk request under way."""

    def __init__(self, door: DocumentDoor, caller: Caller) -> None:
        self._door, self._caller = door, caller
        self._window: deque[tuple[int, str, int, asyncio.Task[Token]]] = deque()
        self._bytes = 0
        self._noted: dict[DocumentRef, tuple[str, int]] = {}
        self._tokens: dict[tuple[int, int], Token] = {}  # by epoch and partition
        self.summary = BulkSummary()

    async def send(self, number: int, doc_id: str, value: bytes | None) -> None:
        """Publish, in order; waits while the window is full."""
        size = len(value or b"")
        while self._window and (len(self._window) >= WINDOW_LINES or self._bytes + size > WINDOW_BYTES):
            await self._settle()
        headers = published_headers({}, self._caller.traceparent)
        if value is not None:
            headers |= schema_header(Document(text=""))
        task = asyncio.create_task(
            self._door.append(DocumentRef(self._caller.tenant, doc_id), value, headers, many=True)
        )
        self._window.append((number, doc_id, size, task))
        self._bytes += size

    async def finish(self) -> BulkSummary:
        """Wait for the rest."""
        while self._window:
            await self._settle()
        await self._note()
        self.summary.tokens = [str(token) for _, token in sorted(self._tokens.items())]
        return self.summary

    async def _settle(self) -> None:
        number, doc_id, size, task = self._window[0]
        try:
            token = await task
        except Permanent as error:
            self.refuse(number, doc_id, problem_of(error))
        except ConnectorError as error:
            problem = problem_of(error)
            problem.extra = {"accepted": self.summary.accepted, "refused": self.summary.refused, "next_line": number}
            raise problem from None
        else:
            self.summary.accepted += 1
            self._noted[DocumentRef(self._caller.tenant, doc_id)] = (str(token.version), millis())
            place = token.epoch, token.partition
            self._tokens[place] = max(token, self._tokens.get(place, token))
        self._window.popleft()
        self._bytes -= size
        if len(self._noted) >= WINDOW_LINES:
            await self._note()

    async def _note(self) -> None:
        noted, self._noted = self._noted, {}
        await self._door.note(noted)

    def refuse(self, number: int, doc_id: str | None, problem: Problem) -> None:
        """Count a line that was not taken."""
        self.summary.refused += 1
        if len(self.summary.errors) >= MAX_ERRORS:
            self.summary.errors_left_out += 1
            return
        said = problem.document()
        self.summary.errors.append(
            LineError(
                line=number,
                id=doc_id,
                status=problem.status,
                title=said["title"],
                detail=said.get("detail"),
                errors=problem.errors,
            )
        )

    async def abandon(self) -> None:
        """Leave no task behind: what was handed to the log may still arrive."""
        for *_, task in self._window:
            task.cancel()
        await asyncio.gather(*(entry[3] for entry in self._window), return_exceptions=True)
        await self._note()


def make_bulk_route(settings: Settings, door: DocumentDoor, callers: Callers) -> HTTPRouteHandler:
    """Build the route."""
    limit, max_keys = settings.documents.max_document_bytes, settings.documents.max_metadata_keys

    @post(
        "/v1/documents",
        status_code=202,
        opt={
            "doc": Doc(
                scope="write",
                gives={202: {JSON: BulkSummary}, 207: {JSON: BulkSummary}},
                takes=dict.fromkeys(NDJSON[:1], BulkLine),
                parameters=(Parameter("Freshet-Tenant", "header", "A known tenant; `default` when absent."),),
                problems=("malformed", "timed-out", "unsupported-media-type", "invalid", "unavailable"),
            )
        },
    )
    async def post_documents(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Publish many documents, one JSON object per line.

        202 when all lines were taken, 207 when some were refused.
        """
        caller = callers.of(request)
        content_type(request, NDJSON)
        check_parameters(request)
        check_unconditional(request)
        run = _Run(door, caller)
        try:
            async for number, line in lines(pieces(request), limit + _FRAME):
                try:
                    doc_id, value = read_line(line, limit, max_keys)
                except Problem as problem:
                    run.refuse(number, None, problem)
                else:
                    await run.send(number, doc_id, value)
            summary = await run.finish()
        finally:
            await run.abandon()
        return json_response(summary, 207 if summary.refused else 202)

    return post_documents
