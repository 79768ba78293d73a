"""A whole audit over the adapters in memory: each kind of drift planted, found and mended, and no false alarm."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest

from connectors.ports import Manifest
from streams.audit.sources import Sources
from tests.streams.audit.world import World
from topics import registry
from topics.codec import encode
from topics.documents import IndexEvent
from topics.identity import DocumentRef, document_key, event_key, partition_of

REF = DocumentRef("acme", "guides/doc")
TEXT = b'{"text": "Alpha is first. Beta is second.", "access": ["ann"], "metadata": {"year": 2024, "lang": "en"}}'
OTHER = TEXT.replace(b"Beta", b"Gamma")


async def busy() -> World:
    """Documents of two tenants: edited, deleted, refused, repeated, and one that is as it should be."""
    world = World()
    for n in range(12):
        await world.put(f"doc{n}", b'{"text": "Text number %d."}' % n)
    await world.put("doc3", b'{"text": "Another text."}')
    await world.put("doc4", None)
    await world.put("doc5", b"not JSON")
    await world.put("never", b"not JSON")
    await world.put("nothing", None)
    same = "The same words are said again in this paragraph, word for word, without any change between them."
    text = "\n\n".join(f"# One\n\n{same} " * 9 for _ in range(5))
    await world.put("twice", text.encode(), content_type=b"text/markdown")
    await world.put(REF.doc_id, TEXT.replace(b"year", b"years"), tenant="acme")
    await world.put(REF.doc_id, TEXT, tenant="acme")
    partitions = world.settings.kafka.partitions
    later = (f"later{n}" for n in range(100))
    same = next(n for n in later if partition_of(n.encode(), partitions) == partition_of(document_key(REF), partitions))
    await world.put(same, b'{"text": "The log goes on behind it."}')
    return world


def manifest(world: World) -> Manifest:
    return world.manifests._manifests[REF]


def event(world: World) -> IndexEvent:
    return world.event(REF.doc_id, REF.tenant)


def announce(world: World, value: bytes | None) -> None:
    key = event_key(REF)
    partition = next(r.partition for r in world.log[registry.INDEX_EVENTS.name] if r.key == key)
    world.append(registry.INDEX_EVENTS, key, value, partition, {})


async def missing(world: World) -> None:
    await world.store.delete({REF: list(manifest(world).chunks)[:1]})


async def altered_text(world: World) -> None:
    [chunk] = [c for (tenant, _), c in world.store._chunks.items() if tenant == "acme"]
    await world.store.upsert([replace(chunk, text="Something else.")])


async def altered_access(world: World) -> None:
    [chunk] = [c for (tenant, _), c in world.store._chunks.items() if tenant == "acme"]
    await world.store.upsert([replace(chunk, access=("*",))])


async def altered_metadata(world: World) -> None:
    [chunk] = [c for (tenant, _), c in world.store._chunks.items() if tenant == "acme"]
    await world.store.upsert([replace(chunk, metadata={"year": 2025, "lang": "en"})])


async def altered_vector(world: World) -> None:
    [(key, chunk)] = [(k, c) for k, c in world.store._chunks.items() if k[0] == "acme"]
    world.store._chunks[key] = replace(chunk, vector=[])


async def lost(world: World) -> None:
    await world.store.delete({REF: list(manifest(world).chunks)})
    del world.manifests._manifests[REF]
    announce(world, None)


async def stale(world: World) -> None:
    """The lane went past a version without a trace: another document behind it moved the watermark."""
    record = world.unheard(REF.doc_id, OTHER, tenant="acme")
    place = (world.epochs.newest.number, record.partition)
    world.manifests._watermarks[place] = record.offset


async def extra_deleted(world: World) -> None:
    record = world.unheard(REF.doc_id, None, tenant="acme")
    world.manifests._watermarks[world.epochs.newest.number, record.partition] = record.offset


async def extra_unknown(world: World) -> None:
    """What compaction does with a document whose tombstone nobody read."""
    partition = partition_of(document_key(REF), world.settings.kafka.partitions)
    log = world.topics[registry.DOCUMENTS.name]
    log._records[partition] = [r for r in log._records[partition] if r.key != document_key(REF)]


async def mixed_manifest(world: World) -> None:
    head = manifest(world).head
    assert head is not None
    world.manifests._manifests[REF] = replace(manifest(world), head=msgspec.structs.replace(head, title="Planted"))


async def mixed_older_event(world: World) -> None:
    """A stalled writer announces an older version behind the newer one."""
    old = event(world)
    await world.put(REF.doc_id, OTHER, tenant="acme")
    announce(world, encode(old))


async def mixed_no_manifest(world: World) -> None:
    del world.manifests._manifests[REF]


async def mixed_not_done(world: World) -> None:
    world.manifests._manifests[REF] = replace(manifest(world), done=False)


async def orphaned(world: World) -> None:
    [chunk] = [c for (tenant, _), c in world.store._chunks.items() if tenant == "acme"]
    await world.store.upsert([replace(chunk, id="0b5c8d0e-0000-4000-8000-000000000000")])


async def orphaned_stranger(world: World) -> None:
    [chunk] = [c for (tenant, _), c in world.store._chunks.items() if tenant == "acme"]
    stranger = DocumentRef("acme", "stranger")
    await world.store.upsert([replace(chunk, ref=stranger, id="0b5c8d0e-0000-4000-8000-000000000000")])


Plant = Callable[[World], Awaitable[None]]
PLANTS: list[Plant] = [
    missing, altered_text, altered_access, altered_metadata, altered_vector, lost, stale, extra_deleted, extra_unknown,
    mixed_manifest, mixed_older_event, mixed_no_manifest, mixed_not_done, orphaned, orphaned_stranger,
]  # fmt: skip


async def test_a_system_that_is_as_it_should_be_is_clean() -> None:
    """Nothing is found where nothing was planted, and everything was looked at."""
    world = await busy()
    report, found = await world.audit()
    assert (found, report.clean, report.moving, report.in_flight, report.garbage) == ([], True, 0, 0, 0)
    shown = [m for m in world.manifests._manifests.values() if m.version and not m.deleted]
    assert report.documents == len(shown) == 14
    assert report.chunks == report.objects == sum(len(m.chunks) for m in shown) > 13


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_each_kind_is_found_and_mended(plant: Plant) -> None:
    """Exactly what was planted is found; a repair mends it through the lane and looks again; then all is clean."""
    world = await busy()
    visible = {ref: m for ref, m in world.manifests._manifests.items() if ref != REF}
    await plant(world)
    _, found = await world.audit()
    kind = plant.__name__.partition("_")[0]
    assert [(f.kind, f.tenant) for f in found] == [(kind, "acme")], found
    assert found[0].doc_id == ("stranger" if plant is orphaned_stranger else REF.doc_id) and found[0].what
    report, left = await world.audit(repair=True)
    assert left == [] and report.clean and sum(report.mended.values()) == 1 and not report.hopeless
    others = {ref: m for ref, m in world.manifests._manifests.items() if ref != REF}
    assert others == visible  # nothing else was touched
    again, found = await world.audit()
    assert found == [] and again.garbage == 0 and again.in_flight == 0
    gone = plant in (extra_deleted, extra_unknown)
    assert manifest(world).deleted == gone == (event(world).state == "deleted")


async def test_equal_chunks_are_told_apart() -> None:
    """Where one of several equal chunks is missing the others are not taken for altered."""
    world = await busy()
    ref = DocumentRef("default", "twice")
    lines = world.manifests._manifests[ref].chunks
    texts = [world.store._chunks["default", id_].text for id_ in lines]
    first = next(i for i, text in enumerate(texts) if texts.count(text) > 1)
    await world.store.delete({ref: [list(lines)[first]]})
    _, found = await world.audit()
    assert [(f.kind, f.doc_id, f.objects) for f in found] == [("missing", "twice", 1)]


async def test_several_kinds_at_once() -> None:
    """A document may have more than one, and one repair mends them all."""
    world = await busy()
    await missing(world)
    await stale(world)
    await orphaned_stranger_of(world)
    _, found = await world.audit()
    assert {f.kind for f in found} == {"missing", "stale", "orphaned"}
    report, left = await world.audit(repair=True)
    assert left == [] and report.mended == {"sent through the lane again": 1, "orphaned objects deleted": 1}


async def orphaned_stranger_of(world: World) -> None:
    chunk = next(iter(world.store._chunks.values()))
    await world.store.upsert([replace(chunk, ref=REF, id="0b5c8d0e-0000-4000-8000-000000000001")])


async def test_what_is_in_flight_is_not_drift() -> None:
    """A version that the lane has not reached, or that waits for another try, is counted and not reported."""
    world = await busy()
    world.unheard("doc1", b'{"text": "Newer."}')
    world.unheard("doc2", None)
    world.unheard("quite-new", b'{"text": "New."}')
    report, found = await world.audit()
    assert (found, report.in_flight) == ([], 3) and report.oldest_in_flight is not None
    token = await world.put("doc6", b'{"text": "Newer."}')
    await world.manifests.defer(token, "embed")
    report, found = await world.audit()
    assert found == [] and report.in_flight >= 3


async def test_objects_of_a_version_under_way_are_not_swept() -> None:
    """The first parts of a version that is not visible yet are no garbage, however long ago they were written."""
    world = await busy()
    [chunk] = [c for (tenant, _), c in world.store._chunks.items() if tenant == "acme"]
    await world.store.upsert([replace(chunk, id="0b5c8d0e-0000-4000-8000-000000000000")])
    world.unheard(REF.doc_id, OTHER, tenant="acme")
    report, found = await world.audit(repair=True)
    assert (found, report.garbage, report.in_flight) == ([], 1, 1)
    assert len(world.store._chunks) == report.objects


async def test_young_garbage_is_counted_only() -> None:
    """Unlisted objects are drift once they are older than the grace time."""
    world = await busy()
    await orphaned(world)
    report, found = await world.audit(grace=3 * 7200.0, repair=True)
    assert (found, report.garbage) == ([], 1)
    report, found = await world.audit(repair=True)
    assert (found, report.mended) == ([], {"orphaned objects deleted": 1})


async def test_quick_opens_no_object() -> None:
    """Without the look into objects alterations go unseen; what is missing does not."""
    world = await busy()
    await altered_text(world)
    assert (await world.audit(whole=False))[1] == []
    await missing(world)
    assert [f.kind for f in (await world.audit(whole=False))[1]] == ["missing"]


async def test_only_the_tenant_that_was_asked_for() -> None:
    """An audit of one tenant finds and mends nothing of another's."""
    world = await busy()
    await missing(world)
    report, found = await world.audit(tenants=frozenset({"default"}), repair=True)
    assert found == [] and report.documents == 13


