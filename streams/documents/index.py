"""Make document versions visible, each at one instant.

Reads ``vectors``.  Writes objects, manifests and ``index-events``.  Rejects what is not a document part.
Repeating is harmless: a version that is current and done is dropped, one that is current and not done is finished.

Per document: fence, diff, upsert, **flip**, event, look again, clean up, done.  A crash between any two converges on
the next delivery; a stalled writer that wakes up can leave garbage behind, which no reader sees, but never show or
delete anything current.  Every step works on the whole batch at once.  Redis may lose a flip; the second look, behind
the event, is why what clean-up deletes is never current again (docs/adr/0008).
"""

import asyncio
from collections.abc import Sequence

from connectors.errors import Permanent, Transient, Unclear
from connectors.ports import Flip, Manifest, ManifestStore, VectorStore
from runtime import metrics
from runtime.clock import Clock, millis
from streams.documents.changes import (
    OVERTAKEN_KEY,
    Waiting,
    identify,
    outcome_on_record,
    read_change,
    record_outcome,
    trace_of,
)
from streams.documents.deferrals import own_work
from streams.documents.diff import Change, event_of, flip_to, kept, new_chunks
from streams.outcome import Drop, Emit, Outcome, Output, Publish, Record, Refuse, RefusedStatus
from topics import registry
from topics.codec import DecodeError, encode, schema_header
from topics.documents import DocumentRefused, LastSeen
from topics.identity import DocumentRef, Token, event_key

MAX_ROUNDS = 20  # lost races for one flip in a row: another writer is at work, so back off


