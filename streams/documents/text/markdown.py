"""Markdown (CommonMark with GFM tables) to blocks."""

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from streams.documents.text.blocks import BlockList, Kind, Parsed, table_blocks
from streams.documents.text.elements import KNOWN
from streams.documents.text.markup import parse_html
from streams.documents.text.plain import parse_plain

_NESTING = 60  # deeper blocks the parser would drop
_FRONT_MATTER = re.compile(r"\A---\n((?:[\w-]+:.*\n|[ \t]+.*\n|- .*\n|#.*\n)+)(?:---|\.\.\.)\n")
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_SPECIAL = re.compile(r"[\\`*_\[\]<>&!~]")
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9-]*)")
# Inline parsing takes time by the special characters of a paragraph, brackets quadratically: hostile texts pass as
# they are once this much was spent (4 MB of ordinary Markdown spend about 300,000).
_MAX_SPECIALS = 2_000
_BUDGET = 400_000


def parse_markdown(text: str) -> Parsed:
    """Blocks of a Markdown text, without its markup."""
    title = None
    if front := _FRONT_MATTER.match(text):
        named = _FRONT_TITLE.search(front[1])
        title = named[1].strip("\"'") if named else None
        text = text[front.end() :]
    reader = _Reader()
    tokens = reader.markdown.parse(text, reader.env)
    if any(token.level >= _NESTING - 2 for token in tokens):
        return parse_plain(text)
    reader.read(tokens)
    return Parsed(title or None, reader.out.blocks)


class _Reader:
    """Walks the flat token stream; depth lives in counters, so nothing recurses."""

    def __init__(self) -> None:
        self.markdown = MarkdownIt("commonmark", {"maxNesting": _NESTING}).enable(["table", "strikethrough"])
        self.markdown.disable("inline")  # done here instead, within a budget
        self.env: dict[str, object] = {}
        self.out = BlockList()
        self.budget = _BUDGET
        self.numbers: list[int | None] = []  # of each open list the next number, None where it has bullets
        self.marker = ""  # of the item that has just been opened
        self.items: list[str] = []
        self.rows: list[list[str]] = []

    def read(self, tokens: Sequence[Token]) -> None:
        container = ""  # what the next inline token belongs to
        for token in tokens:
            kind = token.type
            if kind == "inline":
                self._text(container, self._plain(token.content))
            elif kind in ("fence", "code_block"):
                self._add("code", token.content)
            elif kind == "html_block":
                for block in parse_html(token.content).blocks:
                    self._add(block.kind, block.text, block.level)
            elif kind.endswith("list_open"):
                start = token.attrGet("start")
                self.numbers.append(int(start or 1) if kind == "ordered_list_open" else None)
            elif kind == "list_item_open":
                self._open_item()
            elif kind.endswith("list_close"):
                self.numbers.pop()
                if not self.numbers:
                    self.out.add("list", "\n".join(self.items))
                    self.items.clear()
            elif kind == "tr_open":
                self.rows.append([])
            elif kind == "table_close":
                for _, _, rows in table_blocks([" | ".join(row) for row in self.rows]):
                    self._add("table", rows)
                self.rows.clear()
            elif kind == "heading_open" or kind in ("paragraph_open", "th_open", "td_open"):
                container = token.tag

    def _text(self, container: str, text: str) -> None:
        if container in ("th", "td"):
            self.rows[-1].append(" ".join(text.split()))
        elif container.startswith("h") and not self.numbers:
            self.out.heading(text, int(container[1:]))
        else:
            self._add("paragraph", text)

    def _add(self, kind: Kind, text: str, level: int = 0) -> None:
        if not self.numbers:
            if kind == "heading":
                self.out.heading(text, level)
            else:
                self.out.add(kind, text)
            return
        indent = "  " * (len(self.numbers) - 1)
        for line in text.rstrip().split("\n"):
            self.items.append(f"{indent}{self.marker or '  '}{line}".rstrip())
            self.marker = ""

    def _open_item(self) -> None:
        number = self.numbers[-1]
        if number is None:
            self.marker = "- "
        else:
            self.marker = f"{number}. "
            self.numbers[-1] = number + 1

    def _plain(self, text: str) -> str:
        """Inline Markdown as text: marks go, words stay."""
        specials = len(_SPECIAL.findall(text))
        if not specials:
            return text
        price = specials + specials**2 // 50
        if specials > _MAX_SPECIALS or price > self.budget:
            return text
        self.budget -= price
        tokens: list[Token] = []
        self.markdown.inline.parse(text, self.markdown, self.env, tokens)
        return "".join(map(_shown, tokens))


def _shown(token: Token) -> str:
    match token.type:
        case "softbreak" | "hardbreak":
            return "\n"
        case "html_inline":
            tag = _TAG.match(token.content)
            if tag is None:
                return ""  # a comment
            if tag[1].lower() == "br":
                return "\n"
            return "" if tag[1].lower() in KNOWN else token.content  # `<file>` in a usage line is no tag
        case _:
            return token.content
