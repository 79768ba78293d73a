"""One connection of a client, as uvicorn has it, with bounds that it has not: on a request's head, in bytes and time.

What is no HTTP gets a problem document like every other error.
"""

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.problems import MEDIA_TYPE, Problem

MAX_HEAD = 64 * 1024  # bytes of request line and headers
HEAD_SECONDS = 10.0  # from the first byte to the end of the headers; a new connection that says nothing has as long
_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Connection(HttpToolsProtocol):
    """Ends when a head is too large, too slow, or none at all."""

    _timer: asyncio.TimerHandle | None = None
    _in_head, _head = True, 0  # whether one is coming, and how much of it came
    _heads = 0  # changes whenever a head or a request is complete
    _problem: Problem | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of it."""
        if self._in_head:
            self._arm()
        before = self._heads
        super().data_received(data)
        if self._in_head and self._heads == before and not self.transport.is_closing():
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(_too_large())

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._arm()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._in_head, self._heads = False, self._heads + 1
        self._disarm()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            self._problem = _too_large()
            raise ValueError  # the parser ends, and uvicorn asks for the answer to what is no HTTP
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there; what comes with its last bytes is not counted."""
        self._in_head, self._head, self._heads = True, 0, self._heads + 1
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the name is uvicorn's
        """The answer to what the parser refused."""
        self._refuse(self._problem or Problem("malformed", "this is not HTTP as this door reads it (RFC 9112)"))

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        under_way: Any = self.cycle
        if under_way is None or under_way.response_complete:
            self._refuse(Problem("timed-out", f"the request's head was not complete within {HEAD_SECONDS:g} seconds"))

    def _refuse(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        body = msgspec.json.encode(problem.document())
        head = (
            f"HTTP/1.1 {problem.status} {_REASONS[problem.status]}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _too_large() -> Problem:
    return Problem("head-too-large", f"request line and headers may have {MAX_HEAD} bytes together")
