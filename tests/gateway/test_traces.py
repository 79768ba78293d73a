"""Where traces begin and end: at the door."""

from collections.abc import Iterator

import httpx
import pytest

from connectors.errors import Transient
from gateway.memory_log import MemoryLog, Record
from gateway.ports import LoggedEvent
from tests.gateway.builders import whole_story
from tests.traces import InMemory, traced
from topics.headers import TRACEPARENT
from topics.registry import DOCUMENTS

CALLER = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def memory() -> Iterator[InMemory]:
    with traced() as found:
        yield found


def trace_of(record: Record) -> str:
    """Without its flags: a trace that begins here says that its id is random."""
    return record.headers[TRACEPARENT].decode()[:-2]


async def test_a_question_begins_a_trace(client: httpx.AsyncClient, log: MemoryLog, memory: InMemory) -> None:
    """Asked without a trace, the question's span is the first; with one it is below the caller's; the log has its."""
    await client.post("/v1/queries", json={"question": "why?"})
    await client.post("/v1/queries", json={"question": "why?"}, headers={"traceparent": CALLER})
    first, second = memory.named("freshet.ask")
    assert (first.parent, second.parent, second.trace) == (None, "b" * 16, "a" * 32)
    assert [trace_of(record) for record in log.published] == [first.traceparent[:-2], second.traceparent[:-2]]
    assert log.published[0].key == str(first.attributes["freshet.job"]).encode()
    assert "why" not in repr(memory.told())


async def test_a_document_begins_a_trace(client: httpx.AsyncClient, log: MemoryLog, memory: InMemory) -> None:
    """A version that is put, and a delete, begin a trace or go on with the caller's; the span tells the token."""
    put = await client.put("/v1/documents/a", content=b"secret", headers={"Content-Type": "text/plain"})
    await client.delete("/v1/documents/a", headers={"traceparent": CALLER})
    first, second = memory.named("freshet.publish")
    assert (first.parent, second.parent) == (None, "b" * 16) and first.trace != second.trace
    assert [trace_of(record) for record in log.published] == [first.traceparent[:-2], second.traceparent[:-2]]
    assert first.attributes["freshet.token"] == put.json()["token"]
    assert first.attributes["freshet.document"] == "default/a" and "secret" not in repr(memory.told())


async def test_documents_in_bulk_have_a_trace_each(client: httpx.AsyncClient, log: MemoryLog, memory: InMemory) -> None:
    """One request, as many traces as lines: each with a link to the caller's, none within it."""
    body = b'{"id": "a", "text": "x"}\n{"id": "b", "text": "y"}'
    headers = {"Content-Type": "application/x-ndjson", "traceparent": CALLER}
    assert (await client.post("/v1/documents", content=body, headers=headers)).status_code == 202
    spans = memory.named("freshet.publish")
    assert len({span.trace for span in spans} - {"a" * 32}) == 2
    assert [span.links for span in spans] == [["a" * 32]] * 2 and {span.parent for span in spans} == {None}
    assert sorted(map(trace_of, log.published)) == sorted(span.traceparent[:-2] for span in spans)
    assert all(record.topic is DOCUMENTS for record in log.published)


async def test_a_broker_that_is_away_is_told(client: httpx.AsyncClient, log: MemoryLog, memory: InMemory) -> None:
    """A question that could not be published has a span that failed."""
    await client.post("/v1/queries", json={"question": "why?"})
    log.failure = Transient("away", reason="broker")
    await client.put("/v1/documents/a", content=b"x", headers={"Content-Type": "text/plain"})
    assert [span.failed for span in memory.told()] == [None, "Transient"]


async def test_the_reply_ends_the_trace(client: httpx.AsyncClient, log: MemoryLog, memory: InMemory) -> None:
    """When the final event is read there is one span for it, below that of the worker that wrote it."""
    job = (await client.post("/v1/queries", json={"question": "why?"})).json()["job_id"]
    for event in whole_story(job):
        log.answer(event, CALLER)
    (reply,) = memory.named("freshet.reply")
    assert (reply.trace, reply.parent, reply.attributes["freshet.job"]) == ("a" * 32, "b" * 16, job)
    assert reply.attributes["freshet.event"] == "answer" and reply.failed is None
    assert LoggedEvent(0, whole_story(job)[0], 1).traceparent is None
