"""`freshet demo`: the whole story in a minute, on real servers.

Brings the stack up, publishes a folder, asks over HTTP, edits a document through Kafka and asks again, deletes it
and asks once more.  Stops everything at the end unless KEEP=1.
"""

import os
import re
import time
from pathlib import Path

import typer
from confluent_kafka import KafkaError, Message, Producer
from rich.console import Console
from rich.progress import Progress

from cli.ask import Told, ask_live
from cli.control import write_epoch
from cli.door import Door, DoorError
from cli.environment import read_settings
from cli.publish import publish_once
from cli.publishing.journal import JournalError
from cli.publishing.passes import Wish
from cli.publishing.walk import Folder
from cli.stack import STATED_FAILURES
from deploy.local import stack
from deploy.local.state import state_folder
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics.identity import DEFAULT_TENANT, Token
from topics.media_types import BY_SUFFIX

console = Console(highlight=False)
DEADLINE = 120.0  # seconds for anything to become answerable
NOTICE = "freshet-demo/maintenance-window.md"
NOTICE_TEXT = "# Maintenance window\n\nThe maintenance window of the demo cluster is on {when}.\n"
QUESTION = "When is the maintenance window of the demo cluster?"
DOCS_QUESTIONS = (
    "How is a document version made visible to readers?",
    "What happens to a record that kills its worker?",
    "Which partitioner must producers use?",
)


class DemoFailed(RuntimeError):
    """What was promised did not show; the message says what."""


def demo() -> None:
    """Show everything once: publish, ask, edit, ask again, delete."""
    folder = Path(os.environ.get("DOCS") or "docs")
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    if not folder.is_dir():
        console.print(f"[red]DOCS={folder}: no such folder[/red]")
        raise typer.Exit(2)
    state = state_folder()
    ours = False
    try:
        _title("Starting Kafka, Weaviate, Redis, the workers and the gateway")
        ours = not stack.up(state, os.environ, lambda line: console.print(f"  {line}", markup=False)).already_up
        _story(read_settings(), folder)
    except (DemoFailed, DoorError, JournalError, *STATED_FAILURES) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    finally:
        if keep:
            console.print(
                '\nKept running: `.venv/bin/freshet ask "..."`, `.venv/bin/freshet stack status`, `make down`'
            )
        elif ours:
            _title("Stopping everything")
            stack.down(state, lambda line: console.print(f"  {line}", markup=False))


def _story(settings: Settings, folder: Path) -> None:
    with Door(settings) as door:
        console.print(f"  gateway at {door.address}, its API at {door.address}/docs")
        _title(f"Publishing {folder}/ to Kafka")
        began = time.monotonic()
        wish = Wish(folders=[Folder.of(folder)], media_types=BY_SUFFIX, tenant=DEFAULT_TENANT, force=True)
        summary = publish_once(settings, wish).summary
        if not summary.published:
            raise DemoFailed(f"nothing to publish in {folder} (readable: Markdown, HTML, text)")
        _wait_for(door, summary.tokens, began)

        _title("Asking")
        own = folder.resolve() == Path("docs").resolve()
        for question in DOCS_QUESTIONS if own else _questions(folder):
            _asked(ask_live(door, question, console))

        _title("One document changes in Kafka; the answer changes with it")
        _edit(settings, door, "Tuesday at 09:00")
        _expect(_asked(ask_live(door, QUESTION, console)), "Tuesday")
        ms = _edit(settings, door, "Friday at 17:30")
        _expect(_asked(ask_live(door, QUESTION, console)), "Friday")
        console.print(f"  answerable [bold green]{ms:.0f} ms[/bold green] after the change was sent to Kafka")

        _title("The document is deleted; the answer is gone")
        ms = _edit(settings, door, None)
        told = _asked(ask_live(door, QUESTION, console))
        if any(citation["doc_id"] == NOTICE for citation in (told.answer or {}).get("citations", [])):
            raise DemoFailed("the deleted document was cited")
        console.print(f"  gone [bold green]{ms:.0f} ms[/bold green] after the delete was sent to Kafka")


def _edit(settings: Settings, door: Door, when: str | None) -> float:
    """Write the demo document to Kafka as any producer would; returns ms until it could be answered from."""
    producer = Producer({**librdkafka_options(settings.kafka), "partitioner": "murmur2_random", "linger.ms": 0})
    epoch = write_epoch(settings)
    tokens: list[Token] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            tokens.append(Token(epoch.number, message.partition() or 0, message.offset() or 0))

    began = time.perf_counter()
    producer.produce(
        epoch.topic,
        None if when is None else NOTICE_TEXT.format(when=when).encode(),
        NOTICE.encode(),
        headers=[("content-type", b"text/markdown")],
        on_delivery=delivered,
    )
    producer.flush(settings.kafka.request_timeout)
    if not tokens:
        raise DemoFailed("the broker did not confirm the change")
    while door.status(NOTICE, str(tokens[0]))["status"] == "pending":
        if time.perf_counter() - began > DEADLINE:
            raise DemoFailed(f"the change was not answerable after {DEADLINE:.0f} s: see `freshet stack logs index`")
        time.sleep(0.005)
    return (time.perf_counter() - began) * 1000


def _wait_for(door: Door, published: dict[str, Token], began: float) -> None:
    """Until every published document has its outcome, with a bar."""
    with Progress(console=console) as progress:
        task = progress.add_task("[bold]answerable", total=len(published))
        for doc_id, token in published.items():
            while door.status(doc_id, str(token))["status"] == "pending":
                if time.monotonic() - began > DEADLINE + 5 * len(published):
                    raise DemoFailed(f"{doc_id} is not answerable: see `freshet stack status`")
                time.sleep(0.02)
            progress.advance(task)
    console.print(f"  {len(published)} documents answerable after {time.monotonic() - began:.1f} s")


def _questions(folder: Path) -> list[str]:
    """Questions about a folder we do not know: its first headings."""
    texts = (path.read_text(errors="replace") for path in sorted(folder.rglob("*.md"))[:50])
    headings = (re.search(r"^#+\s+(.{4,80})$", text, re.MULTILINE) for text in texts)
    return [f"What is said about {heading[1].strip()}?" for heading in headings if heading][:3] or [
        "What are these documents about?"
    ]


def _asked(told: Told) -> Told:
    if told.error or told.answer is None:
        raise DemoFailed(f"no answer to {told.question!r}: {told.error}")
    return told


def _expect(told: Told, word: str) -> None:
    if word not in told.text:
        raise DemoFailed(f"the answer does not say {word}: {told.text}")


def _title(text: str) -> None:
    console.print(f"\n[bold blue]{text}[/bold blue]")
