"""PowerPoint presentations to blocks: each slide a place of its own, with its title, texts, tables and notes."""

import io
from collections.abc import Iterator
from typing import Any

import pptx
from pptx.opc.constants import RELATIONSHIP_TYPE

from streams.documents.formats.office import check_package
from streams.documents.text.blocks import BlockList, Parsed


def read_slides(body: bytes) -> Parsed:
    """Blocks of a .pptx file."""
    check_package(body, ".pptx", "ppt/")
    deck = pptx.Presentation(io.BytesIO(body))
    out = BlockList()
    for number, slide in enumerate(deck.slides, 1):
        out.place(f"slide {number}", anew=True)
        title = slide.shapes.title
        if title is not None:
            out.heading(title.text_frame.text, 1)
        for shape in _shapes(slide.shapes):
            if getattr(shape, "has_table", False):
                out.table([" | ".join(_line(cell.text) for cell in row.cells) for row in shape.table.rows])
            elif shape.has_text_frame and (title is None or shape.shape_id != title.shape_id):
                _add_texts(out, shape.text_frame.paragraphs)
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
            out.add("paragraph", f"Notes: {notes.text}")
    return Parsed(_title(deck), out.blocks)


def _title(deck: Any) -> str | None:
    named = any(r.reltype == RELATIONSHIP_TYPE.CORE_PROPERTIES for r in deck.part.package._rels.values())
    return (_line(deck.core_properties.title) or None) if named else None


def _shapes(shapes: Any) -> Iterator[Any]:
    """Shapes in order, those within groups too."""
    todo = list(reversed(list(shapes)))
    while todo:
        shape = todo.pop()
        if hasattr(shape, "shapes"):
            todo += reversed(list(shape.shapes))
        else:
            yield shape


def _add_texts(out: BlockList, paragraphs: Any) -> None:
    """Points of a text field as a list; a single one is a paragraph."""
    lines = [(paragraph.level, _line(paragraph.text)) for paragraph in paragraphs if paragraph.text.strip()]
    if len(lines) == 1:
        out.add("paragraph", lines[0][1])
    else:
        out.add("list", "\n".join(f"{'  ' * level}- {line}" for level, line in lines))


def _line(text: str) -> str:
    return " ".join(text.split())
