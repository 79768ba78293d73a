"""Who asked is told when a document behind the answer changes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from connectors.ports import Flip
from gateway.app import Gateway, create_app
from gateway.memory_log import MemoryLog, Storage
from gateway.stale import LOOK
from tests.gateway.builders import door_settings, event, serving, sse_events
from tests.gateway.log_contract import eventually
from topics.documents import DocumentHead
from topics.identity import DocumentRef

ONE, TWO, THREE = "0001.1", "0001.2", "0001.3"
SECONDS = 5.0  # for anything to be told


async def flip(manifests: MemoryManifests, doc_id: str, version: str, *, deleted: bool = False, **more: Any) -> None:
    """Make a version current."""
    ref = DocumentRef(more.get("tenant", "default"), doc_id)
    (before,) = await manifests.read([ref])
    head = None if deleted else DocumentHead(published_at=1, access=more.get("access", []))
    assert await manifests.flip([Flip(ref, before.version, version, deleted, head, {}, (), 1)]) == [True]


async def ask(client: httpx.AsyncClient, log: MemoryLog, documents: Mapping[str, str], **body: Any) -> str:
    """Ask, and answer from these documents; the answer's id is 2."""
    given = await client.post("/v1/queries", json={"question": "q", "notify_stale": True, **body})
    assert given.status_code == 202, given.text
    job_id = str(given.json()["job_id"])
    log.answer(event("retrieve", "r", 0, "retrieving", job_id=job_id))
    log.answer(event("generate", "g", 0, "generating", job_id=job_id))
    log.answer(event("generate", "g", 1, "answer", {"text": "x", "documents": dict(documents)}, job_id))
    return job_id


async def told(client: httpx.AsyncClient, job_id: str, last: str | None = "2") -> Any:
    """What comes behind an event, in full: (name, id) of each, and the data of the last."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with asyncio.timeout(SECONDS):
        stream = await client.get(f"/v1/queries/{job_id}/events", headers=headers)
    if stream.status_code == 204:
        return None
    data = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    return sse_events(stream.text), data[-1] if data else None


@contextlib.asynccontextmanager
async def following(client: httpx.AsyncClient, app: Gateway, job_id: str) -> AsyncIterator[asyncio.Task[Any]]:
    """A reader who has had the answer and is waiting."""
    before = len(app.watches._watches)
    task = asyncio.create_task(told(client, job_id))
    await eventually(lambda: len(app.watches._watches) > before, SECONDS)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"version": TWO}, {"current": TWO, "deleted": False}),
        ({"version": TWO, "deleted": True}, {"current": TWO, "deleted": True}),
        ({"version": TWO, "access": ["boss"]}, {"current": TWO, "deleted": False}),
    ],
)
async def test_a_change_is_told(
    client: httpx.AsyncClient, app: Gateway, log: MemoryLog, manifests: MemoryManifests,
    change: dict[str, Any], shown: dict[str, Any],
) -> None:  # fmt: skip
    """An edit, a delete and a change of access end the stream with the document's old and new version."""
    for doc_id in ("a", "b"):
        await flip(manifests, doc_id, ONE)
    job_id = await ask(client, log, {"a": ONE, "b": ONE})
    async with following(client, app, job_id) as task:
        await flip(manifests, "b", **change)
        events, data = await task
    assert events == [("answer.stale", "3")]
    assert data == {"documents": [{"doc_id": "b", "version": ONE, **shown}]}
    assert await told(client, job_id, "3") is None
    assert not app.watches._watches


async def test_what_has_nothing_to_do_with_it_is_not_told(
    client: httpx.AsyncClient, app: Gateway, log: MemoryLog, manifests: MemoryManifests
) -> None:
    """Neither another document nor one of another tenant ends the stream, nor does the same version once more."""
    await flip(manifests, "a", ONE)
    job_id = await ask(client, log, {"a": ONE})
    async with following(client, app, job_id) as task:
        await flip(manifests, "b", THREE)
        await flip(manifests, "a", THREE, tenant="acme")
        looks = await count_looks(manifests)
        await eventually(lambda: looks() >= 3, SECONDS)
        assert not task.done()
        await flip(manifests, "a", TWO)
        assert (await task)[0] == [("answer.stale", "3")]


async def count_looks(manifests: MemoryManifests) -> Any:
    """How often the manifests are asked from now on."""
    status, looks = manifests.status, 0

    async def counting(refs: Any) -> Any:
        nonlocal looks
        looks += 1
        return await status(refs)

    manifests.status = counting  # type: ignore[method-assign]
    return lambda: looks


async def test_a_change_before_the_answer_is_told_at_once(
    client: httpx.AsyncClient, log: MemoryLog, manifests: MemoryManifests
) -> None:
    """Between retrieval and answer, or while nobody was connected: whoever comes is told, behind all the rest."""
    await flip(manifests, "a", TWO)
    job_id = await ask(client, log, {"a": ONE})
    events, data = await told(client, job_id, last=None)
    assert events == [
        ("accepted", None),
        ("retrieving", "0"),
        ("generating", "1"),
        ("answer", "2"),
        ("answer.stale", "3"),
    ]
    assert data["documents"] == [{"doc_id": "a", "version": ONE, "current": TWO, "deleted": False}]
    assert (await told(client, job_id))[0] == [("answer.stale", "3")]


async def test_whoever_did_not_ask_for_it_is_not_kept(
    client: httpx.AsyncClient, log: MemoryLog, manifests: MemoryManifests
) -> None:
    """Without the option the stream ends with the answer, and behind it there is nothing."""
    await flip(manifests, "a", TWO)
    job_id = await ask(client, log, {"a": ONE}, notify_stale=False)
    assert (await told(client, job_id, "1"))[0] == [("answer", "2")]
    assert await told(client, job_id) is None


