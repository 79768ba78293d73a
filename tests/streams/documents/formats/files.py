"""Files as ordinary programs write them, made by ordinary libraries."""

import copy
import io
import zipfile
from email.message import EmailMessage

import docx
import fpdf
import pptx
from fpdf.enums import AccessPermission, EncryptionMethod

SENTENCE = "The heron waits at the river for the small fish of the morning. "


def pdf(*, outline: bool = True, password: str | None = None, pages: int = 3) -> bytes:
    """Pages with a heading, a footer, text, and a table on the last."""
    document = fpdf.FPDF()
    document.set_auto_page_break(False)
    document.set_title("Herons of the Tarn")
    for number in range(1, pages + 1):
        document.add_page()
        document.set_font("helvetica", size=20)
        if outline:
            document.start_section(f"Part {'abcdefgh'[number - 1]}", 0)
        document.cell(0, 12, f"Part {'abcdefgh'[number - 1]}", new_x="LMARGIN", new_y="NEXT")
        document.set_font("helvetica", size=11)
        document.multi_cell(0, 6, f"This is said on page {number}. " + SENTENCE * 5)
        document.ln(10)
        document.multi_cell(0, 6, f"A second paragraph of page {number}.")
        if number == pages:
            with document.table() as table:
                for cells in (("Bird", "Length"), ("Heron", "98 cm"), ("Egret", "65 cm")):
                    row = table.row()
                    for cell in cells:
                        row.cell(cell)
        document.set_y(-20)
        document.cell(0, 10, f"The running footer - {number}")
    if password is not None:
        document.set_encryption("owner", password, EncryptionMethod.RC4, permissions=AccessPermission.none())
    return bytes(document.output())


def scanned_pdf(pages: int = 2) -> bytes:
    """Pages that hold a picture and nothing else."""
    from PIL import Image

    document = fpdf.FPDF()
    for _ in range(pages):
        document.add_page()
        document.image(Image.new("L", (60, 80), 200), 10, 10, 100)
    return bytes(document.output())


def word() -> bytes:
    """Headings, paragraphs, lists and a table."""
    document = docx.Document()
    document.core_properties.title = "Handbook"
    document.add_heading("Waders", 1)
    document.add_paragraph("About all of them.")
    document.add_heading("Heron", 2)
    document.add_paragraph("It stands still.")
    document.add_paragraph("grey", style="List Bullet")
    document.add_paragraph("tall", style="List Bullet")
    table = document.add_table(0, 2)
    for cells in (("Bird", "Length"), ("Heron", "98 cm")):
        for cell, text in zip(table.add_row().cells, cells, strict=True):
            cell.text = text
    return _saved(document)


def slides() -> bytes:
    """Two slides: points with notes, a table in a group of its own."""
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Waders"
    body = first.placeholders[1].text_frame
    body.text = "They stand still"
    below = body.add_paragraph()
    below.text, below.level = "for hours", 1
    first.notes_slide.notes_text_frame.text = "Show the film here."
    second = deck.slides.add_slide(deck.slide_layouts[6])
    size = pptx.util.Inches(3)
    table = second.shapes.add_table(2, 2, 0, 0, size, size).table
    for row, cells in enumerate((("Bird", "Length"), ("Heron", "98 cm"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, size, size).text_frame.text = "In a group."
    return _saved(deck)


def mail() -> EmailMessage:
    """A message with the headers that a reader sees, and no text yet."""
    message = EmailMessage()
    message["From"] = "Zoë Müller <zoe@example.org>"
    message["To"] = "all@example.org"
    message["Date"] = "Tue, 03 Feb 2026 10:00:00 +0000"
    message["Subject"] = "Herons in the café"
    return message


def unpacking_to(mebibytes: int, name: str) -> bytes:
    """A small ZIP whose entries, all of them one and the same place in it, unpack to so much."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(name, bytes(1 << 20))
        (entry,) = package.filelist
        for number in range(1, mebibytes):
            again = copy.copy(entry)
            again.filename = f"{name}{number}"
            package.filelist.append(again)
    return out.getvalue()


def with_part(package: bytes, name: str, content: bytes) -> bytes:
    """An Office file with one of its parts replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, content if entry.filename == name else old.read(entry))
    return out.getvalue()


def _saved(document: object) -> bytes:
    out = io.BytesIO()
    document.save(out)  # type: ignore[attr-defined]
    return out.getvalue()
