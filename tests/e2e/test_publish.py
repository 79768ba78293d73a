"""`freshet publish` on the real system: deletes, follows a folder, resumes, previews."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from cli.__main__ import app
from cli.control import read_epochs
from cli.topics import plans_of
from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT
from runtime.settings import Settings
from tests.e2e.conftest import DEADLINE, System
from topics import provision, registry

pytestmark = pytest.mark.servers
TEXT = "# {name}\n\nThe {name} stands at the weir and waits for the evening.\n"


class Shell:
    """The command in a folder of its own, with a journal of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.journals = folder.parent / "state" / "freshet" / "publish"
        self._environment = environment | {"XDG_STATE_HOME": str(folder.parent / "state"), "COLUMNS": "200"}

    def __call__(self, *words: str, code: int = 0) -> str:
        """One run, to its end."""
        outside: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FRESHET_")}
        result = CliRunner().invoke(app, ["publish", *words], env=outside | self._environment)
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """A run of its own; what it says goes into :attr:`said`."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        own = process_environment(self._environment | {"PYTHONPATH": path})
        with self.said.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-u", "-m", "cli", "publish", *words],
                cwd=self.folder, stdout=out, stderr=out, env=own,
            )  # fmt: skip

    @property
    def said(self) -> Path:
        return self.folder.parent / "said"

    def write(self, name: str, text: str | None = None) -> Path:
        path = self.folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT.format(name=path.stem) if text is None else text)
        return path

    def notes(self) -> dict[str, str]:
        """Document -> digest, as the journal has it."""
        (journal,) = self.journals.glob("*.jsonl")
        lines = [json.loads(line) for line in journal.read_bytes().rpartition(b"\n")[0].splitlines()]
        return {line[0]: line[1] for line in lines}


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.fixture
def shell(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """On the system; ids begin with a folder that no other test has."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Shell(folder, dict(system.stack.environment))


@pytest.fixture
def topics_only(shell: Shell, system: System) -> Iterator[tuple[Shell, Settings]]:
    """On topics of its own, which no worker reads."""
    environment = dict(system.stack.environment) | {"FRESHET_PREFIX": f"p{secrets.token_hex(4)}"}
    settings = Settings.from_env(environment)
    provision.apply(AdminClient({"bootstrap.servers": settings.kafka.brokers}), plans_of(settings))
    read_epochs(settings)  # which waits for the leader of a topic that was just made
    yield Shell(shell.folder, environment), settings


def records(settings: Settings) -> list[tuple[str, bytes | None]]:
    """All of `documents`: key and value, partition by partition, as a reader of several gets them in any order."""
    topic = registry.DOCUMENTS.full_name(settings.kafka.prefix, settings.documents.generation)
    consumer = Consumer({"bootstrap.servers": settings.kafka.brokers, "group.id": "reader"})
    places = [TopicPartition(topic, p, 0) for p in range(settings.kafka.partitions)]
    left = sum(ends(consumer, place) for place in places)
    consumer.assign(places)
    found: list[tuple[tuple[int, int], str, bytes | None]] = []
    while len(found) < left:
        message = consumer.poll(10)
        assert message is not None and message.error() is None
        key, value, partition, offset = message.key(), message.value(), message.partition(), message.offset()
        assert isinstance(key, bytes) and not isinstance(value, str) and partition is not None and offset is not None
        found.append(((partition, offset), key.decode(), value))
    consumer.close()
    return [(key, value) for _, key, value in sorted(found, key=lambda each: each[0])]


def ends(consumer: Consumer, place: TopicPartition) -> int:
    """Where a partition ends; one that was just made may have no leader yet."""
    for _ in range(50):
        with contextlib.suppress(KafkaException):
            return int(consumer.get_watermark_offsets(place, timeout=10)[1])
        time.sleep(0.1)
    raise AssertionError(f"{place} has no leader")


def test_sync_deletes_what_has_vanished(shell: Shell, system: System) -> None:
    """Vanished files are deleted and awaited; what others wrote since is left alone; more than half needs --yes."""
    names = [f"{secrets.token_hex(4)}-{bird}.md" for bird in ("heron", "stork", "crane", "egret", "ibis", "bittern")]
    for name in names:
        shell.write(name)
    assert "6 published, 0 unchanged, 0 deleted, 0 failed" in shell("docs", "--sync", "--wait")
    heron, stork, crane, egret, *_ = (f"docs/{name}" for name in names)
    system.put(stork, "# Another producer\n\nThis version was written by another program.\n")
    shell.write(names[2], "# Crane\n\nThe crane has flown away.\n")
    for name in names[:2]:
        (shell.folder / "docs" / name).unlink()
    shown = shell("docs", "--sync", "--wait")
    assert "1 published, 3 unchanged, 1 deleted, 0 failed" in shown
    assert "1 skipped: not deleted, another producer has written it since" in shown

    def status(doc_id: str) -> str:
        return str(system.http.get(f"/v1/documents/{doc_id}").json()["status"])

    assert [status(doc_id) for doc_id in (heron, stork, crane, egret)] == ["deleted", "indexed", "indexed", "indexed"]
    assert "0 published, 4 unchanged, 0 deleted, 0 failed" in shell("docs", "--sync")

    for name in names[2:5]:
        (shell.folder / "docs" / name).unlink()
    new = shell.write(f"{secrets.token_hex(4)}-new.md").name
    assert "3 of the 4 documents" in shell("docs", "--sync", code=2)
    assert system.http.get(f"/v1/documents/docs/{new}").status_code == 404  # nothing was sent at all
    assert "1 published, 1 unchanged, 3 deleted, 0 failed" in shell("docs", "--sync", "--yes", "--wait")
    assert [status(doc_id) for doc_id in (crane, egret)] == ["deleted", "deleted"]


