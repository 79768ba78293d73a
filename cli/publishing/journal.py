"""Which content of which document the broker has confirmed, and from which folder it came.

One line a note: ``[document id, digest, base folder, token]``.  A digest of null is a confirmed delete; an empty one
says that something is on its way, so that a run killed in between sends again and never forgets a document that may be
there.  The file belongs to one topic, by the broker's own id of it, and one tenant: a topic made anew begins with an
empty journal.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import platformdirs
from filelock import FileLock, Timeout

SPARE = 1000  # lines that say nothing new before the file is written anew
_ON_ITS_WAY = ""


class JournalError(RuntimeError):
    """The journal is in use or cannot be written; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one document.  ``base`` is None in notes of the first versions, which kept no folder."""

    digest: str
    base: str | None = None
    token: str | None = None


def journal_path(topic_id: str, tenant: str) -> Path:
    """Where the journal of a topic and a tenant lies."""
    name = hashlib.sha256(f"{topic_id}\n{tenant}".encode()).hexdigest()[:16]
    return platformdirs.user_state_path("freshet") / "publish" / f"{name}.jsonl"


class Journal:
    """A context manager: locked against a second publisher while it is open, unless it is only read."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self._path, self._read_only = path, read_only
        self._lock = FileLock(path.with_suffix(".lock"))
        self._entries: dict[str, Entry] = {}
        self._lines = 0

    def __enter__(self) -> "Journal":
        if self._read_only:
            self._load()
            return self
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise JournalError(
                "another `freshet publish` is at work for this tenant: wait for it or stop it"
                " (one command can publish and watch several folders)"
            ) from None
        except OSError as error:
            raise JournalError(f"the journal {self._path} cannot be used: {error.strerror}") from None
        self._load()
        self._file = self._path.open("ab")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._read_only:
            self._file.close()
            self._lock.release()

    def get(self, doc_id: str) -> Entry | None:
        """What is known of a document."""
        return self._entries.get(doc_id)

    def of_folder(self, base: str, prefix: str) -> Iterator[tuple[str, Entry]]:
        """Documents whose id begins so and that were published from this base."""
        for doc_id, entry in list(self._entries.items()):
            if entry.base == base and doc_id.startswith(prefix):
                yield doc_id, entry

    def begin(self, doc_id: str, base: str) -> None:
        """A new version or a delete is about to be sent."""
        known = self._entries.get(doc_id)
        self._put(doc_id, Entry(_ON_ITS_WAY, base, known.token if known else None))

    def confirm(self, doc_id: str, digest: str, base: str, token: str | None) -> None:
        """The broker has it; or it was there before, and this folder owns it now."""
        self._put(doc_id, Entry(digest, base, token))

    def forget(self, doc_id: str) -> None:
        """It is deleted, or no longer ours."""
        self._entries.pop(doc_id, None)
        self._write([doc_id, None, None, None])

    def _put(self, doc_id: str, entry: Entry) -> None:
        self._entries[doc_id] = entry
        self._write([doc_id, entry.digest, entry.base, entry.token])

    def _write(self, note: list[str | None]) -> None:
        try:
            self._file.write(json.dumps(note).encode() + b"\n")
            self._file.flush()  # a killed process keeps what was handed to the system
            self._lines += 1
            if self._lines > 2 * len(self._entries) + SPARE:
                self._compact()
        except OSError as error:
            raise JournalError(f"the journal {self._path} cannot be written: {error.strerror}") from None

    def _load(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise JournalError(f"the journal {self._path} cannot be read: {error.strerror}") from None
        whole, _, torn = content.rpartition(b"\n")
        if torn and not self._read_only:  # what is written next would become part of that line
            os.truncate(self._path, len(content) - len(torn))
        for line in whole.splitlines():
            self._lines += 1
            try:
                doc_id, digest, base, token = (*json.loads(line), None, None)[:4]
            except (ValueError, TypeError):
                continue  # damage costs no more than sending that document again
            if digest is None:
                self._entries.pop(doc_id, None)
            else:
                self._entries[doc_id] = Entry(digest, base, token)

    def _compact(self) -> None:
        """Write the file anew, with one line for each document; a crash leaves the old one or the new one."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            for doc_id, entry in self._entries.items():
                file.write(json.dumps([doc_id, entry.digest, entry.base, entry.token]).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._file.close()
        fresh.replace(self._path)
        self._file, self._lines = self._path.open("ab"), len(self._entries)
