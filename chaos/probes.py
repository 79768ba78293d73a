"""How the system is, once a second: one document is edited and asked for with its token, and one question is asked.

What is published and asked here counts as traffic like any other, and is judged like it.
"""

import asyncio

from chaos.documents import Revision
from chaos.history import History, Probe, Write
from chaos.traffic import Traffic

EVERY = 1.0  # seconds: probing is load, too, where two cores hold everything
LIMIT = 20.0  # seconds for a version to be answered with
DOCUMENTS = round(LIMIT / EVERY) + 1  # each is left alone until its last edit is old
_LOOK, _AGAIN = 0.05, 0.5


class Probes:
    """``prefix`` begins the ids of their documents."""

    def __init__(self, traffic: Traffic, history: History, prefix: str) -> None:
        self._traffic, self._history, self._prefix = traffic, history, prefix
        self._running: set[asyncio.Task[None]] = set()
        self._publishing: dict[str, asyncio.Task[Write]] = {}
        self._number = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Probe until stopped, and wait for what is under way."""
        due = self._history.now()
        while not stop.is_set():
            probe = Probe(self._history.now())
            self._history.probes.append(probe)
            for work in (self._ask(probe), self._edit(probe)):
                task = asyncio.create_task(work)
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            due += EVERY
            await asyncio.sleep(max(0.0, due - self._history.now()))
        await asyncio.gather(*self._running, *self._publishing.values())

    async def _ask(self, probe: Probe) -> None:
        doc_id = f"{self._prefix}/0"
        (read,) = await self._traffic.ask([doc_id], "", {"filter": {"about": {"eq": doc_id}}, "cache": False})
        probe.degraded, probe.error = read.degraded, read.error
        if read.result == "ok" and read.ended is not None:
            probe.took = read.ended - read.began

    async def _edit(self, probe: Probe) -> None:
        self._number += 1
        doc_id = f"{self._prefix}/{self._number % DOCUMENTS}"
        if doc_id in self._publishing:
            return  # not even its last edit was taken: this one is late as well
        revision = Revision(doc_id, self._number, (f"p{self._number}",))
        task = self._publishing[doc_id] = asyncio.create_task(self._traffic.publish(revision))
        task.add_done_callback(lambda _: self._publishing.pop(doc_id))
        until = probe.at + LIMIT
        await asyncio.wait({task}, timeout=LIMIT)  # and goes on beyond it
        while task.done() and task.result().visible is None and self._history.now() < until:
            await asyncio.sleep(_LOOK)  # asked before, it would only wait in a worker, and keep others waiting
        while task.done() and probe.fresh is None and self._history.now() < until:
            asked = {"filter": {"about": {"eq": doc_id}}, "at_least": [task.result().token], "cache": False}
            (read,) = await self._traffic.ask([doc_id], "", asked)
            if read.ended is not None and any(title == revision.title for title, _ in read.passages):
                probe.fresh = read.ended - probe.at
            else:
                await asyncio.sleep(_AGAIN)
