"""Folders for `freshet publish`."""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.bad_input.kinds import Published
from tests.streams.documents.formats import files


def holding(*pairs: tuple[str | bytes, str | bytes]) -> "Filler":
    """A folder `docs` with these files."""
    return Filler({os.fsdecode(name): body.encode() if isinstance(body, str) else body for name, body in pairs})


class Filler:
    """Writes files, and links."""

    def __init__(self, contents: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> None:
        self._contents, self._links = contents, links or {}

    def __call__(self, folder: Path) -> None:
        (folder / "docs").mkdir()
        for name, body in self._contents.items():
            path = folder / "docs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        for name, target in self._links.items():
            (folder / "docs" / name).symlink_to(target)


def linking(**links: str) -> Filler:
    """A folder of links."""
    return Filler({}, {f"{name}.md": target for name, target in links.items()})


def pipe(folder: Path) -> None:
    """A folder with a pipe that nobody writes to."""
    (folder / "docs").mkdir()
    os.mkfifo(folder / "docs" / "pipe.md")


CHINESE = "早上好今天天气很好".encode("gb18030")
DEEP = "/".join(["d" * 200] * 6) + "/a.md"
ONE = holding(("a.md", "# Dunlin\n\nThe dunlin runs along the tide.\n"))

FILES = (
    Published("folder that is not there", ["docs"], 2, "does not exist"),
    Published("folder without files", ["docs"], 0, "nothing to publish", holding()),
    Published("nothing that can be read", ["docs"], 0, "no reader for .jpg", holding(("a.jpg", "x"))),
    Published("empty file", ["docs"], 0, "1 skipped: empty", holding(("a.md", ""))),
    Published("link in a circle", ["docs"], 1, "lead in a circle", linking(a="a.md")),
    Published("link to nothing", ["docs"], 0, "broken link", linking(a="nothing")),
    Published("file that cannot be read", ["docs"], 1, "cannot be read", linking(a="/proc/self/mem")),
    Published("pipe", ["docs"], 0, "not a file with content", pipe),
    Published("file over the limit", ["docs"], 1, "larger than 8384512 bytes", holding(("a.md", "x" * 9_000_000))),
    Published("name that is not UTF-8", ["docs"], 1, "name is no document id", holding((b"\xff.md", "x"))),
    Published("name with a control character", ["docs"], 1, "control characters", holding(("a\x07.md", "x"))),
    Published("path of 1,025 bytes", ["docs"], 1, "more than 1024 bytes", holding((DEEP, "x"))),
    Published("a picture called .md", ["docs", "--wait"], 1, "a picture", holding(("a.md", b"\x89PNG\r\n\x1a\n"))),
    Published("binary called .txt", ["docs", "--wait"], 1, "NUL character", holding(("a.txt", b"a\0\1b"))),
    Published("text of no known charset", ["docs", "--wait"], 1, "--charset", holding(("a.txt", CHINESE))),
    Published("the same, with its charset", ["docs", "--wait", "--charset", "gb18030"], 0, "1 published", holding(("a.txt", CHINESE))),
    Published("PDF with a password", ["docs", "--wait"], 1, "without its password", holding(("a.pdf", files.pdf(pages=1, password="x")))),
    Published("PDF cut off", ["docs", "--wait"], 1, "was cut off", holding(("a.pdf", files.pdf()[:600]))),
    Published("Word that is none", ["docs", "--wait"], 1, "no .docx file", holding(("a.docx", "Just text."))),
)  # fmt: skip

OPTIONS = (
    Published("pattern that is none", ["docs", "--include", "!"], 2, "--include and --exclude", ONE),
    Published("pattern with a range that is none", ["docs", "--exclude", "[z-a]"], 2, "--include and --exclude", ONE),
    Published("pattern that fits nothing", ["docs", "--include", "*.rst"], 0, "1 skipped: not included", ONE),
    Published("tenant that cannot be one", ["docs", "--tenant", "No One"], 2, "use 1 to 63 of a-z", ONE),
    Published("tenant that nobody has", ["docs", "--tenant", "nobody"], 2, "add it to FRESHET_TENANTS", ONE),
    Published("root that is elsewhere", ["docs", "--root", "/proc"], 2, "does not lie in the root", ONE),
    Published("charset that is none", ["docs", "--charset", "klingon"], 2, "charset 'klingon' is unknown here", ONE),
    Published("follow and preview", ["docs", "--watch", "--dry-run"], 2, "exclude each other", ONE),
    Published("sync of a file", ["docs/a.md", "--sync"], 2, "take folders", ONE),
    Published("option that is none", ["docs", "--recursive"], 2, "No such option", ONE),
    Published("no folder named", [], 2, "Missing argument", ONE),
)

TABLE = {"freshet publish: files": FILES, "freshet publish: options": OPTIONS}
