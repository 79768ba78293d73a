"""One document version becomes parts within bounds, with ids, hashes and an outline."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from runtime.settings import Documents
from streams.documents.intake import SourceDocument, read_document
from streams.documents.parts import build_parts, vector_room
from streams.documents.refused import Refused
from streams.documents.text.parse import parse
from topics.codec import encode
from topics.documents import DocumentPart
from topics.identity import DocumentRef, Version, chunk_id, identity_hash, text_hash

REF = DocumentRef("default", "docs/a.md")
VERSION = Version(1, 42)
TEXT = "# Guide\n\n" + "\n\n".join(f"## Step {n}\n\n" + f"Do thing {n} with great care. " * 30 for n in range(60))


def count(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def source(text: str = TEXT, **fields: object) -> SourceDocument:
    return read_document(msgspec.json.encode({"text": text, "media_type": "text/markdown", **fields}), {}, 1)


def build(document: SourceDocument, extra: int = 0, **settings: Any) -> list[DocumentPart]:
    return build_parts(
        "g1",
        REF,
        VERSION,
        document,
        parse(document.text, document.media_type),
        count,
        Documents(**settings),
        bytes_per_chunk_extra=extra,
    )


def test_one_part() -> None:
    """A short document is one part whose outline names its chunks."""
    (part,) = build(source(access=["b", "a"], metadata={"k": 1}, uri="u:x"))
    assert (part.tenant, part.doc_id, part.version, part.part, part.parts) == (
        *REF.path.split("/", 1),
        str(VERSION),
        0,
        1,
    )
    assert (part.head.title, part.head.uri, part.head.media_type) == ("Guide", "u:x", "text/markdown")
    assert part.outline is not None and len(part.outline) == len(part.chunks) > 50
    for ordinal, (chunk, ref) in enumerate(zip(part.chunks, part.outline, strict=True)):
        assert chunk.ordinal == ordinal
        assert chunk.text_hash == text_hash(chunk.text)
        assert chunk.hash == ref.hash == identity_hash(chunk.text_hash, ["a", "b"], {"k": 1})
        assert ref.id == chunk_id("g1", REF, VERSION, ordinal)
    assert part.outline[5].section is not None and part.outline[5].section.startswith("Guide > Step")


def test_own_title_counts_first() -> None:
    """The producer's title is kept; the document's own is the fallback."""
    assert build(source(title="Given"))[0].head.title == "Given"
    assert build(source("no heading"))[0].head.title is None


@pytest.mark.parametrize("extra", [0, vector_room(384)])
def test_parts_keep_their_size(extra: int) -> None:
    """No part grows above the bound, vectors included; the last one alone has the outline of all."""
    parts = build(source(metadata={"note": "n" * 500}), extra, part_bytes=16_000)
    assert len(parts) > 2
    assert [(part.part, part.parts) for part in parts] == [(n, len(parts)) for n in range(len(parts))]
    chunks = [chunk for part in parts for chunk in part.chunks]
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert all(part.outline is None for part in parts[:-1])
    assert parts[-1].outline is not None and len(parts[-1].outline) == len(chunks)
    for part in parts:
        if extra:
            for chunk in part.chunks:
                chunk.vector = b"\xff" * 384 * 4
        assert len(encode(part)) <= 16_000
    assert all(len(encode(part)) > 8_000 for part in parts[:-2])


def test_vector_room_is_exact() -> None:
    """The room for a vector is what a vector takes."""
    (part,) = build(source("word"))
    bare = len(encode(part))
    part.chunks[0].vector = b"\0" * 384 * 4
    assert len(encode(part)) == bare + vector_room(384)


def test_oversized_outline_stands_alone() -> None:
    """An outline that does not fit beside chunks gets a last part of its own."""
    parts = build(source(), part_bytes=4096)
    assert parts[-1].chunks == []
    assert all(len(encode(part)) <= 4096 for part in parts[:-1])


def test_equal_chunks_differ_in_identity() -> None:
    """Two chunks of one text share the vector's name, not the identity."""
    (part,) = build(source("\n\n".join(["Same old words here. " * 10] * 40)))
    assert len({chunk.text_hash for chunk in part.chunks}) < len(part.chunks)
    assert len({chunk.hash for chunk in part.chunks}) == len(part.chunks)


def test_access_changes_identity_alone() -> None:
    """A revoked access changes every identity and no vector."""
    ((before,), (after,)) = build(source(access=["a"])), build(source(access=["b"]))
    assert [chunk.text_hash for chunk in before.chunks] == [chunk.text_hash for chunk in after.chunks]
    assert not {chunk.hash for chunk in before.chunks} & {chunk.hash for chunk in after.chunks}


def test_repeat_is_identical() -> None:
    """The same record gives the same bytes."""
    assert list(map(encode, build(source()))) == list(map(encode, build(source())))


def test_refusals() -> None:
    """No words, or more chunks than a record can list."""
    with pytest.raises(Refused, match="no words"):
        build(source("***"))
    with pytest.raises(Refused, match="several documents"):
        build(source(), max_document_bytes=4096)
