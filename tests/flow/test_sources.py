"""Rows of a user's topic all the way to what is visible, in process."""

import json
import time
from typing import Any

from runtime import metrics
from runtime.sources import read_sources
from streams.outcome import Emit, Record
from streams.sources.map import Map
from tests.flow.inline import Lanes
from topics.identity import partition_of
from topics.registry import DOCUMENTS

MAPPING = {
    "topic": "shop.articles", "envelope": "debezium", "id": "key.id", "text": "value.body", "title": "value.title",
    "access": "value.groups || ['*']", "deleted": "value.state == 'withdrawn'",
}  # fmt: skip
STAGE = Map(read_sources(json.dumps([MAPPING])), {"default"}, 64)


def change(op: str, key: int, body: str, offset: int, **fields: Any) -> Record:
    row = {"id": key, "title": "Pumps", "body": body, "groups": None, "state": "there"} | fields
    value = {"op": op, "before": row, "after": None} if op == "d" else {"op": op, "before": None, "after": row}
    return Record(
        "shop.articles", 0, offset, b'{"id":%d}' % key, json.dumps(value).encode(), {}, int(time.time() * 1000)
    )


async def mapped(lanes: Lanes, *records: Record) -> None:
    for outcome in await STAGE.step(records):
        if isinstance(outcome, Emit):
            (output,) = outcome.outputs
            partition = partition_of(output.key, lanes.epochs.newest.partitions)
            await lanes.drain([lanes.append(DOCUMENTS, output.key, output.value, partition, dict(output.headers))])


async def test_rows_become_visible_and_vanish() -> None:
    """A row is answerable as its mapping says, an update replaces it, a delete removes it."""
    lanes = Lanes()
    await mapped(lanes, change("r", 7, "The red pump moves water.", 0))
    assert lanes.event("7").state == "current"
    await mapped(lanes, change("u", 7, "The blue pump moves oil.", 1, groups=["staff"]))
    head = lanes.event("7").head
    assert head is not None and (head.title, head.access) == ("Pumps", ["staff"])
    await mapped(lanes, change("u", 7, "The blue pump moves oil.", 2, state="withdrawn"))
    assert lanes.event("7").state == "deleted"
    await mapped(lanes, change("u", 7, "Back again.", 3), change("d", 8, "", 4))
    assert (lanes.event("7").state, lanes.event("8").state) == ("current", "deleted")
    assert not lanes.refused


async def test_redelivery_writes_nothing() -> None:
    """The same row again is a new version of equal content: no vector is computed, no object written or deleted."""
    lanes, row = Lanes(), change("c", 7, "The red pump moves water. " * 40, 0)
    await mapped(lanes, row)
    before = lanes.event("7")
    counters = (metrics.chunks_encoded, metrics.objects_written, metrics.objects_deleted)
    values = [counter._value.get() for counter in counters]
    await mapped(lanes, row)
    after = lanes.event("7")
    assert [counter._value.get() for counter in counters] == values
    assert after.manifest == before.manifest and (after.version or "") > (before.version or "")
