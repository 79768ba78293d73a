"""Files that are damaged, locked, empty or hostile are refused with a reason that a person understands."""

import random
import time
import zlib

import pytest

from runtime.settings import Documents
from streams.documents.formats import office
from streams.documents.formats.read import read
from streams.documents.formats.readers import Readers
from streams.documents.refused import Refused
from tests.streams.documents.formats import files
from topics.media_types import CSV, DOCX, MAIL, PDF, PPTX

MOST = 8 * 1024 * 1024
NOISE = random.Random(4).randbytes(20_000)
LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "ha">%s]>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Said &k;</w:t>
</w:r></w:p></w:body></w:document>""" % b"".join(
    b'<!ENTITY %c "%s">' % (letter, b"&%c;" % (letter - 1) * 20) for letter in b"bcdefghijk"
)
BODY = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>%s</w:body></w:document>'


DRAWS_ITSELF = (
    b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>/Length 5>>stream\n/X Do\nendstream"
)


def raw_pdf(content: bytes, *more: bytes, kids: bytes = b"[4 0 R]", count: int = 1) -> bytes:
    """A PDF by hand: objects 1 catalog, 2 pages, 3 content of the first page, 4 the page, 5 font, and more."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids%s>>" % (count, kids),
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 3 0 R"
        b"/Resources<</Font<</F 5 0 R>>/XObject<</X 6 0 R>>>>>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *more,
    ]
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


def encrypted_mail() -> bytes:
    message = files.mail()
    message.set_content(b"\x30\x80", "application", "pkcs7-mime", params={"smime-type": "enveloped-data"})
    return message.as_bytes()


@pytest.mark.parametrize(
    ("body", "media_type", "says"),
    [
        (b"", PDF, "is empty"),
        (b"", DOCX, "is empty"),
        (b"", CSV, "is empty"),
        (b"%PDF-1.7\n" + NOISE, PDF, "cut off"),
        (b"%PDF-1.7\n" + NOISE + b"\n%%EOF", PDF, "damaged"),
        (files.pdf()[:-1500], PDF, "cut off"),
        (files.pdf(password="secret"), PDF, "password"),
        (files.scanned_pdf(2), PDF, "none of its 2 pages has text"),
        (raw_pdf(zlib.compress(b""), kids=b"[]", count=0), PDF, "damaged"),
        (NOISE, DOCX, "no .docx file"),
        (NOISE, PPTX, "no .pptx file"),
        (files.word()[:-2000], DOCX, "cut off or damaged"),
        (files.slides()[:9000], PPTX, "cut off or damaged"),
        (files.word(), PPTX, "no .pptx file"),
        (files.slides(), DOCX, "no .docx file"),
        (files.unpacking_to(1, "xl/workbook.xml"), DOCX, "spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + NOISE, DOCX, "password"),
        (files.with_part(files.word(), "word/document.xml", b"<broken"), DOCX, "damaged"),
        (files.with_part(files.word(), "word/document.xml", BODY % b""), DOCX, "no words"),
        (files.with_part(files.slides(), "ppt/presentation.xml", NOISE), PPTX, "damaged"),
        (files.with_part(files.slides(), "ppt/slides/slide1.xml", b""), PPTX, "damaged"),
        (NOISE, MAIL, "no e-mail"),
        (b"just words\n\nand more", MAIL, "no e-mail"),
        (encrypted_mail(), MAIL, "encrypted"),
        (b'a,b\n"never closed,1\n' + b"x,2\n" * 100_000, CSV, "quote never closed"),
        (b"a,b\n" + b"f" * 200_000 + b",1\n", CSV, "field limit"),
        (b",,,\n;;;\n", CSV, "no words"),
    ],
)
def test_refusals_say_what_to_do(body: bytes, media_type: str, says: str) -> None:
    """What is wrong is said in a sentence."""
    with pytest.raises(Refused) as refused:
        read(body, media_type, MOST)
    assert says in refused.value.reason, refused.value.reason
    assert len(refused.value.reason) < 400


def test_a_zip_bomb_is_not_unpacked() -> None:
    """A small file that unpacks to gigabytes is refused by what it says of itself."""
    bomb = files.unpacking_to(4096, "word/document.xml")
    assert len(bomb) < 500_000
    began = time.monotonic()
    with pytest.raises(Refused, match="unpacks to 4096 MiB"):
        read(bomb, DOCX, MOST)
    assert time.monotonic() - began < 2


def test_billion_laughs() -> None:
    """Entities that multiply are refused before they do."""
    began = time.monotonic()
    with pytest.raises(Refused, match="amplification"):
        read(files.with_part(files.word(), "word/document.xml", LAUGHS), DOCX, MOST)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("name", ["word", "slides", "pdf"])
def test_any_damage_is_refused_or_read(name: str) -> None:
    """Bytes changed at random give blocks or a reason, nothing else."""
    made = {"word": (files.word, DOCX), "slides": (files.slides, PPTX), "pdf": (files.pdf, PDF)}[name]
    whole, chance = made[0](), random.Random(7)
    for _ in range(40):
        body = bytearray(whole)
        for _ in range(chance.randrange(1, 30)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            assert read(bytes(body), made[1], MOST).blocks
        except Refused as refused:
            assert refused.reason


async def test_nothing_behind_hostile_files_is_harmed() -> None:
    """Files that loop or swell within their reader end by its limits, and what comes behind them is read."""
    text = b"BT /F 12 Tf 50 700 Td (words) Tj ET "
    paragraphs = b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 6_000_000
    hostile = [
        (raw_pdf(zlib.compress(text * 3_000_000)), PDF),  # a megabyte that is a page of 100 MB
        (raw_pdf(zlib.compress(b"/X Do"), DRAWS_ITSELF), PDF),
        (raw_pdf(zlib.compress(text), kids=b"[2 0 R 4 0 R]", count=2), PDF),  # pages within themselves
        (files.with_part(files.word(), "word/document.xml", BODY % paragraphs), DOCX),  # 200 MiB of XML
        (files.with_part(files.word(), "word/document.xml", BODY % (b"<w:sdt>" * 3_000_000)), DOCX),  # nested
    ]  # fmt: skip
    readers = Readers(Documents(readers=1, read_timeout=3, read_memory_bytes=512 * 1024 * 1024))
    try:
        for body, media_type in hostile:
            began = time.monotonic()
            try:
                found = await readers.read(body, media_type)
                assert len(found.blocks) < 10
            except Refused as refused:
                assert any(word in refused.reason for word in ("longer", "memory", "damaged", "has text"))
            assert time.monotonic() - began < 30
            assert (await readers.read(files.word(), DOCX)).title == "Handbook"
    finally:
        await readers.close()
    assert len(paragraphs) < office.MAX_UNPACKED  # else it would not have come to the reader
