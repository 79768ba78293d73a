"""Epochs as plain functions: which there are, which comes next, which is written when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics import registry
from topics.codec import DecodeError, encode, schema_header
from topics.control import Epoch, Generation
from topics.epochs import (
    ANNOUNCING,
    LEAD,
    PATIENCE,
    QUIET,
    Epochs,
    PartitionsError,
    first_epoch,
    next_epoch,
    read_epochs,
)
from topics.headers import Headers
from topics.identity import partition_of

FIRST = first_epoch("p", 4)
MOVE = 1_000_000.0  # seconds since 1970


def epochs(active_from: int | None = int(MOVE * 1000)) -> Epochs:
    return Epochs([FIRST, Epoch(number=2, topic="p.documents.2", partitions=8, active_from=active_from)])


def record(epoch: Epoch) -> tuple[bytes, bytes, Headers]:
    return f"epoch/{epoch.number}".encode(), encode(epoch), schema_header(epoch)


def test_control_tells_the_epochs() -> None:
    """The last record of each epoch counts, other records do not, and the order is that of the numbers."""
    first, second = epochs().known
    prepared = Epoch(number=2, topic="p.documents.2", partitions=8, active_from=None)
    generation = Generation(name="g1", state="active", model="m", chunk_tokens=200, buckets=1)
    other = (b"generation/g1", encode(generation), schema_header(generation))
    assert read_epochs([record(prepared), other, record(first), record(second)], FIRST).known == [first, second]
    assert read_epochs([other], FIRST).known == [FIRST]
    old = b'{"kind":"epoch","number":1,"topic":"p.documents","partitions":4}'
    assert read_epochs([(b"epoch/1", old, {})], FIRST).known == [FIRST]


def test_an_epoch_of_a_newer_release_is_not_overlooked() -> None:
    """A record of a schema that is not known here is an error: whoever cannot read it must not write documents."""
    with pytest.raises(DecodeError, match="upgrade"):
        read_epochs([(b"epoch/2", b"{}", {"freshet-schema": b"Epoch/2"})], FIRST)


def test_every_epoch_has_its_topic() -> None:
    """The first bears the name alone, others their number; a spec is the same object every time."""
    assert registry.documents_of(1) is registry.DOCUMENTS
    assert registry.documents_of(2) is registry.documents_of(2)
    assert registry.documents_of(2).full_name("p", "g1") == "p.documents.2"
    assert registry.documents_of(2).broker_config(1) == registry.DOCUMENTS.broker_config(1)


@pytest.mark.parametrize(
    ("partitions", "would_do"), [(6, "8"), (10, "8 or 12"), (0, "8"), (4, "8"), (3, "8"), (-4, "8")]
)
def test_counts_that_would_tear_a_document_from_its_partition(partitions: int, would_do: str) -> None:
    """They are refused with those that would do."""
    with pytest.raises(PartitionsError, match=f"{would_do} would do"):
        next_epoch(Epochs([FIRST]), "p", partitions, 4)


def test_the_next_epoch() -> None:
    """It is prepared first; asking again goes on with it, asking for another number does not."""
    prepared = next_epoch(Epochs([FIRST]), "p", 8, 4)
    assert prepared == Epoch(number=2, topic="p.documents.2", partitions=8, active_from=None)
    both = Epochs([FIRST, prepared])
    assert next_epoch(both, "p", 8, 4) is prepared
    with pytest.raises(PartitionsError, match="prepared with 8"):
        next_epoch(both, "p", 12, 4)
    assert next_epoch(epochs(), "p", 12, 4).number == 3


@given(key=st.binary(max_size=40), lane=st.integers(1, 64), times=st.integers(1, 64))
def test_a_document_keeps_its_internal_partition(key: bytes, lane: int, times: int) -> None:
    """Modulo a multiple and then modulo the number is modulo the number."""
    assert partition_of(key, lane * times) % lane == partition_of(key, lane)


def test_writers_move_around_the_time() -> None:
    """Before it the old epoch takes writes, after it the new one, and around it none."""
    both = epochs()
    first, second = both.known
    assert both.writes_at(MOVE - QUIET - 0.01) is first
    assert both.writes_at(MOVE + QUIET) is second
    for at in (MOVE - QUIET, MOVE, MOVE + QUIET - 0.01):
        assert both.writes_at(at) == pytest.approx(MOVE + QUIET - at)
    assert epochs(None).writes_at(MOVE + 1000) is first


@pytest.mark.parametrize("one", [-2.0, 0.0, 2.0])
@pytest.mark.parametrize("other", [-2.0, 0.0, 2.0])
def test_clocks_may_differ_by_four_seconds(one: float, other: float) -> None:
    """Once one gateway has written to the new topic no other chooses the old one."""
    both = epochs()
    times = [MOVE + tenths / 10 for tenths in range(-60, 61)]
    first_new = min(at for at in times if both.writes_at(at + one) == both.newest)
    last_old = max(at for at in times if both.writes_at(at + other) == both.first)
    assert last_old < first_new


def test_who_cannot_read_control_stops_in_time() -> None:
    """Between the moment a blind writer stops and the first write to the new topic lies more than clocks may differ."""
    announced = 0.0
    move = announced + LEAD
    blind_until = announced + ANNOUNCING + PATIENCE  # it looked just before the announcement was in the log
    assert blind_until < move + QUIET - 2 * QUIET
