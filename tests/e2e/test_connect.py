"""A real worker of Kafka Connect, with the documented connector and stock transforms."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from deploy.local.cache import cache_folder, is_complete
from deploy.local.own_stack import process_environment
from deploy.local.parts import CONNECT_POM, KAFKA_VERSION, locate
from deploy.local.programs import ROOT
from tests.e2e.conftest import System
from topics.epochs import first_epoch

pytestmark = pytest.mark.servers


@contextmanager
def running(command: list[str], log: Path, **options: Any) -> Iterator[None]:
    """A process that ends with the block; its output is told when the block fails."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        yield
    except BaseException:
        sys.stderr.write(log.read_text()[-4000:])
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def changed(file: Path, /, **settings: str) -> str:
    """A properties file with some settings in place of its own; each must be there, or be marked as new by +."""
    lines = {line.partition("=")[0]: line for line in file.read_text().splitlines() if not line.startswith("#")}
    for name, value in settings.items():
        key = name.replace("_", ".").removeprefix("new.")
        assert name.startswith("new_") or key in lines, key
        lines[key] = f"{key}={value}"
    return "\n".join(lines.values()) + "\n"


def wait(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def test_lines_of_a_file_become_versions(system: System, tmp_path: Path) -> None:
    """The documented connector publishes each new line as the next version of one document; and a connector that
    writes Connect's own envelope to a topic of the user's is mapped."""
    libs = cache_folder(os.environ) / "parts" / f"connect-{KAFKA_VERSION}"
    if not is_complete(libs):
        pytest.skip("the jars of Kafka Connect are not here: STRICT=1 make test fetches them")
    kafka = system.settings.kafka
    (tmp_path / "a.txt").write_text("Pump 3 is off until Tuesday.\n")
    (tmp_path / "b.txt").write_text("The old valve leaks.\n")
    topic, examples = f"plant.lines.{secrets.token_hex(4)}", CONNECT_POM.parent
    admin = AdminClient({"bootstrap.servers": kafka.brokers})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = {
        "worker": changed(
            examples / "worker.properties", bootstrap_servers=kafka.brokers, listeners=f"http://127.0.0.1:{port}",
            offset_storage_file_filename=str(tmp_path / "offsets"),
        ),
        "a": changed(
            examples / "notice.properties", file=str(tmp_path / "a.txt"), topic=first_epoch(kafka.prefix, 4).topic
        ),
        "b": changed(
            examples / "notice.properties", name="b", file=str(tmp_path / "b.txt"), topic=topic,
            transforms="text,id,title,key,bare", transforms_id_static_value="plant/valves",
            new_value_converter="org.apache.kafka.connect.json.JsonConverter",
            new_value_converter_schemas_enable="true",
        ),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / f"{name}.properties").write_text(text)
    java = [locate(cache_folder(os.environ), os.environ).java, "-Xmx256m", "-cp", f"{libs}/libs/*"]
    connect = [*java, "org.apache.kafka.connect.cli.ConnectStandalone"]
    mapping = [{"topic": topic, "envelope": "connect", "id": "value.id", "text": "value.text", "title": "value.title"}]
    environment = process_environment({**system.stack.environment, "FRESHET_SOURCES": json.dumps(mapping)})

    def says(question: str, doc_id: str, words: str) -> Callable[[], Any]:
        def look() -> list[dict[str, Any]]:
            found = system.retrieve(question, cache=False)
            return [p for p in found if p["doc_id"] == doc_id and p["text"].endswith(words)]

        return look

    with (
        running([*connect, *(str(tmp_path / f"{name}.properties") for name in files)], tmp_path / "connect.log"),
        running([sys.executable, "-m", "streams", "map"], tmp_path / "map.log", cwd=ROOT, env=environment),
    ):
        wait(says("Is pump 3 off?", "plant/notice", "Pump 3 is off until Tuesday."))
        (found,) = wait(says("Does the old valve leak?", "plant/valves", "The old valve leaks."))
        assert found["title"] == "Notice of the plant"
        for name, words in (("a", "Pump 3 is on again."), ("b", "The new valve is tight.")):
            with (tmp_path / f"{name}.txt").open("a") as file:
                file.write(words + "\n")
        wait(says("Is pump 3 on?", "plant/notice", "Pump 3 is on again."))
        wait(says("Is the valve tight?", "plant/valves", "The new valve is tight."))
    assert not says("Is pump 3 off?", "plant/notice", "off until Tuesday.")()
