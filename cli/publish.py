"""`freshet publish`: files of a folder become records of ``documents``.

Resumable: what the broker has confirmed is noted in a journal, so that a second run sends only what is new or was
changed since.  What it does is in ``cli/publishing/``.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from cli.door import DoorError
from cli.environment import read_settings, reason_of
from cli.publishing.broker import topic_id
from cli.publishing.journal import Journal, JournalError, journal_path
from cli.publishing.passes import Publisher, Wish
from cli.publishing.plan import TooManyDeletes
from cli.publishing.preview import preview
from cli.publishing.walk import Filters, Folder
from cli.publishing.watch import WatchError, follow
from connectors.errors import ConnectorError
from connectors.kafka.reach import reach
from runtime.settings import Settings
from streams.documents.text.charsets import is_charset
from topics import registry
from topics.identity import DEFAULT_TENANT, IdentityError, check_tenant
from topics.media_types import BY_SUFFIX, TEXTS

console = Console(highlight=False)
_STATED = (ConnectorError, DoorError, IdentityError, JournalError, TooManyDeletes, ValueError, WatchError)


def publish(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.", exists=True)],
    tenant: Annotated[str, typer.Option(help="Tenant that owns the documents.")] = DEFAULT_TENANT,
    root: Annotated[Path | None, typer.Option(help="Ids are paths from here; default is the working folder.")] = None,
    include: Annotated[list[str] | None, typer.Option(help="Only files that fit, as in a .gitignore; repeat.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No files that fit, as in a .gitignore; repeat.")] = None,
    charset: Annotated[str | None, typer.Option(help="Of text files that are not UTF-8 and do not say so.")] = None,
    force: Annotated[bool, typer.Option(help="Send unchanged files too.")] = False,
    sync: Annotated[bool, typer.Option(help="Delete documents whose file has vanished from the folders.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete even more than half of a folder's documents.")] = False,
    watch: Annotated[bool, typer.Option(help="Follow the folders until Ctrl-C.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when all that was sent is answerable, gone or refused.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and why.")] = False,
) -> None:
    """Publish files to Kafka; run it again to resume, unchanged files are not sent twice."""
    settings = read_settings()
    try:
        wish = Wish(
            folders=[Folder.of(path, root) for path in paths],
            media_types=_media_types(charset),
            tenant=_known(settings, check_tenant(tenant)),
            filters=Filters(include or (), exclude or ()),
            force=force,
            sync=sync,
            yes=yes,
            wait=wait,
        )
        if watch and dry_run:
            raise ValueError("--watch and --dry-run exclude each other")
        if (files := [path for path in paths if not path.is_dir()]) and (watch or sync):
            raise ValueError(f"--watch and --sync take folders: {files[0]} is none")
        asyncio.run(reach(settings.kafka))
        code = _run(settings, wish, watch, dry_run)
    except (KafkaException, ConnectorError) as error:
        _say(reason_of(settings, error))
        raise typer.Exit(2) from None
    except _STATED as error:
        _say(str(error))
        raise typer.Exit(2) from None
    raise typer.Exit(code)


def _known(settings: Settings, tenant: str) -> str:
    if tenant not in settings.tenants:
        raise ValueError(f"tenant {tenant!r} is unknown here: add it to FRESHET_TENANTS")
    return tenant


def _media_types(charset: str | None) -> Mapping[str, str]:
    """Media types by suffix, texts with the charset that was said."""
    if charset is None:
        return BY_SUFFIX
    if not is_charset(charset):
        raise ValueError(f"charset {charset[:40]!r} is unknown here: say one as gb18030, shift_jis or windows-1250")
    return {suffix: f"{kind}; charset={charset}" if kind in TEXTS else kind for suffix, kind in BY_SUFFIX.items()}


def publish_once(settings: Settings, wish: Wish) -> Publisher:
    """One pass, for other commands."""
    with (
        _journal(settings, wish) as journal,
        closing(Publisher(settings, wish, journal, console, threading.Event())) as publisher,
    ):
        publisher.once()
    return publisher


def _run(settings: Settings, wish: Wish, watch: bool, dry_run: bool) -> int:
    with (
        _journal(settings, wish, read_only=dry_run) as journal,
        _stoppable() as stop,
        closing(Publisher(settings, wish, journal, console, stop)) as publisher,
    ):
        if dry_run:
            preview(publisher)
            return 0
        stated: Exception | None = None
        try:
            if watch:
                console.print("following, Ctrl-C ends it")
                follow(publisher)
            else:
                publisher.once()
                if wish.wait and not stop.is_set():
                    publisher.await_outcomes()
        except TooManyDeletes:
            raise
        except (*_STATED, KafkaException) as error:
            stated = error
        publisher.summary.print(console)
        if stated is not None:
            raise stated
        if stop.is_set() and not watch:
            console.print("stopped; run it again to resume")
            return 130
        return 1 if publisher.summary.failed else 0


def _journal(settings: Settings, wish: Wish, read_only: bool = False) -> Journal:
    """Of the first epoch's topic: what is in an earlier epoch is not sent again."""
    first = registry.DOCUMENTS.full_name(settings.kafka.prefix, settings.documents.generation)
    return Journal(journal_path(topic_id(settings, first), wish.tenant), read_only)


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or SIGTERM, which ends the run in good order; a second one ends it at once."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {int(number): signal.getsignal(number) for number in numbers}

    def told(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    for number in numbers:
        signal.signal(number, told)
    try:
        yield stop
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def _say(text: str) -> None:
    console.print(text, style="red", markup=False, soft_wrap=True)
