"""`freshet publish --watch` where the broker is not there: what it says, and that it goes on."""

import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cli.publishing.journal import Journal
from cli.publishing.passes import Publisher, Wish
from cli.publishing.walk import Folder
from cli.publishing.watch import follow
from runtime.settings import Settings
from topics.media_types import BY_SUFFIX


class Followed:
    """A folder that is followed by a thread."""

    def __init__(self, home: Path, journal: Journal) -> None:
        self.docs, self.out, self.stop = home / "docs", io.StringIO(), threading.Event()
        self.docs.mkdir()
        self.publisher = Publisher(
            Settings.from_env({"FRESHET_BROKERS": "127.0.0.1:1"}),
            Wish(folders=[Folder.of(self.docs, home)], media_types=BY_SUFFIX, tenant="default", sync=True),
            journal,
            Console(file=self.out, width=200),
            self.stop,
        )
        self.thread = threading.Thread(target=follow, args=[self.publisher])

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end and self.thread.is_alive(), self.out.getvalue()
            time.sleep(0.01)


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    with Journal(tmp_path / "journal.jsonl") as journal:
        followed = Followed(tmp_path, journal)
        yield followed
        followed.stop.set()
        if followed.thread.is_alive():
            followed.thread.join(20)
        assert not followed.thread.is_alive()
        followed.publisher.close()


def test_an_outage_is_told_once_and_ends_as_a_failure(followed: Followed) -> None:
    """What cannot be sent is said once, tried again, and counted as failed when it is told to stop."""
    followed.thread.start()
    (followed.docs / "a.md").write_text("text")
    said = followed.out.getvalue
    followed.until(lambda: "changes wait for the broker" in said())
    (followed.docs / "b.jpg").write_text("text")
    followed.until(lambda: "docs/b.jpg" in followed.publisher.summary.left)
    followed.until(lambda: "what has changed last" in followed.publisher.summary.failed)
    assert said().count("changes wait for the broker") == 1
    assert followed.publisher.summary.published == 0


def test_a_folder_that_is_away_deletes_nothing(followed: Followed) -> None:
    """A folder that vanished as a whole is waited for, and looked at when it is back."""
    followed.publisher.journal.confirm("docs/old.md", "digest", str(followed.docs.parent), "1.0.5")
    followed.docs.rmdir()
    followed.thread.start()
    followed.until(lambda: "nothing is deleted" in followed.out.getvalue())
    assert followed.publisher.summary.failed == {}
    followed.docs.mkdir()
    followed.until(lambda: "1 of the 1 documents" in followed.publisher.summary.failed.get("deletes", ""))
    assert "going on" in followed.out.getvalue()
    shutil.rmtree(followed.docs)
    followed.until(lambda: followed.out.getvalue().count("nothing is deleted") == 2)
