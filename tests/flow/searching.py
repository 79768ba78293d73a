"""The lanes with a retrieval worker's keyword view beside them, over a real Tantivy index."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from msgspec import convert

from connectors.keywords.tantivy_index import TantivyIndex
from connectors.memory.manifests import MemoryManifests
from connectors.memory.topic_log import MemoryTopicLog
from connectors.memory.view import MemoryView
from streams.documents.view import View
from streams.queries.keyword_view import KeywordView, Listening
from streams.queries.legs import Legs
from streams.queries.search import Search
from tests.flow.inline import Lanes
from topics import registry
from topics.queries import Retrieval
from topics.queries import Search as Mode

SECONDS = 10.0


class Worker:
    """What a retrieval worker keeps, of lanes whose log is handed to it by :meth:`sync`."""

    def __init__(self, folder: Path, lanes: Lanes | None = None) -> None:
        self.lanes, self._folder = lanes or Lanes(), folder
        self.chunks, self.events = MemoryTopicLog(4), MemoryTopicLog(4)
        self._handed = {registry.CHUNKS.name: 0, registry.INDEX_EVENTS.name: 0}
        self._tasks: list[asyncio.Task[None]] = []
        self._begin()

    def _begin(self) -> None:
        self.table = TantivyIndex(self._folder, "english")
        tailed = MemoryManifests(whole=False)
        self.view = KeywordView("tantivy", self.chunks, self.table, tailed)
        self.tail = View("tail", self.events, Listening(MemoryView(tailed, alone=True), self.view.announced))
        lanes = self.lanes
        self.legs = lanes.legs = Legs(lanes.encoder, lanes.store, self.view)
        queries = lanes.settings.queries
        lanes.retrieve._search = Search(queries, lanes.settings.documents.stale_after, self.legs, lanes.clock)

    def start(self) -> None:
        """As a worker that starts."""
        self._tasks = [asyncio.create_task(run()) for run in (self.view.run, self.tail.run, self.legs.breaker.run)]

    async def crash(self) -> None:
        """As kill -9: nothing is committed or closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.view._in_thread(lambda: None)  # a dead process has no thread that is still at work
        self.table._index = self.table._writer = None
        gc.collect()  # and holds no lock
        self._begin()

    def hand(self, *names: str) -> None:
        """Let the worker read what the lanes have written to these topics."""
        logs = {registry.CHUNKS.name: self.chunks, registry.INDEX_EVENTS.name: self.events}
        for name in names or logs:
            for record in self.lanes.log[name][self._handed[name] :]:
                logs[name].append(record.partition, record.key, record.value, record.headers, record.timestamp)
            self._handed[name] = len(self.lanes.log[name])

    async def caught_up(self) -> None:
        """Wait until all that was handed over can be found."""
        async with asyncio.timeout(SECONDS):
            await self.tail.caught_up()
            ends = await self.chunks.ends()
            while not self.view.state().whole or self.view._places != ends or self.view._uncommitted:
                await asyncio.sleep(0.005)
            while self.view._settled or self.view._uncommitted or self._outdated():
                await asyncio.sleep(0.005)

    def _outdated(self) -> bool:
        """Whether the table's thread is yet to remove what was replaced, or to commit that it has."""
        held = [(ref, version) for ref, of in list(self.table.versions.items()) for version in list(of)]
        visible = {ref: self.view._visible.get(ref, ("", False)) for ref, _ in held}
        old = any(version < visible[ref][0] or visible[ref] == (version, True) for ref, version in held)
        return old or self.view.state().versions != len(held)

    async def sync(self) -> None:
        """Hand over everything, and wait."""
        self.hand()
        await self.caught_up()

    async def retrieve(self, question: str, search: Mode = "hybrid", **more: Any) -> Retrieval:
        """Ask for passages."""
        events = await self.lanes.ask(question, mode="retrieve", search=search, **more)
        assert events[-1].type == "answer", events[-1].data
        return convert(events[-1].data["retrieval"], Retrieval)


@contextlib.asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[Worker]:
    """A worker that runs."""
    found = Worker(folder)
    found.start()
    try:
        yield found
    finally:
        for task in found._tasks:
            task.cancel()
        await asyncio.gather(*found._tasks, return_exceptions=True)
        found.table.close()
