"""Records and bytes: unknown fields pass, unknown schemas and broken bytes are refused with a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.codec import DecodeError, decode, decode_any, decode_one, encode, schema_header
from topics.documents import Document, DocumentPart, DocumentRefused
from topics.headers import SCHEMA, Hop
from topics.queries import Question

QUESTION = Question(question="Who?", asked_at=1)


def test_the_schema_header_chooses() -> None:
    """With a header the named record is read, without one the first; an unknown name or version is refused."""
    refused = DocumentRefused(tenant="t", doc_id="d", version="v", status="rejected", reason="no")
    known = (DocumentPart, DocumentRefused)
    assert decode_any(encode(refused), schema_header(refused), known) == refused
    assert decode_one(encode(QUESTION), {}, Question) == QUESTION
    for name in (b"Question/2", b"Answer/1", b"\xff"):
        with pytest.raises(DecodeError, match="known"):
            decode_one(encode(QUESTION), {SCHEMA: name}, Question)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    """The decoder never fails in a way of its own."""
    try:
        decode(value, Document)
    except DecodeError as error:
        assert "Document" in str(error)


def test_hops_come_back() -> None:
    """What a hop carries as headers is read back; a missing header is named."""
    hop = Hop(job_id="j", deadline=5, reply_partition=2, tenant="acme", principals=["ann", "b,c"], traceparent="00-x")
    assert Hop.of(hop.headers()) == hop
    with pytest.raises(ValueError, match="freshet-job"):
        Hop.of({})
