"""Passages that say the same stand in one place.  Pure.

Copies of a page under several names would else take all places of an answer.
"""

import re
from collections.abc import Sequence
from typing import Final

from streams.queries.fuse import Ranked

ALIKE: Final = 0.9  # share of three-word sequences that two texts have in common
_WORD = re.compile(r"\w+")


def fold(ranked: Sequence[Ranked], most: int) -> list[Ranked]:
    """The best of each kind, in order, until there are ``most``: what comes behind is not looked at."""
    kept: list[Ranked] = []
    seen: list[frozenset[tuple[str, ...]]] = []
    for each in ranked:
        if len(kept) == most:
            break
        shingles = _shingles(each.hit.text)
        if not any(_alike(shingles, other) for other in seen):
            kept.append(each)
            seen.append(shingles)
    return kept


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset([tuple(words)])


def _alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> bool:
    if min(len(one), len(other)) < ALIKE * max(len(one), len(other)):
        return False  # so different in length cannot be alike: nearly all pairs end here
    same = len(one & other)
    return same >= ALIKE * (len(one) + len(other) - same)
