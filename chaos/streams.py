"""Clients that follow answers while a gateway, and then the generate worker, is killed; and jobs that are cancelled.

On a stack of its own with two gateways and an endpoint that writes numbered words at a steady pace.  First the
gateway that all clients follow is killed by SIGKILL in mid-stream: each must go on at the other one with nothing
missing and nothing twice.  Then the generate worker is killed: each must be told `restarted`, and then one whole
answer.  Last, jobs are cancelled in mid-stream: the endpoint must stop writing.  Judged from what clients recorded,
beside what the log has.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from bench.paced import paced
from chaos.workers import end
from deploy.local.own_stack import OwnStack, own_stack, process_environment
from deploy.local.programs import ROOT

PORT_BASE = "18900"
SECOND, ENDPOINT = 35, 90  # ports from the stack's base
DEADLINE = 120.0  # seconds for anything to happen
STOPPED_WITHIN = 0.1  # seconds from the answer to DELETE until the endpoint writes no more
Event: TypeAlias = tuple[str | None, str, Any]  # id, name, data
console = Console(highlight=False)


@dataclass
class Stream:
    """What one client was told of one job; ``cuts`` counts broken connections, ``after`` tokens before the first."""

    job: str
    events: list[Event] = field(default_factory=list)
    cuts: int = 0
    after: int = 0

    @property
    def tokens(self) -> int:
        return sum(name == "token" for _, name, _ in self.events)

    @property
    def last(self) -> str | None:
        return next((id_ for id_, _, _ in reversed(self.events) if id_ is not None), None)


def judge(stream: Stream, log: Sequence[Event], *, restarts: bool) -> list[str]:
    """What is wrong with a stream, given what the log has of its job and whether its work was to run again."""
    told = [event for event in stream.events if event[1] != "accepted"]
    wrong = []
    if missing := [event[0] for event in log if event not in told]:
        wrong.append(f"missing: {missing}")
    if told != list(log) and not missing:
        wrong.append(f"repeated or out of order: {len(told)} events for {len(log)}")
    names = [name for _, name, _ in told]
    if names[-1:] != ["answer"]:
        return [*wrong, f"no answer: {told[-1:]}"]
    if ("restarted" in names) is not restarts:
        wrong.append("not told that the text begins again" if restarts else "begun again, though no worker died")
    text = ""
    for _, name, data in told:
        text = "" if name == "restarted" else text + data["text"] if name == "token" else text
    if text.strip() != told[-1][2]["text"].strip():
        wrong.append(f"{len(text)} characters of tokens for an answer of {len(told[-1][2]['text'])}")
    return wrong


async def events_of(http: httpx.AsyncClient, door: str, job: str, last: str | None = None) -> AsyncIterator[Event]:
    """Whole events of a job, as long as the connection lasts."""
    headers = {"Last-Event-ID": last} if last else {}
    async with http.stream("GET", f"{door}/v1/queries/{job}/events", headers=headers) as response:
        response.raise_for_status()
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.strip()
            elif not line:
                if "event" in fields:
                    yield fields.get("id"), fields["event"], json.loads(fields["data"])
                fields = {}


async def follow(http: httpx.AsyncClient, stream: Stream, doors: Sequence[str]) -> None:
    """Follow a job to its end, at the next door whenever a connection breaks."""
    async with asyncio.timeout(DEADLINE):
        while not (stream.events and stream.events[-1][1] in ("answer", "error")):
            door = doors[min(stream.cuts, len(doors) - 1)]
            try:
                async for event in events_of(http, door, stream.job, stream.last):
                    if event[1] != "accepted" or not stream.events:
                        stream.events.append(event)
            except httpx.TransportError:
                pass
            if not (stream.events and stream.events[-1][1] in ("answer", "error")):
                stream.after = stream.after or stream.tokens
                stream.cuts += 1
                await asyncio.sleep(0.05 * (stream.cuts > 1))


def run(arguments: Sequence[str]) -> int:
    """Exit status: 0 when every stream was as it should be, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m chaos streams", description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rate", type=float, default=10.0, help="tokens a second of each answer (default 10)")
    parser.add_argument("--tokens", type=int, default=80, help="tokens of an answer (default 80)")
    parser.add_argument("--out", type=Path, default=ROOT / ".freshet" / "chaos-reports" / "streams")
    options = parser.parse_args(arguments)
    base = os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    settings = {
        "FRESHET_PREFIX": f"s{int(time.time()):x}",
        "FRESHET_GATEWAY_REPLICAS": "2",
        "FRESHET_QUERIES_IN_FLIGHT": str(max(16, options.clients)),
        "FRESHET_QUERIES_DEADLINE": str(DEADLINE),
        "FRESHET_QUERIES_MIN_SCORE": "-1",
        "FRESHET_QUERIES_MIN_WORDS": "0",
        "FRESHET_QUERIES_SEARCH_TIMEOUT": "10",  # all ask at once, and each is to get an answer that streams
        "FRESHET_CACHE_ENABLED": "false",
    }
    pace = ("--rate", str(options.rate), "--tokens", str(options.tokens))
    with (
        paced(int(base) + ENDPOINT, *pace) as llm,
        own_stack("chaos", base, {**settings, **llm}) as stack,
        second_gateway(stack, int(base) + SECOND) as second,
    ):
        control = f"http://127.0.0.1:{int(base) + ENDPOINT}/control"
        campaign = Campaign(stack, [stack.door, second], control, options.clients)
        broken = asyncio.run(campaign.run())
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "history.json").write_text(json.dumps(campaign.history))
    console.print(f"history: {options.out}")
    return 1 if broken else 0


