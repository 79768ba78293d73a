"""Reads the four sources into the tables, so that they can be compared."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias
from urllib.parse import unquote

import msgspec

from connectors.ports import LoggedRecord, Manifest, ManifestStore, StoredObject, TopicLog, VectorStore
from streams.audit.tables import BATCH, Tables, ref_of
from streams.documents.diff import event_of
from topics.codec import DecodeError, decode_one
from topics.control import Epoch
from topics.documents import DocumentHead, IndexEvent, LastSeen
from topics.epochs import Epochs
from topics.identity import (
    DocumentRef,
    IdentityError,
    Version,
    digest,
    document_key,
    parse_document_key,
    partition_of,
    text_hash,
)

Progress: TypeAlias = Callable[[str, int, int | None], None]  # step, done, of how many
_WAIT = 1.0  # seconds for a broker that has nothing right now
_MANIFESTS = 200  # read at once: those of long documents are large


class Sources:
    """The four sources of one generation; ``logs`` are its epochs of ``documents``, by their numbers.

    ``tenants`` are those that the audit is about.
    """

    def __init__(
        self,
        tenants: frozenset[str],
        epochs: Epochs,
        logs: Mapping[int, TopicLog],
        events: TopicLog,
        manifests: ManifestStore,
        store: VectorStore,
        tables: Tables,
        progress: Progress,
        *,
        whole: bool,
    ) -> None:
        self._tenants, self.epochs, self.logs, self._whole = tenants, epochs, logs, whole
        self._events, self.manifests, self.store = events, manifests, store
        self._tables, self._progress = tables, progress
        self._places: dict[TopicLog, dict[int, int]] = {}
        self._ends: dict[int, Mapping[int, int]] = {}
        self.misplaced = 0

    async def open(self) -> None:
        for log in (*self.logs.values(), self._events):
            await log.open()
        await self.manifests.open()
        await self.store.open()

    async def close(self) -> None:
        for log in (*self.logs.values(), self._events):
            await log.close()
        await self.manifests.close()
        await self.store.close()

    async def read_log(self) -> None:
        """Go on to the end of ``documents``; then note how far the lane is."""
        for epoch in self.epochs.known:
            await self._follow("log", self.logs[epoch.number], partial(self._take_documents, epoch))
        marks = await self.manifests.watermarks()
        self._tables.put("marks", [(epoch, partition, offset) for (epoch, partition), offset in marks.items()])

    async def read_events(self) -> None:
        """Go on to the end of ``index-events``."""
        await self._follow("events", self._events, self._take_events)

    async def read_ends(self) -> None:
        """Note where the log ends, behind everything that was read of Redis."""
        self._ends = {number: await log.ends() for number, log in self.logs.items()}

    async def add_visible(self) -> None:
        """Widen the scope by all that Redis shows."""
        for tenant in sorted(self._tenants):
            after = None
            while ids := await self.manifests.page(tenant, after, BATCH):
                self._tables.put("scope", [(DocumentRef(tenant, doc_id).path,) for doc_id in ids])
                after = ids[-1]

    async def read_manifests(self) -> None:
        """What Redis says of the scope."""
        done, total = 0, self._tables.count("SELECT count(*) FROM scope")
        self._progress("redis", 0, total)
        for batch in self._tables.scope():
            for start in range(0, len(batch), _MANIFESTS):
                refs = batch[start : start + _MANIFESTS]
                self._put_manifests(refs, await self.manifests.read(refs))
                done += len(refs)
                self._progress("redis", done, total)

    async def moving(self) -> set[str]:
        """Paths of the scope whose manifest is another than when it was read."""
        found: set[str] = set()
        for batch in self._tables.scope():
            between = (batch[0].path, batch[-1].path)
            states: dict[str, str] = dict(
                self._tables.rows("SELECT path, state FROM manifests WHERE path BETWEEN ? AND ?", between)
            )
            for ref, manifest in zip(batch, await self.manifests.status(batch), strict=True):
                if states.get(ref.path) != _state(manifest):
                    found.add(ref.path)
        return found

    async def walk_store(self) -> None:
        """All objects of the tenants."""
        done, total = 0, self._tables.count("SELECT count(*) FROM lines")
        for tenant in sorted(self._tenants):
            async for page in self.store.walk(tenant, whole=self._whole):
                self._put_objects(page)
                done += len(page)
                self._progress("store", done, max(done, total))
        self._progress("store", done, done)

    async def read_objects(self) -> None:
        """Objects of the scope: those that are listed, and those that were there at the last look."""
        for batch in self._tables.scope():
            for start in range(0, len(batch), _MANIFESTS):
                refs = batch[start : start + _MANIFESTS]
                wanted = {ref: [row[0] for row in self._tables.rows(_IDS, {"path": ref.path})] for ref in refs}
                found = await self.store.objects({ref: ids for ref, ids in wanted.items() if ids}, whole=self._whole)
                self._tables.forget("objects", [ref.path for ref in refs])
                self._put_objects(found)

    def beyond(self, ref: DocumentRef, version: str | None) -> bool:
        """Whether the log ends before a version."""
        place = Version.parse(version) if version else None
        epoch = self.epochs.of_number(place.epoch) if place else None
        if place is None or epoch is None:
            return False
        return place.offset >= self._ends[epoch.number].get(partition_of(document_key(ref), epoch.partitions), 0)

    async def _follow(self, step: str, log: TopicLog, take: Callable[[Sequence[LoggedRecord]], None]) -> None:
        ends = await log.ends()
        places = self._places.get(log) or await log.starts()
        left = sum(max(0, end - places[p]) for p, end in ends.items())
        self._progress(step, 0, left)
        while behind := {p: place for p, place in places.items() if place < ends[p]}:
            records, ahead = await log.read(behind, _WAIT)
            for start in range(0, len(records), BATCH):
                take(records[start : start + BATCH])
            places = {**places, **{p: ahead[p] for p in behind}}
            self._progress(step, left - sum(max(0, end - places[p]) for p, end in ends.items()), left)
        self._places[log] = places

    def _take_documents(self, epoch: Epoch, records: Sequence[LoggedRecord]) -> None:
        rows = []
        for record in records:
            try:
                ref = parse_document_key(record.key, self._tenants)
            except IdentityError:
                continue  # a dead letter, or of a tenant that the audit is not about
            if record.partition != partition_of(record.key or b"", epoch.partitions):
                self.misplaced += 1  # a dead letter as well
                continue
            place = (epoch.number, record.partition, record.offset)
            rows.append((ref.path, *place, record.value is None, record.timestamp))
        self._tables.put_latest(rows)

    def _take_events(self, records: Sequence[LoggedRecord]) -> None:
        """The last record of a key counts, whatever its version: it is the one that compaction keeps."""
        last: dict[str, IndexEvent | None] = {}
        for record in records:
            path = unquote((record.key or b"").decode("utf-8", "replace"))
            if ref_of(path).tenant in self._tenants:
                try:
                    last[path] = decode_one(record.value or b"", record.headers, IndexEvent)
                except DecodeError:
                    last[path] = None  # null, or what nobody can read: as good as absent
        events = [(path, event) for path, event in last.items() if event is not None]
        for table in ("events", "event_lines"):
            self._tables.forget(table, last)
        self._tables.put(
            "events",
            [(p, e.state, e.version, _face(e), e.last_seen.version, e.last_seen.status) for p, e in events],
        )
        self._tables.put("event_lines", [(path, chunk.id) for path, event in events for chunk in event.manifest])

    def _put_manifests(self, refs: Sequence[DocumentRef], manifests: Sequence[Manifest]) -> None:
        self._tables.forget("lines", [ref.path for ref in refs])
        rows, lines = [], []
        for ref, m in zip(refs, manifests, strict=True):
            head = m.head or DocumentHead(published_at=0)
            seen = m.last_seen or LastSeen(version="", status="indexed", at=0)
            shared = self.store.imprint(head.access, head.metadata) if self._whole and m.head else ""
            access, metadata = msgspec.json.encode(head.access), msgspec.json.encode(head.metadata)
            face = None if m.version is None else _face(event_of(ref, m, seen))
            rows.append(
                (ref.path, m.version, m.deleted, m.done, m.doubted, face, seen.version, seen.status, access, metadata,
                 shared, _state(m))
            )  # fmt: skip
            if not m.deleted:
                lines += [(ref.path, id_, position, c.hash) for position, (id_, c) in enumerate(m.chunks.items())]
        self._tables.put("manifests", rows)
        self._tables.put("lines", lines)

    def _put_objects(self, objects: Sequence[StoredObject]) -> None:
        self._tables.put(
            "objects",
            [
                (o.ref.path, o.id, None if o.text is None else text_hash(o.text), o.imprint, o.vector, o.written_at)
                for o in objects
            ],
        )


_IDS = "SELECT id FROM lines WHERE path = :path UNION SELECT id FROM objects WHERE path = :path"


def _state(manifest: Manifest) -> str:
    return f"{manifest.version} {manifest.edition} {manifest.done}"


def _face(event: IndexEvent) -> str:
    """Everything that readers see of a document."""
    shown = [event.state, event.version, event.head, [(c.id, c.hash, c.section) for c in event.manifest]]
    return digest(msgspec.json.encode(shown, order="deterministic"))
