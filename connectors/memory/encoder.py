"""An encoder without a model: words and letter triples hashed into a few dimensions.

Deterministic in every process and on every machine.  Texts that share words are near, texts that share none are about
at right angles; it knows no meaning.  For flow tests and for trying things out.
"""

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from connectors.ports import Vectors

_WORD = re.compile(r"\w+", re.UNICODE)
# Words that every text has would make every text near.
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be by can do does for from has have how if in into is it its may no not of on or so than "
        "that the their then there these this to was were what when where which who why will with you"
    )
)
_TRIPLE_WEIGHT = 0.3  # beside 1 for a whole word: enough to bring inflected forms near


class HashingEncoder:
    """A shipped fake of :class:`connectors.ports.Encoder`."""

    backend = "memory"

    def __init__(self, dimension: int = 64) -> None:
        """``dimension`` is the vectors' length; unrelated texts get cosines of about 1/sqrt(dimension)."""
        self.dimension = dimension
        self.model = f"hashing-{dimension}"

    async def open(self) -> None:
        """There is nothing to load."""

    async def close(self) -> None:
        """There is nothing to let go."""

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Float32 of shape (len(texts), dimension), unit length, in order; a text without words gets the first axis."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for feature, weight in _features(text).items():
                place, sign = divmod(zlib.crc32(feature.encode("utf-8", "replace")), 2)
                row[place % self.dimension] += weight if sign else -weight
            if not row.any():
                row[0] = 1.0
        normed: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return normed


def _features(text: str) -> dict[str, float]:
    """Weight by feature; a word that comes again counts, but ever less."""
    features: Counter[str] = Counter()
    for word in _WORD.findall(text.lower()):
        if word not in _COMMON:
            features[word] += 1
    weights = {word: float(1 + np.log(count)) for word, count in features.items()}
    for word in features:
        padded = f"<{word}>"
        for start in range(len(padded) - 2):
            triple = f"#{padded[start : start + 3]}"
            weights[triple] = weights.get(triple, 0.0) + _TRIPLE_WEIGHT
    return weights
