"""A set of questions that nobody here wrote: the one-line summaries of documentation pages, each to find its page.

The summary is taken out of the page wherever the page quotes it, so that finding the page takes more than finding the
sentence.  A summary that two pages share is no question.  Without a stack: writes the pages and the questions.

    python -m bench questions docs/ && freshet publish docs/pages --root docs/pages && freshet eval docs/questions.jsonl
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import manual
from deploy.local.programs import ROOT

CACHE = ROOT / ".freshet" / "bench-manual"
COUNT = 300
WORDS = range(4, 31)  # of a summary that asks for something


def run(arguments: Sequence[str]) -> None:
    """Write pages and questions."""
    parser = argparse.ArgumentParser(
        prog="python -m bench questions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to: pages/ and questions.jsonl")
    parser.add_argument("--questions", type=int, default=COUNT, help=f"how many (default {COUNT})")
    parser.add_argument("--pages", type=int, default=4 * COUNT, help=f"pages in all (default {4 * COUNT})")
    options = parser.parse_args(arguments)
    pages = shuffled()[: options.pages]
    for page in pages:
        file = options.folder / "pages" / name_of(page)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{page.title}\n\n{page.text}\n")
    chosen = ask_for(pages, options.questions)
    write(chosen, options.folder / "questions.jsonl")
    print(f"{len(chosen)} questions, {len(pages)} pages in {options.folder}")


def shuffled() -> list[manual.Page]:
    """All pages of this machine in an order that is by chance and the same each time: any part is a fair sample."""
    return sorted(manual.pages(CACHE), key=lambda page: hashlib.sha256(page.id.encode()).digest())


def ask_for(pages: Sequence[manual.Page], count: int) -> list[manual.Page]:
    """The first pages whose summary can be asked; fewer than ``count`` where there are no more."""
    shared = Counter(page.summary.casefold() for page in pages)
    fit = [p for p in pages if len(p.summary.split()) in WORDS and shared[p.summary.casefold()] == 1]
    return fit[:count]


def write(pages: Iterable[manual.Page], path: Path) -> None:
    """As `freshet eval` reads them."""
    lines = [json.dumps({"id": p.id, "question": p.summary, "relevant": [name_of(p)]}) for p in pages]
    path.write_text("\n".join(lines) + "\n")


def name_of(page: manual.Page) -> str:
    """The document id: a path that any file system takes."""
    return f"{page.id}.txt"
