"""Bytes of a media type to blocks: which reader, and what it says of bytes that defeat it.

Runs in a process of its own (``process.py``), so it may take long, take memory, or crash.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from streams.documents.refused import Refused
from streams.documents.text.blocks import Block, Parsed
from streams.documents.text.parse import PARSERS, finished
from topics.media_types import CSV, DOCX, MAIL, PDF, PPTX, TSV

_UNSTORABLE = re.compile("[\0-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_CALLED = {PDF: "a PDF", DOCX: "a Word file", PPTX: "a PowerPoint file", MAIL: "an e-mail", CSV: "CSV", TSV: "TSV"}


def read(body: bytes, media_type: str, most: int) -> Parsed:
    """Blocks of at most ``most`` characters, or :class:`Refused`; a lack of memory is raised as such."""
    try:
        parsed = _read(body, media_type)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # the libraries raise whatever they meet in a damaged file
        what = f"{type(error).__name__} {error}".strip()[:200]
        raise Refused(f"it cannot be read as {_CALLED[media_type]}: is it damaged? ({what})") from error
    length = sum(len(block.text) for block in parsed.blocks)
    if length > most:
        raise Refused(f"its text has {length} characters of at most {most}: publish it as several documents")
    return finished(Parsed(_storable(parsed.title), [_clean(block) for block in parsed.blocks]))


def _read(body: bytes, media_type: str) -> Parsed:
    if not body:
        raise Refused("it is empty")
    return _READERS[media_type](body)


def _pdf(body: bytes) -> Parsed:
    from streams.documents.formats.pdf import read_pdf

    return read_pdf(body)


def _word(body: bytes) -> Parsed:
    from streams.documents.formats.word import read_word

    return read_word(body)


def _slides(body: bytes) -> Parsed:
    from streams.documents.formats.slides import read_slides

    return read_slides(body)


def _mail(body: bytes) -> Parsed:
    from streams.documents.formats.mail import read_mail

    return read_mail(body, _attached)


def _csv(body: bytes) -> Parsed:
    from streams.documents.formats.rows import read_rows

    return read_rows(body.decode())


def _tsv(body: bytes) -> Parsed:
    from streams.documents.formats.rows import read_rows

    return read_rows(body.decode(), "\t")


def _attached(body: bytes, media_type: str) -> Parsed:
    """An attachment that cannot be read does not take its message with it."""
    if media_type in PARSERS:
        return PARSERS[media_type](body.decode())
    try:
        return _read(body, media_type)
    except (Refused, MemoryError):
        raise
    except Exception as error:
        raise Refused(f"it cannot be read as {_CALLED[media_type]} ({type(error).__name__})") from error


# A library is imported when the first document needs it: a lane that sees no PDF pays for none.
_READERS: Mapping[str, Callable[[bytes], Parsed]] = {
    PDF: _pdf,
    DOCX: _word,
    PPTX: _slides,
    MAIL: _mail,
    CSV: _csv,
    TSV: _tsv,
}


def _clean(block: Block) -> Block:
    return msgspec.structs.replace(block, text=_UNSTORABLE.sub(" ", block.text), section=_storable(block.section))


def _storable(text: str | None) -> str | None:
    return _UNSTORABLE.sub(" ", text) if text else text
