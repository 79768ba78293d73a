"""Readers, and the stages behind them, under records that nobody in his right mind would write.

`python -m tests.fuzz` does the same for as long as one likes, and on real lanes.
"""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.outcome import Record
from tests.flow.inline import Lanes
from tests.fuzz.readers import OF_RECORDS, OF_TEXTS, read
from tests.fuzz.records import VALID, records, tokens
from topics.codec import decode, encode

QUICK = settings(
    max_examples=120, deadline=2000, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@pytest.mark.parametrize("name", OF_RECORDS)
@QUICK
@given(record=records())
def test_a_reader_reads_or_refuses(name: str, record: Record) -> None:
    """Any record gives something, or the error that becomes a dead letter; never another."""
    read(name, record)


@pytest.mark.parametrize("name", OF_TEXTS)
@QUICK
@given(text=tokens | st.text(max_size=60))
def test_a_text_is_read_or_refused(name: str, text: str) -> None:
    """Any text gives something, or the error that becomes a 4xx."""
    read(name, text)


@pytest.mark.parametrize("valid", VALID, ids=lambda record: type(record).__name__)
def test_what_is_written_is_read(valid: msgspec.Struct) -> None:
    """Every kind of record survives the way through bytes."""
    assert decode(encode(valid), type(valid)) == valid


@settings(parent=QUICK, max_examples=60)
@given(batch=st.lists(records(), max_size=3))
async def test_a_stage_has_an_outcome_for_every_record(batch: list[Record]) -> None:
    """No record makes a stage raise: it would kill the worker, and others with it, until it is taken for poison."""
    await through_stages(batch)


async def through_stages(batch: list[Record]) -> None:
    """Give a batch to each stage, over adapters in memory; formats that other processes read are left out."""
    lanes = Lanes()
    plain = [record for record in batch if b"/" not in record.headers.get("content-type", b"text/").lower()[:5]]
    for stage, given_ in ((lanes.chunk, plain), (lanes.embed, batch), (lanes.index, batch)):
        outcomes = await stage.step(given_)
        assert len(outcomes) == len(given_)
        for record in given_:
            await stage.on_refused(record, "rejected", "for a test")
    for record in batch:
        await lanes.retrieve.step(record)
        await lanes.generate.step(record)
