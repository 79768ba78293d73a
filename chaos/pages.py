"""Real pages to ask about while something is broken: the documentation of this repository, and an editor at work."""

import asyncio
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from deploy.local.programs import ROOT

VISIBLE_SECONDS = 120.0
_HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is published."""

    doc_id: str
    text: str


def repository_pages(folder: Path = ROOT) -> list[Page]:
    """README and all of docs/, sorted."""
    paths = [folder / "README.md", *sorted((folder / "docs").rglob("*.md"))]
    return [Page(str(path.relative_to(folder)), path.read_text()) for path in paths]


def questions_of(pages: Sequence[Page]) -> list[str]:
    """A question for each heading that says something, in the order of the pages."""
    headings = [heading.strip("# `*") for page in pages for heading in _HEADING.findall(page.text)]
    return [f"What about {heading}?" for heading in headings if len(heading.split()) > 2]


class Editor:
    """Appends a line to one page after the other, and knows what has become visible."""

    def __init__(self, http: httpx.AsyncClient, pages: Sequence[Page]) -> None:
        self._http, self._pages = http, pages
        self._newest: dict[str, str] = {}
        self.edits = 0

    async def publish_all(self) -> None:
        """Publish every page, and wait until all are visible."""
        for page in self._pages:
            await self._put(page.doc_id, page.text)
        if missing := await self.missing():
            raise RuntimeError(f"{missing} of {len(self._pages)} pages did not become visible")

    async def run(self, stop: asyncio.Event, pause: float, *, whole: bool = False) -> None:
        """Edit until stopped; ``whole`` makes every paragraph new, so that all of it must be encoded again."""
        for number, page in enumerate(itertools.cycle(self._pages)):
            try:
                async with asyncio.timeout(pause):
                    await stop.wait()
                return
            except TimeoutError:
                edited = page.text.replace("\n\n", f"\n\n{number}: ") if whole else page.text
                await self._put(page.doc_id, f"{edited}\nEdited {number} times.\n")
                self.edits += 1

    async def missing(self) -> int:
        """How many pages are not visible in their newest version, when there has been time for it."""
        waits = [self._visible(doc_id, token) for doc_id, token in self._newest.items()]
        return (await asyncio.gather(*waits)).count(False)

    async def _put(self, doc_id: str, text: str) -> None:
        path = f"/v1/documents/{quote(doc_id, safe='')}"
        response = await self._http.put(path, json={"text": text, "media_type": "text/markdown"})
        response.raise_for_status()
        self._newest[doc_id] = response.json()["token"]

    async def _visible(self, doc_id: str, token: str) -> bool:
        path = f"/v1/documents/{quote(doc_id, safe='')}"
        try:
            async with asyncio.timeout(VISIBLE_SECONDS):
                while True:
                    response = await self._http.get(path, params={"token": token})
                    if response.status_code == 200 and response.json()["status"] == "indexed":
                        return True
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
