"""Documentation with a one-line summary each, installed with the system and written by nobody here.

Manual pages where `man` can show a file, and in any case the standard library's modules.  Deterministic on one machine:
sorted, and at most so many pages of one family (a package with a page for each of its 16,000 subcommands would be most
of it).  Rendered pages are kept, since groff needs 20 to 100 ms for each.
"""

import ast
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bench import corpus

FOLDER = Path("/usr/share/man")
SECTIONS = ("1", "8", "7", "5", "3")  # commands first; the library's calls come last
FAMILY = 40  # most pages whose names begin alike
LEAST = 120  # words of a page
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MANWIDTH": "100",
    "MAN_KEEP_FORMATTING": "",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}
_TIMEOUT = 30.0
_OVERSTRIKE = re.compile(r".\x08|\x1b\[[0-9;]*m")
_NAME = re.compile(r"^NAME\n(.*?)(?=^\S)", re.MULTILINE | re.DOTALL)
_SUMMARY = re.compile(r"^.{1,200}?\s(?:-{1,2}|[\u2013\u2014])\s+(.+)$")


class Page(NamedTuple):
    """A page without its summary."""

    id: str
    title: str
    summary: str
    text: str


def pages(cache: Path) -> Iterator[Page]:
    """Modules first, then manual pages; no two with the same text."""
    seen: set[str] = set()
    for page in (*_modules(), *_rendered(cache)):
        if len(page.text.split()) >= LEAST and page.text not in seen:
            seen.add(page.text)
            yield page


def without(text: str, summary: str) -> str:
    """The text without any place that quotes the summary, however it is broken into lines."""
    words = r"\s+".join(map(re.escape, summary.rstrip(".").split()))
    return re.sub(rf"{words}\.?", "", text, flags=re.IGNORECASE) if words else text


def page_of(name: str, section: str, shown: str) -> Page:
    """A page as `man` shows it: without its first and last line, the section NAME and the summary it gives."""
    lines = _OVERSTRIKE.sub("", shown).strip().splitlines()[1:-1]
    text = "\n".join(line.rstrip() for line in lines)
    found = _NAME.search(text)
    said = _SUMMARY.match(" ".join(found[1].split())) if found else None
    summary = said[1].strip() if said else ""
    body = without(text[: found.start()] + text[found.end() :] if found else text, summary)
    flat = re.sub(r"\n{3,}", "\n\n", re.sub(r"^[ \t]+", "", body, flags=re.MULTILINE)).strip()
    return Page(f"man/{section}/{name}", f"{name}({section})", summary, flat)


def _modules() -> Iterator[Page]:
    for document, path in corpus.modules():
        summary = _first_sentence(path)
        yield Page(document.id, document.title, summary, without(document.text, summary).strip())


def _first_sentence(path: Path) -> str:
    """Of a module's docstring, without the module's name in front."""
    try:
        said = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError):
        return ""
    first = " ".join(said.split("\n\n")[0].split())
    sentence = re.split(r"(?<=[a-z)])\.(?:\s|$)", first)[0]
    return re.sub(r"^[\w.:`]+\s+(?:-{1,3}|\u2013|:)\s+", "", sentence).strip()


def _rendered(cache: Path) -> Iterator[Page]:
    cache.mkdir(parents=True, exist_ok=True)
    sources = list(_sources())
    if not sources or not shutil.which("man", path=_ENVIRONMENT["PATH"]):
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (name, section, _), shown in zip(sources, pool.map(lambda s: _show(cache, *s), sources), strict=True):
            if shown:
                yield page_of(name, section, shown)


def _sources() -> Iterator[tuple[str, str, Path]]:
    for section in SECTIONS:
        families: Counter[str] = Counter()
        for path in sorted((FOLDER / f"man{section}").glob(f"*.{section}*")):
            name = path.name.partition(f".{section}")[0]
            family = re.split(r"[-_.:]", name)[0]
            families[family] += 1
            if not path.is_symlink() and families[family] <= FAMILY:
                yield name, section, path


def _show(cache: Path, name: str, section: str, path: Path) -> str:
    """As text; empty where `man` cannot."""
    kept = cache / f"{name.replace('/', '_')}.{section}.txt"
    if not kept.exists():
        command = ["man", "-P", "cat", "--nh", "--nj", "-l", str(path)]
        shown = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=_ENVIRONMENT, timeout=_TIMEOUT, check=False
        )
        kept.write_text(shown.stdout if shown.returncode == 0 else "")
    return kept.read_text()
