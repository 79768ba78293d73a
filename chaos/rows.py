"""Rows of a table in a topic of the user's own, as a connector writes them: the map lane makes documents of them.

Nobody tells such a document's token, so its outcome is known when it is shown, or, deleted, shown no more.  Then its
row is left alone for longer than a commit interval: a row that changed twice within one may for a moment be seen as it
was before, when the lane dies (docs/sources.md).
"""

import asyncio
import json
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from chaos.documents import Author, Revision
from chaos.doors import Away, KafkaDoor
from chaos.history import History, Write
from chaos.traffic import AGAIN, SLOWEST_POLL, Traffic

PARTITIONS = 2
COUNT = 4
ALONE = 3.0  # seconds
_READY_SECONDS = 30.0
_POLL = 0.1


def topic_of(prefix: str) -> str:
    """The table's, in an installation with this prefix."""
    return f"{prefix}-rows"


def sources(prefix: str) -> str:
    """``FRESHET_SOURCES`` for it."""
    parts = {name: f"value.{name}" for name in ("text", "title", "access")}
    metadata = {name: f"value.{name}" for name in ("about", "group")}
    source = {"topic": topic_of(prefix), "id": "key", "media_type": "'text/markdown'", **parts, "metadata": metadata}
    return json.dumps([source])


def create(admin: AdminClient, topic: str, copies: int) -> None:
    """The topic, which a table's connector would make."""
    admin.create_topics([NewTopic(topic, PARTITIONS, copies)])[topic].result(_READY_SECONDS)


def row_of(revision: Revision) -> bytes | None:
    """As it lies in the topic; None where the row was deleted."""
    if revision.deletes:
        return None
    row: dict[str, Any] = {"text": revision.text, "title": revision.title, "access": list(revision.access) or ["*"]}
    return json.dumps(row | revision.metadata).encode()


class Rows:
    """One table and who writes it; ``traffic`` looks what has come of it."""

    def __init__(
        self, traffic: Traffic, history: History, author: Author, door: KafkaDoor, topic: str, patience: float
    ) -> None:
        self._traffic, self._history, self._author = traffic, history, author
        self._door, self._topic, self._patience = door, topic, patience
        self._seen_by: dict[str, str] = {}  # by document, who was shown it last: only he can tell that it is gone

    async def write(self, stop: asyncio.Event) -> None:
        """One change after another, each followed to its outcome."""
        while not stop.is_set():
            write = Write(self._author.next(), self._history.now(), door="rows")
            self._history.writes.append(write)
            await self._produce(write)
            await self._watch(write)
            await asyncio.sleep(ALONE)

    async def _produce(self, write: Write) -> None:
        revision = write.revision
        while write.result == "unknown":  # sent again until its fate is known: a repeat is the same revision
            try:
                await self._door.send_to(self._topic, revision.doc_id.encode(), row_of(revision), [])
            except Away:
                await asyncio.sleep(AGAIN)
            else:
                write.result, write.acknowledged = "ok", self._history.now()

    async def _watch(self, write: Write) -> None:
        revision, pause = write.revision, _POLL
        until = self._history.now() + self._patience
        reader = next(iter(revision.access), "")
        if revision.deletes:
            reader = self._seen_by.get(revision.doc_id, "")
        asked = {"filter": {"about": {"eq": revision.doc_id}}, "cache": False}
        while self._history.now() < until:
            (read,) = await self._traffic.ask([revision.doc_id], reader, asked)
            shown = {title for title, _ in read.passages}
            gone = revision.deletes and read.result == "ok" and not read.degraded and not shown
            if gone or revision.title in shown:
                write.visible, write.status = read.ended, "deleted" if gone else "indexed"
                self._seen_by[revision.doc_id] = reader
                return
            await asyncio.sleep(pause)
            pause = min(SLOWEST_POLL, pause * 2)
