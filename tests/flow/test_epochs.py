"""Documents of several epochs through the whole lane, in process."""

import random
from collections.abc import Sequence

import pytest

from connectors.errors import Transient
from runtime import metrics
from runtime.clock import millis
from runtime.settings import Documents, Settings
from streams.deadletters.letter import dead_letter
from streams.documents.changes import OVERTAKEN_KEY
from streams.documents.deferrals import ThroughTheLane
from streams.outcome import Record, Refuse, Stage
from tests.flow.inline import Lanes
from topics import registry
from topics.control import Epoch
from topics.epochs import Epochs
from topics.headers import MIRRORED
from topics.identity import DocumentRef, Version

OLD, NEW = registry.documents_of(1), registry.documents_of(2)
LONG = " ".join(f"word{n} goes on and on." for n in range(200))


def moved(active_from: int | None = None) -> Lanes:
    """A lane that knows of two epochs, the second with twice the partitions and by default just begun."""
    active_from = millis() if active_from is None else active_from
    lanes = Lanes(Settings(documents=Documents(chunk_tokens=32, part_bytes=8192)))
    first = lanes.epochs.first
    topic = NEW.full_name(lanes.settings.kafka.prefix, "")
    lanes.known(Epochs([first, Epoch(number=2, topic=topic, partitions=8, active_from=active_from)]))
    return lanes


def text(words: str) -> bytes:
    return b'{"text": "%s"}' % words.encode()


