"""What a word weighs: BM25's own measure, so that one that is everywhere says little.  Pure."""

import math
from collections.abc import Collection, Mapping, Sequence


def rarity(documents: int, of: int) -> float:
    """Of a word that so many documents hold."""
    return math.log1p((of - documents + 0.5) / (documents + 0.5))


def share_of(words: Sequence[str], held: Collection[str], counts: Mapping[str, int]) -> float:
    """The share of a question's words, by rarity, that are held.

    ``counts`` says how many documents hold each of some of the words, and under the empty word how many there are;
    the other words weigh as much as these on average.
    """
    weights = {word: rarity(min(counts[word], counts[""]), counts[""]) for word in words if word in counts}
    usual = sum(weights.values()) / len(weights)
    return sum(weights.get(word, usual) for word in words if word in held) / sum(weights.get(w, usual) for w in words)
