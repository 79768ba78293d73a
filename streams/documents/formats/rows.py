"""CSV to blocks: rows of a table under their header, in places that say which rows."""

import csv
import io
from collections import Counter
from collections.abc import Iterator

from streams.documents.refused import Refused
from streams.documents.text.blocks import BlockList, Parsed, table_blocks

MAX_FIELD = 131_072  # characters; a quote that is never closed makes one field of all that follows
_DELIMITERS = ",;\t|"
_SAMPLE = 30  # rows that the delimiter is told from


def read_rows(text: str, delimiter: str | None = None) -> Parsed:
    """Blocks of a CSV text, whatever it parts its fields by."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    rows = list(_rows(text, delimiter or _delimiter(text)))
    out = BlockList()
    for first, last, block in table_blocks([row for _, row in rows]):
        out.place(f"row {rows[first][0]}" if first == last else f"rows {rows[first][0]} to {rows[last][0]}")
        out.add("table", block)
    return Parsed(None, out.blocks)


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, str]]:
    """Rows that are not blank, each with its number."""
    csv.field_size_limit(MAX_FIELD)
    number = 0
    try:
        for number, fields in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1):
            cells = [" ".join(field.split()) for field in fields]
            if any(cells):
                yield number, " | ".join(cells)
    except csv.Error as error:
        hint = ": is a quote never closed?" if "limit" in str(error) else ""
        raise Refused(f"row {number + 1} cannot be read as CSV, {error}{hint}") from None


def _delimiter(text: str) -> str:
    """The one that gives most rows one and the same number of fields, and many."""

    def score(delimiter: str) -> tuple[float, int]:
        widths: Counter[int] = Counter()
        try:
            for _, fields in zip(range(_SAMPLE), csv.reader(io.StringIO(text), delimiter=delimiter), strict=False):
                widths[len(fields)] += bool(fields)
        except csv.Error:
            return 0.0, 0
        width, rows = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        return (rows / max(widths.total(), 1), width) if width > 1 else (0.0, 0)

    csv.field_size_limit(MAX_FIELD)
    return max(_DELIMITERS, key=score)
