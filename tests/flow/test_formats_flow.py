"""Files of every format through the whole lane: what a reader gets to see of them, and what becomes of hostile ones."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from runtime.settings import Documents, Settings
from streams.documents.formats.readers import Readers
from tests.flow.inline import Lanes
from tests.streams.documents.formats import files
from tests.streams.documents.formats.test_readers import SCRIPTED
from topics import registry
from topics.media_types import CSV, DOCX, MAIL, PDF, PPTX


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    made = Lanes(Settings(documents=Documents(readers=1, chunk_tokens=32)))
    yield made
    await made.readers.close()


def letter() -> bytes:
    message = files.mail()
    message.set_content("The heron stands at the weir.")
    return message.as_bytes()


async def test_every_format_is_answerable(lanes: Lanes) -> None:
    """A passage of each format is found, and its citation says on which page, slide, row or under which heading."""
    for name, body, media_type in (
        ("tarn.pdf", files.pdf(), PDF),
        ("waders.docx", files.word(), DOCX),
        ("talk.pptx", files.slides(), PPTX),
        ("letter.eml", letter(), MAIL),
        ("birds.csv", b"bird,length\nbittern,76 cm\n", CSV),
    ):
        await lanes.put(name, body, content_type=media_type.encode())
    assert not lanes.refused
    found: defaultdict[tuple[str, str], str] = defaultdict(str)
    for question in ("What is said on page 2?", "It stands still", "Show the film here", "at the weir", "bittern"):
        (*_, answer) = await lanes.ask(question, mode="retrieve", k=20)
        for passage in answer.data["retrieval"]["passages"]:
            found[passage["doc_id"], passage["section"]] += passage["text"]
    assert "This is said on page 2." in found["tarn.pdf", "page 2 > Part b"]
    assert "It stands still." in found["waders.docx", "Waders"]
    assert "Notes: Show the film here." in found["talk.pptx", "slide 1 > Waders"]
    assert "stands at the weir" in found["letter.eml", "Herons in the café"]
    assert "bittern | 76 cm" in found["birds.csv", "rows 1 to 2"]


async def test_hostile_files_hold_nothing_up(lanes: Lanes) -> None:
    """In one batch a file that hangs and one that crashes are dead letters with a reason; all others are indexed."""
    await lanes.readers.close()
    lanes.readers = Readers(Documents(readers=1, read_timeout=1), SCRIPTED)
    lanes.known(lanes.epochs)
    written = [
        lanes.write(lanes.epochs.newest, name, value, content_type=media_type)
        for name, value, media_type in (
            ("before", b"Text before.", b"text/plain"),
            ("hangs", b"sleep 60", b"message/rfc822"),
            ("crashes", b"crash", b"message/rfc822"),
            ("behind", b"say something", b"message/rfc822"),
            ("last", b"Text behind.", b"text/plain"),
        )
    ]
    began = time.monotonic()
    await lanes.drain([record for record, _ in written])
    assert time.monotonic() - began < 20
    assert {record.key: reason for _, record, reason in lanes.refused} == {
        b"hangs": "reading it took longer than 1 s and was stopped: divide it, or save it in a simpler form",
        b"crashes": "its reader crashed (SIGABRT): the file is damaged, or needs more than 1024 MiB",
    }
    assert [lanes.event(name).state for name in ("before", "behind", "last")] == ["current"] * 3
    assert lanes.event("hangs").last_seen.status == "rejected"


async def test_files_of_a_batch_are_read_side_by_side(lanes: Lanes) -> None:
    """Hostile files of one batch hold what is behind them up for one limit, not for one each."""
    lanes.readers = Readers(Documents(readers=4, read_timeout=3), SCRIPTED)
    lanes.known(lanes.epochs)
    for wave in range(2):  # the first starts the processes
        written = [
            lanes.write(lanes.epochs.newest, f"{wave}-{n}", b"sleep 60" if wave else b"say", content_type=MAIL.encode())
            for n in range(4)
        ]
        began = time.monotonic()
        await lanes.drain([record for record, _ in written])
    assert 3 <= time.monotonic() - began < 3 * 3
    assert len(lanes.refused) == 4


async def test_a_file_that_becomes_unreadable_stays_as_it_was(lanes: Lanes) -> None:
    """A version that cannot be read leaves the one before it visible, and ends its token with the reason."""
    first = await lanes.put("tarn.pdf", files.pdf(), content_type=PDF.encode())
    bad = await lanes.put("tarn.pdf", files.pdf()[:-1500], content_type=PDF.encode())
    event = lanes.event("tarn.pdf")
    assert (event.version, event.last_seen.version) == (str(first.version), str(bad.version))
    assert "cut off" in (event.last_seen.reason or "")
    again = len(lanes.log[registry.CHUNKS.name])
    await lanes.drain(lanes.log[registry.DOCUMENTS.name])
    assert len(lanes.log[registry.CHUNKS.name]) > again and lanes.event("tarn.pdf").version == str(first.version)
