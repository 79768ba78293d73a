"""Time and memory of reading files: each format, through the reader process that a chunk worker uses.

Without a folder, texts of the corpus are made into one file of each format; with one, its files are read as they are.
A process is started for each format, reads one file to warm up, then all of them in each round.
"""

import argparse
import asyncio
import csv
import io
import time
from collections import defaultdict
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path

import docx
import pptx
from rich.progress import track

from bench import corpus, machine, report
from runtime.settings import Documents
from streams.documents.formats.readers import Readers
from streams.documents.refused import Refused
from streams.documents.text.parse import PARSERS
from topics.media_types import BY_SUFFIX, CSV, DOCX, MAIL, PDF, PPTX

SHORT = {PDF: "PDF", DOCX: "Word", PPTX: "PowerPoint", MAIL: "e-mail", CSV: "CSV"}


def run(arguments: Sequence[str]) -> None:
    """Measure, then write, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m bench parse", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="files to read; default is one made of each format")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(arguments)
    files = _found(options.folder) if options.folder else _made(corpus.documents(limit=200))
    figures, notes = asyncio.run(_run(files, options.rounds))
    report.save("parse", {"ms per MB of text": figures, "notes": notes, "machine": machine.features()})
    report.show("Reading files", "ms per MB of text", figures, notes)
    report.plot("parse", "Reading files", "ms per MB of text", figures)


async def _run(files: dict[str, list[bytes]], rounds: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    figures: dict[str, list[float]] = {}
    notes = {}
    for media_type, bodies in files.items():
        readers, refused = Readers(Documents(readers=1)), 0
        name = SHORT.get(media_type, media_type)
        await _read(readers, bodies[0], media_type)
        for _ in track(range(rounds), description=name):
            began = time.perf_counter()
            lengths = [await _read(readers, body, media_type) for body in bodies]
            refused = lengths.count(None)
            text = sum(length or 0 for length in lengths)
            if text:
                figures.setdefault(name, []).append((time.perf_counter() - began) * 1e9 / text)
        size = sum(map(len, bodies))
        notes[name] = (
            f"{len(bodies)} files, {size / 1e6:.1f} MB, {text / 1e6:.2f} MB of text, {refused} refused,"
            f" at most {_peak(readers)} MB of memory"
        )
        await readers.close()
    return figures, notes


async def _read(readers: Readers, body: bytes, media_type: str) -> int | None:
    try:
        return sum(len(block.text) for block in (await readers.read(body, media_type)).blocks)
    except Refused:
        return None


def _peak(readers: Readers) -> int:
    """Resident memory of the process at its highest, 0 where the system does not say."""
    for process in readers.processes():
        status = Path(f"/proc/{process}/status")
        if status.exists():
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            return int(line.split()[1]) // 1000
    return 0


def _found(folder: Path) -> dict[str, list[bytes]]:
    files = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        media_type = BY_SUFFIX.get(path.suffix.lower())
        if media_type and media_type not in PARSERS and path.is_file():
            files[media_type].append(path.read_bytes())
    return files


def _made(documents: Sequence[corpus.Document]) -> dict[str, list[bytes]]:
    message, table = EmailMessage(), io.StringIO()
    message["Subject"] = "All of them"
    message.set_content("\n\n".join(document.text for document in documents))
    csv.writer(table).writerows((d.id, line) for d in documents for line in d.text.splitlines() if line)
    return {
        PDF: [_pdf(documents)],
        DOCX: [_word(documents)],
        PPTX: [_slides(documents)],
        MAIL: [message.as_bytes()],
        CSV: [table.getvalue().encode()],
    }


def _pdf(documents: Sequence[corpus.Document]) -> bytes:
    import fpdf  # of the dev group

    pages = fpdf.FPDF()
    for document in documents:
        pages.add_page()
        pages.set_font("helvetica", size=18)
        pages.multi_cell(0, 10, document.title, new_x="LMARGIN", new_y="NEXT")
        pages.set_font("helvetica", size=10)
        pages.multi_cell(0, 5, document.text.encode("latin-1", "replace").decode("latin-1"))
    return bytes(pages.output())


def _word(documents: Sequence[corpus.Document]) -> bytes:
    book, out = docx.Document(), io.BytesIO()
    for document in documents:
        book.add_heading(document.title, 1)
        for paragraph in document.text.split("\n\n"):
            book.add_paragraph("".join(filter(str.isprintable, paragraph.replace("\n", " "))))
    book.save(out)
    return out.getvalue()


def _slides(documents: Sequence[corpus.Document]) -> bytes:
    deck, out = pptx.Presentation(), io.BytesIO()
    for document in documents:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = document.title
        slide.placeholders[1].text_frame.text = "".join(filter(str.isprintable, document.text[:1000]))
    deck.save(out)
    return out.getvalue()
