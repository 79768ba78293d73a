"""Tell who asked when a document behind the answer is no longer what it was: `answer.stale`.

What is told is no record of the log.  Whether an answer is stale follows from its receipt (which versions) and the
manifests (which are current), and since versions only go up it never turns back: any gateway can tell at any time,
also of what changed between retrieval and answer, or while nobody was connected.

All documents that are watched here are looked up together, again and again, for at most a share of the time.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.errors import ConnectorError
from connectors.ports import Manifest, ManifestStore
from gateway.attempts import Emission
from gateway.jobs import Job
from runtime import metrics
from runtime.clock import millis
from runtime.logs import logger
from topics.identity import DocumentRef

STALE: Final = "answer.stale"
UNWATCHED: Final = "answer.unwatched"  # nothing more is told: time is `over`, too many are watched (`full`), or `empty`
POLL: Final = 0.25  # seconds between two looks, or as long as one took times this:
PAUSE: Final = 4
LOOK: Final = 500  # documents that are asked about at once
MOST: Final = 20_000  # documents that are watched
_log = logger("gateway.stale")


@dataclass(eq=False, slots=True)
class _Watch:
    """One reader's answer: its documents in the versions that it came from, and those that have changed."""

    documents: Mapping[DocumentRef, str]
    changed: list[dict[str, Any]] = field(default_factory=list)
    looked: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def compare(self, now: Mapping[DocumentRef, Manifest]) -> None:
        """Take in what is current; a document that this look does not tell of is left for the next."""
        known = {ref: now[ref] for ref in self.documents if ref in now}
        self.looked = len(known) == len(self.documents)
        self.changed = [
            {"doc_id": ref.doc_id, "version": self.documents[ref], "current": current.version,
             "deleted": current.deleted}
            for ref, current in known.items()
            if current.version is not None and current.version > self.documents[ref]
        ]  # fmt: skip
        if self.changed:
            self.news.set()

    async def rest(self, seconds: float) -> bool:
        """Wait for news; False when there were none."""
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            return False
        return True


class Watches:
    """All answers that are watched by this gateway.  Lives on the event loop."""

    def __init__(self, manifests: ManifestStore, seconds: float, most: int = MOST) -> None:
        self._manifests, self._seconds, self._most = manifests, seconds, most
        self._watches: set[_Watch] = set()
        self._some = asyncio.Event()
        self._stopping = False

    def more(self, job: Job, after: int) -> bool:
        """Whether something comes behind the answer for a reader who has seen everything up to this id."""
        return _receipt(job) is not None and after == job.final_offset

    async def follow(self, job: Job, beat: float) -> AsyncGenerator[tuple[int, Emission] | None, None]:
        """What comes behind the final event: one event more, with its id; None when nothing came for ``beat`` seconds.

        The id is one more than the answer's: who has seen it has seen all.
        """
        receipt, place, final = _receipt(job), job.final_offset, job.final
        if receipt is None or place is None or final is None:
            return
        until = final.at / 1000 + self._seconds
        if not receipt or not self._room(len(receipt)):
            yield place + 1, _unwatched("full" if receipt else "empty")
            return
        with self._watching({DocumentRef(job.tenant, doc_id): version for doc_id, version in receipt.items()}) as watch:
            while not self._stopping:
                if watch.changed:
                    metrics.answers_stale.inc()
                    yield place + 1, Emission(STALE, {"documents": watch.changed}, millis())
                    return
                left = until - time.time()
                if left <= 0 and watch.looked:  # who comes back late is told what happened meanwhile
                    yield place + 1, _unwatched("over")
                    return
                if not await watch.rest(min(beat, max(left, POLL))):
                    yield None
                job.last_used = time.monotonic()

    async def run(self) -> None:
        """Look after all that is watched, for ever."""
        away = False
        while True:
            await self._some.wait()
            began = time.monotonic()
            try:
                await self._look(list({ref: None for watch in self._watches for ref in watch.documents}))
                away = False
            except ConnectorError as error:
                if not away:
                    _log.warning("answers cannot be watched right now", reason=str(error))
                away = True
            await asyncio.sleep(max(POLL, PAUSE * (time.monotonic() - began)))

    def stop(self) -> None:
        """Let all readers go, so that they come back to another gateway."""
        self._stopping = True
        for watch in self._watches:
            watch.news.set()

    async def _look(self, refs: Sequence[DocumentRef]) -> None:
        now: dict[DocumentRef, Manifest] = {}
        for start in range(0, len(refs), LOOK):
            some = refs[start : start + LOOK]
            now |= zip(some, await self._manifests.status(some), strict=True)
        for watch in self._watches:
            watch.compare(now)

    def _room(self, documents: int) -> bool:
        return sum(len(watch.documents) for watch in self._watches) + documents <= self._most

    @contextmanager
    def _watching(self, documents: Mapping[DocumentRef, str]) -> Iterator[_Watch]:
        watch = _Watch(documents)
        self._watches.add(watch)
        self._some.set()
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            if not self._watches:
                self._some.clear()


def _receipt(job: Job) -> dict[str, str] | None:
    """Versions by document of an answer that is to be watched; None where there is nothing to tell of."""
    final = job.final
    if not job.notify_stale or final is None or final.type != "answer" or job.final_offset is None:
        return None
    return dict(final.data.get("documents") or {})


def _unwatched(reason: str) -> Emission:
    return Emission(UNWATCHED, {"reason": reason}, millis())
