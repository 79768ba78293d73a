"""bench/manual and bench/questions: summaries that ask, and pages that do not give themselves away."""

import itertools
import json
from pathlib import Path

import pytest

from bench import questions
from bench.askers import new_questions
from bench.manual import Page, page_of, without
from cli.evaluation.questions import read_cases

SHOWN = """\
FROB(1)                    User Commands                    FROB(1)

NAME
       frob, defrob - turn the handles of many
       files at once

SYNOPSIS
       frob [-n] FILE...

DESCRIPTION
       F\x08Frob can turn the handles
       of many files at once.  It is old.

frob 1.2                     May 2020                       FROB(1)
"""


def test_a_page_loses_its_summary() -> None:
    """Wherever it stands, however it is broken into lines; the rest stays, without indentation and overstriking."""
    page = page_of("frob", "1", SHOWN)
    assert (page.id, page.title, page.summary) == ("man/1/frob", "frob(1)", "turn the handles of many files at once")
    assert page.text == "SYNOPSIS\nfrob [-n] FILE...\n\nDESCRIPTION\nFrob can . It is old.".replace(". It", "  It")


@pytest.mark.parametrize(
    ("text", "left"),
    [("Reads a file.  More.", "  More."), ("It READS  a\nfile", "It "), ("It reads files", "It reads files")],
)
def test_a_summary_is_found_however_it_is_set(text: str, left: str) -> None:
    """Case, white space and the full stop do not hide it."""
    assert without(text, "Reads a file.") == left


def page(name: str, summary: str) -> Page:
    return Page(name, name, summary, "text")


def test_what_can_be_asked() -> None:
    """Not what is too short, nor what two pages say of themselves; the order of the pages is kept."""
    pages = [
        page("a", "too short"),
        page("b", "list the files of a folder"),
        page("c", "Count the words of a file"),
        page("d", "count the words of a file"),
        page("e", "compare two files by byte"),
    ]
    assert [each.id for each in questions.ask_for(pages, 5)] == ["b", "e"]
    assert [each.id for each in questions.ask_for(pages, 1)] == ["b"]


def test_the_file_is_one_that_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages lie below the folder under the ids that the questions name, and `freshet eval` reads the file."""
    monkeypatch.setattr(
        questions, "shuffled", lambda: [page(f"man/1/p{n}", f"do the thing number {n}") for n in range(9)]
    )
    questions.run([str(tmp_path), "--questions", "3", "--pages", "8"])
    cases = read_cases(tmp_path / "questions.jsonl")
    assert [case.question for case in cases] == [f"do the thing number {n}" for n in range(3)]
    for case in cases:
        assert (tmp_path / "pages" / next(iter(case.relevant))).read_text().endswith("\n\ntext\n")
    assert len(list((tmp_path / "pages").rglob("*.txt"))) == 8
    assert json.loads((tmp_path / "questions.jsonl").read_text().splitlines()[0])["id"] == "man/1/p0"


def test_questions_under_load_are_new_ones() -> None:
    """The same with the same seed, others with another, and hardly one twice."""
    text = [" ".join(f"word{n}" for n in range(start, start + 2000)) for start in range(0, 20_000, 2000)]
    first = list(itertools.islice(new_questions(text, 1), 1000))
    assert first == list(itertools.islice(new_questions(text, 1), 1000))
    assert len(set(first)) > 990 and len(set(first).intersection(itertools.islice(new_questions(text, 2), 100))) < 10
