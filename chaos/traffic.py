"""Traffic through the public doors: an author who publishes and readers who ask, each call recorded.

Every loop ends with its event, every call has a deadline.
"""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from chaos.documents import Author, Revision
from chaos.doors import Away, KafkaDoor
from chaos.history import Door, History, Read, Write

POLL, SLOWEST_POLL = 0.02, 1.0  # seconds between looks for an outcome: they become rarer
OUTCOME_SECONDS = 60.0
AGAIN = 0.2  # seconds before a call that failed is made again
_AWAY = (httpx.HTTPError, OSError, Away)


class Traffic:
    """Writers and readers of one run."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        history: History,
        author: Author,
        seed: int,
        edge: httpx.AsyncClient | None = None,
        kafka: KafkaDoor | None = None,
        patience: float = OUTCOME_SECONDS,
    ) -> None:
        self._patience = patience
        self.author = author
        self._http, self._history, self._edge, self._kafka = http, history, edge, kafka
        self._random = random.Random(seed)
        self._newest: dict[str, Write] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def write(self, stop: asyncio.Event, pause: float) -> None:
        """Publish revision after revision; the next of a document only after the last one's fate is known."""
        doors: tuple[Door, ...] = ("http",) if self._kafka is None else ("http", "kafka")
        while not stop.is_set():
            await self.publish(self.author.next(), self._random.choice(doors))
            await asyncio.sleep(pause)

    async def settle(self) -> None:
        """Wait until every acknowledged write has its outcome, or has waited too long for one."""
        if self._watching:
            await asyncio.wait(self._watching)

    async def publish(self, revision: Revision, door: Door = "http") -> Write:
        """Publish until the log has it; its outcome is waited for beside."""
        write = Write(revision, self._history.now(), door=door)
        self._history.writes.append(write)
        while write.result == "unknown":  # sent again until its fate is known: a repeat is the same revision
            try:
                await (self._put(write) if door == "http" else self._produce(write))
            except _AWAY:
                await asyncio.sleep(AGAIN)
        if write.result == "ok":
            task = asyncio.create_task(self._watch(write))
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)
        return write

    async def _produce(self, write: Write) -> None:
        assert self._kafka is not None
        write.token, write.result = str(await self._kafka.publish(write.revision)), "ok"
        write.acknowledged = self._history.now()

    async def _put(self, write: Write) -> None:
        revision, path = write.revision, _path(write.revision.doc_id)
        if revision.deletes:
            response = await self._http.delete(path)
        else:
            body = {
                "text": revision.text,
                "media_type": "text/markdown",
                "title": revision.title,
                "access": list(revision.access),
                "metadata": revision.metadata,
            }
            response = await self._http.put(path, json=body)
        if response.status_code == 202:
            write.token, write.result = response.json()["token"], "ok"
            write.acknowledged = self._history.now()
        elif response.status_code < 500 and response.status_code != 429:
            write.result = "failed"
        else:
            await asyncio.sleep(AGAIN)

    async def _watch(self, write: Write) -> None:
        path = _path(write.revision.doc_id)
        until, pause = self._history.now() + self._patience, POLL
        while self._history.now() < until:
            try:
                response = await self._http.get(path, params={"token": write.token or ""})
                if response.status_code == 200 and (status := response.json()["status"]) != "pending":
                    write.visible, write.status = self._history.now(), status
                    return
            except _AWAY:
                await asyncio.sleep(AGAIN)  # the gateway is down: asked again
            await asyncio.sleep(pause)
            pause = min(SLOWEST_POLL, pause * 2)  # hundreds may wait, and must not be what is measured

    async def read(self, stop: asyncio.Event, pause: float) -> None:
        """Ask about a document for all that is known of it; always by a search, caches have a campaign of their own."""
        while not stop.is_set():
            doc_id = self._random.choice(self.author.doc_ids)
            principal = self._random.choice(["", *self.author.principals])
            await self.ask([doc_id], principal, {"filter": {"about": {"eq": doc_id}}, "cache": False})
            await asyncio.sleep(pause)

    async def ask(self, doc_ids: Sequence[str], principal: str, body: Mapping[str, Any]) -> list[Read]:
        """One question about all of these documents, which is a read of each.

        ``at_least`` in it is a token of the first.  Everyone's question goes through the edge, if there is one.
        """
        began, tokens = self._history.now(), body.get("at_least", [])
        reads = [Read(doc_id, principal, began) for doc_id in doc_ids]
        reads[0].at_least = next(iter(tokens), None)
        self._history.reads += reads
        try:
            question = f"What are the statements of {' and '.join(sorted(doc_ids))}?"
            if self._edge is not None and not principal and set(body) == {"filter"}:
                query = {"q": question, "k": "50", "filter": json.dumps(body["filter"], sort_keys=True)}
                response = await self._edge.get("/v1/retrieve", params=query)
                for read in reads:
                    read.edge = response.headers.get("Freshet-Edge", "")
            else:
                response = await self._http.post(
                    "/v1/retrieve",
                    json={"question": question, "k": 50, "timeout": 10, **body},
                    headers={"Freshet-Principals": principal} if principal else {},
                )
            ended, error = self._history.now(), None
            if response.status_code != 200:
                error = f"{response.status_code} {response.text[:200]}"
        except _AWAY as away:
            ended, error = self._history.now(), repr(away)[:200]
        for read in reads:
            read.ended, read.result, read.error = ended, "failed" if error else "ok", error
        if error is None:
            _note(reads, response.json())
        elif error.startswith("429"):
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))  # as whoever is told so should
        return reads


def _path(doc_id: str) -> str:
    return f"/v1/documents/{quote(doc_id, safe='')}"


def _note(reads: Sequence[Read], found: Mapping[str, Any]) -> None:
    """Who is told what; a passage that nobody asked for is told to the first, whose checker will not know it."""
    by_document = {read.doc_id: read for read in reads}
    for passage in found["passages"]:
        read = by_document.get(passage["doc_id"], reads[0])
        read.passages.append((passage.get("title") or "", passage["text"]))
    for read in reads:
        read.degraded = found["degraded"]
        timings = found.get("timings", {})  # what may be kept has none
        read.cached = "cache" in timings and "manifests" not in timings
