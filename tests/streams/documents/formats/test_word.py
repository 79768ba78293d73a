"""What Word writes beside plain paragraphs."""

import io

import docx
import pytest
from docx.enum.style import WD_STYLE_TYPE

from streams.documents.formats.read import read
from tests.streams.documents.formats import files
from topics.media_types import DOCX

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'


def shown(body: str) -> list[tuple[str, str]]:
    document = f"<w:document {W} {MC}><w:body>{body}</w:body></w:document>"
    found = read(files.with_part(files.word(), "word/document.xml", document.encode()), DOCX, 10_000)
    return [(block.kind, block.text) for block in found.blocks]


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


@pytest.mark.parametrize(
    ("body", "blocks"),
    [
        (
            f"<w:p>{run('Kept')}<w:del><w:r><w:delText>GONE</w:delText></w:r></w:del>"
            f"<w:moveFrom>{run('GONE')}</w:moveFrom><w:ins>{run(' new')}</w:ins></w:p>",
            [("paragraph", "Kept new")],
        ),
        (
            f"<w:sdt><w:sdtContent><w:p>{run('In a content control')}</w:p></w:sdtContent></w:sdt>",
            [("paragraph", "In a content control")],
        ),
        (f"<w:p>{run('a')}<w:r><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>", [("paragraph", "a b\nc")]),
        (
            f"<w:p><w:r><mc:AlternateContent><mc:Choice><w:txbxContent><w:p>{run('Box')}</w:p></w:txbxContent>"
            f"</mc:Choice><mc:Fallback><w:p>{run('GONE')}</w:p></mc:Fallback></mc:AlternateContent></w:r>{run('Text')}</w:p>",
            [("paragraph", "Box\nText")],
        ),
        (f'<w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr>{run("Ranked")}</w:p><w:p>{run("x")}</w:p>',
         [("heading", "Ranked"), ("paragraph", "x")]),
        (f'<w:p><w:pPr><w:numPr><w:ilvl w:val="1"/></w:numPr></w:pPr>{run("item")}</w:p>', [("list", "  - item")]),
        (
            f"<w:tbl><w:tr><w:tc><w:p>{run('A')}</w:p><w:p>{run('B')}</w:p></w:tc><w:tc><w:tbl><w:tr><w:tc>"
            f"<w:p>{run('inner')}</w:p></w:tc></w:tr></w:tbl></w:tc></w:tr><w:tr><w:tc><w:p/></w:tc></w:tr></w:tbl>",
            [("table", "A B | inner")],
        ),
    ],
)  # fmt: skip
def test_what_word_writes(body: str, blocks: list[tuple[str, str]]) -> None:
    """Text counts wherever it is wrapped, once; what was deleted does not."""
    assert shown(body) == blocks


def test_styles_that_are_based_on_headings() -> None:
    """A style of one's own that is based on a heading makes headings; one that is its own base harms nobody."""
    document = docx.Document()
    own = document.styles.add_style("Chapter", WD_STYLE_TYPE.PARAGRAPH)
    own.base_style = document.styles["Heading 2"]
    odd = document.styles.add_style("Odd", WD_STYLE_TYPE.PARAGRAPH)
    odd.base_style = odd
    document.add_paragraph("First", style="Chapter")
    document.add_paragraph("Text.", style="Odd")
    out = io.BytesIO()
    document.save(out)
    found = read(out.getvalue(), DOCX, 1000)
    assert [(block.kind, block.level) for block in found.blocks] == [("heading", 2), ("paragraph", 0)]
    assert found.title == "First"
