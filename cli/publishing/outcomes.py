"""What the gateway knows: whether a version is answerable, and whether somebody else has written since."""

import threading
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli.door import Door, DoorError
from cli.publishing.plan import Gone
from cli.publishing.walk import Left
from runtime.settings import Settings
from topics.identity import Token

PATIENCE = 120.0  # seconds that one document may keep the others waiting


def await_outcomes(
    settings: Settings, tenant: str, tokens: Mapping[str, Token], stop: threading.Event, console: Console
) -> list[Left]:
    """Until each version is answerable, deleted or refused, with a bar; returns the refused ones."""
    refused: list[Left] = []
    columns = (TextColumn("[bold]answerable"), BarColumn(), MofNCompleteColumn())
    with (
        Door(settings, tenant) as door,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("", total=len(tokens))
        last_news = time.monotonic()
        for doc_id, token in tokens.items():
            while (status := door.status(doc_id, str(token)))["status"] == "pending":
                if time.monotonic() - last_news > PATIENCE:
                    raise DoorError(f"{doc_id} is still pending after {PATIENCE:.0f} s: see `freshet stack status`")
                if stop.wait(0.05):
                    return refused
            if status["status"] not in ("indexed", "deleted") and status["version"] == str(token.version):
                refused.append(Left(doc_id, f"{status['status']}: {status.get('reason')}", failed=True))
            last_news = time.monotonic()
            progress.advance(task)
    return refused


def still_ours(
    settings: Settings, tenant: str, gone: list[Gone], stop: threading.Event
) -> tuple[list[Gone], list[Left], list[str]]:
    """Which documents to delete; which cannot be deleted now; which others took over by publishing a newer version."""
    ours: list[Gone] = []
    theirs: list[str] = []
    with Door(settings, tenant) as door:
        for number, document in enumerate(gone):
            if stop.is_set():
                break
            try:
                newest = door.find(document.doc_id)
            except DoorError as error:
                reason = f"not deleted, cannot tell whether others have changed it since: {error}"
                return ours, [Left(left.doc_id, reason, failed=True) for left in gone[number:]], theirs
            if newest and document.token and newest["version"] > str(Token.parse(document.token).version):
                theirs.append(document.doc_id)
            else:
                ours.append(document)
    return ours, [], theirs
