"""What a ranking and an answer are worth.  Pure.

Rankings as trec_eval counts them (gain is the grade, discount the binary logarithm of the rank plus one), answers as
SQuAD 1.1 does.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

DEPTH = 10  # documents that count; a ranking may be longer
RANKING = ("recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10")
ANSWER = ("exact", "f1", "cites", "citations")
METRICS = (*RANKING, *ANSWER)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MARKER = re.compile(r"\s?\[\d{1,3}\]")


def recall(ranked: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """Share of the relevant documents among the first ``depth``."""
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranked[:depth])) / len(relevant)


def reciprocal_rank(ranked: Sequence[str], grades: Mapping[str, int], depth: int = DEPTH) -> float:
    """One divided by the rank of the first relevant document, 0 behind ``depth``."""
    return next((1 / rank for rank, d in enumerate(ranked[:depth], 1) if grades.get(d, 0) > 0), 0.0)


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], depth: int = DEPTH) -> float:
    """Gain by rank, as a share of what the best order would gain."""
    best = _gain(sorted(grades.values(), reverse=True)[:depth])
    return _gain([grades.get(document, 0) for document in ranked[:depth]]) / best


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def normal(text: str) -> str:
    """As SQuAD compares: lower case, without citation markers, punctuation, articles and extra white space."""
    bare = _MARKER.sub("", text).lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact(text: str, answers: Sequence[str]) -> float:
    """1 where the text is one of the answers."""
    return float(normal(text) in {normal(answer) for answer in answers})


def f1(text: str, answers: Sequence[str]) -> float:
    """Overlap with the answer that overlaps most: harmonic mean of precision and recall of words."""
    return max(_f1(normal(text).split(), normal(answer).split()) for answer in answers)


def _f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    same = (Counter(found) & Counter(wanted)).total()
    return 2 * same / (len(found) + len(wanted))


def rank(documents: Sequence[str]) -> list[str]:
    """Documents in the order of their best passage, from those of all passages, best first."""
    return list(dict.fromkeys(documents))


def ranking_scores(ranked: Sequence[str], grades: Mapping[str, int]) -> dict[str, float]:
    """Every measure of a ranking."""
    found = {f"recall@{depth}": recall(ranked, grades, depth) for depth in (1, 5, 10)}
    return found | {"mrr@10": reciprocal_rank(ranked, grades), "ndcg@10": ndcg(ranked, grades)}


def answer_scores(
    text: str, cited: Sequence[str], answers: Sequence[str], grades: Mapping[str, int]
) -> dict[str, float]:
    """Every measure of an answer that can be taken: no overlap without a reference, no share of no citations."""
    scores = {"cites": float(bool(cited))}
    if cited:
        scores["citations"] = sum(grades.get(document, 0) > 0 for document in cited) / len(cited)
    if answers:
        scores |= {"exact": exact(text, answers), "f1": f1(text, answers)}
    return scores
