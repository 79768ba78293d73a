"""An endpoint of a test's own, over a real socket: keeps what came and answers as it is told."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """What came."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """``answer`` gives the bytes to send back; None says nothing and hangs."""

    answer: Callable[[Request], bytes | None] = lambda _: b"HTTP/1.1 204 OK\r\ncontent-length: 0\r\n\r\n"
    came: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = head.strip().split("\r\n")
                headers = {k.lower(): v for k, _, v in (each.partition(": ") for each in lines)}
                request = Request(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))
                self.came.append(request)
                if (answer := self.answer(request)) is None:
                    await reader.read()
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def status(code: int, *headers: str) -> bytes:
    """An answer without a body."""
    return "\r\n".join([f"HTTP/1.1 {code} Told", "content-length: 0", *headers, "", ""]).encode()


@contextlib.asynccontextmanager
async def receiving(
    answer: Callable[[Request], bytes | None] | None = None, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """A running receiver."""
    receiver = Receiver(answer) if answer else Receiver()
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()
