"""A whole installation in this process: the real gateway on a socket, the real stages, nothing but memory below."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager

import uvicorn

from connectors.memory.jobs import MemoryJobs
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from streams.outcome import Output, Record
from tests.flow.inline import Lanes
from tests.gateway.builders import door_settings
from topics import registry
from topics.codec import decode
from topics.queries import AnswerEvent

QUESTIONS = (registry.QUERIES, registry.QUERIES_BATCH)


class Played(Lanes):
    """Lanes that take from a gateway's log what it writes, and give it their answers."""

    def __init__(self) -> None:
        self.door_log, self._working = MemoryLog(), set[asyncio.Task[None]]()
        super().__init__(door_settings(QUERIES_MIN_SCORE="-1", QUERIES_MIN_WORDS="0"))

    async def publish(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            record = self.append(output.spec, output.key, output.value, output.partition, dict(output.headers))
            if output.spec is registry.ANSWERS:
                self.door_log.answer(decode(output.value or b"", AnswerEvent))
            elif output.spec is registry.RETRIEVALS:
                self._work(self._answer(record))

    async def play(self) -> None:
        """Work on all that the gateway writes, documents in order and questions beside them, until cancelled."""
        position = 0
        while True:
            grown = self.door_log.storage.grown
            for written in self.door_log.published[position:]:
                position += 1
                record = self.append(
                    written.topic, written.key, written.value, written.place.partition, dict(written.headers)
                )
                if written.topic in QUESTIONS:
                    self._work(self._search(record))
                else:
                    await self.drain([record])
            await grown.wait()

    async def _search(self, record: Record) -> None:
        await self._settle(await self.retrieve.step(record), record)

    async def _answer(self, record: Record) -> None:
        await self._settle(await self.generate.step(record), record)

    def _work(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)


@asynccontextmanager
async def playing(system: Played) -> AsyncIterator[str]:
    """Its address while it runs."""
    door = create_app(system.settings, system.manifests, system.door_log, jobs=MemoryJobs())
    server = uvicorn.Server(uvicorn.Config(door, port=0, log_config=None))
    work = [asyncio.create_task(server.serve()), asyncio.create_task(system.play())]
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        work[1].cancel()
        await asyncio.gather(*work, return_exceptions=True)