async def test_any_gateway_tells(manifests: MemoryManifests) -> None:
    """A gateway that did not take the question knows from the log that its answer is to be watched."""
    storage, door = Storage(), door_settings()
    logs = [MemoryLog(storage, (0, 1)), MemoryLog(storage, (2, 3))]
    apps = [create_app(door, manifests, log) for log in logs]
    await flip(manifests, "a", ONE)
    async with serving(apps[0]) as first, serving(apps[1]) as second:
        job_id = await ask(first, logs[0], {"a": ONE})
        async with following(second, apps[1], job_id) as task:
            await flip(manifests, "a", TWO)
            assert (await task)[0] == [("answer.stale", "3")]


async def test_time_ends(log: MemoryLog, manifests: MemoryManifests) -> None:
    """Then the stream says that nothing more is told; who comes back later is told of a change all the same."""
    app = create_app(door_settings(GATEWAY_NOTIFY_STALE_FOR="0.4"), manifests, log)
    await flip(manifests, "a", ONE)
    async with serving(app) as client:
        job_id = await ask(client, log, {"a": ONE})
        assert await told(client, job_id) == ([("answer.unwatched", "3")], {"reason": "over"})
        assert await told(client, job_id, "3") is None
        await flip(manifests, "a", TWO)
        assert (await told(client, job_id))[0] == [("answer.stale", "3")]


async def test_what_came_of_nothing_is_not_watched(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """An answer without documents is told as such; a job that failed has nothing to watch."""
    job_id = await ask(client, log, {})
    assert await told(client, job_id) == ([("answer.unwatched", "3")], {"reason": "empty"})
    given = await client.post("/v1/queries", json={"question": "q", "notify_stale": True})
    log.answer(event("retrieve", "r", 0, "error", {"reason": "unavailable"}, given.json()["job_id"]))
    assert [name for name, _ in (await told(client, given.json()["job_id"], None))[0]] == ["accepted", "error"]


async def test_watches_are_bounded(
    client: httpx.AsyncClient, app: Gateway, log: MemoryLog, manifests: MemoryManifests
) -> None:
    """Beyond the bound an answer is not watched, which is told; when another has ended there is room again."""
    app.watches._most = 2
    first, second = [await ask(client, log, {"a": ONE, name: ONE}) for name in "bc"]
    async with following(client, app, first):
        assert await told(client, second) == ([("answer.unwatched", "3")], {"reason": "full"})
    async with following(client, app, first) as task:
        await flip(manifests, "a", TWO)
        assert (await task)[0] == [("answer.stale", "3")]


async def test_many_documents_are_looked_up_in_portions(
    app: Gateway, client: httpx.AsyncClient, log: MemoryLog, manifests: MemoryManifests
) -> None:
    """No call asks about more than a portion, and each document is asked about once however many watch it."""
    asked: list[int] = []
    status = manifests.status

    async def noting(refs: Any) -> Any:
        asked.append(len(refs))
        return await status(refs)

    manifests.status = noting  # type: ignore[method-assign]
    documents = {f"d{n}": ONE for n in range(LOOK + 1)}
    job_id = await ask(client, log, documents)
    async with following(client, app, job_id), following(client, app, job_id) as task:
        asked.clear()
        await eventually(lambda: len(asked) >= 4, SECONDS)
        assert asked[:4] in ([LOOK, 1] * 2, [1, LOOK] * 2)
        await flip(manifests, f"d{LOOK}", TWO)
        assert (await task)[1]["documents"][0]["doc_id"] == f"d{LOOK}"


async def test_a_state_store_that_is_away_is_waited_for(
    client: httpx.AsyncClient, app: Gateway, log: MemoryLog, manifests: MemoryManifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is told that is not known; what changed meanwhile is told when it is back."""
    await flip(manifests, "a", ONE)
    job_id = await ask(client, log, {"a": ONE})
    looks = 0

    async def away(_: Any) -> Any:
        nonlocal looks
        looks += 1
        raise Transient("away")

    with monkeypatch.context() as patch:
        patch.setattr(manifests, "status", away)
        async with following(client, app, job_id) as task:
            await flip(manifests, "a", TWO)
            await eventually(lambda: looks >= 2, SECONDS)
            assert not task.done()
            patch.undo()
            assert (await task)[0] == [("answer.stale", "3")]


async def test_a_gateway_that_stops_lets_go(
    client: httpx.AsyncClient, app: Gateway, log: MemoryLog, manifests: MemoryManifests
) -> None:
    """The stream ends without a last event, so that its reader comes back to another gateway."""
    await flip(manifests, "a", ONE)
    job_id = await ask(client, log, {"a": ONE})
    async with following(client, app, job_id) as task:
        app.let_go()
        assert await task == ([], None)


async def test_heartbeats_while_nothing_changes(log: MemoryLog, manifests: MemoryManifests, app: Gateway) -> None:
    """Silence is told, so that proxies keep the connection."""
    async with serving(app) as client:
        await flip(manifests, "a", ONE)
        job = await app.desk.find(await ask(client, log, {"a": ONE}), "default")
        used = job.last_used
        stream = app.watches.follow(job, 0.05)
        assert await anext(stream) is None
        assert await anext(stream) is None
        assert job.last_used > used  # a job that somebody watches is not forgotten
        await stream.aclose()
        assert not app.watches._watches


async def test_passages_alone_are_not_watched(client: httpx.AsyncClient, log: MemoryLog) -> None:
    """They come without a stream: 422 says where to ask."""
    answer = await client.post("/v1/retrieve", json={"question": "q", "notify_stale": True})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/notify_stale"
    assert not log.published
