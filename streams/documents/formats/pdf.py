"""PDF to blocks, by PDFium: lines in reading order, each page a place of its own.

A PDF says where characters stand, not what they are.  Headings are the lines that the outline names on their page;
without an outline, lines that are larger than most.  A wide gap between lines ends a paragraph.
"""

import ctypes
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TypeAlias

import msgspec
import pypdfium2
import pypdfium2.raw as pdfium

from streams.documents.refused import Refused
from streams.documents.text.blocks import BlockList, Parsed

_END_WITHIN = 2048  # bytes from the end in which a whole file says where its index is
_LARGER = 1.15  # than most lines: a heading
_GAP = 0.6  # of a line's height between two lines: another paragraph
_MAX_HEADING = 120
_RUNNING = 4  # pages: from so many on, lines that stand on most of them are headers and footers
_HYPHEN = "\x02"  # what PDFium puts for a hyphen and a line's end within a word
_NUMBER = re.compile(r"\d+")
_Headings: TypeAlias = dict[int, dict[int, int]]  # by page and line: the rank of a heading
_LEADERS = re.compile(r"(?: ?\.){4,}")


class _Line(msgspec.Struct):
    text: str
    top: float
    bottom: float

    @property
    def height(self) -> float:
        return round(self.top - self.bottom, 1)


def read_pdf(body: bytes) -> Parsed:
    """Blocks of a PDF; the place of each is its page."""
    end = body[-_END_WITHIN:]
    if b"%%EOF" not in end and b"startxref" not in end:
        raise Refused("the PDF stops in the middle: it was cut off on its way, send all of it")
    try:
        document = pypdfium2.PdfDocument(body)
    except pypdfium2.PdfiumError as error:
        # The code alone may be that of an earlier document: PDFium keeps it.
        if error.err_code == pdfium.FPDF_ERR_PASSWORD and b"/Encrypt" in body:
            raise Refused("the PDF is encrypted: publish it without its password") from None
        raise Refused("this is no PDF, or a damaged one: does it open in a viewer?") from None
    with closing(document):
        pages = [_lines(document[number]) for number in range(len(document))]
        if not any(any(map(str.isalnum, line.text)) for page in pages for line in page):
            raise Refused(
                f"none of its {len(pages)} pages has text: scanned pages are pictures,"
                " run text recognition (OCR) over them and publish the result"
            )
        outline = _outline(document)
        title = document.get_metadata_value("Title").strip("\0 ") or None
    _drop_running(pages)
    out = BlockList()
    headings = _by_outline(pages, outline) if outline else _by_size(pages)
    for number, page in enumerate(pages):
        out.place(f"page {number + 1}")
        _add_page(out, page, headings.get(number, {}))
    return Parsed(title or _largest(pages[0]), out.blocks)


def _lines(page: pypdfium2.PdfPage) -> list[_Line]:
    """Lines of a page; a word that was divided at a line's end is whole."""
    lines: list[_Line] = []
    with closing(page), closing(page.get_textpage()) as text:
        handle, character_at = text.raw, pdfium.FPDFText_GetUnicode  # called for each character: no look-ups
        characters = "".join(chr(character_at(handle, place)) for place in range(text.count_chars()))
        first = 0
        for line in characters.split("\n"):
            if line and not line.isspace():
                whole = line.replace(_HYPHEN, "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                lines.append(_Line(" ".join(_LEADERS.sub(" … ", whole).split()), *_extent(text, first)))
            first += len(line) + 1
    return lines


def _extent(text: pypdfium2.PdfTextPage, character: int) -> tuple[float, float]:
    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(text, character, ctypes.byref(box))
    return box.top, box.bottom


def _outline(document: pypdfium2.PdfDocument) -> dict[int, dict[str, int]]:
    """By page: headings that the outline names there, with their rank."""
    found: dict[int, dict[str, int]] = {}
    for entry in document.get_toc(max_depth=6):
        there = entry.get_dest()
        page = there.get_index() if there else None
        if page is not None:
            found.setdefault(page, {})[_named(entry.get_title())] = min(entry.level + 1, 6)
    return found


def _named(text: str) -> str:
    """A heading's letters: outline and page differ in numbers and spacing."""
    return "".join(filter(str.isalpha, text)).casefold()


def _by_outline(
    pages: Sequence[Sequence[_Line]], outline: Mapping[int, Mapping[str, int]]
) -> dict[int, dict[int, int]]:
    found: _Headings = {}
    for page, named in outline.items():
        if page < len(pages):
            for number, line in enumerate(pages[page]):
                if (rank := named.get(_named(line.text))) and len(line.text) <= _MAX_HEADING:
                    found.setdefault(page, {})[number] = rank
    return found


def _by_size(pages: Sequence[Sequence[_Line]]) -> _Headings:
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page:
            sizes[line.height] += len(line.text)
    most = max(sizes, key=sizes.__getitem__)

    def is_heading(line: _Line) -> bool:
        letters = sum(map(str.isalpha, line.text))
        return line.height > most * _LARGER and len(line.text) <= _MAX_HEADING and letters * 2 > len(line.text)

    larger = sorted({line.height for page in pages for line in page if is_heading(line)}, reverse=True)
    ranks = {height: min(rank, 6) for rank, height in enumerate(larger, 1)}
    return {
        number: {place: ranks[line.height] for place, line in enumerate(page) if is_heading(line)}
        for number, page in enumerate(pages)
    }


def _largest(page: Sequence[_Line]) -> str | None:
    """What a first page sets larger than all else on it is the title."""
    line = max(page, key=lambda line: line.height, default=None)
    others = [other.height for other in page if other is not line]
    return line.text if line and others and line.height > max(others) * _LARGER else None


def _drop_running(pages: Sequence[list[_Line]]) -> None:
    """Headers and footers: the first and last lines that most pages share, page numbers apart."""
    if len(pages) < _RUNNING:
        return
    for edge in (0, -1):
        shared = Counter(_NUMBER.sub("#", page[edge].text) for page in pages if page)
        for page in pages:
            if page and shared[_NUMBER.sub("#", page[edge].text)] * 2 > len(pages):
                del page[edge]


def _add_page(out: BlockList, page: Sequence[_Line], headings: Mapping[int, int]) -> None:
    for rank, text in _paragraphs(page, headings):
        if rank:
            out.heading(text, rank)
        else:
            out.add("paragraph", text)


def _paragraphs(page: Sequence[_Line], headings: Mapping[int, int]) -> Iterator[tuple[int, str]]:
    lines: list[str] = []
    above: _Line | None = None
    for number, line in enumerate(page):
        rank = headings.get(number, 0)
        apart = above is not None and above.bottom - line.top > _GAP * max(line.height, 1)
        if lines and (rank or apart):
            yield 0, "\n".join(lines)
            lines.clear()
        if rank:
            yield rank, line.text
        else:
            lines.append(line.text)
        above = line
    if lines:
        yield 0, "\n".join(lines)
