"""PDF, Word, PowerPoint, e-mail and CSV become the same kinds of blocks as text does."""

import fpdf
import msgspec
import pytest

from streams.documents.formats.read import read
from streams.documents.refused import Refused
from streams.documents.text.blocks import Parsed
from tests.streams.documents.formats import files
from topics.media_types import CSV, DOCX, MAIL, PDF, PPTX, TSV

MOST = 1_000_000


def parsed(body: bytes, media_type: str) -> Parsed:
    return read(body, media_type, MOST)


def shown(body: bytes, media_type: str) -> list[tuple[str, str | None, str]]:
    return [(block.kind, block.section, block.text) for block in parsed(body, media_type).blocks]


@pytest.mark.parametrize("outline", [True, False])
def test_pdf(outline: bool) -> None:
    """Pages are places, headings come from the outline or from the size of letters, running footers go."""
    document = parsed(files.pdf(outline=outline, pages=4), PDF)
    assert document.title == "Herons of the Tarn"
    blocks = [(block.kind, block.section, block.text) for block in document.blocks]
    assert blocks[0] == ("heading", "page 1 > Part a", "Part a")
    assert blocks[1][:2] == ("paragraph", "page 1 > Part a") and blocks[1][2].startswith("This is said on page 1.")
    assert blocks[2] == ("paragraph", "page 1 > Part a", "A second paragraph of page 1.")
    assert blocks[-1] == ("paragraph", "page 4 > Part d", "Egret 65 cm")
    assert not any("footer" in text for _, _, text in blocks)


def test_pdf_words_are_joined() -> None:
    """A word that is divided at a line's end is one word; a hyphen within a line stays."""
    document = fpdf.FPDF()
    document.add_page()
    document.set_font("helvetica", size=11)
    for line in ("A well-known heron and its behav-", "iour by the river."):
        document.cell(0, 6, line, new_x="LMARGIN", new_y="NEXT")
    (block,) = parsed(bytes(document.output()), PDF).blocks
    assert block.text == "A well-known heron and its behaviour by the river."


def test_word() -> None:
    """Headings, lists and tables of a Word file stay what they are."""
    document = parsed(files.word(), DOCX)
    assert document.title == "Handbook"
    assert [(block.kind, block.section, block.text) for block in document.blocks] == [
        ("heading", "Waders", "Waders"),
        ("paragraph", "Waders", "About all of them."),
        ("heading", "Waders > Heron", "Heron"),
        ("paragraph", "Waders > Heron", "It stands still."),
        ("list", "Waders > Heron", "- grey\n- tall"),
        ("table", "Waders > Heron", "Bird | Length\nHeron | 98 cm"),
    ]


def test_slides() -> None:
    """Slides are places; points, notes, tables and groups are read."""
    assert shown(files.slides(), PPTX) == [
        ("heading", "slide 1 > Waders", "Waders"),
        ("list", "slide 1 > Waders", "- They stand still\n  - for hours"),
        ("paragraph", "slide 1 > Waders", "Notes: Show the film here."),
        ("table", "slide 2", "Bird | Length\nHeron | 98 cm"),
        ("paragraph", "slide 2", "In a group."),
    ]


def test_mail() -> None:
    """Who wrote when, the text, and each attachment that can be read as a place; the others by name."""
    message = files.mail()
    message.set_content("They fish in the naïve way.\n\nSecond paragraph.")
    message.add_alternative("<p>GONE: the same again</p>", subtype="html")
    message.add_attachment(files.word(), maintype="application", subtype="octet-stream", filename="a.docx")
    message.add_attachment(b"GIF89a", maintype="image", subtype="gif", filename="b.gif")
    message.add_attachment("x;y\n1;2\n", subtype="csv", filename="c.csv")
    blocks = shown(message.as_bytes(), MAIL)
    subject = "Herons in the café"
    assert blocks[:4] == [
        ("heading", subject, subject),
        (
            "paragraph",
            subject,
            "From: Zoë Müller <zoe@example.org>\nTo: all@example.org\nDate: Tue, 03 Feb 2026 10:00:00 +0000",
        ),
        ("paragraph", subject, "They fish in the naïve way."),
        ("paragraph", subject, "Second paragraph."),
    ]
    assert blocks[4] == ("heading", f"{subject} > attachment a.docx > Waders", "Waders")
    assert ("table", f"{subject} > attachment c.csv > rows 1 to 2", "x | y\n1 | 2") in blocks
    assert ("paragraph", subject, "Attachment b.gif, not read: image/gif is no kind of document") in blocks
    assert not any("GONE" in text for _, _, text in blocks)


@pytest.mark.parametrize(
    ("text", "media_type", "table"),
    [
        ("a,b\n1,2\n", CSV, "a | b\n1 | 2"),
        ("a;b\n1,5;2,5\n", CSV, "a | b\n1,5 | 2,5"),
        ("a\tb\n1\t2\n", CSV, "a | b\n1 | 2"),
        ('"a, b",c\n"say ""hi""\nthere",2\n', CSV, 'a, b | c\nsay "hi" there | 2'),
        ("only\none\n\ncolumn\n", CSV, "only\none\ncolumn"),
        ("a,b\tc\n1\t2\n", TSV, "a,b | c\n1 | 2"),
        ("a,b\r\n,\r\n1,2\r3,4", CSV, "a | b\n1 | 2\n3 | 4"),
    ],
)
def test_csv(text: str, media_type: str, table: str) -> None:
    """Rows come as rows, whatever parts their fields."""
    (block,) = parsed(text.encode(), media_type).blocks
    assert (block.kind, block.text) == ("table", table)


def test_long_tables_repeat_their_header() -> None:
    """Each block of a long table begins with the header and says which rows it has; one more row moves few blocks."""
    rows = [f"heron {n},{n} cm,seen at the river number {n * n}" for n in range(1000)]
    header = "bird,length,where"
    before = parsed("\n".join([header, *rows]).encode(), CSV).blocks
    assert len(before) > 30 and all(block.text.startswith("bird | length | where\n") for block in before)
    assert before[1].section is not None and before[1].section.startswith("rows ")
    body = [line for block in before for line in block.text.split("\n")[1:]]
    assert body == [row.replace(",", " | ") for row in rows]
    rows.insert(500, "one more,0 cm,nowhere")
    after = {block.text for block in parsed("\n".join([header, *rows]).encode(), CSV).blocks}
    assert len(after - {block.text for block in before}) <= 3


def test_what_is_read_can_be_stored() -> None:
    """Control characters and halves of surrogate pairs, which stores refuse, do not come through."""
    found = parsed(b'a,b\n"x\x01y",\x7fz\n', CSV)
    assert found.blocks[0].text == "a | b\nx y |  z"
    msgspec.json.encode(found)


def test_length_is_bounded() -> None:
    """What would make a text larger than a text may be is refused with both numbers."""
    with pytest.raises(Refused, match=r"\d+ characters of at most 50"):
        read(files.word(), DOCX, 50)
