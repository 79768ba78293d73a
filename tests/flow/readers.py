"""Writers and readers of an installation whose Redis is not to be trusted, and the judge of what readers saw."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from connectors.memory.topic_log import MemoryTopicLog
from connectors.memory.view import MemoryView
from connectors.ports import ManifestStore
from connectors.view_ports import ManifestView
from streams.documents.index import Index
from streams.documents.view import View
from streams.outcome import Output, Record
from streams.queries.manifests import Manifests
from tests.flow.inline import Lanes
from topics import registry
from topics.codec import decode
from topics.documents import IndexEvent
from topics.headers import TOKEN
from topics.identity import DocumentRef, Token, document_key, partition_of

DEADLINE = 20.0
DOCUMENTS = [f"doc{n}" for n in range(6)]


@dataclass(frozen=True)
class Sight:
    """What one look at one document showed, and what was the last word on it before the look began."""

    ref: DocumentRef
    announced: IndexEvent | None
    asked: frozenset[str]
    version: str | None
    ids: frozenset[str]


@dataclass
class World:
    """The document lane over real adapters for manifests and in-memory ones for the rest."""

    manifests: ManifestStore
    view: ManifestView
    lanes: Lanes = field(default_factory=Lanes)
    events: MemoryTopicLog = field(init=False)
    done: int = 0
    pauses: int = 0
    stopping: bool = False
    looks: int = 0
    from_log: int = 0
    slowest: float = 0.0
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    last: dict[DocumentRef, IndexEvent] = field(default_factory=dict)
    all: dict[DocumentRef, list[IndexEvent]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.events = MemoryTopicLog(self.lanes.settings.kafka.partitions)
        self.index = self.writer()
        tailed = MemoryManifests(whole=False)
        self.keepers = [View(name, self.events, self.view, self.manifests, self.publish) for name in ("one", "two")]
        self.tail = View("tail", self.events, MemoryView(tailed, alone=True))
        self.readable = Manifests(self.manifests, self.tail, tailed)

    def writer(self) -> Index:
        """Another index stage."""
        return Index("g1", self.manifests, self.lanes.store, self.publish, self.lanes.clock)

    async def publish(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            assert output.spec is registry.INDEX_EVENTS and output.value is not None
            event = decode(output.value, IndexEvent)
            ref = DocumentRef(event.tenant, event.doc_id)
            self.events.append(output.partition, output.key, output.value, output.headers, int(time.time() * 1000))
            self.all[ref].append(event)
            if ref not in self.last or (event.version or "") >= (self.last[ref].version or ""):
                self.last[ref] = event

    async def vectors(self, doc_id: str, text: str | None) -> list[Record]:
        """One version of a document as the index stage is given it."""
        key = document_key(DocumentRef("default", doc_id))
        partition = partition_of(key, self.lanes.settings.kafka.partitions)
        headers = {"content-type": b"text/markdown"}
        record = self.lanes.append(registry.DOCUMENTS, key, None if text is None else text.encode(), partition, headers)
        records: Sequence[Record] = [record]
        for stage, spec in ((self.lanes.chunk, registry.CHUNKS), (self.lanes.embed, registry.VECTORS)):
            before = len(self.lanes.log[spec.name])
            await self.lanes._run(stage, records)
            records = self.lanes.log[spec.name][before:]
        return list(records)

    async def write(self, records: Sequence[Record]) -> Token:
        """What the runner does: again and again while something is away."""
        while True:
            try:
                await self.index.step(records)
                self.done += 1
                return Token.parse(records[0].headers[TOKEN].decode())
            except Transient:
                self.pauses += 1
                await asyncio.sleep(0.01)

    async def keep_writing(self) -> None:
        """Edits that keep a part, and deletes, until told to stop."""
        number = 0
        while not self.stopping:
            for doc_id in DOCUMENTS:
                number += 1
                kept = f"# Kept\n\n{doc_id} says this in every version, word for word, whatever else may change."
                text = None if number % 11 == 0 else f"{kept}\n\n# New\n\nThis is number {number} of {doc_id}."
                await self.write(await self.vectors(doc_id, text))
            await asyncio.sleep(0)

    async def keep_reading(self) -> None:
        """Looks at every document, as retrieval does with hits, for ever."""
        while True:
            for ref, events in list(self.all.items()):
                reading, announced, began = self.readable.reading(), self.last.get(ref), time.monotonic()
                ids = sorted({chunk.id for event in events for chunk in event.manifest})
                seen = await reading.visible([(ref, chunk_id) for chunk_id in ids])
                self.slowest = max(self.slowest, time.monotonic() - began)
                shown = {chunk_id: visible for chunk_id, visible in zip(ids, seen, strict=True) if visible}
                versions = {visible.version for visible in shown.values()}
                assert len(versions) <= 1, f"{ref.path} shows {versions} at once"
                version = next(iter(versions), None)
                self.sights.append(Sight(ref, announced, frozenset(ids), version, frozenset(shown)))
                self.looks += 1
                self.from_log += bool(reading.degraded)
            await asyncio.sleep(0)

    async def until(self, done: int) -> None:
        """Wait for that many more versions to be through."""
        target = self.done + done
        async with asyncio.timeout(DEADLINE):
            while self.done < target:
                for task in self.tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.005)

    def judge(self) -> None:
        """Every sight was of one announced version, whole, and not older than what was announced before the look."""
        for sight in self.sights:
            floor = (sight.announced and sight.announced.version) or ""
            since = [e for e in self.all[sight.ref] if (e.version or "") >= floor]
            if sight.version is not None:
                assert sight.version >= floor, f"{sight.ref.path}: {sight.version} behind {floor}"
                since = [e for e in since if e.version == sight.version]
            parts = [{chunk.id for chunk in event.manifest} & sight.asked for event in since]
            # A flip that the end of the run cut off was never announced.
            assert sight.ids in parts or (sight.version and not since), f"{sight.ref.path}: {sight} is no version"

    async def settled(self) -> None:
        """In the end store and manifests hold what was announced last, all of it."""
        for ref, event in self.last.items():
            [manifest] = await self.manifests.read([ref])
            ids = [chunk.id for chunk in event.manifest]
            assert (manifest.version, manifest.done, list(manifest.chunks)) == (event.version, True, ids)
            assert await self.lanes.store.existing({ref: ids}) == set(ids)
            ends = [decode(r.value or b"", IndexEvent) for p in self.events._records.values() for r in p]
            assert [e for e in ends if (e.tenant, e.doc_id) == (ref.tenant, ref.doc_id)][-1].version == event.version