@contextmanager
def second_gateway(stack: OwnStack, port: int, log: Path | None = None) -> Iterator[str]:
    """Another gateway beside the stack's, the last replica of those it is meant to have; gives its address.

    What it says goes into the log, or where we say things.
    """
    replica = int(stack.environment.get("FRESHET_GATEWAY_REPLICAS", "1")) - 1
    settings = {**stack.environment, "FRESHET_GATEWAY_REPLICA": str(replica), "FRESHET_GATEWAY_PORT": str(port)}
    with log.open("wb") if log is not None else nullcontext() as out:
        command = [sys.executable, "-m", "gateway"]
        child = subprocess.Popen(command, cwd=ROOT, env=process_environment(settings), stdout=out, stderr=out)
    try:
        door, until = f"http://127.0.0.1:{port}", time.monotonic() + DEADLINE
        while True:
            try:
                if httpx.get(f"{door}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() > until:
                raise RuntimeError("the second gateway is not ready")
            time.sleep(0.1)
        yield door
    finally:
        end(child, 20)


@dataclass
class Campaign:
    """The three parts, and their figures."""

    stack: OwnStack
    doors: Sequence[str]
    control: str
    clients: int
    history: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> int:
        """All of it; how much was not as it should be."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=httpx.Timeout(30, read=DEADLINE), limits=limits) as http:
            plain = {"Content-Type": "text/plain"}
            text = "The green valve was built in Oslo."
            put = await http.put(f"{self.doors[0]}/v1/documents/valve", content=text, headers=plain)
            token = put.raise_for_status().json()["token"]
            await eventually(lambda: self._indexed(http, token))
            before = self._deliver_seconds()
            first = await self._part(http, "gateway", self.doors, restarts=False)
            cost = (self._deliver_seconds() - before) / sum(s.tokens for s, _ in first) * 1000
            parts = {
                "gateway killed": first,
                "generate killed": await self._part(http, "generate", self.doors[1:], restarts=True),
            }
            stopped = await self._cancelled(http)
        table = Table("part", "clients", "as it should be", "tokens before", "cuts", title="streams")
        broken = 0
        for name, streams in parts.items():
            good = sum(not wrong for _, wrong in streams)
            broken += len(streams) - good
            after = sorted(stream.after for stream, _ in streams)
            cuts = sum(stream.cuts for stream, _ in streams)
            table.add_row(name, str(len(streams)), str(good), f"{after[0]} to {after[-1]}", str(cuts))
            for stream, wrong in streams:
                for each in wrong:
                    console.print(f"[red]{name}, {stream.job}: {each}[/red]", soft_wrap=True)
        console.print(table)
        console.print(f"deliver: {cost:.2f} s of processor time for 1,000 tokens that it passes by")
        late = [seconds for seconds in stopped if seconds > STOPPED_WITHIN]
        console.print(
            f"cancelled in mid-stream: {len(stopped)} jobs; the endpoint was left {min(stopped) * 1000:.0f} to "
            f"{max(stopped) * 1000:.0f} ms after the answer to DELETE"
        )
        for name, found in parts.items():
            self.history[name] = [{"job": s.job, "events": s.events, "wrong": wrong} for s, wrong in found]
        self.history["cancelled"] = stopped
        return broken + len(late)

    async def _part(
        self, http: httpx.AsyncClient, victim: str, doors: Sequence[str], *, restarts: bool
    ) -> list[tuple[Stream, list[str]]]:
        """Ask, follow, kill in mid-stream, and judge beside what the log tells anew."""
        streams = [Stream(await self._ask(http, doors[0], f"{victim} {n}")) for n in range(self.clients)]
        following = [asyncio.create_task(follow(http, stream, doors)) for stream in streams]
        await eventually(lambda: _true(all(stream.tokens >= 3 for stream in streams)))
        for stream in streams:
            stream.after = stream.tokens
        self.stack.send(victim)
        console.print(
            f"killed {victim}, after {min(s.tokens for s in streams)} to {max(s.tokens for s in streams)} tokens"
        )
        await asyncio.gather(*following)
        await eventually(lambda: self._ready(http))
        judged = []
        for stream in streams:
            log = [event async for event in events_of(http, self.doors[1], stream.job) if event[1] != "accepted"]
            wrong = judge(stream, log, restarts=restarts)
            if not restarts and not stream.cuts:
                wrong.append("was never cut off")
            judged.append((stream, wrong))
        return judged

    async def _cancelled(self, http: httpx.AsyncClient) -> list[float]:
        """Seconds from the answer to DELETE until the endpoint has one stream less, job by job."""
        took = []
        for number in range(min(10, self.clients)):
            stream = Stream(await self._ask(http, self.doors[0], f"cancel {number}"))
            following = asyncio.create_task(follow(http, stream, self.doors))
            await eventually(lambda stream=stream: _true(stream.tokens >= 2))  # type: ignore[misc]
            assert await self._open(http) == 1, "nothing else is written"
            (await http.delete(f"{self.doors[number % 2]}/v1/queries/{stream.job}")).raise_for_status()
            told = time.perf_counter()
            while await self._open(http):
                await asyncio.sleep(0.001)
            took.append(time.perf_counter() - told)
            await following
            assert stream.events[-1][2]["reason"] == "cancelled", stream.events[-1]
        return took

    def _deliver_seconds(self) -> float:
        spent = psutil.Process(self.stack.pid("deliver")).cpu_times()
        return float(spent.user + spent.system)

    async def _ask(self, http: httpx.AsyncClient, door: str, about: str) -> str:
        question = f"Where was the green valve built, asked for {about}?"
        answer = (await http.post(f"{door}/v1/queries", json={"question": question})).raise_for_status()
        return str(answer.json()["job_id"])

    async def _open(self, http: httpx.AsyncClient) -> int:
        return int((await http.get(self.control)).json()["open"])

    async def _indexed(self, http: httpx.AsyncClient, token: str) -> bool:
        answer = await http.get(f"{self.doors[0]}/v1/documents/valve", params={"token": token})
        return answer.status_code == 200 and answer.json()["status"] == "indexed"

    async def _ready(self, http: httpx.AsyncClient) -> bool:
        try:
            return all([(await http.get(f"{door}/readyz")).status_code == 200 for door in self.doors])
        except httpx.TransportError:
            return False


async def _true(found: bool) -> bool:
    return found


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something, within the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not await true():
            await asyncio.sleep(0.02)