async def test_motion_is_no_drift() -> None:
    """Documents that are published, edited and deleted while the audit reads are not reported."""
    world = await busy()
    seen: list[str] = []

    def at_each_step(step: str, done: int, total: int | None) -> None:
        seen.append(step)

    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "read_events": lambda: world.put("doc1", b'{"text": "Newer text."}'),
        "read_manifests": lambda: world.put("doc7", b'{"text": "Newer text, too."}'),
        "walk_store": lambda: world.put("doc8", None),
        "read_ends": lambda: world.put("doc9", b'{"text": "Newest text."}'),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, change in steps.items():
            whole = getattr(Sources, name)

            async def before(self, whole=whole, change=change, name=name):  # type: ignore[no-untyped-def]
                if name in steps:
                    del steps[name]
                    await change()
                await whole(self)

            patch.setattr(Sources, name, before)
        report, found = await world.audit(progress=at_each_step)
    assert steps == {} and "look again" in seen
    assert found == [] and report.clean


async def test_what_changes_all_the_time_is_said() -> None:
    """A document whose manifest is another each time it is looked at is not judged, and counted."""
    world = await busy()
    await missing(world)
    read = Sources.read_objects
    rounds = 0

    async def moving(self):  # type: ignore[no-untyped-def]
        nonlocal rounds
        rounds += 1
        await read(self)
        world.manifests._manifests[REF] = replace(manifest(world), indexed_at=rounds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sources, "read_objects", moving)
        report, found = await world.audit()
    assert (found, report.moving, rounds) == ([], 1, 3)


