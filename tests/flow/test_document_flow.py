"""Documents through the whole lane, in process."""

import pytest

from runtime import metrics
from runtime.settings import Documents, Settings
from tests.connectors.contract.lookalikes import LOOKALIKES
from tests.flow.inline import Lanes
from topics import registry
from topics.identity import DocumentRef, Token, partition_of

TEXT = "# Pumps\n\nThe red pump moves water. It runs at night.\n\n# Valves\n\nThe green valve closes by hand."


def ids(lanes: Lanes, doc_id: str) -> list[str]:
    return [chunk.id for chunk in lanes.event(doc_id).manifest]


async def test_a_document_becomes_visible() -> None:
    """A published document is current under its version, with every chunk stored."""
    lanes = Lanes()
    token = await lanes.put("guide", TEXT.encode(), content_type=b"text/markdown")
    event = lanes.event("guide")
    assert (event.state, event.version) == ("current", str(token.version))
    assert event.last_seen.status == "indexed"
    assert event.head is not None and event.head.title == "Pumps"
    found = await lanes.store.existing({DocumentRef("default", "guide"): ids(lanes, "guide")})
    assert found == set(ids(lanes, "guide")) != set()


async def test_an_edit_keeps_what_it_did_not_touch() -> None:
    """Chunks that did not change keep their objects; those that did are replaced, the old ones deleted."""
    lanes = Lanes(Settings(documents=Documents(chunk_tokens=32)))
    paragraphs = [f"Paragraph {n} speaks about the subject number {n} at some length. " * 3 for n in range(12)]
    await lanes.put("long", "\n\n".join(paragraphs).encode(), content_type=b"text/plain")
    before = ids(lanes, "long")
    paragraphs[6] = "Something else entirely stands here now, in this very place of the text."
    await lanes.put("long", "\n\n".join(paragraphs).encode(), content_type=b"text/plain")
    after = ids(lanes, "long")
    kept = set(before) & set(after)
    assert len(before) > 8 and len(kept) >= len(before) - 4
    gone = await lanes.store.existing({DocumentRef("default", "long"): before})
    assert gone == kept
    assert {chunk_id for _, chunk_id in lanes.store._chunks} == set(after)  # nothing was written beside them


async def test_a_text_that_returns_is_not_revived() -> None:
    """A, B, A: the second A gets objects of its own, since those of the first are gone."""
    lanes = Lanes()
    await lanes.put("doc", b'{"text": "Alpha is first."}')
    first = ids(lanes, "doc")
    await lanes.put("doc", b'{"text": "Beta is second."}')
    await lanes.put("doc", b'{"text": "Alpha is first."}')
    assert set(ids(lanes, "doc")).isdisjoint(first)


async def test_a_repeated_paragraph_counts_twice() -> None:
    """Equal chunks of one document are told apart, and one of them can go while the other stays."""
    lanes = Lanes(Settings(documents=Documents(chunk_tokens=32)))
    same = "The same words are said again in this paragraph, word for word, without any change at all between them."
    await lanes.put(
        "twice", "\n\n".join([f"# One\n\n{same}", f"# One\n\n{same}"]).encode(), content_type=b"text/markdown"
    )
    assert len(set(ids(lanes, "twice"))) == len(ids(lanes, "twice"))


@pytest.mark.parametrize("change", ["title", "uri"])
async def test_head_changes_write_no_objects(change: str) -> None:
    """Title and uri live in the manifest: changing them moves the version and nothing else."""
    lanes = Lanes()
    await lanes.put("doc", b'{"text": "Alpha is first."}')
    before = ids(lanes, "doc")
    token = await lanes.put("doc", b'{"text": "Alpha is first.", "%s": "new"}' % change.encode())
    assert ids(lanes, "doc") == before
    assert lanes.event("doc").version == str(token.version)


@pytest.mark.parametrize("field", [b'"access": ["ann"]', b'"metadata": {"lang": "en"}'])
async def test_access_and_metadata_are_part_of_a_chunk(field: bytes) -> None:
    """A change of access or metadata replaces the objects and reuses their vectors."""
    lanes = Lanes()
    await lanes.put("doc", b'{"text": "Alpha is first."}')
    before = ids(lanes, "doc")
    encoded = metrics.chunks_encoded._value.get()
    await lanes.put("doc", b'{"text": "Alpha is first.", ' + field + b"}")
    assert set(ids(lanes, "doc")).isdisjoint(before)
    assert metrics.chunks_encoded._value.get() == encoded


async def test_a_delete_is_for_good() -> None:
    """After a null the document is gone, its objects too, and an older version cannot bring it back."""
    lanes = Lanes()
    await lanes.put("doc", b'{"text": "Alpha is first."}')
    old = list(lanes.log[registry.VECTORS.name])
    before = ids(lanes, "doc")
    await lanes.put("doc", None)
    event = lanes.event("doc")
    assert (event.state, event.manifest, event.last_seen.status) == ("deleted", [], "deleted")
    await lanes.index.step(old)
    assert lanes.event("doc").state == "deleted"
    assert await lanes.store.existing({DocumentRef("default", "doc"): before}) == set()


