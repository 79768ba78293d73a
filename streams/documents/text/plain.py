"""Plain text to blocks: paragraphs by blank lines, headings by underlines or as manual pages set them."""

import re

from streams.documents.text.blocks import BlockList, Parsed

_MAX_HEADING = 80
_UNDERLINE = re.compile(r"([=*#~^\"+-])\1{2,}")
_MAJOR = "=*#"


def parse_plain(text: str) -> Parsed:
    """Blocks of a text without markup."""
    out = BlockList()
    paragraph: list[str] = []

    def close() -> None:
        out.add("paragraph", "\n".join(paragraph))
        paragraph.clear()

    lines = text.expandtabs().split("\n") if "\t" in text else text.split("\n")
    for place, line in enumerate(lines):
        following = lines[place + 1] if place + 1 < len(lines) else ""
        if not line.strip():
            close()
        elif not paragraph and _is_manual_heading(line, following):
            out.heading(line, 1)
        elif len(paragraph) == 1 and (mark := _underlines(line, paragraph[0])):
            out.heading(paragraph.pop(), 1 if mark in _MAJOR else 2)
        else:
            paragraph.append(line.rstrip())
    close()
    return Parsed(None, out.blocks)


def _is_manual_heading(line: str, following: str) -> bool:
    """``SEE ALSO`` at the margin, above an indented or an empty line."""
    return (
        len(line) <= _MAX_HEADING
        and line.isupper()
        and not line[0].isspace()
        and line.rstrip()[-1] not in ".,;!?"
        and (not following.strip() or following[0].isspace())
    )


def _underlines(line: str, title: str) -> str | None:
    found = _UNDERLINE.fullmatch(line.rstrip())
    fits = len(title) <= _MAX_HEADING and not title[0].isspace() and len(line.rstrip()) * 2 >= len(title)
    return found[1] if found and fits else None
