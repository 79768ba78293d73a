"""Questions that come again and again, among edits, deletes and changes of access.

Documents belong to groups.  A question is about one document or about its whole group, so that an entry of a cache
hangs on several; by anybody; at times with the newest token, at times just after a change.  What is drawn depends on
the seed; how the calls interleave, on the machine.
"""

import asyncio
import random
from typing import Any

from chaos.documents import Author
from chaos.history import History, Write
from chaos.traffic import Traffic

GROUPS, MEMBERS = 4, 3
JUST_NOW = 0.25  # seconds in which a change counts as fresh: what it left in a cache is about to be cleared away
DOC_IDS = [f"group{group}/{member}" for group in range(GROUPS) for member in range(MEMBERS)]


class Repeats:
    """``every`` is how many questions come to one edit."""

    def __init__(
        self, traffic: Traffic, history: History, author: Author, *, seed: int, count: int, every: int
    ) -> None:
        self._traffic, self._history, self._author = traffic, history, author
        self._random, self._count, self._every = random.Random(seed), count, every
        self._due, self._ended = asyncio.Semaphore(0), False
        self.asked = 0

    async def begin(self, seconds: float) -> None:
        """Publish something of every document and wait until questions are answered."""
        missing = set(self._author.doc_ids)
        while missing:
            revision = self._author.next()
            await self._traffic.publish(revision)
            missing.discard(revision.doc_id)
        await self._traffic.settle()
        async with asyncio.timeout(seconds):
            while (await self._traffic.ask(self._author.doc_ids[:1], "", {"cache": False}))[0].result != "ok":
                await asyncio.sleep(0.2)
        self._history.reads.clear()

    async def read(self, pause: float) -> None:
        """Ask, as one of several, until all questions are asked."""
        while self.asked < self._count:
            self.asked += 1
            if self.asked % self._every == 0:
                self._due.release()
            await self._traffic.ask(*self.question())
            await asyncio.sleep(pause)

    async def write(self) -> None:
        """Publish whenever enough questions were asked."""
        while True:
            await self._due.acquire()
            if self._ended:
                return
            await self._traffic.publish(self._author.next())

    def end(self) -> None:
        """No more edits."""
        self._ended = True
        self._due.release()

    def question(self) -> tuple[list[str], str, dict[str, Any]]:
        """The next one: about which documents, by whom, and how it is put."""
        draw = self._random
        doc_id, principal = draw.choice(self._author.doc_ids), draw.choice(["", *self._author.principals])
        if changed := self._changed():
            doc_id = draw.choice(changed).revision.doc_id
        group = doc_id.partition("/")[0]
        doc_ids, body = [doc_id], dict[str, Any](filter={"about": {"eq": doc_id}})
        if draw.random() < 0.5:
            doc_ids += [each for each in self._author.doc_ids if each.startswith(f"{group}/") and each != doc_id]
            body = {"filter": {"group": {"eq": group}}}
        newest = self._newest(doc_id) if draw.random() < 0.2 else None
        if newest is not None:
            body["at_least"] = [newest.token]
        return doc_ids, principal, body

    def _changed(self) -> list[Write]:
        """What became visible a moment ago; one question in three is about that."""
        since, own = self._history.now() - JUST_NOW, self._author.doc_ids
        last = (w for w in self._history.writes[-20:] if w.revision.doc_id in own)
        recent = [w for w in last if w.visible is not None and w.visible > since]
        return recent if self._random.random() < 1 / 3 else []

    def _newest(self, doc_id: str) -> Write | None:
        """The last that the log has taken, visible or not."""
        own = (w for w in reversed(self._history.writes) if w.revision.doc_id == doc_id and w.token is not None)
        return next(own, None)
