"""Passages with what stands around them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.queries.neighbours import Neighbours
from tests.flow.searching import Worker, worker
from topics import registry

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet")


def text_of(words: tuple[str, ...], mark: str) -> bytes:
    """A document with a chunk for each word."""
    filler = {word: " ".join(f"{word[:2]}{n}" for n in range(110)) for word in words}  # two do not fit into a chunk
    sections = "\n\n".join(f"# {word}\n\nThe {word} {mark} stands here {filler[word]}." for word in words)
    return json.dumps({"text": sections, "media_type": "text/markdown"}).encode()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path / "keywords") as found:
        found.lanes.retrieve._search._neighbours = Neighbours(found.view, 1)
        yield found


async def put(rig: Worker, words: tuple[str, ...] = WORDS, mark: str = "old") -> None:
    await rig.lanes.put("a", text_of(words, mark))


def marks(text: str) -> list[str]:
    """The words of which it has the chunks, in order."""
    return [line.split()[1] for line in text.split("\n\n") if line.startswith("The ")]


async def test_a_passage_has_the_chunks_around_it(rig: Worker) -> None:
    """In the order of the document, and at its ends what there is."""
    await put(rig)
    await rig.sync()
    for word, around in {"delta": WORDS[2:5], "alpha": WORDS[:2], "juliet": WORDS[-2:]}.items():
        [passage] = (await rig.retrieve(word, "keyword", k=1)).passages
        assert marks(passage.text) == list(around)


async def test_passages_that_meet_become_one(rig: Worker) -> None:
    """No text stands twice, whichever of them is the best; what is apart stays apart."""
    await put(rig)
    await rig.sync()
    found = (await rig.retrieve("bravo charlie hotel", "keyword")).passages
    assert sorted(marks(p.text) for p in found) == [list(WORDS[:4]), list(WORDS[6:9])]
    [passage] = (await rig.retrieve("charlie golf echo", "keyword")).passages
    assert marks(passage.text) == list(WORDS[1:8])


async def test_neighbours_are_of_the_version_that_is_shown(rig: Worker) -> None:
    """An index that has not the version, or only an older one, gives nothing; a newer one is not looked at."""
    await put(rig)
    await rig.sync()
    await put(rig, WORDS[:5], "new")
    rig.hand(registry.INDEX_EVENTS.name)
    await rig.tail.caught_up()
    found = (await rig.retrieve("delta", "vector", k=20)).passages
    assert found and all(len(marks(p.text)) == 1 and "old" not in p.text for p in found)
    await rig.sync()
    [passage] = (await rig.retrieve("delta", "keyword")).passages
    assert marks(passage.text) == list(WORDS[2:5]) and "old" not in passage.text
