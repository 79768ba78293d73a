"""A stream like Faust's over records in memory: runs a runner until everything was acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

from streams.outcome import Output, Record
from streams.runner import Runner

DEADLINE = 20.0  # seconds


class MemoryStream:
    """Gives its records, then nothing more; remembers what was acknowledged."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._events = [
            SimpleNamespace(
                message=SimpleNamespace(
                    topic=r.topic, partition=r.partition, offset=r.offset, key=r.key, value=r.value,
                    headers=list(r.headers.items()), timestamp=r.timestamp / 1000,
                )
            )
            for r in records
        ]  # fmt: skip
        self.acked: list[tuple[str, int, int]] = []
        self._left = asyncio.Semaphore(0)

    async def noack_take(self, count: int, within: object) -> AsyncIterator[list[Any]]:
        for event in self._events:
            yield [event]
        await asyncio.Event().wait()

    async def ack(self, event: Any) -> None:
        self.acked.append((event.message.topic, event.message.partition, event.message.offset))
        self._left.release()

    async def finished(self) -> None:
        for _ in self._events:
            await self._left.acquire()


async def run_dry(runner: Runner, records: Sequence[Record]) -> list[tuple[str, int, int]]:
    """Run until all are acknowledged; what was, in order."""
    stream = MemoryStream(records)
    running = asyncio.create_task(runner.run(stream))
    async with asyncio.timeout(DEADLINE):
        await stream.finished()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return stream.acked


class MemoryTopics:
    """Takes what is published; ``of`` gives it back as it would lie in Kafka."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []

    async def __call__(self, outputs: Sequence[Output]) -> None:
        self.outputs += outputs

    def of(self, name: str) -> list[Record]:
        """Records of a topic, by the name of its specification, each partition counted for itself."""
        found: list[Record] = []
        for output in self.outputs:
            if output.spec.name == name:
                offset = sum(record.partition == output.partition for record in found)
                found.append(
                    Record(name, output.partition, offset, output.key, output.value, dict(output.headers), 1_000)
                )
        return found
