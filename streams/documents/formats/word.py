"""Word documents to blocks: headings by style, lists, tables; what was deleted under track changes is left out."""

import io
import re
from collections.abc import Iterator
from typing import Any

import docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import parse_xml
from docx.oxml.ns import qn

from streams.documents.formats.office import check_package
from streams.documents.text.blocks import BlockList, Parsed

_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_NOTES = (RELATIONSHIP_TYPE.FOOTNOTES, RELATIONSHIP_TYPE.ENDNOTES)
_P, _TABLE, _ROW, _CELL = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc")
_GONE = {qn("w:del"), qn("w:moveFrom"), "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}
_TEXT, _TAB = qn("w:t"), qn("w:tab")
_BREAKS = {qn("w:br"), qn("w:cr")}
_PLAIN_BODY = 9  # outline level that Word writes for text


def read_word(body: bytes) -> Parsed:
    """Blocks of a .docx file."""
    check_package(body, ".docx", "word/")
    document = docx.Document(io.BytesIO(body))
    reader = _Reader(_ranks(document))
    reader.read(document.element.body)
    for relation in document.part.rels.values():
        if relation.reltype in _NOTES and not relation.is_external:
            reader.read(parse_xml(relation.target_part.blob))
    return Parsed(_title(document), reader.out.blocks)


def _title(document: Any) -> str | None:
    """What the file's properties say; the library would invent one where there are none."""
    named = any(r.reltype == RELATIONSHIP_TYPE.CORE_PROPERTIES for r in document.part.package.rels.values())
    return (" ".join(document.core_properties.title.split()) or None) if named else None


def _ranks(document: Any) -> dict[str, int]:
    """Rank of headings by id of their style, styles that are based on one included."""
    named, based = {}, {}
    for style in document.styles.element.iter(qn("w:style")):
        style_id, name = style.get(qn("w:styleId")), style.find(qn("w:name"))
        base = style.find(qn("w:basedOn"))
        if style_id is None:
            continue
        based[style_id] = base.get(qn("w:val")) if base is not None else None
        found = _HEADING.fullmatch(name.get(qn("w:val"), "")) if name is not None else None
        if found:
            named[style_id] = min(int(found[1]), 6)
        elif name is not None and name.get(qn("w:val"), "").lower() == "title":
            named[style_id] = 1
    ranks = {}
    for style_id in based:
        seen, step = set(), style_id
        while step in based and step not in named and step not in seen:
            seen.add(step)
            step = based[step]
        if step in named:
            ranks[style_id] = named[step]
    return ranks


class _Reader:
    """Walks a story without recursion: paragraphs and tables in order, whatever they are wrapped in."""

    def __init__(self, ranks: dict[str, int]) -> None:
        self.out = BlockList()
        self._ranks = ranks
        self._items: list[str] = []

    def read(self, story: Any) -> None:
        for element in _outermost(story, {_P, _TABLE}):
            if element.tag == _TABLE:
                self._end_list()
                self.out.table([" | ".join(cells) for row in _rows(element) if any(cells := _cells(row))])
            else:
                self._paragraph(element)
        self._end_list()

    def _paragraph(self, paragraph: Any) -> None:
        text = _text_of(paragraph).strip()
        if not text:
            return
        properties = paragraph.find(qn("w:pPr"))
        rank = self._rank(properties) if properties is not None else 0
        numbered = properties.find(qn("w:numPr")) if properties is not None else None
        if rank:
            self._end_list()
            self.out.heading(text, rank)
        elif numbered is not None or self._style(properties).lower().startswith("list"):
            level = numbered.find(qn("w:ilvl")) if numbered is not None else None
            depth = int(level.get(qn("w:val"), "0")) if level is not None else 0
            self._items.append("  " * min(depth, 9) + "- " + " ".join(text.split()))
        else:
            self._end_list()
            self.out.add("paragraph", text)

    def _style(self, properties: Any) -> str:
        style = properties.find(qn("w:pStyle")) if properties is not None else None
        return style.get(qn("w:val"), "") if style is not None else ""

    def _rank(self, properties: Any) -> int:
        outline = properties.find(qn("w:outlineLvl"))
        if outline is not None and (level := int(outline.get(qn("w:val"), _PLAIN_BODY))) < _PLAIN_BODY:
            return min(level + 1, 6)
        return self._ranks.get(self._style(properties), 0)

    def _end_list(self) -> None:
        self.out.add("list", "\n".join(self._items))
        self._items.clear()


def _outermost(element: Any, tags: set[str]) -> Iterator[Any]:
    """Descendants of these names that do not stand within another one; nothing that was deleted."""
    todo = [element]
    while todo:
        for_now = todo.pop()
        if for_now is not element and for_now.tag in tags:
            yield for_now
        elif for_now.tag not in _GONE:
            todo += reversed(for_now)


def _rows(table: Any) -> Iterator[Any]:
    return _outermost(table, {_ROW})


def _cells(row: Any) -> list[str]:
    return [" ".join(_text_of(cell).split()) for cell in _outermost(row, {_CELL})]


def _text_of(element: Any) -> str:
    pieces: list[str] = []
    for part in _outermost(element, {_TEXT, _TAB, _P, *_BREAKS}):
        if part.tag == _TEXT:
            pieces.append(part.text or "")
        elif part.tag == _P:  # in a cell, or in a box that is anchored in this paragraph
            pieces += ["\n", _text_of(part), "\n"]
        else:
            pieces.append("\n" if part.tag in _BREAKS else " ")
    return "".join(pieces)
