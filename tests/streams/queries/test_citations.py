"""Markers in a text that comes in pieces."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.queries.citations import MOST, Cited, citations_of
from topics.queries import Passage

WORDS = st.sampled_from(
    ["a", "word", " ", "\n", "[", "[[", "]", "[1]", " [2]", "[3]", "[9]", " [12]", "[1, 9]", "[9; 2]", ",", "7", "."]
)


def whole(text: str, offered: int = 3) -> tuple[str, Cited]:
    """What is shown of a text that comes at once."""
    cited = Cited(offered)
    return cited.add(text) + cited.end(), cited


@pytest.mark.parametrize(
    ("text", "shown", "kept", "removed"),
    [
        ("In Oslo [1].", "In Oslo [1].", 1, 0),
        ("In Oslo [9].", "In Oslo.", 0, 1),
        ("In Oslo[1][9][2]", "In Oslo[1][2]", 2, 1),
        ("In Oslo [1, 9; 2].", "In Oslo [1][2].", 2, 1),
        ("[9] First.", "First.", 0, 1),
        ("Last. [0]\n", "Last.", 0, 1),
        ("As of [2024] and [x] and a[i].", "As of [2024] and [x] and a[i].", 0, 0),
        ("[[9]1] and [ [9]1]", "1] and1]", 0, 2),
    ],
)
def test_what_was_not_offered_is_taken_out(text: str, shown: str, kept: int, removed: int) -> None:
    """Marker and space before it go; what is no marker stays; nothing left over makes another marker."""
    told, cited = whole(text)
    assert (told, cited.kept, cited.removed) == (shown, kept, removed)


@given(st.lists(WORDS, max_size=30), st.lists(st.integers(1, 5), max_size=40))
def test_pieces_spell_the_same_as_the_whole(words: list[str], cuts: list[int]) -> None:
    """However a text is cut, what is shown spells the answer, which has no marker that was not offered."""
    text, cited, shown = "".join(words), Cited(3), ""
    rest = text
    for cut in cuts:
        shown += cited.add(rest[:cut])
        rest = rest[cut:]
    shown += cited.add(rest) + cited.end()
    assert shown == cited.text == whole(text)[0]
    assert shown == shown.strip()
    assert all(1 <= int(number) <= 3 for number in re.findall(r"\[(\d{1,3})\]", shown))


def test_little_is_held_back() -> None:
    """A word is shown as soon as it is there; only what may become a marker waits."""
    cited = Cited(3)
    assert cited.add("Built in Oslo") == "Built in Oslo" and cited.add(" [") == "" and cited.add("1") == ""
    assert cited.add("] by") == " [1] by"
    assert "".join(map(cited.add, "[" * 99 + "9]")) == "[" * (99 - MOST + 1) and cited.removed == 1


def test_citations_follow_the_text() -> None:
    """Each marker once, by number, with its passage."""
    passages = [
        Passage(doc_id=f"d{n}", version="v", chunk_id=f"c{n}", text="t", score=1, published_at=0) for n in (1, 2, 3)
    ]
    found = citations_of("As [3] says, and [1], and [3].", passages)
    assert [(each.marker, each.doc_id) for each in found] == [(1, "d1"), (3, "d3")]