def test_a_dry_run_sends_nothing(topics_only: tuple[Shell, Settings]) -> None:
    """It says what would be published, deleted, skipped and fail, and neither topic nor journal changes."""
    shell, settings = topics_only  # the gateway that it asks is the system's: no other test publishes these names
    for name in ("dry-a.md", "dry-b.md", "dry-c.md"):
        shell.write(name)
    shell("docs")
    before = (records(settings), shell.notes())
    (shell.folder / "docs" / "dry-a.md").unlink()
    for name, text in {
        "dry-b.md": "changed",
        "dry-d.md": "new",
        "dry-x.jpg": "no",
        "dry-e.md": "",
        "dry-f.md": "x" * 9_000_000,
    }.items():
        shell.write(name, text)
    shown = shell("docs", "--sync", "--dry-run")
    rows = {tuple(re.split(r"\s*│\s*", line.strip("│ \n"))[:3]) for line in shown.splitlines() if "│" in line}
    assert {
        ("published", "docs/dry-b.md", "changed"),
        ("published", "docs/dry-d.md", "new"),
        ("deleted", "docs/dry-a.md", "its file is gone"),
        ("skipped", "docs/dry-x.jpg", "no reader for .jpg"),
        ("skipped", "docs/dry-e.md", "empty"),
    } <= rows
    assert any(row[:2] == ("failed", "docs/dry-f.md") and "larger than" in row[2] for row in rows)
    assert "2 would be published, 1 unchanged, 1 deleted, 2 skipped, 1 failed; nothing was sent" in shown
    assert (records(settings), shell.notes()) == before


def test_a_killed_run_is_resumed(topics_only: tuple[Shell, Settings]) -> None:
    """After kill -9 the next run sends what was not confirmed, and nothing else; every document is in the log."""
    shell, settings = topics_only
    count, more = 4000, "and more of it. " * 300
    for number in range(count):
        shell.write(f"{number}.txt", f"Document number {number} {more}")
    process = shell.start("docs")

    def confirmed_some() -> bool:
        return process.poll() is not None or any(
            b', "1.' in path.read_bytes() for path in shell.journals.glob("*.jsonl")
        )

    until(confirmed_some, "nothing is confirmed")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    confirmed = sum(bool(digest) for digest in shell.notes().values())
    assert 0 < confirmed < count
    assert f"{count - confirmed} published, {confirmed} unchanged, 0 deleted, 0 failed" in shell("docs")
    assert dict(records(settings)) == {f"docs/{n}.txt": f"Document number {n} {more}".encode() for n in range(count)}
    assert f"0 published, {count} unchanged" in shell("docs")


def test_failures_are_counted_and_stop_nobody(topics_only: tuple[Shell, Settings]) -> None:
    """Files that cannot be published have a reason each and make the run fail; all others are published."""
    shell, settings = topics_only
    shell.write("good [red].md")
    shell.write("large.md", "x" * 9_000_000)
    (shell.folder / "docs" / os.fsdecode(b"bad\xff.md")).write_text("text")
    (shell.folder / "docs" / "loop.md").symlink_to("loop.md")
    shown = shell("docs", code=1)
    assert "1 published, 0 unchanged, 0 deleted, 3 failed" in shown
    assert "docs/bad\\xff.md" in shown and "name is no document id" in shown and "lead in a circle" in shown
    assert [key for key, _ in records(settings)] == ["docs/good [red].md"]


def test_a_folder_is_followed(shell: Shell, system: System) -> None:
    """Edits, renames and deletes reach the index; temporary files do not; an outage is told and made up for."""
    bird = secrets.token_hex(4)

    def status(name: str) -> dict[str, str]:
        return dict(system.http.get(f"/v1/documents/docs/{bird}/{name}").json())

    def is_now(name: str, state: str) -> None:
        until(lambda: ended() or status(name).get("status") == state, f"{name} is not {state}")
        assert not ended(), shell.said.read_text()

    def says(words: str) -> None:
        until(lambda: ended() or words in shell.said.read_text(), f"not said: {words}")
        assert not ended(), shell.said.read_text()

    def ended() -> bool:
        return process.poll() is not None

    for name in ("kept.md", "other.md", "third.md"):
        shell.write(f"{bird}/{name}")
    process = shell.start("docs", "--watch", "--sync")
    try:
        is_now("kept.md", "indexed")
        assert "another `freshet publish` is at work" in shell("docs", code=2)
        version = status("kept.md")["version"]
        draft = shell.write(f"{bird}/kept.md~", "# Kept\n\nWritten as editors do: beside it, then moved over it.\n")
        draft.rename(draft.with_name("kept.md"))
        until(lambda: status("kept.md")["visible_version"] > version, "the edit is not visible")
        (shell.folder / "docs" / bird / "other.md").rename(shell.folder / "docs" / bird / "renamed.md")
        is_now("renamed.md", "indexed")
        is_now("other.md", "deleted")

        system.stack.send("kafka", signal.SIGSTOP)
        try:
            shell.write(f"{bird}/meanwhile.md")
            says("changes wait for the broker")
        finally:
            system.stack.send("kafka", signal.SIGCONT)
        is_now("meanwhile.md", "indexed")
        says("going on")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
    assert "6 published, 0 unchanged, 1 deleted, 0 failed" in shell.said.read_text()
