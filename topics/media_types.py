"""Media types that documents may have, and the names of files that have them."""

from collections.abc import Mapping

PLAIN, MARKDOWN, HTML, CSV, MAIL = "text/plain", "text/markdown", "text/html", "text/csv", "message/rfc822"
TSV, PDF = "text/tab-separated-values", "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"

SEEN_AS: Mapping[str, str] = {
    PLAIN: PLAIN,
    MARKDOWN: MARKDOWN,
    "text/x-markdown": MARKDOWN,
    HTML: HTML,
    "application/xhtml+xml": HTML,
    CSV: CSV,
    "application/csv": CSV,
    TSV: TSV,
    MAIL: MAIL,
    PDF: PDF,
    "application/x-pdf": PDF,
    DOCX: DOCX,
    PPTX: PPTX,
}
READ = tuple(dict.fromkeys(SEEN_AS.values()))
TEXTS = frozenset({PLAIN, MARKDOWN, HTML, CSV, TSV})  # their bytes are characters: they have a charset
IN_JSON = TEXTS | {MAIL}  # may stand in a JSON string

BY_SUFFIX: Mapping[str, str] = {
    "": PLAIN,
    ".txt": PLAIN,
    ".text": PLAIN,
    ".rst": PLAIN,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".csv": CSV,
    ".tsv": TSV,
    ".eml": MAIL,
    ".pdf": PDF,
    ".docx": DOCX,
    ".pptx": PPTX,
}
