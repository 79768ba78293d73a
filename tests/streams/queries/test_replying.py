"""A question whose asker cannot be reached ends; it never ends the worker."""

import pytest

from runtime.clock import SystemClock
from streams.outcome import Emit, Outcome, Record, Refuse
from streams.queries.events import OnRefusedQuery, replying_to
from topics.headers import REPLY_PARTITION, Hop


def question(partition: bytes) -> Record:
    """A record of `queries` that wants its answer there."""
    headers = Hop(job_id="0" * 36, deadline=0, reply_partition=0).headers() | {REPLY_PARTITION: partition}
    return Record("queries", 0, 0, b"key", b"{}", headers, 0)


async def taken(_: Record) -> Outcome:
    """A step that takes everything."""
    return Emit()


@pytest.mark.parametrize("partition", [b"4", b"9999", b"9" * 40])
async def test_a_partition_that_is_none_is_refused(partition: bytes) -> None:
    """The question is a dead letter, and nobody is told where nobody can be."""
    record = question(partition)
    refused = await replying_to(4, taken)(record)
    assert isinstance(refused, Refuse) and "`answers` has 4" in refused.message
    assert await OnRefusedQuery("retrieve", SystemClock(), 4)(record, "rejected", refused.message) == []


async def test_one_that_is_there_is_taken() -> None:
    """The step gets it, and a refusal is told to the asker."""
    assert await replying_to(4, taken)(question(b"3")) == Emit()
    (told,) = await OnRefusedQuery("retrieve", SystemClock(), 4)(question(b"3"), "rejected", "why")
    assert told.partition == 3
