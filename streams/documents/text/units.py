"""Blocks to units: the smallest pieces that a chunk boundary may fall between, each with the anchor before it.

Units are sentences of prose, lines of code, items of lists, rows of tables.  One that is too long for a chunk is
divided further: at lines, at sentences, at words, and in the end within a word.  Every division depends on the text
around it alone, never on how far from the start it lies.  Joined, the units give the blocks back.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from itertools import pairwise

import msgspec

from streams.documents.text.blocks import Block

Count = Callable[[Sequence[str]], list[int]]

_SENTENCE = re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]{0,9}\s++(?![a-z])|(?<=[\u3002\uff01\uff1f])")
_WORD = re.compile(r"\S+\s*")
_ITEM = re.compile(r"(?:[-*+\u2022]|\d{1,9}[.)]) ")
_CHARS_PER_TOKEN = 16  # a word the tokenizer gives up on is one token however long: length counts too
_WORDS = 8  # mean length of the groups that an endless sentence is divided into


class Anchor(IntEnum):
    """How good a place for a boundary is.  Headings of rank 1 are 5 better than those of rank 6."""

    WITHIN = 0  # within a word, below a heading, below a table's first row
    WORD = 1
    LINE = 2
    SENTENCE = 3
    ITEM = 4
    BLOCK = 5
    HEADING = 6


class Unit(msgspec.Struct):
    """``text`` ends with the blanks that part it from the next; ``tokens`` is its price without them."""

    text: str
    anchor: int
    section: str | None
    tokens: int = 0


def units_of(blocks: Sequence[Block], count: Count, longest: int) -> list[Unit]:
    """All units of a document in order, none above ``longest`` tokens."""
    units = [unit for block in blocks for unit in _units_of_block(block)]
    for before, unit in pairwise(units):
        if before.tokens < 0:  # a heading, or a table's first row
            unit.anchor = Anchor.WITHIN
    _price(units, count, longest)
    for divide, anchor in (
        (_lines, Anchor.LINE),
        (_sentences, Anchor.SENTENCE),
        (_word_groups, Anchor.WORD),
        (lambda text: _slices(text, longest), Anchor.WITHIN),
    ):
        if any(unit.tokens > longest for unit in units):
            units = _divide(units, divide, anchor, count, longest)
    return units


def _units_of_block(block: Block) -> Iterator[Unit]:
    match block.kind:
        case "heading":
            yield Unit(f"{block.text}\n\n", Anchor.HEADING + 6 - block.level, block.section, -1)
            return
        case "paragraph":
            texts, inner = _sentences(block.text), Anchor.SENTENCE
        case _:
            texts, inner = _lines(block.text), Anchor.LINE
    texts[-1] += "\n\n"
    for place, text in enumerate(texts):
        anchor = inner
        if place == 0:
            anchor = Anchor.BLOCK
        elif (block.kind == "list" and _ITEM.match(text)) or (block.kind == "code" and texts[place - 1][-2:] == "\n\n"):
            anchor = Anchor.ITEM
        yield Unit(text, anchor, block.section, -1 if place == 0 and block.kind == "table" else 0)


def _price(units: Sequence[Unit], count: Count, longest: int) -> None:
    counted: list[tuple[Unit, str]] = []
    for unit in units:
        text = unit.text.strip()
        unit.tokens = -(-len(text) // _CHARS_PER_TOKEN)
        if unit.tokens <= longest:  # else it will be divided whatever the tokenizer says
            counted.append((unit, text))
    if counted:
        for (unit, _), tokens in zip(counted, count([text for _, text in counted]), strict=True):
            unit.tokens = max(tokens, unit.tokens)


def _divide(
    units: list[Unit], divide: Callable[[str], list[str]], anchor: Anchor, count: Count, longest: int
) -> list[Unit]:
    divided: list[Unit] = []
    fresh: list[Unit] = []
    for unit in units:
        texts = divide(unit.text) if unit.tokens > longest else []
        if len(texts) < 2:
            divided.append(unit)
            continue
        parts = [Unit(text, anchor, unit.section) for text in texts]
        parts[0].anchor = unit.anchor
        fresh += parts
        divided += parts
    _price(fresh, count, longest)
    return divided


def _cut_after(text: str, ends: Iterator[int]) -> list[str]:
    places = [0, *(end for end in ends if 0 < end < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


def _sentences(text: str) -> list[str]:
    return _cut_after(text, (found.end() for found in _SENTENCE.finditer(text)))


def _lines(text: str) -> list[str]:
    """Lines; empty ones stay with the line above."""
    return _cut_after(text, (found.end() for found in re.finditer(r"\n(?:[^\S\n]*+\n)*+", text)))


def _word_groups(text: str) -> list[str]:
    """Some words at a time; where a group ends is the choice of its last word."""
    groups: list[str] = []
    words: list[str] = []
    for found in _WORD.finditer(text):
        words.append(found[0])
        if zlib.crc32(found[0].strip().encode()) % _WORDS == 0 or len(words) == 4 * _WORDS:
            groups.append("".join(words))
            words.clear()
    return groups + (["".join(words)] if words else []) or [text]


def _slices(text: str, longest: int) -> list[str]:
    """Parts of a group of words, or of one giant word, that fit whatever the tokenizer (4 tokens a character)."""
    most = max(longest // 4, 1)
    least = max(most // 3, 1)
    words = [found[0] for found in _WORD.finditer(text)]
    ends = re.compile(rf".{{{least},{most - 1}}}?[aeiou05AEIOU/ ]|.{{1,{most}}}", re.DOTALL)
    return [part for word in words for part in (ends.findall(word) if len(word) > most else [word])] or [text]
