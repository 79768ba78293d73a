"""A Freshet that keeps its documents from run to run: pages are published once, and encoded once."""

import argparse
import asyncio
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
from rich.progress import Progress

from bench.installation import PORT_BASE, Installation
from bench.manual import Page
from bench.questions import name_of
from deploy.local.own_stack import own_stack
from runtime.settings import Settings
from topics.identity import Token

BATCH = 48  # pages that are published at once


def settings_option(parser: argparse.ArgumentParser) -> None:
    """`--set NAME=VALUE`, as often as wanted."""

    def pair(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not (equals and name.startswith("FRESHET_")):
            raise argparse.ArgumentTypeError(f"{text!r} is not FRESHET_NAME=VALUE")
        return name, value

    parser.add_argument(
        "--set", action="append", type=pair, default=[], metavar="FRESHET_NAME=VALUE", help="of the stack; repeat"
    )


@contextmanager
def library(settings: Sequence[tuple[str, str]] = ()) -> Iterator[Installation]:
    """Bring it up with what earlier runs left in it, and take it down again."""
    base = os.environ.get("FRESHET_PORT_BASE", PORT_BASE)
    with own_stack("bench-library", base, {"FRESHET_PREFIX": "library", **dict(settings)}) as stack:
        yield Installation(stack, Settings.from_env(stack.environment))


async def shelve(freshet: Installation, pages: Sequence[Page], chunks: int) -> tuple[list[Page], int]:
    """Publish pages in order until so many chunks are visible.  Gives the pages that are there, and their chunks.

    What an earlier run published stays, so there may be more than were asked for.
    """
    bodies = [_body(page) for page in pages]
    found = await freshet.manifests([name_of(page) for page in pages])
    held = [
        len(m.chunks) if m.head and m.head.metadata.get("digest") == _digest(page) else 0
        for m, page in zip(found, pages, strict=True)
    ]
    wanted = [place for place, count in enumerate(held) if not count]
    batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    tokens: dict[int, Mapping[str, Token]] = {}
    with Progress() as progress:
        task = progress.add_task("chunks", total=chunks, completed=sum(held))
        for number, places in enumerate(batches):
            if sum(held) >= chunks:
                break
            for ahead in (number, number + 1):  # one batch more than is waited for: the lane never runs dry
                if ahead < len(batches) and ahead not in tokens:
                    documents = {name_of(pages[place]): bodies[place] for place in batches[ahead]}
                    tokens[ahead] = await asyncio.to_thread(freshet.publish, documents, "application/json")
            await freshet.wait(tokens[number])
            for place, m in zip(places, await freshet.manifests([name_of(pages[p]) for p in places]), strict=True):
                held[place] = len(m.chunks)
            progress.update(task, completed=sum(held))
        if tokens:
            await freshet.wait(tokens[max(tokens)])
    if sum(held) < chunks:
        raise ValueError(f"only {sum(held)} chunks of documentation are installed, {chunks} were asked for")
    return [page for page, count in zip(pages, held, strict=True) if count], sum(held)


def _text(page: Page) -> str:
    return f"{page.title}\n\n{page.text}\n"


def _digest(page: Page) -> str:
    return hashlib.sha256(_text(page).encode()).hexdigest()[:16]


def _body(page: Page) -> bytes:
    return msgspec.json.encode({"text": _text(page), "title": page.title, "metadata": {"digest": _digest(page)}})
