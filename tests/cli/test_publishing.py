"""What `freshet publish` decides, without a broker: which files, which content, which deletes."""

import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.publishing.journal import Journal, JournalError
from cli.publishing.plan import Changed, Gone, TooManyDeletes, Unchanged, check_half, distinct, judge, vanished
from cli.publishing.read import read
from cli.publishing.walk import Filters, Folder, Found, Left, is_passing, shown, walk
from topics.media_types import BY_SUFFIX

LIMIT = 1000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a folder `docs` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    return tmp_path


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "state" / "journal.jsonl") as journal:
        yield journal


def found(home: Path, **patterns: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """Ids; what is left out, with the reason; what of that is a failure."""
    files = list(walk(Folder.of(Path("docs")), Filters(**patterns), BY_SUFFIX))
    left = [file for file in files if isinstance(file, Left)]
    reasons = {file.name: file.reason for file in left}
    return [f.doc_id for f in files if isinstance(f, Found)], reasons, [f.name for f in left if f.failed]


def write(path: Path, text: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def published(journal: Journal, *doc_ids: str, base: Path, token: str | None = "1.0.5") -> None:
    for doc_id in doc_ids:
        journal.confirm(doc_id, "digest", str(base), token)


def only(path: str) -> Found:
    """The one file that is found there."""
    (file,) = walk(Folder.of(Path(path)), Filters(), BY_SUFFIX)
    assert isinstance(file, Found)
    return file


def test_every_file_is_found_or_has_a_reason(home: Path) -> None:
    """Hidden, temporary, foreign, special, linked in circles: each is left out with its reason; others are found."""
    for name in ("a.md", "sub/b.HTML", "README", "dir.md/c.txt"):
        write(home / "docs" / name)
    for name in (".git/config", ".a.md.swp", "a.md~", "#a.md#", "~$a.docx", "x.tmp", "photo.jpg"):
        write(home / "docs" / name)
    os.mkfifo(home / "docs" / "pipe.md")
    (home / "docs" / "loop.md").symlink_to("loop.md")
    (home / "docs" / "up").symlink_to("..")
    (home / "docs" / "nowhere.md").symlink_to("absent.md")
    (home / "docs" / "alias.md").symlink_to("a.md")
    ids, reasons, failed = found(home)
    assert ids == ["docs/README", "docs/a.md", "docs/alias.md", "docs/dir.md/c.txt", "docs/sub/b.HTML"]
    assert reasons == {
        "docs/.git": "hidden",
        "docs/.a.md.swp": "hidden",
        "docs/a.md~": "temporary file",
        "docs/#a.md#": "temporary file",
        "docs/~$a.docx": "temporary file",
        "docs/x.tmp": "temporary file",
        "docs/photo.jpg": "no reader for .jpg",
        "docs/pipe.md": "not a file with content (a pipe, socket or device)",
        "docs/loop.md": "symbolic links lead in a circle",
        "docs/up": "link to a folder, not followed",
        "docs/nowhere.md": "broken link",
    }
    assert failed == ["docs/loop.md"]


def test_what_is_no_reason_to_look(home: Path) -> None:
    """Changes of hidden and temporary files, and of what lies in hidden folders below the one that is followed."""
    folder = Folder.of(home / "docs")
    for name, passing in {".x": True, "x~": True, ".git/index": True, "sub/x.md": False, "x.tmp/a.md": False}.items():
        path = f"{home}/docs/{name}"
        assert folder.holds(path) and is_passing(folder, path) is passing, name
    assert not folder.holds(f"{home}/docs2/x.md")
    assert not is_passing(Folder.of(home / ".hidden"), f"{home}/.hidden/x.md")


def test_filters_read_as_a_gitignore_does(home: Path) -> None:
    """Includes choose, excludes win, patterns count from the folder, `!` takes back, excluded folders stay closed."""
    for name in ("a.md", "b.txt", "drafts/c.md", "sub/drafts/d.md", "sub/e.md", "old.md"):
        write(home / "docs" / name)
    assert found(home, include=["*.md"])[0] == [
        "docs/a.md", "docs/old.md", "docs/drafts/c.md", "docs/sub/e.md", "docs/sub/drafts/d.md",
    ]  # fmt: skip
    assert found(home, exclude=["drafts/", "*.md", "!a.md"])[0] == ["docs/a.md", "docs/b.txt"]
    ids, reasons, _ = found(home, include=["*.md"], exclude=["/drafts", "old*"])
    assert ids == ["docs/a.md", "docs/sub/e.md", "docs/sub/drafts/d.md"]
    assert reasons == {"docs/b.txt": "not included", "docs/drafts": "excluded", "docs/old.md": "excluded"}
    with pytest.raises(ValueError, match="!"):
        Filters(exclude=["!"])


def test_ids_count_from_the_base(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From the working folder; elsewhere from what holds the named folder; or from the root; links keep their names."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere / "real" / "a.md")
    (home / "linked").symlink_to(elsewhere / "real")
    assert only("linked").doc_id == "linked/a.md"
    assert only(str(elsewhere / "real")).doc_id == "real/a.md"
    assert only(f"{elsewhere}/real/../real/a.md").doc_id == "a.md"
    assert Folder.of(elsewhere / "real", elsewhere / "real").prefix == ""
    with pytest.raises(ValueError, match="root"):
        Folder.of(Path("docs"), elsewhere)


def test_names_that_are_no_text(home: Path, journal: Journal) -> None:
    """A name that is not UTF-8 or has control characters fails alone, and can be shown."""
    for name in (b"bad\xff.md", b"new\nline.md"):
        (home / "docs" / os.fsdecode(name)).write_text("text")
    files = list(walk(Folder.of(Path("docs")), Filters(), BY_SUFFIX))
    told = [judge(file, journal, LIMIT) for file in files if isinstance(file, Found)]
    assert [isinstance(t, Left) and t.failed and t.reason.split(":")[0] for t in told] == ["name is no document id"] * 2
    assert sorted(shown(t.name) for t in told if isinstance(t, Left)) == ["docs/bad\\xff.md", "docs/new\\nline.md"]


def test_one_id_is_one_document(home: Path) -> None:
    """Folders within each other give a file once; two files with one id are a failure."""
    write(home / "docs" / "sub" / "a.md")
    twice = [file for name in ("docs", "docs/sub") for file in walk(Folder.of(Path(name)), Filters(), BY_SUFFIX)]
    assert [file.doc_id for file in distinct(twice) if isinstance(file, Found)] == ["docs/sub/a.md"]
    other = Found(home / "other.md", "docs/sub/a.md", str(home), "text/plain")
    _, left = distinct([twice[0], other])
    assert isinstance(left, Left) and left.failed and "--root" in left.reason


def test_content_or_a_reason(home: Path, journal: Journal) -> None:
    """New, unchanged, changed, empty, emptied, too large, vanished, no longer a file: judged one by one."""
    path = write(home / "docs" / "a.md", "one")
    told = judge(only("docs"), journal, LIMIT)
    assert isinstance(told, Changed) and told.body == b"one"
    journal.begin("docs/a.md", str(home))
    assert isinstance(judge(only("docs"), journal, LIMIT), Changed)  # a run that was killed here sends again
    journal.confirm("docs/a.md", told.digest, str(home), "1.0.5")
    assert judge(only("docs"), journal, LIMIT) == Unchanged(only("docs"), told.digest, moved=False)
    assert isinstance(judge(only("docs"), journal, LIMIT, force=True), Changed)
    write(path, "two")
    assert isinstance(judge(only("docs"), journal, LIMIT), Changed)
    write(path, "")
    emptied = judge(only("docs"), journal, LIMIT)
    assert isinstance(emptied, Left) and emptied.failed and "has become empty" in emptied.reason
    journal.forget("docs/a.md")
    assert judge(only("docs"), journal, LIMIT) == Left("docs/a.md", "empty")
    write(path, "x" * (LIMIT + 1))
    large = judge(only("docs"), journal, LIMIT)
    assert isinstance(large, Left) and large.failed and f"larger than {LIMIT} bytes" in large.reason
    file = only("docs")
    path.unlink()
    assert read(file, LIMIT) == Left("docs/a.md", "vanished before it was read")
    os.mkfifo(path)
    replaced = read(file, LIMIT)  # and does not wait for somebody to write into it
    assert isinstance(replaced, Left) and replaced.failed


def test_a_file_that_is_being_written(home: Path) -> None:
    """A file that grows while it is read is not published with what it had by chance: it fails, and says so."""
    path, stop = write(home / "docs" / "a.md"), threading.Event()
    file = only("docs")

    def append() -> None:
        with path.open("ab", buffering=0) as opened:
            while not stop.is_set():
                opened.write(b"a")

    writer = threading.Thread(target=append)
    writer.start()
    try:
        until = time.monotonic() + 20
        told = read(file, 1 << 30)
        while not isinstance(told, Left) and time.monotonic() < until:
            told = read(file, 1 << 30)
    finally:
        stop.set()
        writer.join()
    assert told == Left("docs/a.md", "is being written while it is read", failed=True)


def test_an_unreadable_file_fails_alone(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file without permission is a failure with that reason."""
    file = only(str(write(home / "docs" / "a.md")))
    for folder in (home / "docs", *(home / "docs").parents):
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to(tmp_path_factory.getbasetemp().parent):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    file.path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        left = read(file, LIMIT)
    finally:
        os.seteuid(user)
    assert left == Left("docs/a.md", "cannot be read: Permission denied", failed=True)


def test_deletes_are_of_this_folder_only(home: Path, journal: Journal) -> None:
    """Gone is what was published from here, is let through by the filters, and is no file any more."""
    write(home / "docs" / "kept.md")
    write(home / "docs" / "now-excluded.md")
    (home / "docs" / "folder.md").mkdir()
    (home / "docs" / "loop.md").symlink_to("loop.md")
    published(journal, "docs/kept.md", "docs/now-excluded.md", "docs/folder.md", "docs/gone.md", base=home)
    published(journal, "docs/loop.md", "docs/drafts/gone.md", "docs2/gone.md", "other/gone.md", base=home)
    published(journal, "docs/of-others.md", base=home / "elsewhere")
    journal.confirm("docs/of-early-version.md", "digest", None, None)  # type: ignore[arg-type]
    filters = Filters(exclude=["drafts/", "now-excluded.md"])
    gone, unclear = vanished([Folder.of(Path("docs"))], filters, journal, {"docs/kept.md"})
    assert gone == [Gone(doc_id, str(home), "1.0.5") for doc_id in ("docs/folder.md", "docs/gone.md")]
    assert [(left.name, left.failed) for left in unclear] == [("docs/loop.md", True)]


def test_more_than_half_is_too_many(home: Path, journal: Journal) -> None:
    """Half of a folder may go, more may not, and the refusal says the counts."""
    folders = [Folder.of(Path("docs"))]
    published(journal, "docs/a", "docs/b", "docs/c", "docs/d", base=home)
    published(journal, "more/e", "more/f", base=home)
    gone = [Gone(f"docs/{name}", str(home), None) for name in "abc"]
    check_half(folders, journal, gone[:2])
    with pytest.raises(TooManyDeletes, match="3 of the 4 documents"):
        check_half(folders, journal, gone)


def test_the_journal_remembers(tmp_path: Path) -> None:
    """What was confirmed, where from and with which token, is there after a restart; deletes are not."""
    path = tmp_path / "deep" / "journal.jsonl"
    with Journal(path) as journal:
        published(journal, "a", "b", base=tmp_path, token="1.2.3")
        journal.begin("b", str(tmp_path))
        journal.begin("c", str(tmp_path))
        journal.forget("a")
    with Journal(path, read_only=True) as journal:
        known = {doc_id: (e.digest, e.token) for doc_id, e in journal.of_folder(str(tmp_path), "")}
        assert known == {"b": ("", "1.2.3"), "c": ("", None)} and journal.get("a") is None


def test_a_torn_last_line_costs_that_line_only(tmp_path: Path) -> None:
    """A line that a crash has torn is cut off: the next note does not become part of it."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        published(journal, "a", "b", base=tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    with Journal(path) as journal:
        assert journal.get("a") and journal.get("b") is None
        published(journal, "c", base=tmp_path)
    path.write_bytes(path.read_bytes().replace(b'["a"', b'{"a"'))
    with Journal(path) as journal:
        assert journal.get("a") is None and journal.get("c")


def test_the_journal_of_earlier_releases_is_read(tmp_path: Path) -> None:
    """Its notes have no folder: such documents are unchanged, and no folder deletes them."""
    path = tmp_path / "journal.jsonl"
    path.write_text('["a.md", "digest"]\n')
    with Journal(path) as journal:
        entry = journal.get("a.md")
        assert entry is not None and (entry.digest, entry.base) == ("digest", None)
        assert not list(journal.of_folder(str(tmp_path), ""))


def test_the_journal_is_compacted(tmp_path: Path) -> None:
    """It grows with the documents, not with the notes, and nothing is lost by that."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        published(journal, "kept", base=tmp_path)
        for number in range(3000):
            journal.confirm("busy", str(number), str(tmp_path), None)
        published(journal, "later", base=tmp_path)
    lines = path.read_text().splitlines()
    assert len(lines) < 1500 and all(json.loads(line) for line in lines)
    with Journal(path) as journal:
        entries = [journal.get(doc_id) for doc_id in ("kept", "busy", "later")]
        assert [entry.digest if entry else None for entry in entries] == ["digest", "2999", "digest"]


def test_two_publishers_at_once(tmp_path: Path) -> None:
    """The second is told so; whoever only reads is not kept out; the lock ends with its holder."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as first:
        published(first, "a", base=tmp_path)
        with pytest.raises(JournalError, match="another `freshet publish`"), Journal(path):
            pass
        with Journal(path, read_only=True) as reader:
            assert reader.get("a")
    with Journal(path) as second:
        assert second.get("a")
