"""The map lane on real Kafka: a worker on a topic that is not ours, killed in the middle."""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from cli.topics import plans_of
from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT
from gateway.lanes import Lanes
from runtime.settings import Settings
from topics import provision, registry
from topics.codec import decode
from topics.documents import Document
from topics.identity import partition_of
from topics.spec import TopicSpec, dead_letters_of

pytestmark = pytest.mark.servers
PARTITIONS = 3  # of the user's topic; ours have 4


class Mapper:
    """A worker of the map lane, as a process, and the topic it reads."""

    def __init__(self, settings: Settings, environment: dict[str, str], log: Path) -> None:
        self.topic = f"shop{secrets.token_hex(4)}.articles"
        mapping = {"topic": self.topic, "envelope": "debezium", "id": "key.id", "text": "value.body"}
        prefix = f"m{secrets.token_hex(4)}"
        self._own = environment | {"FRESHET_PREFIX": prefix, "FRESHET_SOURCES": json.dumps([mapping])}
        self.settings, self._environment, self._log = Settings.from_env(self._own), process_environment(self._own), log
        self._brokers: dict[str, str | int | float | bool] = {"bootstrap.servers": settings.kafka.brokers}
        self.admin = AdminClient(self._brokers)
        provision.apply(self.admin, plans_of(self.settings))
        self._producer = Producer({**self._brokers, "partitioner": "murmur2_random", "linger.ms": 5})
        self._process: subprocess.Popen[bytes] | None = None

    def make_topic(self) -> None:
        self.admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(30)

    def send(self, key: int, value: Any) -> None:
        data = None if value is None else json.dumps(value).encode()
        self._producer.produce(self.topic, data, json.dumps({"id": key}).encode())

    def flush(self) -> None:
        assert self._producer.flush(10) == 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "streams", "map"]
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stderr=log, stdout=log)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(20)

    def name(self, spec: TopicSpec) -> str:
        return spec.full_name(self.settings.kafka.prefix, self.settings.documents.generation)

    def read(self, spec: TopicSpec, until: Any, seconds: float = 60.0) -> list[Message]:
        """All of a topic from its beginning until that is enough."""
        consumer = Consumer({**self._brokers, "group.id": "reader", "enable.auto.commit": False})
        consumer.assign([TopicPartition(self.name(spec), p, 0) for p in range(self.settings.kafka.partitions)])
        found: list[Message] = []
        deadline = time.monotonic() + seconds
        while not until(found):
            assert time.monotonic() < deadline, f"{len(found)} records; {self._log.read_text()[-2000:]}"
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append(message)
        consumer.close()
        return found

    def freshet(self, *words: str) -> tuple[int, str]:
        """Exit code and output of the command line."""
        environment = self._environment | {"COLUMNS": "200"}
        command = [sys.executable, "-m", "cli", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def lanes(self) -> Lanes:
        kafka = self.settings.kafka
        return Lanes(self._brokers, kafka.prefix, self.settings.documents.generation, None, [self.topic])


@pytest.fixture
def mapper(settings: Settings, server_environment: dict[str, str], tmp_path: Path) -> Iterator[Mapper]:
    made = Mapper(settings, server_environment, tmp_path / "log")
    yield made
    made.kill()


def text_of(message: Message) -> str | None:
    value = message.value()
    return None if value is None else decode(bytes(value), Document).text


def last(messages: list[Message]) -> dict[bytes, str | None]:
    return {message.key() or b"": text_of(message) for message in messages}


def test_a_topic_of_ones_own(mapper: Mapper) -> None:
    """Rows arrive under their ids, on the partition of murmur2, in order, deletes as nulls, although the worker is
    killed with -9; what has another shape becomes a dead letter that quotes the path; the lane's lag is told."""
    lanes = mapper.lanes()
    checks = asyncio.run(lanes.checks())
    assert mapper.topic in (checks["sources"] or "") and "lane.map" not in checks  # which waits for it
    mapper.start()  # before the topic is there: it waits
    mapper.make_topic()
    rows = 200
    mapper.send(rows, {"op": "c", "after": {"text": "no body"}})
    for round_ in range(3):
        for key in range(rows):
            mapper.send(key, {"op": "u" if round_ else "r", "before": None, "after": {"body": f"{key} v{round_}"}})
        mapper.flush()
        mapper.read(registry.DOCUMENTS, lambda found: len(last(found)) > round_ * 20)  # noqa: B023
        mapper.kill()
        mapper.start()
    for key in range(0, rows, 2):
        mapper.send(key, {"op": "d", "before": None, "after": None})
        mapper.send(key, None)
    mapper.flush()
    wanted = {str(key).encode(): f"{key} v2" if key % 2 else None for key in range(rows)}
    found = mapper.read(registry.DOCUMENTS, lambda found: last(found) == wanted)
    partitions = mapper.settings.kafka.partitions
    assert all(message.partition() == partition_of(message.key() or b"", partitions) for message in found)
    sources = {bytes(dict(message.headers() or [])["freshet-source"] or b"") for message in found}  # type: ignore[arg-type]
    assert all(source.startswith(mapper.topic.encode()) for source in sources) and len(sources) > rows
    letters = mapper.read(dead_letters_of(registry.SOURCES), lambda found: found)
    headers: dict[str, Any] = dict(letters[0].headers() or [])
    assert letters[0].key() == b'{"id": 200}' and headers["__connect.errors.topic"] == mapper.topic.encode()
    assert headers["__connect.errors.exception.message"] == b"text: value.body is missing: value has text"
    until = time.monotonic() + 30
    while asyncio.run(lanes.queue_lengths())["map"]:  # commits come twice a second
        assert time.monotonic() < until
        time.sleep(0.1)
    checks = asyncio.run(lanes.checks())
    assert checks["lane.map"] is None and checks["topics"] is None and "sources" not in checks
    lanes.close()
    code, shown = mapper.freshet("sources", "try", "--records", "1000")
    assert code == 1 and f"{mapper.topic}: {4 * rows + 1} records" in shown, shown
    assert all(said in shown for said in (f"{3 * rows} documents", f"{rows} deletes", "1 refused")), shown
    assert "/0: text: value.body is missing: value has text" in shown and "null: deleted" in shown