async def test_the_sweep_looks_once_more() -> None:
    """An object that became listed since the last look is not deleted."""
    world = await busy()
    await orphaned(world)
    chunk_id = "0b5c8d0e-0000-4000-8000-000000000000"
    delete = world.store.delete
    deleted: list[str] = []

    async def note(refs):  # type: ignore[no-untyped-def]
        deleted.extend(i for ids in refs.values() for i in ids)
        await delete(refs)

    world.store.delete = note  # type: ignore[method-assign]

    def listed_now(step: str, done: int, total: int | None) -> None:
        """Behind the closer look, in front of the sweep."""
        if step == "look again" and done == total:
            lines = {**manifest(world).chunks, chunk_id: next(iter(manifest(world).chunks.values()))}
            world.manifests._manifests[REF] = replace(manifest(world), chunks=lines)

    await world.audit(repair=True, progress=listed_now)
    assert chunk_id not in deleted


async def test_the_visible_version_is_gone_from_the_log() -> None:
    """Where the newest version was refused and compaction took the visible one, the audit says what to do."""
    world = await busy()
    await missing(world)
    await world.put(REF.doc_id, b"not JSON", tenant="acme")
    log = world.topics[registry.DOCUMENTS.name]
    version = (manifest(world).version or "").rpartition(".")[2]
    for partition, records in log._records.items():
        key = b"@acme/guides/doc"
        log._records[partition] = [r for r in records if r.key != key or r.offset != int(version)]
    report, found = await world.audit(repair=True)
    assert [f.kind for f in found] == ["missing"] and not report.clean
    assert "publish it" in report.hopeless[REF.path]


async def test_a_log_made_anew_is_not_mended_away() -> None:
    """Where the log ends before what is visible nothing is deleted, and the audit says so."""
    world = await busy()
    log = world.topics[registry.DOCUMENTS.name]
    for partition in log._records:
        log._records[partition] = []
    partition = partition_of(document_key(REF), world.settings.kafka.partitions)
    for n in range(3):  # more than some of the versions that are visible
        log.append(partition, b"elsewhere", b"a record of the new log", {}, n)
    before = dict(world.manifests._manifests)
    report, found = await world.audit(repair=True)
    shown = {ref.doc_id for ref, m in before.items() if m.version and not m.deleted}
    assert {f.kind for f in found} == {"extra"} and shown <= {f.doc_id for f in found}
    assert not report.mended and world.manifests._manifests == before
    says = {why.partition(":")[0] for why in report.hopeless.values()}
    assert says == {"the log ends before its version", "the log was made anew, so nothing is deleted"}
