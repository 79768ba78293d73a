"""Streams of tokens and when each came, in a process of its own: from the endpoint itself, or through the log."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
import uvloop

_END = b"\r\n\r\n"
PATIENCE = 120.0  # seconds for one stream


@dataclass(frozen=True, slots=True)
class Way:
    """Where is asked: the endpoint itself (``direct``), by messages in JSON, or a gateway, by questions."""

    address: str
    direct: bool
    model: str = ""
    max_tokens: int = 0


@dataclass
class Streams:
    """Seconds to the first token, and between pieces; from the endpoint itself a piece is a token."""

    first: list[float] = field(default_factory=list)
    retrieval: list[float] = field(default_factory=list)  # of that, until passages were told
    gaps: list[float] = field(default_factory=list)
    words: int = 0
    pieces: int = 0
    streams: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


def follow(way: Way, questions: Sequence[str], clients: int, seconds: float, apart: float) -> Streams:
    """So many streams at once, for so long; runs in the process that asks."""
    return uvloop.run(_follow(way, questions, clients, seconds, apart))


async def _follow(way: Way, questions: Sequence[str], clients: int, seconds: float, apart: float) -> Streams:
    """Streams begin ``apart`` seconds from each other, as people do, and each is followed by the next.

    What began before all were there warms up.
    """
    found, endless = Streams(), itertools.cycle(questions)
    draw, now = random.Random(clients), time.perf_counter
    since = now() + apart * clients + 1.0
    until = since + seconds

    async def client(number: int) -> None:
        await asyncio.sleep(apart * number)
        while (began := now()) < until:
            try:
                async with asyncio.timeout(PATIENCE):
                    times, words, passages = await _stream(way, next(endless))
            except Exception as error:  # whatever goes wrong is an error of what is measured
                found.errors.append(f"{type(error).__name__}: {error}"[:300])
                continue
            inside = [at for at in times if since <= at < until]
            found.pieces += len(inside)
            found.words += round(words * len(inside) / len(times))
            if began >= since:
                found.streams += 1
                found.first.append(times[0] - began)
                found.gaps += [after - before for before, after in itertools.pairwise(times)]
                if passages:
                    found.retrieval.append(passages - began)
            await asyncio.sleep(draw.uniform(0, apart))

    await asyncio.gather(*map(client, range(clients)))
    found.seconds = seconds
    return found


async def _stream(way: Way, question: str) -> tuple[list[float], int, float]:
    """When each piece came, how many words all have, and when passages were told."""
    times, words, passages, event = list[float](), 0, 0.0, b""
    async with _lines(way, question) as lines:
        async for line in lines:
            if line.startswith(b"event: "):
                event = line[7:-1]
                if event == b"passages":
                    passages = time.perf_counter()
                elif event == b"error":
                    raise RuntimeError("the answer failed")
            elif line.startswith(b"data: ") and (text := _text(way, event, line[6:])):
                times.append(time.perf_counter())
                words += len(text.split())
            if event == b"answer" or line.startswith(b"data: [DONE]"):
                break
    if not times:
        raise RuntimeError("no token came")
    return times, words, passages


def _text(way: Way, event: bytes, data: bytes) -> str:
    if not way.direct:
        return _TOKEN.decode(data).text if event == b"token" else ""
    if data.startswith(b"[DONE]"):
        return ""
    choices = _CHUNK.decode(data).choices
    return (choices[0].delta.content or "") if choices else ""


class _Token(msgspec.Struct):
    text: str


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


_TOKEN, _CHUNK = msgspec.json.Decoder(_Token), msgspec.json.Decoder(_Chunk)


@asynccontextmanager
async def _lines(way: Way, question: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The lines of a stream; framing of chunks passes as lines that say nothing."""
    place = urlsplit(way.address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        if way.direct:
            messages = msgspec.json.decode(question)
            body = {"model": way.model, "messages": messages, "stream": True, "temperature": 0}
            path = f"{place.path}/chat/completions"
            await _head(reader, writer, "POST", path, body | {"max_tokens": way.max_tokens})
        else:
            asked = {"question": question, "cache": False}
            head = await _head(reader, writer, "POST", "/v1/queries", asked)
            body_ = await reader.readexactly(int(_field(head, b"content-length")))
            await _head(reader, writer, "GET", msgspec.json.decode(body_)["links"]["events"])
        yield aiter(reader)
    finally:
        writer.close()


async def _head(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: object = None
) -> bytes:
    content = b"" if body is None else msgspec.json.encode(body)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n".encode()
        + content
    )
    head = await reader.readuntil(_END)
    if head[9:12] not in (b"200", b"202"):
        raise RuntimeError(head.decode().splitlines()[0])
    return head


def _field(head: bytes, name: bytes) -> bytes:
    return next(line.split(b":", 1)[1] for line in head.splitlines() if line.lower().startswith(name + b":"))


def percentile(values: Sequence[float], share: float) -> float:
    """In milliseconds; NaN of nothing."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) if ordered else float("nan")
