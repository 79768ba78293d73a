"""What changes when a version replaces the current manifest: pure functions over manifests.

A chunk that the document has already, by identity hash, keeps its object; every other chunk is a new object with the
id of this version; an object that is not in the current manifest is never revived.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from connectors.ports import Flip, Manifest, ManifestChunk, StoredChunk, Vectors
from topics.documents import Chunk, ChunkRef, DocumentPart, IndexEvent, LastSeen
from topics.identity import PUBLIC, DocumentRef, Token, chunk_id


@dataclass(frozen=True, slots=True)
class Change:
    """One record of the lane, decoded: a part of a version, or (``part`` None) a delete."""

    ref: DocumentRef
    token: Token
    part: DocumentPart | None
    published_at: int

    @property
    def version(self) -> str:
        return str(self.token.version)

    @property
    def completes(self) -> bool:
        """Whether this record is all that is missing for a flip."""
        return self.part is None or self.part.outline is not None

    @property
    def whole(self) -> bool:
        """Whether this record alone is a whole version, so that it supersedes any earlier one."""
        return self.part is None or self.part.parts == 1


def new_chunks(generation: str, change: Change, current: Manifest) -> list[StoredChunk]:
    """Objects of this part that the document does not have yet."""
    assert change.part is not None
    known = {chunk.hash for chunk in kept(current).values()}
    head, version = change.part.head, change.token.version
    return [
        StoredChunk(
            id=chunk_id(generation, change.ref, version, chunk.ordinal),
            ref=change.ref,
            ordinal=chunk.ordinal,
            text=chunk.text,
            access=tuple(head.access) or (PUBLIC,),
            metadata=head.metadata,
            vector=vector_of(chunk),
        )
        for chunk in change.part.chunks
        if chunk.hash not in known
    ]


def flip_to(change: Change, current: Manifest, now: int, *, keep: bool = False) -> Flip:
    """The flip that makes the change visible, given the manifest it was diffed against.

    ``keep`` keeps objects even of a manifest that is in doubt.
    """
    if change.part is None:
        chunks: dict[str, ManifestChunk] = {}
    else:
        assert change.part.outline is not None
        ids = {chunk.hash: id_ for id_, chunk in (current.chunks if keep else kept(current)).items()}
        chunks = {ids.get(r.hash, r.id): ManifestChunk(r.hash, r.section) for r in change.part.outline}
    doomed = tuple(id_ for id_ in (*current.chunks, *current.doomed) if id_ not in chunks)
    return Flip(
        ref=change.ref,
        expected=current.version,
        version=change.version,
        deleted=change.part is None,
        head=change.part.head if change.part else None,
        chunks=chunks,
        doomed=doomed,
        indexed_at=max(now, current.indexed_at + 1) if current.doubted else now,  # no two editions alike
        view=current.view,
        edition=current.edition,
    )


def kept(current: Manifest) -> Mapping[str, ManifestChunk]:
    """Chunks whose objects a new version may keep: none of a manifest that is in doubt."""
    return {} if current.doubted else current.chunks


def event_of(ref: DocumentRef, manifest: Manifest, seen: LastSeen) -> IndexEvent:
    """What the world is told of a document."""
    return IndexEvent(
        tenant=ref.tenant,
        doc_id=ref.doc_id,
        state="absent" if manifest.version is None else "deleted" if manifest.deleted else "current",
        version=manifest.version,
        head=manifest.head,
        manifest=[ChunkRef(id=id_, hash=c.hash, section=c.section) for id_, c in manifest.chunks.items()],
        indexed_at=manifest.indexed_at,
        last_seen=seen,
    )


def vector_of(chunk: Chunk) -> Vectors:
    """Floats of a chunk's vector; a chunk of ``vectors`` without one breaks the contract."""
    if chunk.vector is None:
        raise ValueError(f"chunk {chunk.ordinal} has no vector")
    return np.frombuffer(chunk.vector, dtype="<f4")
