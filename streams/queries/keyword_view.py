"""Keep keyword search a view of the log: chunks from ``chunks``, what of them counts from ``index-events``.

A version is added as soon as all of its parts are there, which is before it becomes visible, and older ones are removed
when it has: in between both can be found, and the manifest decides.  The places in ``chunks`` are kept with the index,
so that a worker goes on where it stood; events are read anew by the worker's tail of manifests, which tells us.

A version that is visible, and behind which a newer one is in the log that never became so, is not found by its words
when the index was built anew: compaction has taken its text.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from connectors.errors import Transient
from connectors.ports import Hit, LoggedRecord, ManifestStore, TopicLog
from connectors.search_ports import KeywordChunk, KeywordHit, KeywordState, KeywordTable
from connectors.view_ports import Announced, ManifestView
from runtime import metrics
from runtime.logs import logger
from runtime.retry import Backoff
from streams.documents.changes import read_change
from streams.documents.diff import Change
from streams.outcome import Record
from topics.codec import DecodeError, encode
from topics.documents import DocumentPart
from topics.identity import DocumentRef, digest
from topics.queries import Filter

POLL: Final = 0.25  # seconds without news between looks at the log
COMMIT_CHUNKS: Final = 2000  # while catching up: a commit for each batch of records would take half of the time
COMMIT_REMOVED: Final = 100  # versions, which manifests hide: they go with the next that is added, or when all is quiet
BACKOFF: Final = Backoff(first=0.05, cap=2.0)
_NEVER: Final = ("", False)
log = logger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class _Parts:
    """A version some of whose parts are here; ``place`` is where the first of them lies."""

    version: str
    place: tuple[int, int]
    parts: dict[int, DocumentPart] = field(default_factory=dict)

    @property
    def complete(self) -> list[DocumentPart] | None:
        """All parts in order, if they are here."""
        some = next(iter(self.parts.values()))
        return [self.parts[n] for n in range(some.parts)] if len(self.parts) == some.parts else None


class KeywordView:
    """:class:`connectors.search_ports.KeywordIndex` over a table that it keeps; ``manifests`` is the worker's tail."""

    stands_alone = True

    def __init__(self, name: str, chunks: TopicLog, table: KeywordTable, manifests: ManifestStore) -> None:
        self.name = name
        self._log, self._table, self._manifests = chunks, table, manifests
        self._places: dict[int, int] = {}
        self._parts: dict[DocumentRef, _Parts] = {}
        self._visible: dict[DocumentRef, tuple[str, bool]] = {}  # newest version that was announced; is it a delete
        self._settled: set[DocumentRef] = set()  # whose older versions are yet to be removed
        self._uncommitted = self._removed = 0
        self._identity = ""
        self._state = KeywordState(whole=False)
        # One thread: what a cancelled call left under way is over before the next one begins.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keywords")

    async def open(self) -> None:
        """Nothing to wait for: it opens in :meth:`run`."""

    async def close(self) -> None:
        await self._log.close()
        await self._in_thread(self._table.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def state(self) -> KeywordState:
        return self._state

    def announced(self, events: Sequence[Announced]) -> None:
        """What the tail has learnt."""
        for each in events:
            event = each.event
            ref = DocumentRef(event.tenant, event.doc_id)
            if event.version is not None and event.version >= self._visible.get(ref, _NEVER)[0]:
                self._visible[ref] = event.version, event.state == "deleted"
                self._settled.add(ref)

    async def search(self, tenant: str, text: str, limit: int, principals: Sequence[str], where: Filter) -> list[Hit]:
        hits = self._table.search(tenant, text, limit, principals, where)
        refs = list(dict.fromkeys(hit.ref for hit in hits))
        try:
            manifests = dict(zip(refs, await self._manifests.read(refs), strict=True))
        except Transient:  # the tail is not whole yet: new chunks have the ids that they were born with
            manifests = {}
        ids = {ref: (m.version or "", list(m.chunks)) for ref, m in manifests.items()}
        return [_hit(hit, *ids.get(hit.ref, ("", []))) for hit in hits if hit.version >= ids.get(hit.ref, ("",))[0]]

    async def texts(self, ref: DocumentRef, version: str, chunks: Mapping[int, str]) -> dict[int, str]:
        return self._table.texts(ref, version, list(chunks))

    async def run(self) -> None:
        """Keep it, for ever."""
        delays, waiting = BACKOFF.delays(), False
        while True:
            try:
                await self._log.open()
                await self._stand()
                await self._catch_up()
                delays, waiting = BACKOFF.delays(), False
                await self._follow()
            except Transient as error:
                if not waiting:
                    log.warning("keyword view waits", reason=error.reason, error=str(error)[:500])
                waiting = True
                self._tell(whole=False)
                await self._in_thread(self._table.close)
                await asyncio.sleep(next(delays))

    async def _stand(self) -> None:
        """Go to where the index stands, if it is an index of this log."""
        self._identity = await self._log.identity()
        starts, ends = await self._log.starts(), await self._log.ends()
        places = await self._in_thread(self._table.open, self._identity)
        if beyond := {p: place for p, place in places.items() if place > ends.get(p, 0)}:
            log.warning("keyword index is built anew: it holds more than the log", places=beyond)
            await self._in_thread(self._table.forget)
            places = await self._in_thread(self._table.open, self._identity)
        self._places = {p: max(start, places.get(p, 0)) for p, start in starts.items()}
        self._parts, self._uncommitted, self._removed = {}, 0, 0
        self._settled = set(self._visible)

    async def _catch_up(self) -> None:
        """Take in all that the log holds now."""
        ends, began = await self._log.ends(), time.monotonic()
        first = sum(self._places.values())
        while any(self._places[p] < end for p, end in ends.items()):
            await self._step(ends, commit_at=COMMIT_CHUNKS)
        await self._commit()
        self._tell(whole=True)
        seconds, records = round(time.monotonic() - began, 2), sum(self._places.values()) - first
        log.info("keyword view whole", records=records, chunks=self._state.chunks, seconds=seconds)

    async def _follow(self) -> None:
        while True:
            await self._step(None, commit_at=1)

    async def _step(self, ends: Mapping[int, int] | None, commit_at: int) -> None:
        """Take in what has come, and what has become visible."""
        records, places = await self._log.read(self._places, POLL)
        settled, self._settled = self._settled, set()
        if records or settled:
            await self._in_thread(self._take, records, settled)
        self._places = places
        due = self._uncommitted >= commit_at or self._removed >= COMMIT_REMOVED
        if due or (not (records or settled) and (self._uncommitted or self._removed)):
            await self._commit()
        if ends is not None:
            self._tell(whole=False, behind=sum(max(0, end - self._places[p]) for p, end in ends.items()))

    async def _commit(self) -> None:
        """What waits for its last part is read again after a crash."""
        places = dict(self._places)
        for waiting in self._parts.values():
            partition, offset = waiting.place
            places[partition] = min(places[partition], offset)
        await self._in_thread(self._table.commit, self._identity, places)
        self._uncommitted = self._removed = 0
        self._tell(whole=self._state.whole)

    def _tell(self, *, whole: bool, behind: int = 0) -> None:
        versions = sum(map(len, self._table.versions.values()))
        try:
            chunks = self._table.chunks
        except Transient:
            chunks = 0
        self._state = KeywordState(whole, versions, chunks, behind)
        metrics.view_whole.labels("keywords").set(whole)
        metrics.keyword_chunks.set(chunks)
        metrics.keyword_behind.set(behind)

    def _take(self, records: Sequence[LoggedRecord], settled: Collection[DocumentRef]) -> None:
        for record in records:
            place = record.partition, record.offset
            try:
                change = read_change(Record("", *place, record.key, record.value, record.headers, record.timestamp))
            except DecodeError as error:
                log.error("not a part of a document", place=place, error=str(error)[:500])
                continue
            if isinstance(change, Change):
                self._change(change, place)
        for ref in settled:
            visible, deleted = self._visible[ref]
            old = [v for v in self._table.versions.get(ref, ()) if v < visible or (deleted and v == visible)]
            if old:
                self._table.remove(ref, old)
                self._removed += len(old)

    def _change(self, change: Change, place: tuple[int, int]) -> None:
        """Add a version when its last part is here; whatever is newer ends the wait for an older one."""
        ref, version, part = change.ref, change.version, change.part
        waiting = self._parts.get(ref)
        if waiting is not None and waiting.version > version:
            return
        if part is None or version < self._visible.get(ref, _NEVER)[0]:
            self._parts.pop(ref, None)
            return
        if waiting is None or waiting.version < version:
            waiting = self._parts[ref] = _Parts(version, place)
        waiting.parts[part.part] = part
        if parts := waiting.complete:
            del self._parts[ref]
            self._add(ref, version, parts)

    def _add(self, ref: DocumentRef, version: str, parts: Sequence[DocumentPart]) -> None:
        outline = parts[-1].outline or []
        chunks = [chunk for part in parts for chunk in part.chunks]
        if len(outline) != len(chunks):
            log.error("a version whose chunks are not those of its outline", document=ref.path, version=version)
            return
        head = parts[0].head
        made_of = digest(*(f"{c.hash}{r.section}".encode() for c, r in zip(chunks, outline, strict=True)), encode(head))
        if self._table.versions.get(ref, {}).get(version) == made_of:
            return
        found = [KeywordChunk(r.id, c.text, r.section) for c, r in zip(chunks, outline, strict=True)]
        self._table.add(ref, version, made_of, head, found)
        self._uncommitted += len(found) + 1


def _hit(hit: KeywordHit, version: str, ids: Sequence[str]) -> Hit:
    """With the id that the chunk has: of a chunk that was kept, the one that it was born with.

    A version that is newer than the tail knows gets the ids of new chunks, until somebody who knows is asked.
    """
    if hit.version == version and hit.ordinal < len(ids):
        return Hit(ids[hit.ordinal], hit.ref, hit.text, hit.score, hit.version, hit.words)
    return Hit(hit.id, hit.ref, hit.text, hit.score, hit.version, hit.words, hit.ordinal)


class Listening:
    """A :class:`connectors.view_ports.ManifestView` that also tells somebody what was applied."""

    def __init__(self, view: ManifestView, tell: Callable[[Sequence[Announced]], None]) -> None:
        self._view, self._tell = view, tell
        self.open, self.close, self.state = view.open, view.close, view.state
        self.declare_whole, self.reset = view.declare_whole, view.reset

    async def apply(self, events: Sequence[Announced]) -> bool:
        applied = await self._view.apply(events)
        if applied:
            self._tell(events)
        return applied
