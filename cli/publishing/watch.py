"""`--watch`: a pass whenever something in the folders has changed, until told to stop.

Each pass looks at the whole folder, so a lost or misread event of the file system costs nothing but time; what events
are good for is to know when.  While the broker or a folder is away it says so once, and tries again.
"""

import time
from collections.abc import Iterator
from datetime import datetime

from confluent_kafka import KafkaException
from rich.console import Console
from watchfiles import Change, watch

from cli.door import DoorError
from cli.publishing.passes import Publisher
from cli.publishing.plan import TooManyDeletes
from cli.publishing.walk import Folder, is_passing, shown
from connectors.errors import ConnectorError

STEP_MS = 200  # a change is taken up when this long nothing else has changed: editors write a file in several steps
DEBOUNCE_MS = 2000  # or after this long at the latest
TICK_MS = 250  # how often it looks up from waiting
RETRY = 2.0  # seconds between tries while the broker is away


class WatchError(RuntimeError):
    """The file system cannot be watched; the message says what to do."""


def follow(publisher: Publisher) -> None:
    """Make passes until told to stop."""
    follower = _Follower(publisher)
    folders, stop = publisher.wish.folders, publisher.stop
    while not stop.is_set():
        marks = [_mark(folder) for folder in folders]
        if None in marks:
            away = [shown(folder.place) for folder, mark in zip(folders, marks, strict=True) if mark is None]
            follower.tell(f"not there: {', '.join(away)}; nothing is deleted, waiting until it is back")
            stop.wait(TICK_MS / 1000)
            continue
        follower.due = True
        for changes in _changes(publisher):  # watching has begun when the first tick comes, before the first pass
            follower.tick(changes)
            if [_mark(folder) for folder in folders] != marks:
                break


class _Follower:
    """Decides at each tick whether it is time for a pass, and says what happened, each trouble once."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        publisher.silent = lambda: self.tell("changes wait for the broker: it does not answer")
        self._console: Console = publisher.console
        self._trouble: str | None = None
        self._told: dict[str, str] = {}  # failures that were said already
        self._not_before = 0.0
        self.due = True

    def tell(self, trouble: str | None) -> None:
        """Say what keeps us from following, or that nothing does any longer."""
        if (trouble is None) != (self._trouble is None):
            self._print(trouble or "going on", "yellow" if trouble else "green")
        self._trouble = trouble

    def tick(self, changes: set[tuple[Change, str]]) -> None:
        """Make a pass if there is a reason to."""
        for folder in self._publisher.wish.folders:
            for _, path in changes:
                self._publisher.touched(path.removeprefix(f"{folder.base}/"))
        self.due = self.due or bool(changes)
        if not self.due or time.monotonic() < self._not_before:
            return
        before = (self._publisher.summary.published, self._publisher.summary.deleted)
        try:
            trouble = self._pass()
        except (ConnectorError, KafkaException) as error:
            trouble = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        if trouble:
            self._publisher.close()
            self._publisher.summary.failed.setdefault("what has changed last", f"not sent: {trouble}")
            self._not_before = time.monotonic() + RETRY
        self.due = trouble is not None
        self.tell(trouble and f"changes wait for the broker: {trouble}")
        self._report(*before)

    def _pass(self) -> str | None:
        publisher = self._publisher
        try:
            away = publisher.once()
        except TooManyDeletes as error:
            away = publisher.once(deletes=False)
            publisher.summary.failed["deletes"] = str(error)
        if publisher.wish.wait and not away:
            try:
                publisher.await_outcomes()
            except DoorError as error:
                publisher.summary.failed["--wait"] = str(error)
        return away

    def _report(self, published: int, deleted: int) -> None:
        summary = self._publisher.summary
        published, deleted = summary.published - published, summary.deleted - deleted
        if published or deleted:
            self._print(f"{published} published, {deleted} deleted", None)
        if self._trouble is None:
            for name, reason in summary.failed.items():
                if self._told.get(name) != reason:
                    self._print(f"failed: {shown(name)}: {reason}", "red")
            self._told = dict(summary.failed)

    def _print(self, text: str, style: str | None) -> None:
        self._console.print(f"{datetime.now():%H:%M:%S} {text}", style=style, markup=False, soft_wrap=True)


def _changes(publisher: Publisher) -> Iterator[set[tuple[Change, str]]]:
    """Changes as they settle, and an empty set at each tick."""
    folders = publisher.wish.folders
    seen = watch(
        *(folder.place for folder in folders),
        watch_filter=lambda _, path: not all(is_passing(f, path) for f in folders if f.holds(path)),
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        rust_timeout=TICK_MS,
        yield_on_timeout=True,
        stop_event=publisher.stop,
        ignore_permission_denied=True,
    )
    while True:
        try:
            changes = next(seen)
        except StopIteration:
            return
        except FileNotFoundError:  # between a look at the folder and this
            return
        except OSError as error:
            raise WatchError(
                f"the folder cannot be watched: {error} (Linux: raise fs.inotify.max_user_watches,"
                " or set WATCHFILES_FORCE_POLLING=1)"
            ) from None
        yield changes


def _mark(folder: Folder) -> tuple[int, int] | None:
    """Which folder it is; None while it is not there."""
    try:
        status = folder.place.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
