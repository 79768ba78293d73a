"""What bytes are by how they begin, so that a wrong content-type is told as such."""

from streams.documents.refused import Refused
from topics.media_types import DOCX, PDF, PPTX, SEEN_AS

_BEGINNINGS = (
    (b"%PDF-", "a PDF", (PDF,)),
    (b"PK\x03\x04", "a ZIP, as Office files are", (DOCX, PPTX)),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office file with a password or in an old format", (DOCX, PPTX)),
    (b"{\\rtf", "RTF, which is not read", ()),
    (b"\x89PNG", "a picture", ()),
    (b"\xff\xd8\xff", "a picture", ()),
    (b"GIF8", "a picture", ()),
    (b"\x1f\x8b", "compressed by gzip", ()),
    (b"\x7fELF", "a program", ()),
)


def check_kind(body: bytes, media_type: str) -> None:
    """Refuse bytes that are known to be something else."""
    for beginning, name, kinds in _BEGINNINGS:
        if body.startswith(beginning) and SEEN_AS[media_type] not in kinds:
            raise Refused(f"content-type is {media_type}, but the value is {name}: set what it is")
