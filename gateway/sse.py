"""Server-sent events: one event as bytes, and a stream that does not wait for ever for a slow reader."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from anyio import create_task_group
from litestar import Request, Response
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Message, Receive, Send

from runtime.logs import logger

HEARTBEAT = b": still here\n\n"
HEARTBEAT_SECONDS = 10.0  # proxies close a silent connection after 30 to 60 s
RECONNECT = b"retry: 1000\n\n"  # EventSource waits this long, in ms, before it comes back
STUCK_SECONDS = 30.0  # a reader that takes nothing for so long is dropped; it can resume with Last-Event-ID
_log = logger("gateway.sse")
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def frame(event: str, data: Mapping[str, Any], event_id: int | None = None) -> bytes:
    """One event.  JSON has no raw line breaks, so the data is always one line."""
    head = b"" if event_id is None else b"id: %d\n" % event_id
    return head + b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class _PatientlyStreamed(ASGIStreamingResponse):
    """Sends piece by piece; gives up on a reader that is stuck, so that nothing is held for it."""

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Stream until the events end, the reader leaves, or it takes nothing for too long."""

        async def within(message: Message) -> None:
            async with asyncio.timeout(STUCK_SECONDS):
                await send(message)

        async def stream() -> None:
            try:
                await self._stream(within)
            except TimeoutError:
                _log.warning("a reader of events took nothing for too long and was dropped", seconds=STUCK_SECONDS)
            group.cancel_scope.cancel()

        async with create_task_group() as group:
            group.start_soon(stream)
            await self._listen_for_disconnect(group.cancel_scope, receive)


class EventStream(Response[bytes]):
    """A ``text/event-stream`` response."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(b"", media_type="text/event-stream", headers=dict(HEADERS), status_code=200)
        self._events = events

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **options: Any) -> ASGIResponse:
        """What Litestar sends."""
        del app, request
        headers = {**(options.get("headers") or {}), **self.headers}
        return _PatientlyStreamed(
            iterator=self._events,
            headers=headers,
            encoded_headers=options.get("encoded_headers"),
            media_type="text/event-stream",
            status_code=200,
        )
