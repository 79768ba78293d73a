"""Two rankings to one.  Pure.

Reciprocal rank fusion needs no scale of scores: a hit gets 1/(60 + rank) from each ranking that holds it.  The weighted
sum takes scores, each ranking's divided by its best, since BM25 has no bounds and cosine does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from connectors.ports import Hit

RANK_CONSTANT: Final = 60


@dataclass(slots=True)
class Ranked:
    """A hit of one or more rankings; ``scores`` holds each one's score and ``ranks`` its place, from 1."""

    hit: Hit
    score: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    words: float | None = None


def fuse(rankings: Mapping[str, Sequence[Hit]], weights: Mapping[str, float] | None = None) -> list[Ranked]:
    """All hits, best first, by rank; by weighted scores where there are ``weights``.  Equals are ordered by id."""
    found: dict[str, Ranked] = {}
    for leg, hits in rankings.items():
        best = max((hit.score for hit in hits), default=0.0)
        for rank, hit in enumerate(hits, 1):
            ranked = found.setdefault(hit.id, Ranked(hit))
            ranked.scores[leg], ranked.ranks[leg] = hit.score, rank
            ranked.words = hit.words if ranked.words is None else ranked.words
            if weights is None:
                ranked.score += 1 / (RANK_CONSTANT + rank)
            elif best > 0:
                ranked.score += weights[leg] * max(0.0, hit.score) / best
    return sorted(found.values(), key=lambda ranked: (-ranked.score, ranked.hit.id))
