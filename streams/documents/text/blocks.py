"""What every media type is parsed into: blocks of text in reading order, each with the headings above it."""

import re
from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["heading", "paragraph", "code", "table", "list"]

MAX_SECTION = 300  # characters; a section stands beside every chunk, so a giant heading must not multiply
_MAX_STEP = 120
_MAX_HEADING = 500  # longer ones are text that happens to be marked as a heading
_BLANKS = re.compile(r"[^\S\n]{65,}")  # blanks cost no tokens: without a bound they would swell a chunk
_EMPTY_LINES = re.compile(r"\n(?:[^\S\n]*+\n){3,}")


class Block(msgspec.Struct, frozen=True):
    """One block; ``level`` is a heading's rank (1 to 6), ``section`` the path of headings, its own included."""

    kind: Kind
    text: str
    level: int = 0
    section: str | None = None


class Parsed(msgspec.Struct, frozen=True):
    """A document's blocks and the title it gives itself."""

    title: str | None
    blocks: list[Block]


class BlockList:
    """Collects blocks and keeps the path of headings."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._section: str | None = None

    def heading(self, text: str, level: int) -> None:
        title = " ".join(text.split())
        if not title:
            return
        if len(title) > _MAX_HEADING:
            self.add("paragraph", text)
            return
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, title[:_MAX_STEP]))
        self._section = " > ".join(step for _, step in self._path)[:MAX_SECTION]
        self.blocks.append(Block("heading", title, level, self._section))

    def add(self, kind: Kind, text: str) -> None:
        """Append a block unless it is blank; code keeps its indentation, prose does not."""
        text = _EMPTY_LINES.sub("\n\n\n", _BLANKS.sub(" " * 64, text))
        text = text.rstrip().lstrip("\n") if kind in ("code", "list") else text.strip()
        if text and not text.isspace():
            self.blocks.append(Block(kind, text, 0, self._section))
