"""An endpoint for webhooks that fails as often as it is told to, and keeps all that came."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, TypeAlias

from standardwebhooks import Webhook, WebhookVerificationError

Answered: TypeAlias = Literal["taken", "500", "503", "reset", "nothing"]
FAILURES: tuple[Answered, ...] = ("500", "503", "reset", "nothing")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: which message about which job, and what it got for an answer."""

    at: float
    message_id: str
    job_id: str
    kind: str
    body: str  # digest
    verified: bool
    answered: Answered


@dataclass
class Receiver:
    """``failing`` is how often it fails, of 1; ``silence`` is longer than who calls it waits."""

    seed: int
    failing: float
    silence: float
    secret: str = ""
    arrivals: list[Arrival] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        # Cancelled when the campaign ends: asyncio would call that an error of the connection.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                pairs = (line.partition(": ") for line in head.strip().split("\r\n")[1:])
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                answered = self._choose()
                self.arrivals.append(self._arrival(headers, body, answered))
                if answered == "nothing":
                    await asyncio.sleep(self.silence)
                    break
                if answered == "reset":
                    writer.transport.abort()
                    return
                status = "204 Taken" if answered == "taken" else f"{answered} Not now"
                more = "Retry-After: 1\r\n" if answered == "503" else ""
                writer.write(f"HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    def _choose(self) -> Answered:
        return self._random.choice(FAILURES) if self._random.random() < self.failing else "taken"

    def _arrival(self, headers: dict[str, str], body: bytes, answered: Answered) -> Arrival:
        try:
            Webhook(self.secret).verify(body, headers)
            verified = True
        except (WebhookVerificationError, ValueError):
            verified = False
        try:
            message = json.loads(body)
            job_id, kind = str(message["data"].get("job_id", "")), str(message["type"])
        except (ValueError, KeyError, AttributeError):
            job_id, kind = "", "unreadable"
        digest = sha256(body).hexdigest()
        return Arrival(time.time(), headers.get("webhook-id", ""), job_id, kind, digest, verified, answered)


@contextlib.asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[str]:
    """Its address while it runs."""
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    server.close()
