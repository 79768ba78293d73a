"""E-mail as it comes: odd charsets, encodings and nestings."""

import base64

import pytest

from streams.documents.formats.read import read
from streams.documents.refused import Refused
from tests.streams.documents.formats import files
from topics.media_types import MAIL

HEAD = b"From: a@example.org\nSubject: Herons\nMIME-Version: 1.0\n"


def texts(body: bytes) -> list[str]:
    return [block.text for block in read(body, MAIL, 1_000_000).blocks][2:]


@pytest.mark.parametrize(
    ("headers", "content", "text"),
    [
        (b"Content-Type: text/plain; charset=iso-8859-1", "naïve café".encode("latin-1"), "naïve café"),
        (
            b"Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64",
            base64.encodebytes("Цапля".encode("koi8-r")),
            "Цапля",
        ),
        (
            b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
            b"caf=C3=A9 and a long=\nword",
            "café and a longword",
        ),
        (b"Content-Type: text/plain; charset=no-such-thing", "café".encode("cp1252"), "café"),
        (b"Content-Type: text/plain; charset=utf-8", "“café”".encode("cp1252"), "“café”"),
        (b"Content-Type: text/plain; charset=iso-2022-jp", "サギ".encode("iso-2022-jp"), "サギ"),
        (b"Content-Type: text/html", b"<p>One<script>GONE</script><p>two", "One"),
        (b"X-Nothing: said", b"No content type at all.", "No content type at all."),
    ],
)
def test_texts_of_all_kinds(headers: bytes, content: bytes, text: str) -> None:
    """The text comes out of whatever it is wrapped in."""
    found = texts(HEAD + headers + b"\n\n" + content)
    assert found[0] == text and "GONE" not in "".join(found)


def test_encoded_headers() -> None:
    """Encoded words in headers are read, broken ones are kept as far as they can be stored."""
    subject = b"Subject: =?koi8-r?B?" + base64.b64encode("Цапля".encode("koi8-r")) + b"?= and =?bad?X?y?= \xff\n"
    found = read(b"From: a@example.org\n" + subject + b"\nThe text.", MAIL, 1000)
    assert found.title is not None and found.title.startswith("Цапля and")
    found.title.encode()


def test_html_counts_where_the_plain_text_has_no_words() -> None:
    """Of alternatives the first with words is taken."""
    message = files.mail()
    message.set_content("\n \n")
    message.add_alternative("<h1>News</h1><p>They are back.", subtype="html")
    assert texts(message.as_bytes()) == ["News", "They are back."]


def test_messages_in_messages() -> None:
    """A forwarded message is read as what it is, four deep and no deeper."""
    message = files.mail()
    message.set_content("The innermost.")
    for depth in range(6):
        outer = files.mail()
        outer.replace_header("Subject", f"Forwarded {depth}")
        outer.set_content(f"See below {depth}.")
        outer.add_attachment(message)
        message = outer
    found = read(message.as_bytes(), MAIL, 100_000)
    shown = "\n".join(block.text for block in found.blocks)
    assert all(f"See below {depth}." in shown for depth in (5, 4, 3, 2)) and "innermost" not in shown
    assert "nested more than 4 deep" in shown
    sections = [block.section or "" for block in found.blocks]
    assert any(section.startswith("Forwarded 5 > attachment message/rfc822 > Forwarded 4") for section in sections)


def test_attachments_that_cannot_be_read_are_named() -> None:
    """What is wrong with an attachment is said in its place, and the message is read all the same."""
    message = files.mail()
    message.set_content("See the report.")
    message.add_attachment(files.pdf(password="x"), maintype="application", subtype="pdf", filename="locked.pdf")
    message.add_attachment(b"PK\x03\x04 damaged", maintype="application", subtype="zip", filename="report.docx")
    message.add_attachment(b"MZ", maintype="application", subtype="octet-stream", filename="run.exe")
    shown = texts(message.as_bytes())
    assert shown[0] == "See the report."
    assert "locked.pdf, not read: the PDF is encrypted" in shown[1]
    assert "report.docx, not read: this is no .docx file" in shown[2]
    assert "run.exe, not read: application/octet-stream is no kind of document" in shown[3]


@pytest.mark.parametrize(
    "body",
    [
        HEAD + b"\n--x\n".join([b"Content-Type: multipart/mixed; boundary=x\n\n"] * 3000),
        HEAD + b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!! not base64",
        HEAD + b"Content-Type: multipart/mixed\n\nno boundary",
        HEAD + b"Content-Type: multipart/mixed; boundary=x\n\n--y\n",
        HEAD + b"Content-Type: message/rfc822\n\n" + (b"Content-Type: message/rfc822\n\n" * 2000),
        HEAD + b"Content-Type: text/plain; charset=\"\n\n\xff\xfe\x00",
        HEAD + b"Content-Type: application/pdf; name=x.pdf\n\n%PDF",
        b"From: " + b"a" * 1_000_000 + b"\n\nText.",
        b"Subject: x\n" * 50_000 + b"\nText.",
    ],
)  # fmt: skip
def test_broken_messages(body: bytes) -> None:
    """Whatever is wrong with its structure, a message gives blocks or a reason."""
    try:
        assert read(body, MAIL, 10_000_000).blocks
    except Refused as refused:
        assert refused.reason
