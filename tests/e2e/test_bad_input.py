"""Every kind of bad input has its answer, loses nothing, and keeps nobody else from theirs."""

import asyncio
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from typer.testing import CliRunner

from cli.__main__ import app
from connectors.memory.manifests import MemoryManifests
from deploy.local.programs import ROOT
from gateway.app import create_app
from gateway.keys import Key, digest, mint, write_keys
from gateway.memory_log import MemoryLog
from tests.e2e.bad_input import callers, folders, jobs, mcp, openai, questions, records, requests, sockets, webhooks
from tests.e2e.bad_input.kinds import Answer, Asked, Http, Produced, Published, Raw
from tests.e2e.bad_input.page import render
from tests.e2e.conftest import DEADLINE, System
from tests.gateway.builders import door_settings
from topics import registry
from topics.identity import DocumentRef, Token, document_key, partition_of
from topics.spec import TopicSpec, dead_letters_of

pytestmark = pytest.mark.servers
PAGE = ROOT / "docs" / "bad-input.md"
SOCKET_SECONDS = 30.0  # longer than the gateway waits for a slow client


class Doors:
    """Sends rows, keeps what was answered, and collects what is not as it should be."""

    def __init__(self, system: System, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.system, self._folder, self._monkeypatch = system, folder, monkeypatch
        self._kafka = system.settings.kafka
        self.seen: dict[str, list[tuple[str, Answer]]] = {}
        self.wrong: list[str] = []

    def note(self, section: str, row: Any, answer: Answer, good: bool) -> None:
        self.seen.setdefault(section, []).append((row.name.strip(), answer))
        if not good:
            self.wrong.append(f"{section}, {row.name}: {answer.outcome}, {answer.said[:300]}")

    def requests(self, section: str, rows: Sequence[Http]) -> None:
        with ThreadPoolExecutor(8) as pool:  # some wait for a freshness that never comes
            for row, (answer, good) in zip(rows, pool.map(self._request, rows), strict=True):
                self.note(section, row, answer, good)

    def keyed(self, section: str, rows: Sequence[Http]) -> None:
        """On a gateway of its own, which lets nobody in: it needs nothing behind it."""
        file, reader, late = self._folder / "keys.jsonl", mint("reader"), mint("late")
        past = datetime(2026, 1, 1, tzinfo=UTC)
        file.write_bytes(
            write_keys(
                [
                    Key(id="reader", sha256=digest(reader), scopes=["read"], created=past),
                    Key(id="late", sha256=digest(late), scopes=["read"], created=past, expires=past),
                ]
            )
        )
        door = create_app(door_settings(API_KEYS_FILE=str(file)), MemoryManifests(), MemoryLog())

        async def ask_all() -> list[httpx.Response]:
            transport = httpx.ASGITransport(cast("Any", door))
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                return [await client.request(r.method, r.path, content=r.body, headers=shown(r)) for r in rows]

        def shown(row: Http) -> list[tuple[bytes, bytes]]:
            return [
                (n.encode(), str(v).replace("{reader}", reader).replace("{late}", late).encode("latin-1"))
                for n, v in row.headers.items()
            ]

        for row, response in zip(rows, asyncio.run(ask_all()), strict=True):
            self.note(section, row, *self._judge(row, response))

    def _request(self, row: Http) -> tuple[Answer, bool]:
        content = row.body if isinstance(row.body, bytes) else None
        headers = [
            (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in row.headers.items()
        ]
        body = row.body if content is None else None
        url = httpx.URL(self.system.http.base_url, raw_path=row.path.encode())
        return self._judge(row, self.system.http.request(row.method, url, content=content, json=body, headers=headers))

    def _judge(self, row: Http, response: httpx.Response) -> tuple[Answer, bool]:
        said = response.json() if "json" in response.headers.get("Content-Type", "") else {}
        good = response.status_code == row.status and row.says in response.text
        if isinstance(told := said.get("error"), dict) and row.path.startswith(openai.PATHS):
            good &= told["code"] == row.kind
            return Answer(f"{response.status_code} {told['code']}", told["message"]), good
        if row.kind is not None:
            good &= response.headers.get("Content-Type") == "application/problem+json"
            good &= said.get("type") == f"urn:freshet:problem:{row.kind}"
            return Answer(
                f"{row.status if good else response.status_code} {row.kind}", said.get("detail", said.get("title", ""))
            ), good
        if row.later:
            status = self.system.wait(row.path.removeprefix("/v1/documents/"), said["token"])
            good &= status["status"] == "rejected" and row.later in (status["reason"] or "")
            return Answer(f"{response.status_code}, then {status['status']}", status["reason"] or ""), good
        if row.path == "/mcp" and row.kind is None:
            found = said.get("result", {}).get("content") or [{"text": said.get("error", {}).get("message")}]
            return Answer(str(response.status_code), found[0]["text"] or response.text), good
        errors = said.get("errors") or []
        lacking = [f"{each['status']}: {each['token']}" for each in said.get("lacking") or []]
        words = errors[0]["detail"] if errors else "; ".join(lacking)
        return Answer(str(response.status_code), words or "taken"), good

    def sockets(self, section: str, rows: Sequence[Raw]) -> None:
        with ThreadPoolExecutor(len(rows)) as pool:
            for row, (answer, good) in zip(rows, pool.map(self._socket, rows), strict=True):
                self.note(section, row, answer, good)

    def _socket(self, row: Raw) -> tuple[Answer, bool]:
        url, answer = self.system.http.base_url, b""
        with socket.create_connection((url.host, url.port), SOCKET_SECONDS) as connection:
            try:
                connection.sendall(row.sent)
                while piece := connection.recv(65536):  # to the end: the gateway must hang up, too
                    answer += piece
            except ConnectionError:  # it hung up while we were still sending; what it said may have come before
                pass
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(b" ")[1].decode() if b" " in head else "none"
        said = body.decode("utf-8", "replace")
        if b"application/problem+json" in head:
            said = str(json.loads(body).get("detail"))
        return Answer(status, said), status == str(row.status) and row.says in said

    def publish(self, section: str, rows: Sequence[Published]) -> None:
        outside: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FRESHET_")}
        for number, row in enumerate(rows):
            home = self._folder / f"{section[-5:]}{number}"
            home.mkdir()
            row.prepare(home)
            self._monkeypatch.chdir(home)
            own = {"XDG_STATE_HOME": str(home / "state"), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
            result = CliRunner().invoke(
                app,
                [
                    "publish",
                    *row.words,
                ],
                env=outside | dict(self.system.stack.environment) | own,
            )
            good = result.exit_code == row.code and row.says in result.output and "Traceback" not in result.output
            good &= result.exception is None or isinstance(result.exception, SystemExit)
            said = next((line for line in result.output.splitlines() if row.says in line), result.output)
            self.note(section, row, Answer(f"exit {result.exit_code}", said.strip(" │")), good)

    def produce(self, section: str, rows: Sequence[Produced]) -> None:
        """All at once; then each is one dead letter, or an indexed document, and nothing else happened."""
        count = self._kafka.partitions
        letters = Letters(self.system, registry.DOCUMENTS)
        sent = []
        for row in rows:
            partition = (partition_of(row.key or b"", count) + row.partition_off_by) % count
            sent.append((partition, row.key, row.value, list(row.headers)))
        places = self._send(letters.topic, sent)
        self._settle()
        found = letters.read()
        for row, place in zip(rows, places, strict=True):
            if isinstance(place, str):
                self.note(
                    section, row, Answer("refused by the broker", place), bool(row.refused) and row.refused in place
                )
                continue
            told = found.pop(place, [])
            if row.says:
                said = "; ".join(told)
                self.note(section, row, Answer("dead letter", said), len(told) == 1 and row.says in said)
            else:
                doc_id = (row.key or b"").decode()
                status = self.system.wait(doc_id, str(Token(1, *place)))
                self.note(section, row, Answer(status["status"], "taken"), not told and status["status"] == "indexed")
        if found:
            self.wrong.append(f"{section}: dead letters of others: {found}")

    def ask(self, section: str, rows: Sequence[Asked]) -> None:
        letters = Letters(self.system, registry.QUERIES)
        headers = [{**records.HOP, **row.headers} for row in rows]
        sent = [
            (0, b"bad", row.value, [h for h in each.items() if h[1] is not None])
            for row, each in zip(rows, headers, strict=True)
        ]
        places = self._send(letters.topic, sent)
        until, found = time.monotonic() + DEADLINE, letters.read()
        while len(found) < len(rows) and time.monotonic() < until:
            time.sleep(0.05)
            found = letters.read()
        for row, place in zip(rows, places, strict=True):
            assert not isinstance(place, str), place
            told = found.pop(place, [])
            self.note(section, row, Answer("dead letter", "; ".join(told)), len(told) == 1 and row.says in told[0])

    def _send(
        self, topic: str, sent: Sequence[tuple[int, bytes | None, bytes | None, list[Any]]]
    ) -> list[tuple[int, int] | str]:
        producer = Producer({"bootstrap.servers": self._kafka.brokers, "message.max.bytes": 20_000_000})
        placed: dict[int, tuple[int, int] | str] = {}

        def confirmed(number: int, error: Any, message: Message) -> None:
            placed[number] = error.str() if error else (message.partition() or 0, message.offset() or 0)

        for number, (partition, key, value, headers) in enumerate(sent):
            producer.produce(
                topic, value, key, partition, headers=headers,
                on_delivery=partial(confirmed, number),
            )  # fmt: skip
            # The broker refuses a batch for one record in it: each goes alone.
            assert producer.flush(30) == 0
        return [placed[number] for number in range(len(sent))]

    def _settle(self) -> None:
        """A good document on each partition, behind all that is bad there: when it is indexed, all before has ended."""
        count = self._kafka.partitions
        doc_ids: dict[int, str] = {}
        for number in range(1000):
            doc_ids.setdefault(partition_of(f"bad/then/good{number}".encode(), count), f"bad/then/good{number}")
        for doc_id in doc_ids.values():
            assert self.system.put(doc_id, f"# Good\n\nThe good document {doc_id} is here.\n")["status"] == "indexed"


class Letters:
    """Dead letters of a topic that come from now on."""

    def __init__(self, system: System, spec: TopicSpec) -> None:
        kafka, generation = system.settings.kafka, system.settings.documents.generation
        self.topic = spec.full_name(kafka.prefix, generation)
        self._dlq = dead_letters_of(spec).full_name(kafka.prefix, generation)
        self._consumer = Consumer(
            {"bootstrap.servers": kafka.brokers, "group.id": "bad-input", "enable.partition.eof": False}
        )
        self._from = self._ends()

    def _ends(self) -> dict[int, int]:
        partitions = self._consumer.list_topics(self._dlq, timeout=10).topics[self._dlq].partitions
        return {
            p: self._consumer.get_watermark_offsets(TopicPartition(self._dlq, p), timeout=10)[1] for p in partitions
        }

    def read(self) -> dict[tuple[int, int], list[str]]:
        """Place of the record in its topic -> the reasons of its letters."""
        ends = self._ends()
        self._consumer.assign([TopicPartition(self._dlq, p, offset) for p, offset in self._from.items()])
        found: dict[tuple[int, int], list[str]] = {}
        for _ in range(sum(ends.values()) - sum(self._from.values())):
            message = self._consumer.poll(10)
            assert message is not None and message.error() is None, message
            headers = {name: bytes(value or b"").decode("utf-8", "replace") for name, value in pairs(message)}
            place = int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"])
            found.setdefault(place, []).append(headers["__connect.errors.exception.message"])
        return found


def pairs(message: Message) -> list[tuple[str, Any]]:
    """Headers of a record, as the client's types do not say."""
    return cast("list[tuple[str, Any]]", message.headers() or [])


def test_bad_input_is_answered(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row gets the answer that a user would want, never a 5xx; a good document after all of them is answerable."""
    doors = Doors(system, tmp_path, monkeypatch)
    with ThreadPoolExecutor(1) as aside:  # it waits for what the gateway gives up on
        slow = aside.submit(doors.sockets, "Connections", sockets.TABLE["Connections"])
        for name, rows in (
            requests.TABLE | questions.TABLE | openai.TABLE | mcp.TABLE | jobs.TABLE | webhooks.TABLE
        ).items():
            doors.requests(name, rows)
        for name, rows in callers.TABLE.items():
            doors.keyed(name, rows)
        for name, produced in records.TABLE.items():
            doors.produce(name, produced)
        doors.ask("Records: questions", records.QUERIES)
        for name, runs in folders.TABLE.items():
            doors.publish(name, runs)
        slow.result()
    said = [
        (name, kind) for name, kinds in doors.seen.items() for kind, answer in kinds if answer.outcome.startswith("5")
    ]
    assert not said, said
    assert not doors.wrong, "\n".join(doors.wrong)

    doc_id = document_key(DocumentRef("default", "bad/at last.md")).decode()
    assert (
        system.put("bad/at%20last.md", "# Avocet\n\nThe avocet sweeps the mud of lake Vern.\n")["status"] == "indexed"
    )
    assert any(passage["doc_id"] == doc_id for passage in system.retrieve("What sweeps the mud of lake Vern?"))
    counts = Counter(kind for kinds in doors.seen.values() for kind, _ in kinds)
    assert counts.total() >= 60

    page = render(doors.seen)
    if page != PAGE.read_text():
        new = tmp_path / PAGE.name
        new.write_text(page)
        raise AssertionError(f"answers differ from the documentation: look, then `cp {new} {PAGE}`")
