"""Publishing many documents in one request."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from connectors.errors import Transient
from gateway.bulk import MAX_ERRORS, lines
from gateway.memory_log import MemoryLog
from gateway.ports import Place
from topics.spec import TopicSpec

NDJSON = {"Content-Type": "application/x-ndjson"}


def ndjson(*documents: Any) -> bytes:
    """One line each; a string stands for itself."""
    return "\n".join(d if isinstance(d, str) else json.dumps(d) for d in documents).encode()


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    """The body as it may arrive."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_lines_however_they_arrive(size: int) -> None:
    """Lines are the same whatever the pieces; numbers count blank lines; a long one is named and not kept."""
    body = b"one\n\ntwo\r\n" + b"x" * 20 + b"\nlast"
    assert [found async for found in lines(pieces(body, size), 10)] == [
        (1, b"one"),
        (3, b"two\r"),
        (4, None),
        (5, b"last"),
    ]


async def test_all_lines_taken(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """Documents and deletes are published in order; the tokens cover each partition's newest record."""
    body = ndjson({"id": "a/b", "text": "x"}, {"id": "c", "text": "y", "title": "C"}, {"id": "a/b", "deleted": True})
    answer = await client.post("/v1/documents", content=body, headers=NDJSON)
    assert answer.status_code == 202
    assert (answer.json()["accepted"], answer.json()["refused"]) == (3, 0)
    assert [(r.key, r.value is None) for r in log.published] == [(b"a/b", False), (b"c", False), (b"a/b", True)]
    newest = {r.place.partition: r.place.offset for r in log.published}
    assert answer.json()["tokens"] == [f"1.{p}.{o}" for p, o in sorted(newest.items())]
    assert (await client.get("/v1/documents/c")).json()["status"] == "pending"


async def test_a_wrong_line_does_not_stop_the_others(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """207 names line, status and field of each that was refused; the rest is published."""
    body = ndjson(
        {"id": "a", "text": "x"},
        "not json",
        {"id": "", "text": "x"},
        {"id": "b"},
        {"id": "c", "text": "x", "deleted": True},
        {"id": "d", "text": "x", "metadata": {"k": None}},
        {"id": "e", "text": "x" * 5000},
        {"id": "f", "text": "x", "extra": 1},
        {"id": "g", "text": "y"},
    )
    answer = await client.post("/v1/documents", content=body, headers=NDJSON)
    assert answer.status_code == 207
    said = answer.json()
    assert (said["accepted"], said["refused"]) == (2, 7)
    assert [(e["line"], e["status"]) for e in said["errors"]] == [
        (2, 400),
        (3, 422),
        (4, 422),
        (5, 422),
        (6, 422),
        (7, 413),
        (8, 422),
    ]
    assert said["errors"][4]["errors"][0]["pointer"] == "/metadata/k"
    assert [r.key for r in log.published] == [b"a", b"g"]


async def test_the_summary_stays_small(client: httpx.AsyncClient) -> None:
    """However many lines are wrong, only the first are told one by one."""
    answer = await client.post("/v1/documents", content=b"x\n" * 1000, headers=NDJSON)
    said = answer.json()
    assert (said["refused"], len(said["errors"]), said["errors_left_out"]) == (1000, MAX_ERRORS, 1000 - MAX_ERRORS)


async def test_an_outage_says_where_to_go_on(
    client: httpx.AsyncClient, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the log goes away, 503 tells how many lines it has and with which one to begin again."""
    publish = log.publish

    async def fails_third(
        topic: TopicSpec, key: bytes, value: bytes | None, headers: Mapping[str, bytes], timeout: float
    ) -> Place:
        if key == b"d3":
            raise Transient("away")
        return await publish(topic, key, value, headers, timeout)

    monkeypatch.setattr(log, "publish", fails_third)
    body = ndjson(*({"id": f"d{n}", "text": "x"} for n in range(200)))
    answer = await client.post("/v1/documents", content=body, headers=NDJSON)
    assert answer.status_code == 503
    assert (answer.json()["accepted"], answer.json()["next_line"]) == (3, 4)


async def test_other_content_types_are_refused(client: httpx.AsyncClient) -> None:
    """Bulk is NDJSON."""
    answer = await client.post("/v1/documents", json={"id": "a", "text": "x"})
    assert answer.status_code == 415
