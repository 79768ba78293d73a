"""What every media type is parsed into: blocks of text in reading order, each with the headings above it."""

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["heading", "paragraph", "code", "table", "list"]

MAX_SECTION = 300  # characters; a section stands beside every chunk, so a giant heading must not multiply
_MAX_STEP = 120
_MAX_HEADING = 500  # longer ones are text that happens to be marked as a heading
_BLANKS = re.compile(r"[^\S\n]{65,}")  # blanks cost no tokens: without a bound they would swell a chunk
_MAX_HEADER = 1_000  # characters; a longer first row is not repeated
_LEAST_TABLE = 400  # characters of a block of rows: about half a chunk
_ENDING = 4  # one row in so many may end a block
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
    """Collects blocks and keeps the path of headings, behind the place in the document (``page 3``) if it has some."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._place: str | None = None
        self._path: list[tuple[int, str]] = []
        self.section: str | None = None  # where the next block will stand

    def place(self, name: str, *, anew: bool = False) -> None:
        """What follows stands there; with ``anew`` under no heading of what went before."""
        self._place = name
        if anew:
            self._path.clear()
        self._lead()

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
        self._lead()
        self.blocks.append(Block("heading", title, level, self.section))

    def _lead(self) -> None:
        place = [self._place] if self._place else []
        self.section = " > ".join(place + [step for _, step in self._path])[:MAX_SECTION] or None

    def add(self, kind: Kind, text: str) -> None:
        """Append a block unless it is blank; code keeps its indentation, prose does not."""
        text = _EMPTY_LINES.sub("\n\n\n", _BLANKS.sub(" " * 64, text))
        text = text.rstrip().lstrip("\n") if kind in ("code", "list") else text.strip()
        if text and not text.isspace():
            self.blocks.append(Block(kind, text, 0, self.section))

    def table(self, rows: Sequence[str]) -> None:
        """Rows of a table, the first of which is its header."""
        for _, _, text in table_blocks(rows):
            self.add("table", text)


def table_blocks(rows: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(first row, last row, text) of the blocks that a table makes: a long one several, each with the header on top.

    Where a block ends is the choice of its last row, so that a row which is put in moves no other block.
    """
    if not rows:
        return
    header = rows[0] if len(rows[0]) <= _MAX_HEADER else ""
    least = max(_LEAST_TABLE, 2 * len(header))
    block, size, first = [rows[0]], len(rows[0]), 0
    for place, row in enumerate(rows[1:], 1):
        ends = size >= least and zlib.crc32(rows[place - 1].encode("utf-8", "replace")) % _ENDING == 0
        if place > 1 and (ends or size + len(row) > 4 * least):
            yield first, place - 1, "\n".join(block)
            block, size, first = [header] if header else [], len(header), place
        block.append(row)
        size += len(row)
    yield first, len(rows) - 1, "\n".join(block)
