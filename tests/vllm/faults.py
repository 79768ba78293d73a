"""A small HTTP proxy before the real server that does, when told to, what endpoints and networks do on bad days."""

import asyncio
import threading
from collections import deque
from types import TracebackType
from typing import Literal, Self

_ASKING = (b"POST /v1/chat/completions ", b"POST /v1/messages ")
_TOLD = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%scontent-length: 2\r\nconnection: close\r\n\r\n{}"


class Faults:
    """Listens on a port; each request for an answer takes the next of the ``planned`` faults, if any.

    A fault is a status (with ``retry_after`` where it is 429), `cut` or `stall` after four pieces, `silence`, or
    `slow`, which lets 40 ms pass between pieces.
    """

    def __init__(self, port: int, upstream: int) -> None:
        self._port, self._upstream = port, upstream
        self.planned: deque[int | str] = deque()
        self.retry_after: int | None = None
        self.lists_models = True  # at /v1/models
        self.asked = 0
        self.provider: Literal["openai", "anthropic"] = "openai"  # how it is to be asked
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=2**22)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def plan(self, *faults: int | str, retry_after: int | None = None, lists_models: bool = True) -> None:
        """What the next requests meet, and nothing of an earlier plan; counts anew."""
        self.planned, self.retry_after, self.lists_models, self.asked = deque(faults), retry_after, lists_models, 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
                fault: int | str = ""
                if head.startswith(_ASKING):
                    self.asked += 1
                    fault = self.planned.popleft() if self.planned else ""
                elif not self.lists_models:
                    fault = 404
                await self._answer(head, body, fault, reader, writer)
                break  # one request for each connection
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the caller went away, which is the caller's affair
        finally:
            writer.close()

    async def _answer(
        self, head: bytes, body: bytes, fault: int | str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(fault, int):
            after = b"" if self.retry_after is None else b"retry-after: %d\r\n" % self.retry_after
            writer.write(_TOLD % (fault, after))
            await writer.drain()
        elif fault == "silence":
            await reader.read()  # until the caller gives up
        else:
            await self._forward(head, body, fault, reader, writer)

    async def _forward(
        self, head: bytes, body: bytes, fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lines = [line for line in head.rstrip().split(b"\r\n") if not line.lower().startswith(b"connection:")]
        answers, asks = await asyncio.open_connection("127.0.0.1", self._upstream, limit=2**22)
        try:
            asks.write(b"\r\n".join([*lines, b"connection: close"]) + b"\r\n\r\n" + body)
            pieces = 0
            while line := await answers.readline():
                if line.startswith(b"data: "):
                    pieces += 1
                    if fault == "slow":
                        await asyncio.sleep(0.04)
                    if fault == "cut" and pieces > 4:
                        return  # closed, not reset: a reset may also take what the caller has not read yet
                    if fault == "stall" and pieces > 4:
                        await reader.read()
                        return
                writer.write(line)
                await writer.drain()
        finally:
            asks.close()
