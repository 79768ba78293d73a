"""cli/evaluation/questions.py: what a file may hold, and what is said of one that cannot be used."""

from pathlib import Path

import pytest

from cli.evaluation.questions import QuestionsError, read_cases


def test_all_forms_of_a_line(tmp_path: Path) -> None:
    """A list of ids or grades by id, one answer or several or none; a line without an id is called by its number."""
    file = tmp_path / "q.jsonl"
    file.write_text(
        '{"question": "One?", "relevant": ["a", "b"], "answer": "yes"}\n\n'
        '{"question": "Two?", "relevant": {"a": 3, "b": 0}, "id": "two", "answer": ["x", "y"]}\n'
    )
    one, two = read_cases(file)
    assert (one.id, one.relevant, one.answers) == ("line-1", {"a": 1, "b": 1}, ["yes"])
    assert (two.id, two.relevant, two.answers) == ("two", {"a": 3, "b": 0}, ["x", "y"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"question": "q", "relevant": ["a"]}\n{"question": "q"}', "line 2: Object missing required field `relevant`"),
        ('{"question": "q", "relevant": ["a"], "answr": 1}', "line 1: Object contains unknown field `answr`"),
        ("question", "line 1: JSON is malformed"),
        ('{"question": " ", "relevant": ["a"]}', "line 1: the question is empty"),
        ('{"question": "q", "relevant": []}', 'line 1: "relevant" names no document; give the ids'),
        ('{"question": "q", "relevant": {"a": -1}}', 'line 1: "relevant" names no document'),
        ('{"question": "q", "relevant": {"a": -1, "b": 1}}', "line 1: a grade is below 0"),
        ('{"question": "q", "relevant": ["a"], "id": "x"}\n' * 2, "line 2: the id 'x' is taken"),
        ("\n", "holds no question; a line is"),
    ],
)
def test_what_is_said_of_a_bad_file(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file, the line and what to do."""
    file = tmp_path / "q.jsonl"
    file.write_text(text)
    with pytest.raises(QuestionsError) as caught:
        read_cases(file)
    assert said in str(caught.value) and str(file) in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """What is not there or is no text is said as well."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name in ("absent", "bytes"):
        with pytest.raises(QuestionsError, match=name):
            read_cases(tmp_path / name)