def shown(lanes: Lanes, doc_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """State and version by document."""
    events = {doc_id: lanes.event(doc_id) for doc_id in doc_ids}
    return {doc_id: (event.state, event.version) for doc_id, event in events.items()}


async def test_an_old_document_is_edited_in_the_new_epoch() -> None:
    """A version of the new epoch replaces one of the old, whatever their offsets; both tokens end."""
    lanes = moved()
    old, new = lanes.epochs.known
    tokens = []
    for n in range(3):
        record, token = lanes.write(old, "doc", text(f"Text {n} of the old."))
        tokens.append(token)
        await lanes.drain([record])
    record, token = lanes.write(new, "doc", text("Text of the new."))
    await lanes.drain([record])
    assert token.offset < tokens[-1].offset
    assert lanes.event("doc").version == str(token.version)
    marks = await lanes.manifests.watermarks()
    assert all(marks[t.epoch, t.partition] >= t.offset for t in (*tokens, token))


async def test_a_document_keeps_its_internal_partition() -> None:
    """Whatever the epoch, all that comes of a document lies in one partition of the internal topics."""
    lanes = moved()
    for n in range(30):
        for epoch in lanes.epochs.known:
            await lanes.drain([lanes.write(epoch, f"doc{n}", text(f"Text {n} of epoch {epoch.number}."))[0]])
    for spec in (registry.CHUNKS, registry.VECTORS, registry.INDEX_EVENTS):
        places: dict[bytes, set[int]] = {}
        for record in lanes.log[spec.name]:
            places.setdefault((record.key or b"").partition(b"#")[0], set()).add(record.partition)
        assert len(places) == 30 and all(len(partitions) == 1 for partitions in places.values())
        assert set().union(*places.values()) == {0, 1, 2, 3}
    assert {record.partition for record in lanes.log[NEW.name]} == set(range(8))


async def test_the_partition_is_checked_against_the_epoch() -> None:
    """A record that lies where another number of partitions would put it is refused, and its token ends."""
    lanes = moved()
    key = next(b"k%d" % n for n in range(99) if lanes.write(lanes.epochs.newest, f"k{n}", None)[0].partition >= 4)
    record = lanes.append(NEW, key, text("Alpha."), 0, {})
    await lanes.drain([record])
    assert "murmur2_random" in lanes.refused[-1][2]
    assert (await lanes.manifests.watermarks())[2, 0] == record.offset


async def test_a_late_old_version_stays_behind() -> None:
    """What is read of the old topic after the newer version changes nothing, writes no parts, and ends its token."""
    lanes = moved(active_from=1000)
    old, new = lanes.epochs.known
    late, token = lanes.write(old, "doc", text("Late text of the old."))
    await lanes.drain([lanes.write(new, "doc", text("Text of the new."))[0]])
    version, counted = lanes.event("doc").version, metrics.late_epoch_records._value.get()
    before = len(lanes.log[registry.CHUNKS.name])
    await lanes.drain([late])
    assert lanes.event("doc").version == version
    written = lanes.log[registry.CHUNKS.name][before:]
    assert [(r.key, r.value) for r in written] == [(f"default/doc#{OVERTAKEN_KEY}".encode(), None)]
    assert (await lanes.manifests.watermarks())[1, token.partition] == token.offset
    assert metrics.late_epoch_records._value.get() == counted + 1


async def test_a_refused_new_version_overtakes_nothing() -> None:
    """What cannot be read in the new topic leaves the old topic's version to be shown."""
    lanes = moved()
    old, new = lanes.epochs.known
    waiting, token = lanes.write(old, "doc", text("Text of the old."))
    bad, refused = lanes.write(new, "doc", text("  "))
    await lanes.manifests.accepted({DocumentRef("default", "doc"): (str(refused.version), 1)})  # as the door does
    await lanes.drain([bad])
    await lanes.drain([waiting])
    assert shown(lanes, ["doc"]) == {"doc": ("current", str(token.version))}


async def test_one_batch_holds_both() -> None:
    """In one batch, too, the order of versions is theirs."""
    lanes = moved()
    old, new = lanes.epochs.known
    first, second = lanes.write(old, "doc", text("Text of the old.")), lanes.write(new, "doc", text("Text of the new."))
    await lanes.drain([second[0], first[0]])
    assert shown(lanes, ["doc"]) == {"doc": ("current", str(second[1].version))}
    assert [r.key for r in lanes.log[registry.CHUNKS.name]] == [b"default/doc#0", b"default/doc#overtaken"]


async def test_a_delete_reaches_the_earlier_epoch() -> None:
    """Once the tombstone of a delete is gone, a replay of what is left in the old topic does not bring it back."""
    lanes = moved()
    old, new = lanes.epochs.known
    await lanes.drain([lanes.write(old, "doc", text("Text of the old."))[0]])
    await lanes.drain([lanes.write(new, "doc", None)[0]])
    assert lanes.event("doc").state == "deleted"
    mirrored = lanes.log[OLD.name][-1]
    assert mirrored.value is None and mirrored.key == b"doc" and MIRRORED in mirrored.headers
    await lanes.drain([mirrored])
    assert len(lanes.log[OLD.name]) == 2 and lanes.event("doc").version == "00002.0000000000000000000"
    for left in (lanes.log[OLD.name], lanes.log[OLD.name][1:]):  # not compacted yet, and compacted
        again = moved()
        for record in left:
            await again.drain([record])
        assert again.event("doc").state == "deleted"


async def test_what_comes_late_to_a_deleted_document_goes_as_well() -> None:
    """A late record in the old topic, of a document deleted in the new one, is deleted there and not shown."""
    lanes = moved()
    old, new = lanes.epochs.known
    await lanes.drain([lanes.write(new, "doc", None)[0]])
    late = lanes.write(old, "doc", text("Late text of the old."))[0]
    await lanes.drain([late])
    assert lanes.event("doc").state == "deleted"
    last = lanes.log[OLD.name][-1]
    assert (last.key, last.value, last.offset > late.offset) == (b"doc", None, True)
    before = len(lanes.log[OLD.name])
    await lanes.drain([last])
    assert len(lanes.log[OLD.name]) == before


async def test_news_of_a_later_epoch_has_a_place_in_the_lane() -> None:
    """Dead letters and deferrals of all epochs lie in topics that have the internal topics' partitions."""
    lanes = moved()
    stage = Stage("chunk", OLD, lanes.chunk.on_refused, later=[NEW], partitions=4)
    record = Record("freshet.documents.2", 7, 0, b"k", b"v", {}, 0)
    assert dead_letter(stage, record, Refuse("no")).partition == 3
    deferrals = ThroughTheLane("chunk", registry.CHUNKS, lanes.chunk.identify, lanes.manifests, 4)
    assert [o.partition for o in (*await deferrals.begin(record, "away"), *await deferrals.end(record))] == [3, 3]


async def test_a_record_of_an_epoch_that_is_not_known_yet_waits() -> None:
    """What comes to be retried may be of an epoch that this worker has not heard of: it is about to be started anew."""
    lanes = moved()
    with pytest.raises(Transient):
        await lanes.chunk.step([Record("freshet.documents.3", 0, 0, b"k", b"v", {}, 0)])


@pytest.mark.parametrize("seed", range(8))
async def test_a_replay_in_any_order_shows_the_newest(seed: int) -> None:
    """Both topics read from the beginning, interleaved at will: the same is visible as live.

    And the same once more from ``chunks`` alone, after compaction.
    """
    draw = random.Random(seed)
    doc_ids = [f"doc{n}" for n in range(8)]
    lanes = moved()
    old, new = lanes.epochs.known
    plan = [(old, doc_id) for doc_id in (*doc_ids, "left")] + [(old, draw.choice(doc_ids)) for _ in range(10)]
    for n, (epoch, doc_id) in enumerate(plan + [(new, draw.choice(doc_ids)) for _ in range(20)]):
        body = draw.choice([text(f"Text number {n}."), text(f"{n} {LONG}"), text(f"{n} other {LONG}"), None])
        known = len(lanes.log[OLD.name])
        record, _ = lanes.write(epoch, doc_id, body)
        await lanes.drain([record])
        await lanes.drain([r for r in lanes.log[OLD.name][known:] if r is not record])
    doc_ids.append("left")
    live = shown(lanes, doc_ids)
    assert {Version.parse(version or "").epoch for _, version in live.values()} == {1, 2}

    again = moved()
    waiting = [list(lanes.log[OLD.name]), list(lanes.log[NEW.name])]
    while any(waiting):
        topic = draw.choice([records for records in waiting if records])
        size = draw.randint(1, 6)
        batch, topic[:] = topic[:size], topic[size:]
        await again.drain(batch)
    assert shown(again, doc_ids) == live

    kept = {(record.partition, record.key): record for record in again.log[registry.CHUNKS.name]}
    rebuilt = moved()
    await rebuilt.from_chunks([record for record in again.log[registry.CHUNKS.name] if record in kept.values()])
    assert shown(rebuilt, doc_ids) == live
    for doc_id in doc_ids:
        assert len(rebuilt.event(doc_id).manifest) == len(lanes.event(doc_id).manifest)
