"""HTML to blocks: what a reader sees, in order; scripts, styles, navigation and hidden parts go.

The tree is lexbor's, walked without recursion, so neither depth nor size of a document can overflow it.
"""

import re

from selectolax.lexbor import LexborNode

from streams.documents.text.blocks import BlockList, Parsed
from streams.documents.text.elements import BLOCKS, BREAKING, HEADINGS, UNSEEN
from streams.documents.text.tree import build_tree

_BLANKS = re.compile(r"\s+")
_HIDING_STYLE = re.compile(r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden")


def parse_html(text: str) -> Parsed:
    """Blocks of an HTML document or fragment."""
    tree = build_tree(text)
    reader = _Reader()
    path: list[tuple[LexborNode, str]] = []  # the open elements
    node = tree.root
    while node is not None:
        tag, child = node.tag or "", None
        if tag == "-text":
            reader.text(node.text_content or "")
        elif tag == "title":
            reader.titles.append(node.text().replace("<x-", "<").replace("</x-", "</"))
        elif tag in UNSEEN or not node.is_element_node or _is_hidden(node):
            reader.skip(tag)
        else:
            reader.open(tag)
            child = node.first_child
            if child is not None:
                path.append((node, tag))
            else:
                reader.close(tag)
        following = node.next if child is None else child
        while following is None and path:
            node, tag = path.pop()
            reader.close(tag)
            following = node.next
        node = following
    reader.finish()
    titles = (" ".join(title.split()) for title in reader.titles)
    return Parsed(next(filter(None, titles), None), reader.out.blocks)


def _is_hidden(node: LexborNode) -> bool:
    named = node.attributes
    return bool(named) and (
        ("hidden" in named and named["hidden"] != "until-found")
        or named.get("aria-hidden") == "true"
        or _HIDING_STYLE.search((named.get("style") or "")[:4096].lower()) is not None
    )


class _Reader:
    """How many elements of each name are open, and what has been read but not yet become a block."""

    def __init__(self) -> None:
        self.out = BlockList()
        self.titles: list[str] = []
        self._open: dict[str, int] = {}
        self._buffer: list[str] = []
        self._items: list[str] = []
        self._numbers: list[int | None] = []  # of each open list the next number, None where it has bullets
        self._marker = ""
        self._rows: list[str] = []
        self._cells: list[str] = []

    def text(self, value: str) -> None:
        self._buffer.append(value if self._open.get("pre") else _BLANKS.sub(" ", value))

    def skip(self, tag: str) -> None:
        """An element that is not seen still parts what stands around it."""
        self._boundary(tag)

    def open(self, tag: str) -> None:
        if tag == "br":
            self._buffer.append("\n")
        self._boundary(tag)
        if tag in ("ul", "ol"):
            self._numbers.append(1 if tag == "ol" else None)
        elif tag == "li":
            number = self._numbers[-1] if self._numbers else None
            self._marker = "- " if number is None else f"{number}. "
            if number is not None:
                self._numbers[-1] = number + 1
        self._open[tag] = self._open.get(tag, 0) + 1

    def close(self, tag: str) -> None:
        self._open[tag] -= 1
        self._boundary(tag, closing=True)
        if tag in ("ul", "ol"):
            self._numbers.pop()
            if not self._numbers:
                self._end_list()
        elif tag == "table" and not self._open["table"]:
            self._end_table()

    def finish(self) -> None:
        self._flush()
        self._spill()

    def _boundary(self, tag: str, *, closing: bool = False) -> None:
        if tag not in HEADINGS and any(self._open.get(heading) for heading in HEADINGS):
            self._buffer.append(" " if tag in BREAKING else "")
        elif tag in ("td", "th"):
            self._flush(cell=closing)
        elif tag == "tr":
            self._flush()
            self._end_row()
        elif tag in HEADINGS and closing:
            text = self._take()
            if text.strip():
                self._spill()
                self.out.heading(text, int(tag[1]))
        elif tag == "pre" and closing and not self._numbers and not self._open.get("table"):
            code = self._take(keep=True)
            self._spill()
            self.out.add("code", code)
        elif tag in BLOCKS or tag in HEADINGS or tag == "li":
            self._flush()

    def _take(self, *, keep: bool = False) -> str:
        text = "".join(self._buffer)
        self._buffer.clear()
        return text if keep else "\n".join(" ".join(line.split()) for line in text.split("\n"))

    def _flush(self, *, cell: bool = False) -> None:
        """Give the text so far to the cell, item or paragraph that it stands in."""
        text = self._take()
        if not text.strip():
            return
        if cell or self._cells or self._open.get("tr"):
            self._end_list()
            self._cells.append(" ".join(text.split()))
        elif self._numbers:
            self._end_table()
            indent = "  " * min(len(self._numbers) - 1, 20)
            for line in text.strip().split("\n"):
                self._items.append(f"{indent}{self._marker or '  '}{line}")
                self._marker = ""
        else:
            self._spill()
            self.out.add("paragraph", text)

    def _spill(self) -> None:
        """Let out what is pending, so that blocks keep the order of the text."""
        self._end_table()
        self._end_list()

    def _end_row(self) -> None:
        if self._cells:
            self._rows.append(" | ".join(self._cells))
            self._cells.clear()

    def _end_table(self) -> None:
        self._end_row()
        self.out.add("table", "\n".join(self._rows))
        self._rows.clear()

    def _end_list(self) -> None:
        self.out.add("list", "\n".join(self._items))
        self._items.clear()
