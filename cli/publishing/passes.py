"""One pass over the folders: what is new is sent, and what has vanished is deleted."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.publishing.broker import Sender
from cli.publishing.journal import Journal
from cli.publishing.outcomes import await_outcomes, still_ours
from cli.publishing.plan import Changed, Gone, Unchanged, check_half, distinct, judge, vanished
from cli.publishing.summary import Summary
from cli.publishing.walk import Filters, Folder, Found, Left, walk
from runtime.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for."""

    folders: list[Folder]
    media_types: Mapping[str, str]
    tenant: str
    filters: Filters = field(default_factory=Filters)
    force: bool = False
    sync: bool = False
    yes: bool = False
    wait: bool = False


@dataclass(slots=True)
class Publisher:
    """Makes passes; what one has settled is not read again in the next while nobody touches the file."""

    settings: Settings
    wish: Wish
    journal: Journal
    console: Console
    stop: threading.Event
    summary: Summary = field(default_factory=Summary)
    silent: Callable[[], None] | None = None  # says that the broker does not answer
    _seen: dict[str, tuple[tuple[int, ...], Left | None]] = field(default_factory=dict)  # stamp, what was said of it
    _sender: Sender | None = None

    def close(self) -> None:
        """Let go of the broker; the next pass begins with a new connection."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def touched(self, doc_id: str) -> None:
        """Read this file again in the next pass, whatever its times say."""
        self._seen.pop(doc_id, None)

    def once(self, deletes: bool = True) -> str | None:
        """Make a pass.  :class:`TooManyDeletes` before anything is sent.  Returns why the broker is away, if it is."""
        found, gone = self.look()
        if not deletes:
            gone = []
        elif not self.wish.yes:
            check_half(self.wish.folders, self.journal, gone)
        files = [file for file in found if self._is_news(file)]
        if not files and not gone:
            return None
        self._sender = self._sender or Sender(self.settings, self.wish.tenant, self.journal, self.summary, self.stop)
        self._send(self._sender, files, gone)
        return self._sender.away

    def await_outcomes(self) -> None:
        """Until all that was sent has its outcome; a refused document counts as failed until its file changes."""
        tokens = {doc_id: self.summary.tokens.pop(doc_id) for doc_id in list(self.summary.tokens)}
        for left in await_outcomes(self.settings, self.wish.tenant, tokens, self.stop, self.console):
            self.summary.leave(left)
            if left.name in self._seen:
                self._seen[left.name] = (self._seen[left.name][0], left)

    def look(self) -> tuple[list[Found], list[Gone]]:
        """Files, and documents without one.  What an earlier pass said of any holds no longer."""
        wish, summary = self.wish, self.summary
        summary.left.clear()
        summary.failed.clear()
        found = []
        for file in distinct(chain.from_iterable(walk(f, wish.filters, wish.media_types) for f in wish.folders)):
            if isinstance(file, Found):
                found.append(file)
            else:
                summary.leave(file)
        if not wish.sync:
            return found, []
        gone, unclear = vanished(wish.folders, wish.filters, self.journal, {file.doc_id for file in found})
        for left in unclear:
            summary.leave(left)
        return found, gone

    def ours(self, gone: list[Gone], dry_run: bool = False) -> list[Gone]:
        """Those that nobody else has written since; the others are let go."""
        if not gone:
            return []
        ours, unclear, theirs = still_ours(self.settings, self.wish.tenant, gone, self.stop)
        for left in unclear:
            self.summary.leave(left)
        for doc_id in theirs:
            self.summary.leave(Left(doc_id, "not deleted, another producer has written it since"))
            if not dry_run:
                self.journal.forget(doc_id)
        return ours

    def _is_news(self, file: Found) -> bool:
        """Whether the file was touched since it was settled; else what was said of it is said again."""
        stamp, left = self._seen.get(file.doc_id, ((), None))
        if stamp == file.stamp and left is not None:
            self.summary.leave(left)
        return stamp != file.stamp

    def _send(self, sender: Sender, files: list[Found], gone: list[Gone]) -> None:
        sender.away = None
        sent = []
        columns = (TextColumn("[bold]publish"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        quiet = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as progress:
            task = progress.add_task("", total=len(files) + len(gone))
            sender.settled = lambda: progress.advance(task)
            sender.silent = self.silent or (lambda: self.console.print("the broker does not answer, waiting"))
            try:
                for file in files:
                    if sender.away or self.stop.is_set():
                        self.summary.leave(Left(file.doc_id, "not sent, the run was broken off", failed=True))
                    elif self._send_if_new(sender, file):
                        sent.append(file)
                    else:
                        progress.advance(task)
                if not sender.away and not self.stop.is_set():  # new names are there before the old ones go
                    for document in self.ours(gone):
                        sender.delete(document)
            finally:
                sender.finish()
        for file in sent:
            if file.doc_id not in self.summary.failed:
                self._seen[file.doc_id] = (file.stamp, None)

    def _send_if_new(self, sender: Sender, file: Found) -> bool:
        told = judge(file, self.journal, sender.limit(), self.wish.force)
        if isinstance(told, Changed):
            sender.send(told)
            return True
        self._seen[file.doc_id] = (file.stamp, told if isinstance(told, Left) else None)
        if isinstance(told, Unchanged):
            self.summary.unchanged.add(file.doc_id)
            known = self.journal.get(file.doc_id)
            if told.moved and known is not None:
                self.journal.confirm(file.doc_id, told.digest, file.base, known.token)
        else:
            self.summary.leave(told)
        return False
