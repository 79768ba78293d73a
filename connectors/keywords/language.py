"""Text to words, one definition for what is indexed and what is asked.

A language gives stop words and a stemmer; ``none`` leaves words as they are, but for case and accents.  Scripts that
put no spaces between words (Chinese, Japanese, Thai ...) are cut into overlapping pairs of characters.  A letter is the
same however it is encoded: with its accent or before it, as a ligature, in full width.
"""

import re
import unicodedata
from typing import Final

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

_STEMMED: Final = (
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian", "norwegian",
    "portuguese", "romanian", "russian", "spanish", "swedish", "tamil", "turkish",
)  # fmt: skip
_STOPPED: Final = frozenset(_STEMMED) - {"arabic", "greek", "romanian", "tamil", "turkish"}
LANGUAGES: Final = (*_STEMMED, "none")
_LONGEST_WORD = 80  # bytes; longer ones are no words
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def analyser(language: str) -> TextAnalyzer:
    """The analyser of one of :data:`LANGUAGES`."""
    builder = (
        TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(_LONGEST_WORD)).filter(Filter.lowercase())
    )
    if language in _STOPPED:
        builder = builder.filter(Filter.stopword(language))
    if language in _STEMMED:
        builder = builder.filter(Filter.stemmer(language))
    return builder.filter(Filter.ascii_fold()).build()


def words_of(text: str, by: TextAnalyzer) -> list[str]:
    """All words of a text, in order, as an analyser makes them: what is indexed, and what is looked for."""
    return list(by.analyze(spaced(text)))


def spaced(text: str) -> str:
    """The text in one encoding of its letters, runs of unspaced scripts cut into pairs that overlap."""
    return _UNSPACED.sub(lambda run: _pairs(run[0]), unicodedata.normalize("NFKC", text))


def _pairs(run: str) -> str:
    pairs = [run[n : n + 2] for n in range(len(run) - 1)] or [run]
    return f" {' '.join(pairs)} "