class Index:
    """The stage.  One instance per process."""

    def __init__(
        self, generation: str, manifests: ManifestStore, store: VectorStore, publish: Publish, clock: Clock
    ) -> None:
        self._generation, self._manifests, self._store = generation, manifests, store
        self._publish, self._clock = publish, clock
        # A batch and the refusals of the one before run at the same time: a document's events must lie in the log in
        # the order of its versions, or a view that is rebuilt from the compacted log would go back.
        self._turn = asyncio.Lock()

    async def step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Index a batch; outcomes in the order of the records."""
        async with self._turn:
            return await self._step(records)

    async def _step(self, records: Sequence[Record]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = [Emit()] * len(records)
        changes: list[tuple[int, Change]] = []
        refusals: list[tuple[Record, LastSeen]] = []
        ended: list[Record] = []  # their versions have an outcome when this batch is done
        for number, record in enumerate(records):
            try:
                change = read_change(record)
            except DecodeError as error:
                outcomes[number] = Refuse(str(error), "undecodable")
                continue
            if change is None:
                overtaken = identify(record)[1] == OVERTAKEN_KEY
                outcomes[number] = Drop("overtaken" if overtaken else "retired-part")
                ended += [record] * overtaken
            elif isinstance(change, DocumentRefused):
                refusals.append((record, self._seen(change.version, change.status, change.reason)))
                ended.append(record)
            elif isinstance(change, Waiting):
                await (self._manifests.defer if change.begins else self._manifests.settle)(change.token, change.work)
            else:
                changes.append((number, change))
                if change.completes:
                    ended.append(record)
        for wave in waves(changes):
            of = {change.ref: records[number] for number, change in wave}
            found = await self._apply([change for _, change in wave], of)
            for number, change in wave:
                outcomes[number] = found.get(change.ref, outcomes[number])
        for record, seen in refusals:
            await self._refuse(record, seen)
        await self._advance(ended)
        return outcomes

    async def on_refused(self, record: Record, status: RefusedStatus, reason: str) -> Sequence[Output]:
        """A dead-lettered record ends the wait for its version, if it can be told which that was."""
        try:
            _, _, token = identify(record)
        except DecodeError:
            return []
        async with self._turn:
            await self._refuse(record, self._seen(str(token.version), status, reason[:1000]))
            await self._advance([record])
        return []

    async def _refuse(self, record: Record, seen: LastSeen) -> None:
        """Put it on record, announce it, look again: a loss in between would leave a token that ended for no reason."""
        ref, _, token = identify(record)
        await self._publish([await record_outcome(self._manifests, ref, token, seen, record)])
        (now,) = await self._manifests.status([ref])
        outcome_on_record(ref, now, seen)

    def _seen(self, version: str, status: RefusedStatus, reason: str) -> LastSeen:
        return LastSeen(version=version, status=status, reason=reason, at=millis(self._clock.now()))

    async def _advance(self, records: Sequence[Record]) -> None:
        """Let freshness tokens up to here end: a partition is worked off in order."""
        marks: dict[tuple[int, int], Token] = {}
        for record in records:
            _, _, token = identify(record)
            place = (token.epoch, token.partition)
            marks[place] = max(marks.get(place, token), token)
        await self._manifests.advance(list(marks.values()))

    async def _apply(self, changes: Sequence[Change], of: dict[DocumentRef, Record]) -> dict[DocumentRef, Outcome]:
        """Bring each document (one change per document) to its new version; returns what is special about some."""
        found: dict[DocumentRef, Outcome] = {}
        open_ = {change.ref: change for change in changes}
        for _ in range(MAX_ROUNDS):
            current = dict(zip(open_, await self._manifests.read(list(open_)), strict=True))
            owed: dict[DocumentRef, str] = {}  # flipped, now or before a crash; event and clean-up to come
            for ref, change in list(open_.items()):
                manifest = current[ref]
                if manifest.version is None or manifest.version < change.version:
                    continue
                if manifest.doubted and manifest.version == change.version:
                    continue
                if not manifest.done and not manifest.doubted:  # what supersedes must have been announced before
                    owed[ref] = manifest.version
                if manifest.done or manifest.version > change.version:
                    found[ref] = Drop("done" if manifest.version == change.version else "superseded")
                del open_[ref]
            written, doubted = await self._upsert(list(open_.values()), current)
            found |= dict.fromkeys(written, Emit(proof=True))
            for ref in [ref for ref in doubted if current[ref].version == open_[ref].version]:
                found[ref] = Drop("doubted")  # the end of an older delivery: what an audit sends again begins at part 0
                del open_[ref]
            now = millis(self._clock.now())
            flips = [flip_to(c, current[r], now, keep=r in doubted) for r, c in open_.items() if c.completes]
            for flip, won in zip(flips, await self._manifests.flip(flips), strict=True):
                if won:
                    owed[flip.ref] = flip.version
                    current[flip.ref] = manifest_of(flip, current[flip.ref].last_seen)
                    self._measure(open_.pop(flip.ref), of[flip.ref])
            open_ = {ref: change for ref, change in open_.items() if change.completes}
            await self._finish({ref: current[ref] for ref in owed}, of)
            if not open_:
                return found
        raise Unclear("another writer keeps changing the same documents", reason="race")

    async def _upsert(
        self, changes: Sequence[Change], current: dict[DocumentRef, Manifest]
    ) -> tuple[set[DocumentRef], set[DocumentRef]]:
        """Write new objects; afterwards every object of every manifest about to be flipped to exists.

        Except for the second set returned: doubt came over them between two parts of a version, so that objects which
        earlier parts kept are wanted anew.  The first set are documents that had something to write.
        """
        written, doubted = set(), set()
        chunks = [chunk for c in changes if c.part for chunk in new_chunks(self._generation, c, current[c.ref])]
        if chunks:
            await self._store.upsert(chunks)
            metrics.objects_written.inc(len(chunks))
            written = {chunk.id for chunk in chunks}
        for change in changes:
            if change.part is None or change.part.outline is None or change.part.parts == 1:
                continue
            manifest = flip_to(change, current[change.ref], 0).chunks
            earlier = [id_ for id_ in manifest if id_ not in kept(current[change.ref]) and id_ not in written]
            missing = set(earlier) - await self._store.existing({change.ref: earlier})
            if missing:
                (now,) = await self._manifests.status([change.ref])
                if now.version != current[change.ref].version:
                    raise Transient(f"{change.ref.path}: changed by another writer", reason="race")
                if now.doubted:
                    doubted.add(change.ref)
                    continue
                if await self._manifests.deferred(change.token) - {own_work(change.part.part)}:
                    raise Unclear(  # while an earlier part waits for another try, so does this one
                        f"{change.ref.path}: {len(missing)} chunks of earlier parts are missing",
                        reason="parts",
                        counts=False,
                    )
                # A part was refused, compacted away, or counted on chunks that a late older version removed: waiting
                # would not bring them.
                raise Permanent(
                    f"{len(missing)} chunks of earlier parts are missing: publish the document again", reason="parts"
                )
        return {chunk.ref for chunk in chunks}, doubted

    async def _finish(self, flipped: dict[DocumentRef, Manifest], of: dict[DocumentRef, Record]) -> None:
        """Announce, look again, clean up by id, mark done: in this order a crash leaves the rest to be done again."""
        if not flipped:
            return
        outputs = []
        for ref, manifest in flipped.items():
            assert manifest.last_seen is not None
            event = event_of(ref, manifest, manifest.last_seen)
            headers = {**trace_of(of[ref]), **schema_header(event)}
            outputs.append(Output(registry.INDEX_EVENTS, event_key(ref), encode(event), of[ref].partition, headers))
        await self._publish(outputs)
        flipped = await self._still_current(flipped)
        doomed = {ref: manifest.doomed for ref, manifest in flipped.items() if manifest.doomed}
        if doomed:
            await self._store.delete(doomed)
            metrics.objects_deleted.inc(sum(map(len, doomed.values())))
        await self._manifests.finish({ref: m.version for ref, m in flipped.items() if m.version is not None})

    async def _still_current(self, flipped: dict[DocumentRef, Manifest]) -> dict[DocumentRef, Manifest]:
        """Those that are; who replaced one cleans up after it, and one that was lost is done again."""
        known = dict(zip(flipped, await self._manifests.status(list(flipped)), strict=True))
        for ref, manifest in flipped.items():
            now = known[ref]
            if (now.version or "") < (manifest.version or "") or (now.version == manifest.version and now.doubted):
                raise Transient(f"{ref.path}: the flip to {manifest.version} was lost", reason="view")
        return {ref: manifest for ref, manifest in flipped.items() if _same(manifest, known[ref])}

    def _measure(self, change: Change, record: Record) -> None:
        seconds = max(0.0, self._clock.now() - change.published_at / 1000)
        metrics.answerable_seconds.observe(seconds)
        record.span.event("freshet.visible", {"freshet.version": change.version, "freshet.answerable_seconds": seconds})


def _same(one: Manifest, other: Manifest) -> bool:
    """Of one version there are two where a loss made another writer flip to it on what was before."""
    return (one.version, one.indexed_at) == (other.version, other.indexed_at)


def waves(changes: Sequence[tuple[int, Change]]) -> list[list[tuple[int, Change]]]:
    """Split into runs without a repeated document, in order; what a later whole version supersedes is left out.

    Left out is not lost: the later version is at least as fresh, and fences treat both alike.  Later in the batch
    alone does not supersede: an old version may come again, or late.
    """
    result: list[list[tuple[int, Change]]] = []
    newest_whole: dict[DocumentRef, str] = {}
    kept = []
    for number, change in reversed(changes):
        if change.version <= newest_whole.get(change.ref, ""):
            continue
        if change.whole:
            newest_whole[change.ref] = change.version
        kept.append((number, change))
    depth: dict[DocumentRef, int] = {}
    for number, change in reversed(kept):
        level = depth.get(change.ref, 0)
        depth[change.ref] = level + 1
        if level == len(result):
            result.append([])
        result[level].append((number, change))
    return result


def manifest_of(flip: Flip, before: LastSeen | None) -> Manifest:
    """The manifest as it stands after a flip; a newer version may have been refused ``before``."""
    seen = LastSeen(version=flip.version, status="deleted" if flip.deleted else "indexed", at=flip.indexed_at)
    return Manifest(
        version=flip.version,
        deleted=flip.deleted,
        done=False,
        head=flip.head,
        chunks=flip.chunks,
        doomed=flip.doomed,
        last_seen=before if before is not None and before.version > flip.version else seen,
        indexed_at=flip.indexed_at,
    )
