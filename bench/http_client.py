"""The least HTTP client that can measure a gateway: keep-alive, POST, bodies with a length.

A full client takes a millisecond of processor time for a request, as much as the gateway does; this one a tenth.
"""

import asyncio
from dataclasses import dataclass

_END = b"\r\n\r\n"


@dataclass
class Connection:
    """One connection: one request at a time."""

    host: str
    port: int

    def __post_init__(self) -> None:
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, headers: str = "") -> tuple[int, bytes]:
        """Status and body; ``headers`` are whole lines.  A connection that broke is made anew."""
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # the server hung up while we were idle, as it may
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self._streams
        try:
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{headers}\r\n".encode()
                + body
            )
            head = await reader.readuntil(_END)
            return int(head[9:12]), await reader.readexactly(_length(head))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop it."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise ValueError(f"a response without a length: {head[:200]!r}")
