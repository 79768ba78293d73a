"""cli/evaluation/scores.py against figures worked out by hand, trec_eval's own code and SQuAD's examples."""

import math
import random

import pytest
import pytrec_eval

from cli.evaluation.scores import answer_scores, exact, f1, normal, rank, ranking_scores


@pytest.mark.parametrize(
    ("ranked", "grades", "expected"),
    [
        (["a", "b"], {"a": 1}, {"recall@1": 1, "recall@5": 1, "mrr@10": 1, "ndcg@10": 1}),
        (["x", "a"], {"a": 1, "b": 1}, {"recall@1": 0, "recall@10": 0.5, "mrr@10": 0.5}),
        (["x"] * 10 + ["a"], {"a": 1}, {"recall@10": 0, "mrr@10": 0, "ndcg@10": 0}),
        ([], {"a": 1}, {"recall@10": 0, "mrr@10": 0, "ndcg@10": 0}),
        (["b", "a"], {"a": 3, "b": 1}, {"ndcg@10": (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))}),
        ([f"d{n}" for n in range(12)], {f"d{n}": 1 for n in range(12)}, {"ndcg@10": 1, "recall@10": 10 / 12}),
        (["z", "a"], {"a": 1, "z": 0}, {"mrr@10": 0.5, "recall@1": 0}),
    ],
)
def test_rankings_by_hand(ranked: list[str], grades: dict[str, int], expected: dict[str, float]) -> None:
    """Each measure is what its definition gives on paper; grade 0 is not relevant."""
    scores = ranking_scores(ranked, grades)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


def test_rankings_are_trec_evals() -> None:
    """On 200 random rankings with grades 0 to 3 every measure is what trec_eval says, cut at ten documents."""
    draw = random.Random(4)
    for _ in range(200):
        documents = [f"d{n}" for n in range(30)]
        draw.shuffle(documents)
        ranked = documents[: draw.randint(0, 30)]
        grades = {d: draw.randint(0, 3) for d in draw.sample(documents, 8)} | {documents[draw.randrange(30)]: 1}
        measures = {"recall.1,5,10", "ndcg_cut.10", "recip_rank"}
        run = {document: float(-place) for place, document in enumerate(ranked)}
        if not run:
            continue
        whole = pytrec_eval.RelevanceEvaluator({"q": grades}, measures).evaluate({"q": run})["q"]
        first = {document: score for document, score in run.items() if score > -10}
        cut = pytrec_eval.RelevanceEvaluator({"q": grades}, measures).evaluate({"q": first})["q"]
        expected = {f"recall@{depth}": whole[f"recall_{depth}"] for depth in (1, 5, 10)}
        expected |= {"mrr@10": cut["recip_rank"], "ndcg@10": whole["ndcg_cut_10"]}
        assert ranking_scores(ranked, grades) == pytest.approx(expected)


def test_documents_rank_by_their_best_passage() -> None:
    """A document stands where its first passage stands, once."""
    assert rank(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("text", "answers", "equal", "overlap"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1, 1),
        ("in 1889", ["1889", "the year 1889"], 0, 2 / 3),
        ("a cat sat on the mat", ["the cat sat"], 0, 2 * 2 / (4 + 2)),
        ("", ["something"], 0, 0),
        ("the", ["a"], 1, 1),
        ("red red", ["red red blue"], 0, 4 / 5),
        ("Santa Clara, California [1]", ["Santa Clara, California"], 1, 1),
    ],
)
def test_answers_compare_as_in_squad(text: str, answers: list[str], equal: float, overlap: float) -> None:
    """Case, punctuation, articles, white space and our markers do not count; words count as often as they stand."""
    assert (exact(text, answers), f1(text, answers)) == pytest.approx((equal, overlap))


def test_articles_go_as_words_only() -> None:
    """An article inside a word stays."""
    assert normal("The theatre,  an\tanthem - a  cappella") == "theatre anthem cappella"


def test_what_cannot_be_taken_is_left_out() -> None:
    """Without a reference no overlap, without citations no share of right ones; one citation in two is half."""
    assert answer_scores("text", [], [], {"a": 1}) == {"cites": 0.0}
    scores = answer_scores("text", ["a", "b"], ["text"], {"a": 1})
    assert scores == {"cites": 1.0, "citations": 0.5, "exact": 1.0, "f1": 1.0}
