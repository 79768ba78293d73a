"""A chat endpoint that keeps time and fails when it is told to: `python -m bench.paced --port 8100 --rate 50`.

It speaks the part of OpenAI's interface that answers use (streaming or whole, and the list of models) and writes
numbered words, so that a reader can tell what is missing or came twice.  `POST /control` changes a :class:`Pace` while
it runs, `GET /control` tells it with what was counted.  A token costs about 20 us of processor time, so that the
endpoint is not what a measurement measures.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeAlias

import msgspec
import uvloop

from deploy.local import health
from deploy.local.programs import ROOT

Mode: TypeAlias = Literal["well", "busy", "error", "cut", "stall", "silence", "slow"]
MODEL = "paced"
WINDOW = 32_768
LONGEST_SILENCE = 3600.0  # seconds; whoever asked leaves before
_HEAD_END = b"\r\n\r\n"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


class Pace(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How it answers.  A share of the requests, drawn by chance, meets ``mode``, and the others go well."""

    rate: float = 50.0  # tokens a second of one stream; 0: as fast as they can be written
    first: float = 0.0  # seconds to the first token
    tokens: int = 100  # of an answer, or max_tokens if that is less
    mode: Mode = "well"
    share: float = 1.0
    retry_after: float | None = 1.0  # seconds, told where it is `busy`
    after: int = 10  # tokens before it is `cut` or begins to `stall`
    slow_rate: float = 2.0  # tokens a second where it is `slow`


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Asked(msgspec.Struct):
    model: str = MODEL
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool = False
    stream_options: _Options | None = None


