"""What a run has to do: which files are new content, and which documents have lost their file."""

import hashlib
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.publishing.journal import Journal
from cli.publishing.read import read
from cli.publishing.walk import Filters, Folder, Found, Left, shown, why
from topics.identity import IdentityError, check_doc_id


class TooManyDeletes(RuntimeError):
    """More than half of a folder's documents would go; the message has the counts."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A file whose content the broker does not have."""

    found: Found
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A file whose content the broker has already; ``moved`` where another folder had published it."""

    found: Found
    digest: str
    moved: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """A document that was published from this folder and whose file is no longer there."""

    doc_id: str
    base: str
    token: str | None


def distinct(files: Iterable[Found | Left]) -> Iterator[Found | Left]:
    """Each document once, also where folders lie in each other; two files of one id are a failure."""
    paths: dict[str, Path] = {}
    for file in files:
        if isinstance(file, Left) or file.doc_id not in paths:
            if isinstance(file, Found):
                paths[file.doc_id] = file.path
            yield file
        elif paths[file.doc_id] != file.path:
            yield Left(str(file.path), f"another file has its id {shown(file.doc_id)}: use --root", failed=True)


def judge(found: Found, journal: Journal, limit: int, force: bool = False) -> Changed | Unchanged | Left:
    """Look at one file."""
    try:
        check_doc_id(found.doc_id)
    except IdentityError as error:
        return Left(found.doc_id, f"name is no document id: {error}", failed=True)
    body = read(found, limit)
    if isinstance(body, Left):
        return body
    known = journal.get(found.doc_id)
    if not body:
        if known is None:
            return Left(found.doc_id, "empty")
        return Left(found.doc_id, "has become empty: its last version stays until the file is removed", failed=True)
    said = f"{found.media_type}\0".encode() if ";" in found.media_type else b""  # another charset is another text
    digest = hashlib.sha256(said + body).hexdigest()
    if known is not None and known.digest == digest and not force:
        return Unchanged(found, digest, moved=known.base != found.base)
    return Changed(found, body, digest)


def vanished(
    folders: Iterable[Folder], filters: Filters, journal: Journal, present: Collection[str]
) -> tuple[list[Gone], list[Left]]:
    """Documents to delete, and those of which it cannot be told.

    Only what was published from these folders, and only what the filters let through: a file that is there but is now
    excluded, hidden or unreadable keeps its document.
    """
    gone: dict[str, Gone] = {}
    unclear = []
    for folder in folders:
        for doc_id, entry in journal.of_folder(str(folder.base), folder.prefix):
            if doc_id in present or filters.against(folder.relative(doc_id)):
                continue
            try:
                there = stat.S_ISREG((folder.base / doc_id).stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                there = False
            except OSError as error:
                unclear.append(Left(doc_id, f"not deleted, {why(error)}", failed=True))
                continue
            if not there:
                gone[doc_id] = Gone(doc_id, str(folder.base), entry.token)
    return list(gone.values()), unclear


def check_half(folders: Iterable[Folder], journal: Journal, gone: Collection[Gone]) -> None:
    """A folder that lost more than half of its documents was perhaps moved, emptied or not mounted."""
    ids = {document.doc_id for document in gone}
    for folder in folders:
        published = [doc_id for doc_id, _ in journal.of_folder(str(folder.base), folder.prefix)]
        lost = sum(doc_id in ids for doc_id in published)
        if 2 * lost > len(published):
            raise TooManyDeletes(
                f"{lost} of the {len(published)} documents published from {shown(folder.place)} have lost their file,"
                " which is more than half: nothing was deleted; look with --dry-run, and say --yes if it is right"
            )
