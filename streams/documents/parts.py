"""Turn one document version into the parts that travel downstream.

Takes what intake gave and what was read of it, returns the version's parts: chunks in order, and on the last part the
outline of all.  Refuses a text whose outline no record can hold.  Ids and hashes depend on the version and its text
alone, so a repeat writes the same records again.
"""

from collections import Counter
from collections.abc import Iterator

from runtime.settings import Documents
from streams.documents.intake import SourceDocument
from streams.documents.refused import Refused
from streams.documents.text.blocks import Parsed
from streams.documents.text.cut import cut
from streams.documents.text.units import Count
from topics.codec import encode
from topics.documents import Chunk, ChunkRef, DocumentHead, DocumentPart
from topics.identity import DocumentRef, Version, chunk_id, identity_hash, text_hash

_VECTOR_FIELD = len(b',"vector":""')


def vector_room(dimension: int) -> int:
    """Bytes that a vector will add to its chunk in JSON (float32 as base64)."""
    return -(-dimension * 4 // 3) * 4 + _VECTOR_FIELD


def build_parts(
    generation: str,
    ref: DocumentRef,
    version: Version,
    source: SourceDocument,
    parsed: Parsed,
    count: Count,
    settings: Documents,
    *,
    bytes_per_chunk_extra: int = 0,
) -> list[DocumentPart]:
    """Parts of a version, each within ``settings.part_bytes`` when every chunk grows by ``bytes_per_chunk_extra``.

    One chunk that is larger still has a part to itself, as has an outline that is.
    """
    pieces = cut(parsed.blocks, count, settings.chunk_tokens)
    head = DocumentHead(
        title=source.head.title or parsed.title,
        uri=source.head.uri,
        media_type=source.media_type,
        metadata=source.head.metadata,
        access=source.head.access,
        published_at=source.head.published_at,
    )
    chunks, outline = [], []
    seen: Counter[str] = Counter()
    for ordinal, piece in enumerate(pieces):
        named = text_hash(piece.text)
        whole = identity_hash(named, head.access, head.metadata, seen[named])
        seen[named] += 1
        chunks.append(Chunk(ordinal=ordinal, text=piece.text, text_hash=named, hash=whole))
        outline.append(ChunkRef(id=chunk_id(generation, ref, version, ordinal), hash=whole, section=piece.section))

    def part(number: int, of: int, held: list[Chunk], refs: list[ChunkRef] | None) -> DocumentPart:
        return DocumentPart(
            tenant=ref.tenant,
            doc_id=ref.doc_id,
            version=str(version),
            head=head,
            part=number,
            parts=of,
            chunks=held,
            outline=refs,
        )

    # Part numbers are written before they are known; this leaves room for the longest.
    room = settings.part_bytes - len(encode(part(len(chunks) + 1, len(chunks) + 1, [], [])))
    outline_bytes = len(encode(part(len(chunks) + 1, len(chunks) + 1, [], outline)))
    if outline_bytes > settings.max_document_bytes:
        raise Refused(
            f"text makes {len(chunks)} chunks, whose list alone takes {outline_bytes} bytes of at most"
            f" {settings.max_document_bytes}: publish it as several documents"
        )
    groups = list(_grouped(chunks, room, bytes_per_chunk_extra))
    last_group = sum(_size(chunk, bytes_per_chunk_extra) for chunk in groups[-1])
    if outline_bytes + last_group > settings.part_bytes:
        groups.append([])
    return [
        part(number, len(groups), group, outline if number == len(groups) - 1 else None)
        for number, group in enumerate(groups)
    ]


def _size(chunk: Chunk, extra: int) -> int:
    return len(encode(chunk)) + 1 + extra  # and a comma


def _grouped(chunks: list[Chunk], room: int, extra: int) -> Iterator[list[Chunk]]:
    group: list[Chunk] = []
    used = 0
    for chunk in chunks:
        size = _size(chunk, extra)
        if group and used + size > room:
            yield group
            group, used = [], 0
        group.append(chunk)
        used += size
    yield group
