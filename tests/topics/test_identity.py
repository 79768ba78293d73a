"""Keys, versions, tokens and ids: the formats that are public contract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.identity import (
    DocumentRef,
    IdentityError,
    Token,
    Version,
    chunk_id,
    document_key,
    event_key,
    identity_hash,
    job_place,
    mint_job_id,
    parse_document_key,
    parse_event_key,
    parse_part_key,
    part_key,
    partition_of,
)

IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)
REFS = st.builds(DocumentRef, st.sampled_from(["default", "acme"]), IDS)
VERSIONS = st.builds(Version, st.integers(0, 99_999), st.integers(0, 2**63 - 1))


@given(REFS)
def test_keys_come_back(ref: DocumentRef) -> None:
    """A document's key and part keys name exactly that document, whatever its id looks like."""
    assert parse_document_key(document_key(ref), {"default", "acme"}) == ref
    assert parse_part_key(part_key(ref, 3)) == (ref, "3")
    assert parse_event_key(event_key(ref)) == ref


@given(REFS, REFS)
def test_keys_are_injective(one: DocumentRef, other: DocumentRef) -> None:
    """Two documents never share a key, nor a chunk id."""
    if one != other:
        assert document_key(one) != document_key(other) and part_key(one, 0) != part_key(other, 0)
        assert chunk_id("g1", one, Version(1, 1), 0) != chunk_id("g1", other, Version(1, 1), 0)


@given(VERSIONS, VERSIONS)
def test_versions_order_as_texts(one: Version, other: Version) -> None:
    """Fixed-width texts of versions order as the versions do."""
    assert Version.parse(str(one)) == one
    assert (one < other) == (str(one) < str(other))


@pytest.mark.parametrize(
    ("key", "says"),
    [(None, "no key"), (b"", "empty"), (b"\xff", "UTF-8"), (b"@nobody/x", "unknown"), (b"@lonely", "no tenant"),
     (b"a\x00b", "control"), (b"x" * 1025, "1024")],
)  # fmt: skip
def test_wrong_keys_are_told(key: bytes | None, says: str) -> None:
    """A key that breaks the contract is refused with a sentence that says why."""
    with pytest.raises(IdentityError, match=says):
        parse_document_key(key, {"default"})


@pytest.mark.parametrize("text", ["", "1.2", "1.2.3.4", "a.b.c", "1.-2.3", "1.2." + "9" * 30])
def test_wrong_tokens_are_told(text: str) -> None:
    """What is no token is refused."""
    with pytest.raises(IdentityError):
        Token.parse(text)
    assert Token.parse("1.2.3") == Token(1, 2, 3)


def test_partitions_are_javas() -> None:
    """Murmur2 as Java's default partitioner has it: known values of its own tests."""
    # kafka.common.utils.UtilsTest: murmur2("21") = -973932308, murmur2("foobar") = -790332482
    assert partition_of(b"21", 1000) == (-973932308 & 0x7FFFFFFF) % 1000
    assert partition_of(b"foobar", 1000) == (-790332482 & 0x7FFFFFFF) % 1000


def test_identity_covers_what_is_stored() -> None:
    """Access, metadata and repetition change a chunk's identity; the order of the access list does not."""
    base = identity_hash("t", ["a", "b"], {"k": 1})
    assert base == identity_hash("t", ["b", "a"], {"k": 1})
    others = {identity_hash("u", ["a", "b"], {"k": 1}), identity_hash("t", ["a"], {"k": 1}),
              identity_hash("t", ["a", "b"], {"k": 2}), identity_hash("t", ["a", "b"], {"k": 1}, 1)}  # fmt: skip
    assert base not in others and len(others) == 4


def test_jobs_tell_their_place() -> None:
    """A job id carries partition and start time, and two are never alike."""
    one, other = mint_job_id(7, 1_790_000_000.5), mint_job_id(7, 1_790_000_000.5)
    assert job_place(one) == (7, 1_790_000_000_500) and one != other
    with pytest.raises(IdentityError):
        job_place("not-a-job")
