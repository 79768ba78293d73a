"""What Word and PowerPoint files have in common: a ZIP of XML, checked before a library unpacks it."""

import io
import zipfile

from streams.documents.refused import Refused

MAX_UNPACKED = 256 * 1024 * 1024  # bytes; text takes a tenth of the XML around it
MAX_ENTRIES = 20_000
_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Office before 2007, and any Office file with a password
_ENCRYPTED = 1  # flag of a ZIP's entry
_SHEET = "xl/workbook.xml"


def check_package(body: bytes, kind: str, main: str) -> None:
    """Refuse what is no Office file of this kind; ``main`` begins the name of its main part."""
    if body.startswith(_OLD):
        raise Refused(f"it has a password or an old format: publish it without its password, saved as {kind}")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as package:
            entries = package.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError):
        whole = "it was cut off or damaged on its way" if body.startswith(b"PK") else "it is something else"
        raise Refused(f"this is no {kind} file: {whole}") from None
    names = {entry.filename for entry in entries}
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise Refused("its parts are encrypted: publish it without its password")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED or len(entries) > MAX_ENTRIES:
        raise Refused(
            f"it unpacks to {unpacked >> 20} MiB in {len(entries)} parts, of at most {MAX_UNPACKED >> 20} in"
            f" {MAX_ENTRIES}: divide it"
        )
    if not any(name.startswith(main) for name in names):
        other = "a spreadsheet: publish its sheets as CSV" if _SHEET in names else "a ZIP of something else"
        raise Refused(f"this is no {kind} file, but {other}")
