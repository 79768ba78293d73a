"""Citations: markers ``[n]`` in a text, checked against the passages that were offered while the text comes in.

A marker of a passage that was not offered is taken out before a reader sees it, so what is streamed is, piece by piece,
what the answer will say in the end.  For that a piece is held back while it may be the beginning of a marker, or white
space at the end.
"""

import re
from collections.abc import Sequence

from topics.queries import Citation, Passage

MOST = 64  # characters that are held back; a longer beginning is none
# One number or several in brackets; brackets and spaces in front count in, or what is left of them could be a marker.
_MARKER = re.compile(r"((?:\s?\[)+)(\d{1,3}(?:\s?[,;]\s?\d{1,3})*)\]")
_BEGINNING = re.compile(r"(?:\s?\[)+[\d\s,;]*$|\s+$")


class Cited:
    """The text of one answer.  ``offered`` may shrink until the first piece is there."""

    def __init__(self, offered: int) -> None:
        self.offered = offered
        self.kept = self.removed = 0  # markers of what was offered, and of what was not
        self.text = ""  # all that was let through
        self._held = self._space = ""  # what may be the beginning of a marker; white space before nothing yet

    def add(self, piece: str) -> str:
        """What of the text so far may be shown beyond what was."""
        text = self._held + piece
        start = max(0, len(text) - MOST)
        found = _BEGINNING.search(text, start)
        cut = found.start() if found else len(text)
        self._held = text[cut:]
        return self._pass(text[:cut])

    def end(self) -> str:
        """The rest."""
        held, self._held = self._held, ""
        return self._pass(held)

    def _pass(self, text: str) -> str:
        text = self._space + _MARKER.sub(self._checked, text)
        if not self.text:
            text = text.lstrip()
        shown = text.rstrip()
        self._space = text[len(shown) :]
        self.text += shown
        return shown

    def _checked(self, match: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", match[2])]
        good = [number for number in numbers if 1 <= number <= self.offered]
        self.kept += len(good)
        self.removed += len(numbers) - len(good)
        if not good:
            return ""
        return match[0] if len(numbers) == 1 else match[1][:-1] + "".join(f"[{number}]" for number in good)


def citations_of(text: str, passages: Sequence[Passage]) -> list[Citation]:
    """Of a text that was checked, by number."""
    numbers = sorted({int(number) for number in re.findall(r"\[(\d{1,3})\]", text)})
    return [_citation(number, passages[number - 1]) for number in numbers if 1 <= number <= len(passages)]


def _citation(number: int, passage: Passage) -> Citation:
    return Citation(
        marker=number, doc_id=passage.doc_id, version=passage.version, chunk_id=passage.chunk_id, title=passage.title,
        uri=passage.uri, section=passage.section, text=passage.text,
    )  # fmt: skip
