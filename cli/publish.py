"""`freshet publish`: files of a folder become records of ``documents``.

Resumable: what the broker has confirmed is noted in a journal, so that a second run sends only what is new or was
changed since.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import typer
from confluent_kafka import KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.control import WriteEpoch
from cli.door import Door, DoorError
from cli.environment import read_settings, reason_of
from connectors.errors import ConnectorError
from connectors.kafka.reach import reach
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics import registry
from topics.identity import DEFAULT_TENANT, DocumentRef, IdentityError, Token, check_doc_id, check_tenant, document_key
from topics.media_types import BY_SUFFIX

console = Console(highlight=False)
PATIENCE = 120.0  # seconds that one document may keep the others waiting
MEDIA_TYPES = BY_SUFFIX


@dataclass(frozen=True, slots=True)
class Source:
    """A file to publish."""

    path: Path
    doc_id: str
    media_type: str


@dataclass(slots=True)
class Summary:
    """What became of the files."""

    published: dict[str, Token] = field(default_factory=dict)  # doc id -> token
    unchanged: int = 0
    skipped: dict[str, int] = field(default_factory=dict)  # reason -> files
    failed: dict[str, str] = field(default_factory=dict)  # doc id -> reason

    def skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


class Journal:
    """Which content of which document the broker has confirmed, one line each; a torn last line is ignored.

    Bears the topic's own id, so that a topic made anew begins with an empty journal.
    """

    def __init__(self, topic_id: str, tenant: str) -> None:
        name = hashlib.sha256(f"{topic_id}\n{tenant}".encode()).hexdigest()[:16]
        self._path = platformdirs.user_state_path("freshet") / "publish" / f"{name}.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, str] = {}
        if self._path.exists():
            for line in self._path.read_text(errors="replace").splitlines():
                try:
                    doc_id, digest = json.loads(line)
                except ValueError:
                    continue
                self._seen[doc_id] = digest
        self._file = self._path.open("a")

    def has(self, doc_id: str, digest: str) -> bool:
        return self._seen.get(doc_id) == digest

    def note(self, doc_id: str, digest: str) -> None:
        self._seen[doc_id] = digest
        self._file.write(json.dumps([doc_id, digest]) + "\n")
        self._file.flush()


def find(paths: list[Path], root: Path | None, summary: Summary) -> Iterator[Source]:
    """Files below the paths with their ids: the path from ``root`` (the working folder, where the file lies in it)."""
    for given in paths:
        base = root or (Path.cwd() if given.resolve().is_relative_to(Path.cwd()) else given.resolve().parent)
        files = sorted(given.rglob("*")) if given.is_dir() else [given]
        for path in files:
            if not path.is_file():
                continue
            relative = path.resolve().relative_to(base.resolve())
            if any(part.startswith(".") for part in relative.parts):
                summary.skip("hidden")
            elif path.suffix.lower() not in MEDIA_TYPES:
                summary.skip(f"no reader for {path.suffix}")
            else:
                yield Source(path, relative.as_posix(), MEDIA_TYPES[path.suffix.lower()])


def send(settings: Settings, sources: list[Source], tenant: str, force: bool, summary: Summary) -> None:
    """Publish with a progress bar; returns when the broker has answered for every file."""
    kafka = settings.kafka
    first = registry.DOCUMENTS.full_name(kafka.prefix, settings.documents.generation)
    journal = Journal(topic_id(settings, first), tenant)  # what is in an earlier epoch is not sent again
    producer = Producer(
        {
            **librdkafka_options(kafka),
            "partitioner": "murmur2_random",  # librdkafka's own would put most keys elsewhere
            "enable.idempotence": True,
            "message.max.bytes": settings.documents.max_document_bytes + 65536,
            "message.timeout.ms": int(kafka.request_timeout * 1000),
            "linger.ms": 5,
        }
    )
    columns = (TextColumn("[bold]publish"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        closing(WriteEpoch(settings)) as writing,
        Progress(*columns, TextColumn("{task.description}"), console=console) as progress,
    ):
        task = progress.add_task("", total=len(sources))

        def settled(source: Source, digest: str, epoch: int, error: Any, message: Any) -> None:
            progress.advance(task)
            if error is not None:
                summary.failed[source.doc_id] = error.str()
                return
            journal.note(source.doc_id, digest)
            summary.published[source.doc_id] = Token(epoch, message.partition(), message.offset())

        for source in sources:
            progress.update(task, description=source.doc_id[-60:])
            try:
                body = source.path.read_bytes()
                key = document_key(DocumentRef(tenant, check_doc_id(source.doc_id)))
            except (OSError, IdentityError) as error:
                summary.failed[source.doc_id] = str(error)
                progress.advance(task)
                continue
            digest = hashlib.sha256(body).hexdigest()
            if not force and journal.has(source.doc_id, digest):
                summary.unchanged += 1
                progress.advance(task)
                continue
            if len(body) > settings.documents.max_document_bytes:
                summary.failed[source.doc_id] = f"larger than {settings.documents.max_document_bytes} bytes"
                progress.advance(task)
                continue
            while True:
                try:
                    epoch = writing.current()
                    producer.produce(
                        epoch.topic,
                        body,
                        key,
                        headers=[("content-type", source.media_type.encode())],
                        on_delivery=partial(settled, source, digest, epoch.number),
                    )
                    break
                except BufferError:  # the queue is full: wait for the broker
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(kafka.request_timeout + 1)


def topic_id(settings: Settings, topic: str) -> str:
    """The broker's own id of a topic; a message that helps when broker or topic is not there."""
    admin = AdminClient(librdkafka_options(settings.kafka))
    try:
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic].result(11)
    except KafkaException as error:
        said = reason_of(settings, error)
        raise ValueError(f"topic {topic}: {said} (is the stack up? `make up`)") from None
    return str(described.topic_id)


