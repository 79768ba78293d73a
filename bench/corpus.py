"""Text to measure on that nobody here wrote: the standard library's docstrings, and manual pages where present.

Deterministic on one machine: the library's files in sorted order, read without importing them, then a fixed list of
pages; markup is dropped, words are kept.
"""

import ast
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

WORDS = 150  # least words of a document: one chunk or more

_SKIPPED = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip", "turtledemo"}
)
_PAGES = (
    "bash",
    "tar",
    "find",
    "grep",
    "sort",
    "ssh",
    "git-commit",
    "git-rebase",
    "curl",
    "ps",
    "sed",
    "make",
    "rsync",
)
_ENVIRONMENT = {"LC_ALL": "C", "MANWIDTH": "100", "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"}
_TIMEOUT = 20.0  # seconds for one manual page: groff needs less than one


class Document(NamedTuple):
    """One document of the corpus."""

    id: str
    title: str
    text: str


def documents(limit: int | None = None, words: int = WORDS) -> list[Document]:
    """Texts of at least ``words`` words each, library modules first, then manual pages."""
    found = [
        d
        for source in ((document for document, _ in modules()), _pages())
        for d in source
        if len(d.text.split()) >= words
    ]
    return found[:limit]


def modules() -> Iterator[tuple[Document, Path]]:
    """Every module's docstrings, and its file."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        place = path.relative_to(library)
        if _SKIPPED.isdisjoint(place.parts):
            name = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
            yield Document(f"python/{name}", f"Python module {name}", _docstrings(path)), path


def _docstrings(path: Path) -> str:
    """Every docstring of a file in reading order, as paragraphs; empty where the file cannot be parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented)]
    return _prose("\n\n".join(text for text in texts if text and len(text.split()) > 8))


def _pages() -> Iterator[Document]:
    if shutil.which("man", path=_ENVIRONMENT["PATH"]):
        for name in _PAGES:
            command = ["man", "-P", "cat", name]
            shown = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                env=_ENVIRONMENT,
                timeout=_TIMEOUT,
                check=False,
            )
            yield Document(f"man/{name}", f"Manual page {name}", _prose(re.sub(r".\x08", "", shown.stdout)))


def _prose(text: str) -> str:
    """Drop prompts, rules and indentation: they are layout, not words."""
    lines = (re.sub(r"^\s*(>>>|\.\.\.)?\s*", "", line).rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if not re.fullmatch(r"[-=~|_*+. ]{3,}", line)).strip()
