"""A plain Faust worker: a bare application on Faust's defaults, with agents as Faust's guide writes them.

None of our code runs here, unless a run asks for our transport to show the difference.  A value is JSON,
``{"n": number, "do": word}``; the worker writes what happens to each number into its trace, line by line.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver

from streams import app as ours

Body = Callable[[Any, "Bench"], Awaitable[None]]
WITHIN = 60.0  # seconds: batches are full ones
NEEDED = {"broker_commit_interval": 0.1, "web_enabled": False, "topic_disable_leader": True}


class RefusedConsumer(driver.Consumer):
    """A consumer whose broker refuses every commit."""

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        return False


class RefusedTransport(driver.Transport):
    """aiokafka with the consumer above."""

    Consumer = RefusedConsumer


TRANSPORTS = {"faust": driver.Transport, "ours": ours.Transport, "refused": RefusedTransport}


@dataclass(frozen=True, slots=True)
class Run:
    """What one worker process is told."""

    body: Body
    topic: str
    output: str
    group: str
    brokers: str
    folder: Path  # trace, gate and log
    settings: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 1
    transport: str = "faust"
    cython: bool = True


class Bench:
    """What the bodies work with."""

    def __init__(self, app: Any, run: Run) -> None:
        self.app, self.output = app, app.topic(run.output, value_serializer="raw")
        self._trace = (run.folder / "trace").open("a", buffering=1)
        self._gate = run.folder / "gate"

    def say(self, what: str, number: Any) -> None:
        self._trace.write(f"{what} {number}\n")

    async def work(self, value: Any) -> None:
        """Do what the value says."""
        self.say("started", value["n"])
        try:
            await self._do(value["do"])
        except asyncio.CancelledError:
            self.say("cancelled", value["n"])
            raise
        except Exception:
            self.say("failed", value["n"])
            raise
        self.say("done", value["n"])

    async def _do(self, word: str) -> None:
        match word:
            case "wait":  # for the gate
                while not self._gate.exists():
                    await asyncio.sleep(0.02)
            case "raise" if not self._gate.exists():
                raise RuntimeError("told to")
            case "send":
                await self.output.send(value=b"x" * 5000)
            case "send and await":
                await (await self.output.send(value=b"x" * 5000))
            case "tell":
                for offset in self.app.consumer._committed_offset.values():
                    self.say("believes", offset)


async def each(stream: Any, bench: Bench) -> None:
    async for value in stream:
        await bench.work(value)


async def take(stream: Any, bench: Bench) -> None:
    async for values in stream.take(3, within=WITHIN):
        for value in values:
            await bench.work(value)


async def take_events(stream: Any, bench: Bench) -> None:
    async for events in stream.take_events(3, within=WITHIN):
        for event in events:
            await bench.work(event.value)


async def noack_take(stream: Any, bench: Bench) -> None:
    """Acknowledges a batch after its work, but for events that say ``leave``."""
    async for events in stream.noack_take(3, within=WITHIN):
        for event in events:
            await bench.work(event.value)
        for event in events:
            if event.value["do"] != "leave":
                await stream.ack(event)
                bench.say("acked", event.value["n"])


async def noack_take_full(stream: Any, bench: Bench) -> None:
    async for events in stream.noack_take(3, within=None):
        for event in events:
            await bench.work(event.value)


async def noack_take_one(stream: Any, bench: Bench) -> None:
    async for events in stream.noack_take(1, within=None):
        for event in events:
            await bench.work(event.value)
            await stream.ack(event)


async def age(stream: Any, bench: Bench) -> None:
    """As if a rebalance came between the fetch of the two events behind ``age`` and their turn."""
    async for value in stream:
        await bench.work(value)
        if value["do"] == "age":
            while stream.channel.queue.qsize() < 2:
                await asyncio.sleep(0.02)
            bench.app.consumer_generation_id += 1


def main(run: Run) -> None:
    """Be this worker until told to stop."""
    log = os.open(run.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if not run.cython:
        faust.streams._CStreamIterator = None  # type: ignore[attr-defined]  # what the module has when the extension is missing
    settings = {**NEEDED, "datadir": run.folder / "data", **run.settings}
    app = faust.App(run.group, broker=f"aiokafka://{run.brokers}", **settings)
    app.transport = TRANSPORTS[run.transport](app.conf.broker_consumer, app, loop=app.loop)
    bench = Bench(app, run)

    @app.agent(app.topic(run.topic, value_serializer="json"), concurrency=run.concurrency)
    async def agent(stream: Any) -> None:
        await run.body(stream, bench)

    faust.Worker(app, loglevel="INFO", redirect_stdouts=False).execute_from_commandline()
