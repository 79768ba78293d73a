"""An audit's memory does not grow with the number of documents."""

import tracemalloc

import numpy as np

from connectors.ports import Manifest, ManifestChunk, StoredChunk
from streams.documents.diff import event_of
from tests.streams.audit.world import World
from topics import registry
from topics.codec import encode
from topics.documents import DocumentHead, LastSeen
from topics.identity import (
    PUBLIC,
    DocumentRef,
    Version,
    chunk_id,
    document_key,
    event_key,
    identity_hash,
    partition_of,
    text_hash,
)

FEW, MANY = 2_500, 7_500
HELD = 300  # bytes a document: what lists of the adapters in memory take; a document kept whole takes 2,000


async def filled(documents: int) -> World:
    """As if the lane had worked on so many documents; one of a thousand lost its object."""
    world = World()
    vector = np.ones(world.encoder.dimension, np.float32)
    log, events = world.topics[registry.DOCUMENTS.name], world.topics[registry.INDEX_EVENTS.name]
    for n in range(documents):
        ref, text = DocumentRef("default", f"folder/document-{n:07d}"), f"The text of document {n}."
        partition = partition_of(document_key(ref), world.settings.kafka.partitions)
        record = log.append(partition, document_key(ref), b"{}", {}, n)
        version = Version(1, record.offset)
        head = DocumentHead(published_at=n, metadata={"number": n})
        line = ManifestChunk(identity_hash(text_hash(text), [], head.metadata))
        id_ = chunk_id("g1", ref, version, 0)
        seen = LastSeen(version=str(version), status="indexed", at=n)
        manifest = Manifest(version=str(version), head=head, chunks={id_: line}, last_seen=seen, indexed_at=n)
        world.manifests._manifests[ref] = manifest
        world.manifests._watermarks[1, partition] = record.offset
        events.append(partition, event_key(ref), encode(event_of(ref, manifest, seen)), {}, n)
        if n % 1000:
            chunk = StoredChunk(id_, ref, 0, text, (PUBLIC,), head.metadata, vector)
            world.store._chunks["default", id_] = chunk
    return world


async def test_memory_stays_flat() -> None:
    """Three times as many documents take hardly more memory to audit, and every one of them was compared."""
    peaks = []
    for documents in (FEW, MANY):
        world = await filled(documents)
        tracemalloc.start()
        report, found = await world.audit()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (report.documents, report.objects) == (documents, documents - -(-documents // 1000))
        assert {f.kind for f in found} == {"missing"} and len(found) == -(-documents // 1000)
    few, many = peaks
    assert (many - few) / (MANY - FEW) < HELD, peaks