def await_outcomes(settings: Settings, tenant: str, summary: Summary) -> None:
    """Until each published version is answerable or refused, with a bar; refused ones count as failed."""
    if not summary.published:
        return
    columns = (TextColumn("[bold]answerable"), BarColumn(), MofNCompleteColumn())
    with Door(settings, tenant) as door, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(summary.published))
        last_news = time.monotonic()
        for doc_id, token in summary.published.items():
            while (status := door.status(doc_id, str(token)))["status"] == "pending":
                if time.monotonic() - last_news > PATIENCE:
                    raise DoorError(f"{doc_id} is still pending after {PATIENCE:.0f} s: see `freshet stack status`")
                time.sleep(0.05)
            if status["status"] not in ("indexed", "deleted") and status["version"] == str(token.version):
                summary.failed[doc_id] = f"{status['status']}: {status.get('reason')}"
            last_news = time.monotonic()
            progress.advance(task)


def publish(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.", exists=True)],
    tenant: Annotated[str, typer.Option(help="Tenant that owns the documents.")] = DEFAULT_TENANT,
    root: Annotated[Path | None, typer.Option(help="Ids are paths from here; default is the working folder.")] = None,
    force: Annotated[bool, typer.Option(help="Send unchanged files too.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when every published document is answerable or refused.")] = False,
) -> None:
    """Publish files to Kafka; run it again to resume, unchanged files are not sent twice."""
    settings = read_settings()
    summary = Summary()
    try:
        check_tenant(tenant)
        asyncio.run(reach(settings.kafka))
        sources = list(find(paths, root, summary))
        send(settings, sources, tenant, force, summary)
        if wait:
            await_outcomes(settings, tenant, summary)
    except (IdentityError, ValueError, DoorError) as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None
    except (KafkaException, ConnectorError) as error:
        console.print(f"[red]{reason_of(settings, error)}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None
    console.print(f"{len(summary.published)} published, {summary.unchanged} unchanged, {len(summary.failed)} failed")
    for reason, count in summary.skipped.items():
        console.print(f"  {count} skipped: {reason}")
    for doc_id, reason in list(summary.failed.items())[:20]:
        console.print(f"  [red]{doc_id}: {reason}[/red]")
    if summary.failed:
        raise typer.Exit(1)
