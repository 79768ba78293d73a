"""The index lane around the stage: what lies in ``vectors``, who works on it, what was published.

Everything that the stage does to the outside is looked at while it happens: after each write readers must see whole
versions only, and after each event the log must tell the truth.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from connectors.memory.manifests import MemoryManifests
from connectors.memory.store import MemoryStore
from connectors.memory.view import MemoryView
from connectors.ports import Manifest, ManifestChunk, ManifestStore, VectorStore
from connectors.view_ports import ManifestView
from runtime.clock import Clock, ManualClock
from streams.documents.index import Index
from streams.outcome import Output, Publish
from tests.consistency.editions import DIMENSION, EPOCH, GENERATION, PRINCIPALS, Edition, records_of
from tests.consistency.faults import Crash, Fault, Gate, Gated
from tests.consistency.keeper import Keeper, Snapshots
from tests.consistency.model import VIEWERS, Model
from tests.consistency.process import Arrival, IndexStage, Process, Work, until_still
from tests.consistency.reader import ALL, ANYTHING, View, read
from topics import registry
from topics.codec import decode
from topics.documents import IndexEvent, LastSeen
from topics.identity import DocumentRef

MakeStage = Callable[[str, ManifestStore, VectorStore, Publish, Clock], IndexStage]
_WRITES = {"upsert", "delete", "flip", "finish"}


@dataclass(frozen=True, slots=True)
class Place:
    """Stores, and the corner of them that belongs to one run."""

    manifests: ManifestStore
    store: VectorStore
    tenant: str
    partition: int
    view: ManifestView
    lose: Callable[[int], Awaitable[None]]
    save: Callable[[], None] | None = None

    @classmethod
    def in_memory(cls, manifests: MemoryManifests) -> "Place":
        """Stores of its own."""
        copies = Snapshots(manifests)
        store = MemoryStore(DIMENSION)
        return cls(manifests, store, "default", 0, MemoryView(manifests), copies.lose, copies.save)


class Ticking(ManualClock):
    """No two looks at it are the same, so that no two flips are."""

    def now(self) -> float:
        self._now += 0.001
        return super().now()


class Lane:
    """One partition of the lane, and the workers that own or believe to own it."""

    def __init__(self, place: Place, make_stage: MakeStage = Index, counts: Counter[str] | None = None) -> None:
        self._place, self._make_stage = place, make_stage
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.model = Model()
        self.arrivals: list[Arrival | None] = []  # None: compacted away
        self.late: list[list[Arrival]] = []  # set aside: in the retry topic, or among the dead letters
        self.committed = 0
        self.events: list[IndexEvent] = []
        self._most: dict[DocumentRef, int] = {}
        self._announced: dict[DocumentRef, tuple[str, str]] = {}  # newest versions, current and seen, told by an owner
        self._number = 0
        self._clock = Ticking()
        self._keeper = Keeper(place.view, place.manifests, place.partition, self.events)
        self.save = place.save
        self._owner = self._start()
        self.zombies: list[Process] = []

    # What producers and operators do

    @property
    def tenant(self) -> str:
        return self._place.tenant

    @property
    def waiting(self) -> bool:
        """Whether any record was not acknowledged."""
        return self.committed < len(self.arrivals)

    def next_document(self) -> str:
        """Whose record is the first that was not acknowledged."""
        waiting = (arrival for arrival in self.arrivals[self.committed :] if arrival is not None)
        return next((arrival.edition.ref.doc_id for arrival in waiting), "a")

    def publish(self, doc_id: str, text: str | None, look: str, *, refused: bool, late: bool) -> None:
        """A new version; a ``late`` one is set aside until it is redriven."""
        ref = DocumentRef(self._place.tenant, doc_id)
        kind = "refused" if refused else "delete" if text is None else "text"
        edition = Edition(ref, self._number, kind, text or "", look)  # type: ignore[arg-type]
        self._number += 1
        self.model.publish(edition, late)
        records = records_of(edition, self._place.partition, self._most.get(ref, 1))
        if kind == "text":
            self._most[ref] = max(self._most.get(ref, 1), edition.parts)
        arrivals = [Arrival(record, edition, part, late) for part, record in enumerate(records)]
        if late:
            self.late.append(arrivals)
        else:
            self._append(arrivals)

    def redrive(self) -> None:
        """Let in the oldest version that was set aside."""
        self._append(self.late.pop(0))

    def repeat(self, number: int) -> None:
        """A record that was there before comes again, by way of the retry topic."""
        there = [arrival for arrival in self.arrivals if arrival is not None]
        self._append([replace(there[number % len(there)], retry=True)])

    def rewind(self, back: int) -> None:
        """Offsets are set back: the rest of the log is read again, by a new worker."""
        self._take_over()
        self.committed = max(0, self.committed - back)

    def compact(self, active: int) -> None:
        """Of each key the newest record stays; the last ``active`` ones are not looked at yet."""
        clean = range(max(0, len(self.arrivals) - active))
        newest = {a.record.key: place for place in clean if (a := self.arrivals[place]) is not None and not a.retry}
        for place in clean:
            arrival = self.arrivals[place]
            if arrival is not None and not arrival.retry and newest[arrival.record.key] != place:
                self.arrivals[place] = None
                self.model.compact(arrival)

    def _append(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            self.arrivals.append(replace(arrival, record=replace(arrival.record, offset=len(self.arrivals))))

    # What Redis does

    async def lose(self, back: int) -> None:
        """The manifests are lost, wholly or from a copy on, and made a view of what was announced again."""
        self.model.lose(self.events)
        await self._place.lose(back)
        await self._keeper.restore()
        self.counts["losses"] += 1

    async def follow(self) -> None:
        """Whoever keeps the view reads on."""
        await self._keeper.follow()

    # What workers do

    async def deliver(self, count: int, fault: Fault | None = None, *, takeover: bool = False) -> str:
        """Give up to ``count`` records to the owner; one that is stopped in the middle has lost its partition."""
        waiting = list(self._owner.works)
        if not self._owner.alive or takeover or len(waiting) > 1 or not all(work.settling for work in waiting):
            self._take_over()
            waiting = []
        start = waiting[0].end if waiting else self.committed
        places = [place for place in range(start, len(self.arrivals)) if self.arrivals[place] is not None][:count]
        batch = [arrival for place in places if (arrival := self.arrivals[place]) is not None]
        if not batch:
            return "nothing"
        self.model.deliver(batch)
        work = Work(self._owner, batch, places[-1] + 1, Gate(self._observe), waiting[0] if waiting else None)
        self._owner.works.append(work)
        return await self._run(work, fault)

    def kill(self) -> None:
        """End all workers."""
        for process in (*self.zombies, self._owner):
            process.kill()

    def stopped(self) -> list[Work]:
        return [work for work in self._works() if work.stopped]

    def _works(self) -> list[Work]:
        return [work for process in (*self.zombies, self._owner) for work in process.works]

    async def resume(self, number: int, fault: Fault | None) -> str:
        """Let a stopped worker go on."""
        stopped = self.stopped()
        return await self._run(stopped[number % len(stopped)], fault)

    async def _run(self, work: Work, fault: Fault | None) -> str:
        zombie = not work.process.owner
        work.go(fault)
        works = self._works()
        await until_still(works)
        for process in (*self.zombies, self._owner):
            if any(w.done and isinstance(w.error, Crash) for w in works if w.process is process):
                process.kill()
        for error in (w.error for w in works if w.done):
            if error is not None and not isinstance(error, Crash):
                raise error
        result = "done" if work.done and work.error is None else "crashed" if work.done else "stopped"
        self.counts[f"zombies {result}" if zombie else result] += 1
        return result

    def _start(self) -> Process:
        """A new worker.  Its stage reaches the outside through gates only."""

        async def publish(outputs: Sequence[Output]) -> None:
            for output in outputs:
                await gated.write(output)

        gated = Gated(_Log(lambda output: self._written(output, process)))
        stage = self._make_stage(
            GENERATION, Gated(self._place.manifests), Gated(self._place.store), publish, self._clock
        )
        process = Process(stage, publish, self._acknowledged, self._refused)
        return process

    def _take_over(self) -> None:
        self._owner.owner = False
        if self._owner.works:
            self.zombies.append(self._owner)
        self._owner = self._start()

    def _acknowledged(self, work: Work) -> None:
        self.committed = work.end
        self.model.acknowledge(work.batch)

    def _refused(self, arrival: Arrival) -> None:
        self.model.dead_letters.add(arrival.edition)

    def _written(self, output: Output, process: Process) -> None:
        if output.spec is not registry.INDEX_EVENTS:
            return
        event = decode(output.value or b"", IndexEvent)
        self.model.check_event(event)
        self.events.append(event)
        if process.owner:
            ref = DocumentRef(event.tenant, event.doc_id)
            before, news = self._announced.get(ref, ("", "")), (event.version or "", event.last_seen.version)
            assert news[0] >= before[0] and news[1] >= before[1], f"{ref.doc_id}: {news} is announced after {before}"
            self._announced[ref] = news

    # How it ends

    async def finish(self, zombies_first: bool) -> None:
        """All records delivered and acknowledged, all stopped workers come to their end."""
        while self.late:
            self.redrive()
        if zombies_first:
            await self._end_zombies()
        await self._end(self._owner)
        while await self.deliver(3) != "nothing":
            pass
        await self._end_zombies()
        await self.follow()
        while await self.deliver(3) != "nothing":
            pass

    async def _end_zombies(self) -> None:
        for process in self.zombies:
            await self._end(process)

    async def _end(self, process: Process) -> None:
        while stopped := [work for work in process.works if work.stopped]:
            await self._run(stopped[0], None)
        assert not process.works, "a worker waits for ever"

    # What must hold

    async def _observe(self, call: str) -> None:
        self.counts["calls"] += 1
        if call in _WRITES:
            await self.check_view()

    async def check_view(self) -> dict[DocumentRef, View]:
        """Nobody sees anything but whole versions, and none goes back."""
        self.counts["views"] += 1
        views = await read(self._place.store, self._place.manifests, self._place.tenant, PRINCIPALS)
        self.model.check_view(views)
        return views

    async def check(self) -> dict[DocumentRef, View]:
        """Everything that holds between any two steps."""
        full = await self.check_view()
        for principals in VIEWERS:
            views = await read(self._place.store, self._place.manifests, self._place.tenant, principals)
            self.model.check_access(views, full, principals)
        await self._check_progress()
        return full

    async def _check_progress(self) -> None:
        """What is acknowledged was announced, and no watermark is ahead of what was done."""
        refs = list(self.model.editions)
        status = dict(zip(refs, await self._place.manifests.status(refs), strict=True))
        marks = await self._place.manifests.watermarks()
        mark = marks.get((EPOCH, self._place.partition), -1)
        for ref, editions in self.model.editions.items():
            version, last = status[ref].version or "", status[ref].last_seen
            seen = last.version if last else ""
            told = max((e.version for e in self.events if e.doc_id == ref.doc_id and e.version), default="")
            said = max((e.last_seen.version for e in self.events if e.doc_id == ref.doc_id), default="")
            for edition in editions:
                if edition.number <= mark:
                    assert self.model.reached(edition, version, seen), f"the watermark is above {edition}"
                if self.model.acknowledged(edition):
                    assert max(told, said) >= edition.version, f"{edition} is acknowledged, not announced"

    async def check_final(self) -> None:
        """What holds once everything is done, besides."""
        views = await self.check()
        refs = list(self.model.editions)
        manifests = await self._place.manifests.read(refs)
        for ref, manifest in zip(refs, manifests, strict=True):
            self.model.check_final(ref, views.get(ref), manifest.version)
            finished = manifest.done and not manifest.doomed and not manifest.doubted
            excused = self.model.gone(ref, manifest.version) or self.model.lost(ref, manifest.version)
            assert finished or excused, f"{ref.doc_id} is not finished: {manifest}"
            self.model.check_last_seen(ref, manifest.last_seen)
            self._check_log(ref, manifest)
        await self._count_garbage(views)

    def _check_log(self, ref: DocumentRef, manifest: Manifest) -> None:
        """Whoever follows the log, and lets versions only go up, has what the manifest says."""
        version, current, seen = "", None, None
        for event in (event for event in self.events if event.doc_id == ref.doc_id):
            if event.version is not None and event.version >= version:
                version, current = event.version, event
            if seen is None or event.last_seen.version >= seen.version:
                seen = event.last_seen
        assert version == (manifest.version or ""), f"{ref.doc_id}: the log says {version!r}, not {manifest.version!r}"
        if current is not None:
            listed = {chunk.id: ManifestChunk(chunk.hash, chunk.section) for chunk in current.manifest}
            assert list(listed.items()) == list(manifest.chunks.items()), f"{ref.doc_id}: {current}, not {manifest}"
            assert (current.state == "deleted") == manifest.deleted and current.head == manifest.head
        assert _outcome(seen) == _outcome(manifest.last_seen), f"{ref.doc_id}: {seen}, not {manifest.last_seen}"

    async def _count_garbage(self, views: Mapping[DocumentRef, View]) -> None:
        """Objects that no manifest lists: invisible, and swept by the audit."""
        visible = sum(len(view.passages) for view in views.values())
        hits = await self._place.store.search(self._place.tenant, ANYTHING, ALL, PRINCIPALS, {})
        self.counts["garbage"] += len(hits) - visible
        self.counts["runs with garbage"] += len(hits) > visible


def _outcome(seen: LastSeen | None) -> LastSeen | None:
    """Without the time: two workers may refuse one version, a moment apart."""
    return structs.replace(seen, at=0) if seen else None


class _Log:
    """Lets a write to Kafka pass the same gates as a call to a port."""

    def __init__(self, append: Callable[[Output], None]) -> None:
        self._append = append

    async def write(self, output: Output) -> None:
        self._append(output)