async def test_replay_changes_nothing() -> None:
    """Every record delivered twice more leaves manifests and objects as they were."""
    lanes = Lanes()
    for n in range(5):
        await lanes.put(f"doc{n}", b'{"text": "Text number %d."}' % n)
    await lanes.put("doc3", b'{"text": "Another text."}')
    before = {f"doc{n}": ids(lanes, f"doc{n}") for n in range(5)}
    for _ in range(2):
        await lanes.drain(lanes.log[registry.DOCUMENTS.name])
    assert {doc: ids(lanes, doc) for doc in before} == before


async def test_long_documents_travel_in_parts() -> None:
    """A version over the part limit takes several records, becomes visible as one, shrinks and disappears again."""
    lanes = Lanes(Settings(documents=Documents(chunk_tokens=32, part_bytes=8192)))
    words = " ".join(f"word{n} goes on and on." for n in range(400))
    await lanes.put("long", words.encode(), content_type=b"text/plain")
    parts = [r for r in lanes.log[registry.VECTORS.name] if r.value is not None]
    assert len(parts) > 2
    chunks = ids(lanes, "long")
    assert await lanes.store.existing({DocumentRef("default", "long"): chunks}) == set(chunks)
    await lanes.put("long", b"Short now.", content_type=b"text/plain")
    assert len(ids(lanes, "long")) == 1
    retired = [r for r in lanes.log[registry.VECTORS.name] if r.value is None]
    assert len(retired) == len(parts) - 1
    assert await lanes.store.existing({DocumentRef("default", "long"): chunks}) == set()


@pytest.mark.parametrize(
    ("value", "says"),
    [(b"not json", "content-type"), (b'{"title": "x"}', "text"), (b'{"text": "  "}', "no words")],
)
async def test_unreadable_documents_are_told(value: bytes, says: str) -> None:
    """A refused version ends its token with the reason; what was visible before stays visible."""
    lanes = Lanes()
    first = await lanes.put("doc", b'{"text": "Alpha is first."}')
    bad = await lanes.put("doc", value)
    event = lanes.event("doc")
    assert event.version == str(first.version)
    assert (event.last_seen.version, event.last_seen.status) == (str(bad.version), "rejected")
    assert says in (event.last_seen.reason or "")
    assert (await lanes.manifests.watermarks())[1, bad.partition] == bad.offset
    assert (await lanes.manifests.refusals([first, bad])).keys() == {bad}


async def test_wrong_partition_is_refused() -> None:
    """A record where murmur2 would not put it is refused with the setting that helps."""
    lanes = Lanes()
    record = lanes.append(registry.DOCUMENTS, b"abc", b'{"text": "Alpha."}', 0, {})
    await lanes.drain([record])
    assert "murmur2_random" in lanes.refused[0][2]


async def test_lookalike_ids_never_meet() -> None:
    """Ids that differ only in case, Unicode form, slashes, #, % or @ are documents of their own on the whole way."""
    lanes = Lanes()
    for n, doc_id in enumerate(LOOKALIKES):
        await lanes.put(doc_id, b'{"text": "This is the text of number %d."}' % n)
    await lanes.put(LOOKALIKES[0], None)
    for n, doc_id in enumerate(LOOKALIKES[1:], 1):
        event = lanes.event(doc_id)
        assert event.state == "current" and len(event.manifest) == 1
        [seen] = await lanes.manifests.visible([(DocumentRef("default", doc_id), event.manifest[0].id)])
        assert seen is not None
        assert lanes.store._chunks["default", event.manifest[0].id].text == f"This is the text of number {n}."
    assert lanes.event(LOOKALIKES[0]).state == "deleted"


async def test_ten_thousand_chunks() -> None:
    """A very long document travels in many parts, changes in its middle, and only what changed is written again."""
    lanes = Lanes(Settings(documents=Documents(chunk_tokens=32)))
    paragraphs = [
        f"Paragraph {n} of this very long document says that its own number is {n}. " * 2 for n in range(10_000)
    ]
    await lanes.put("long", "\n\n".join(paragraphs).encode(), content_type=b"text/plain")
    before = ids(lanes, "long")
    assert len(before) >= 10_000
    parts = len([r for r in lanes.log[registry.VECTORS.name] if r.value is not None])
    assert parts > 3
    paragraphs[5_000] = "Something else entirely stands here now, in the very middle of the text."
    await lanes.put("long", "\n\n".join(paragraphs).encode(), content_type=b"text/plain")
    after = ids(lanes, "long")
    assert 0 < len(set(after) - set(before)) <= 4
    assert {chunk_id for _, chunk_id in lanes.store._chunks} == set(after)


async def test_the_token_of_a_record_without_a_document_ends_with_its_reason() -> None:
    """A key that names no document is refused, and whoever asks for that version learns why at once."""
    lanes = Lanes()
    await lanes.put("pump", b'{"text": "The red pump moves water."}')
    record = lanes.append(registry.DOCUMENTS, b"", b'{"text": "Whose?"}', partition_of(b"", 4), {})
    await lanes.drain([record])
    token = Token(1, record.partition, record.offset)
    assert (await lanes.manifests.watermarks())[1, record.partition] == record.offset
    answer = (await lanes.ask("Where is the pump?", mode="retrieve", at_least=[str(token)]))[-1].data["retrieval"]
    assert [(one["status"], one["reason"]) for one in answer["lacking"]] == [("rejected", "document id is empty")]