class Endpoint:
    """One server; ``counts`` by what became of the requests, and ``tokens`` that were written."""

    def __init__(self, pace: Pace | None = None, seed: int = 0) -> None:
        self.pace, self.counts, self._draw = pace or Pace(), Counter[str](), random.Random(seed)
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, port: int, host: str = "127.0.0.1") -> asyncio.Server:
        """Listen; 0 takes a free port."""
        return await asyncio.start_server(self._connected, host, port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        early = b""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = early + await reader.readuntil(_HEAD_END)
                body = await reader.readexactly(_length(head))
                method, path, _ = head.split(b" ", 2)
                task = asyncio.create_task(self._answer(method.decode(), path.decode(), body, writer))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
                early = await self._until(task, reader)
        writer.close()

    async def _until(self, task: "asyncio.Task[None]", reader: asyncio.StreamReader) -> bytes:
        """Wait for an answer's end, or end it when its reader hangs up; gives what was read of the next request."""
        more = asyncio.ensure_future(reader.read(1))  # one who leaves while nothing is written is seen only by reading
        await asyncio.wait({task, more}, return_when=asyncio.FIRST_COMPLETED)
        if more.done() and (more.exception() or not more.result()):
            self.counts["left"] += not task.done()
            task.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await task
            raise ConnectionResetError
        await task
        more.cancel()
        with suppress(asyncio.CancelledError):
            return await more
        return b""

    async def _answer(self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        match method, path.partition("?")[0]:
            case "POST", "/control":
                try:
                    given = msgspec.json.decode(body, type=dict[str, Any])
                    self.pace = msgspec.convert({**msgspec.to_builtins(self.pace), **given}, Pace)
                except msgspec.MsgspecError as error:
                    _write(writer, 400, {"error": {"message": str(error)}})
                else:
                    _write(writer, 200, self._told())
            case "GET", "/control":
                _write(writer, 200, self._told())
            case "GET", "/v1/models":
                listed = {"id": MODEL, "object": "model", "owned_by": "chaos", "max_model_len": WINDOW}
                _write(writer, 200, {"object": "list", "data": [listed]})
            case "POST", "/v1/chat/completions":
                try:
                    asked = msgspec.json.decode(body, type=_Asked)
                except msgspec.MsgspecError as error:
                    _write(writer, 400, {"error": {"message": str(error)}})
                else:
                    await self._complete(asked, writer)
            case _:
                _write(writer, 404, {"error": {"message": "not here"}})

    def _told(self) -> dict[str, Any]:
        return {"pace": msgspec.to_builtins(self.pace), "counts": dict(self.counts), "open": len(self._open) - 1}

    async def _complete(self, asked: _Asked, writer: asyncio.StreamWriter) -> None:
        pace = self.pace
        mode: Mode = pace.mode if self._draw.random() < pace.share else "well"
        self.counts["asked"] += 1
        self.counts[mode] += 1
        if mode == "busy":
            after = {} if pace.retry_after is None else {"Retry-After": f"{pace.retry_after:g}"}
            _write(writer, 429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, after)
        elif mode == "error":
            _write(writer, 500, {"error": {"message": "told to fail"}})
        elif mode == "silence":
            await asyncio.sleep(LONGEST_SILENCE)
        else:
            await self._write_tokens(asked, pace, mode, writer)

    async def _write_tokens(self, asked: _Asked, pace: Pace, mode: Mode, writer: asyncio.StreamWriter) -> None:
        count = min(pace.tokens, asked.max_completion_tokens or asked.max_tokens or pace.tokens)
        answer = _Answer(asked, count, writer)
        await answer.begin()
        rate = pace.slow_rate if mode == "slow" else pace.rate
        now = asyncio.get_running_loop().time
        began = now() + pace.first
        for number in range(count):
            if (pause := began + (number / rate if rate else 0) - now()) > 0:
                await asyncio.sleep(pause)
            if number == pace.after and mode == "cut":
                writer.transport.abort()
                return
            if number == pace.after and mode == "stall":
                await asyncio.sleep(LONGEST_SILENCE)
            await answer.token(number)
            self.counts["tokens"] += 1
        await answer.end()


class _Answer:
    """One answer on its way."""

    def __init__(self, asked: _Asked, count: int, writer: asyncio.StreamWriter) -> None:
        self._asked, self._count, self._writer = asked, count, writer
        kind = "chat.completion.chunk" if asked.stream else "chat.completion"
        self._frame = {"id": "paced", "object": kind, "created": 0, "model": asked.model}
        self._words: list[str] = []
        before, behind = msgspec.json.encode(self._chunk({"content": "@"})).split(b"@")
        self._before, self._behind = b"data: " + before, behind + b"\n\n"

    async def begin(self) -> None:
        """Head, and the piece that says who speaks."""
        if self._asked.stream:
            self._writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            self._send(b"data: " + msgspec.json.encode(self._chunk({"role": "assistant", "content": ""})) + b"\n\n")

    async def token(self, number: int) -> None:
        """The next word; the last one cites."""
        word = f"w{number} " + ("[1]" if number == self._count - 1 else "")
        if not self._asked.stream:
            self._words.append(word)
            return
        self._send(self._before + word.encode() + self._behind)
        await self._writer.drain()

    async def end(self) -> None:
        """All of it is there."""
        usage = {"prompt_tokens": 1, "completion_tokens": self._count, "total_tokens": self._count + 1}
        if not self._asked.stream:
            message = {"role": "assistant", "content": "".join(self._words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            _write(self._writer, 200, {**self._frame, "choices": [choice], "usage": usage})
            return
        self._send(b"data: " + msgspec.json.encode(self._chunk({}, "stop")) + b"\n\n")
        if self._asked.stream_options and self._asked.stream_options.include_usage:
            self._send(b"data: " + msgspec.json.encode({**self._frame, "choices": [], "usage": usage}) + b"\n\n")
        self._send(b"data: [DONE]\n\n")
        self._writer.write(b"0\r\n\r\n")

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        return {**self._frame, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    def _send(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def _write(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    content = msgspec.json.encode(body)
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(content)}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    writer.write("\r\n".join(lines).encode() + _HEAD_END + content)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


@contextmanager
def paced(port: int, *options: str) -> Iterator[dict[str, str]]:
    """An endpoint in a process of its own; gives the settings by which answers come from it."""
    command = [sys.executable, "-m", "bench.paced", "--port", str(port), *options]
    with subprocess.Popen(command, cwd=ROOT) as child:
        try:
            _until_answering(f"http://127.0.0.1:{port}/control")
            yield {"FRESHET_LLM_URL": f"http://127.0.0.1:{port}/v1", "FRESHET_LLM_MODEL": MODEL}
        finally:
            child.kill()  # it holds nothing, and its open streams are not waited for


def _until_answering(address: str) -> None:
    until = time.monotonic() + 20
    while (wrong := health.http_answer(address)) is not None:
        if time.monotonic() > until:
            raise RuntimeError(f"the paced endpoint did not start: {wrong}")
        time.sleep(0.05)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.paced", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second of one stream (default 50)")
    parser.add_argument("--tokens", type=int, default=100, help="tokens of an answer (default 100)")
    parser.add_argument("--first", type=float, default=0.0, help="seconds to the first token (default 0)")
    options = parser.parse_args(arguments)

    async def serve() -> None:
        server = await Endpoint(Pace(rate=options.rate, tokens=options.tokens, first=options.first)).serve(options.port)
        async with server:
            await server.serve_forever()

    with suppress(KeyboardInterrupt):
        uvloop.run(serve())


if __name__ == "__main__":
    main()
