"""What bytes are by how they begin, so that a wrong content-type is told as such."""

import re

from streams.documents.refused import Refused
from topics.media_types import DOCX, PDF, PPTX, SEEN_AS

# None of these matches a text that only speaks of such files.
_BEGINNINGS = (
    (re.compile(rb"%PDF-\d\.\d\s[\s\S]{0,4096}?\d obj\b"), "a PDF", (PDF,)),
    (re.compile(rb"PK\x03\x04"), "a ZIP, as Office files are", (DOCX, PPTX)),
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "an Office file with a password or an old format", (DOCX, PPTX)),
    (re.compile(rb"\{\\rtf1"), "RTF, which is not read: save it as .docx", ()),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a[\s\S]{0,8}?\0"), "a picture", ()),
    (re.compile(rb"\x1f\x8b"), "compressed by gzip", ()),
    (re.compile(rb"\x7fELF|MZ[\s\S]{0,8}?\0"), "a program", ()),
)


def check_kind(body: bytes, media_type: str) -> None:
    """Refuse bytes that are known to be something else."""
    for beginning, name, kinds in _BEGINNINGS:
        if SEEN_AS[media_type] not in kinds and beginning.match(body):
            raise Refused(f"content-type is {media_type}, but the value is {name}: set what it is")
