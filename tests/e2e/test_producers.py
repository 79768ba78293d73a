"""Producers in several languages, as docs/producers.md shows them: one key is one document in one partition."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from deploy.local.cache import cache_folder
from deploy.local.parts import locate
from deploy.local.programs import ROOT
from tests.e2e.conftest import System
from topics import registry
from topics.identity import Token, partition_of

pytestmark = pytest.mark.servers
EXAMPLES = ROOT / "docs" / "examples"
JAVA_COMPILES = "jdk.compiler"  # the module that runs a source file as it is


def commands(system: System) -> dict[str, list[str]]:
    """How each example is run, without its arguments."""
    parts = locate(cache_folder(os.environ), os.environ)
    modules = subprocess.run([parts.java, "--list-modules"], capture_output=True, text=True, timeout=30, check=True)
    if JAVA_COMPILES not in modules.stdout:
        pytest.skip(f"{parts.java} has no {JAVA_COMPILES}: install a JDK, 17 or newer")
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed: apt-get install kcat")
    return {
        "kcat": ["sh", str(EXAMPLES / "publish.sh")],
        "confluent-kafka": [sys.executable, str(EXAMPLES / "publish_confluent.py")],
        "aiokafka": [sys.executable, str(EXAMPLES / "publish_aiokafka.py")],
        "Java": [parts.java, "-Xmx128m", "-cp", f"{parts.kafka_libs}/*", str(EXAMPLES / "Publish.java")],
    }


class Documents:
    """The records of one key in `documents`, wherever they lie."""

    def __init__(self, system: System, key: str) -> None:
        kafka = system.settings.kafka
        self.topic, self._key = registry.DOCUMENTS.full_name(kafka.prefix, ""), key.encode()
        self._consumer = Consumer({"bootstrap.servers": kafka.brokers, "group.id": "look", "enable.auto.commit": False})
        self._consumer.assign([TopicPartition(self.topic, p, 0) for p in range(kafka.partitions)])
        self.found: list[Message] = []

    def wait(self, count: int) -> Message:
        """The record that is number ``count``."""
        until = time.monotonic() + 30
        while len(self.found) < count:
            assert time.monotonic() < until, f"{len(self.found)} of {count}"
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None and message.key() == self._key:
                self.found.append(message)
        return self.found[count - 1]


def test_one_key_from_everywhere_is_one_document(system: System, tmp_path: Path) -> None:
    """kcat, Python, Java and the gateway put a key into one partition, and each replaces or deletes what the others
    wrote."""
    key = f"producers/{secrets.token_hex(4)}/señal.md"
    documents = Documents(system, key)

    def through_gateway(words: str | None) -> None:
        url, headers = f"/v1/documents/{key}", {"Content-Type": "text/markdown"}
        answer = system.http.delete(url) if words is None else system.http.put(url, content=words, headers=headers)
        assert answer.status_code == 202, answer.text

    def through(command: list[str]) -> Callable[[str | None], None]:
        def publish(words: str | None) -> None:
            arguments = [system.settings.kafka.brokers, documents.topic, key]
            if words is not None:
                file = tmp_path / "note.md"
                file.write_text(words)
                arguments += [str(file), "text/markdown"]
            done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr

        return publish

    producers = {name: through(command) for name, command in commands(system).items()} | {"gateway": through_gateway}
    count, versions = 0, []
    for name, publish in producers.items():
        for words in (f"# Signal\n\nThe lamp was lit by {name}.", None):
            publish(words)
            count += 1
            record = documents.wait(count)
            assert (record.value() is None) is (words is None), name
            partition, offset = record.partition(), record.offset()
            assert partition is not None and offset is not None
            status = system.wait(key, str(Token(1, partition, offset)))
            assert status["status"] == ("deleted" if words is None else "indexed"), (name, status)
            versions.append(status["version"])
            passages = [p for p in system.retrieve(f"Who lit the lamp, {name}?") if p["doc_id"] == key]
            assert len(passages) == (0 if words is None else 1), name
            assert words is None or name in passages[0]["text"]
    assert versions == sorted(set(versions)) and len(versions) == 2 * len(producers)
    assert {record.partition() for record in documents.found} == {partition_of(key.encode(), 4)}
