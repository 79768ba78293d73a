"""The file that is evaluated: one question a line, with the documents that answer it.

    {"question": "...", "relevant": ["doc/id"], "id": "q1", "answer": "..."}

``relevant`` may be an object of document id to grade instead, ``answer`` a list of answers that are all right; both
``id`` and ``answer`` may be missing.
"""

from pathlib import Path

import msgspec


class QuestionsError(ValueError):
    """The file cannot be evaluated; the message names the line and says what to do."""


class Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A line as it stands in the file."""

    question: str
    relevant: list[str] | dict[str, int]
    id: str | None = None
    answer: str | list[str] = []


class Case(msgspec.Struct, kw_only=True, frozen=True):
    """A question, the grades of the documents that answer it (1 where none is given), and answers that are right."""

    id: str
    question: str
    relevant: dict[str, int]
    answers: list[str] = []


def read_cases(path: Path) -> list[Case]:
    """All questions of a file.  One wrong line refuses the file: a figure of the rest would say nothing of it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionsError(f"{path}: {error}; it must be a UTF-8 file with a JSON object a line") from None
    cases: dict[str, Case] = {}
    for number, text in enumerate(lines, 1):
        if text.strip():
            try:
                case = _case(msgspec.json.decode(text, type=Line), number)
            except (msgspec.MsgspecError, QuestionsError) as error:
                raise QuestionsError(f"{path}, line {number}: {error}") from None
            if case.id in cases:
                raise QuestionsError(f'{path}, line {number}: the id {case.id!r} is taken; give each its own "id"')
            cases[case.id] = case
    if not cases:
        raise QuestionsError(f'{path} holds no question; a line is {{"question": "...", "relevant": ["doc/id"]}}')
    return list(cases.values())


def _case(line: Line, number: int) -> Case:
    grades = line.relevant if isinstance(line.relevant, dict) else dict.fromkeys(line.relevant, 1)
    if not line.question.strip():
        raise QuestionsError("the question is empty")
    if not any(grade > 0 for grade in grades.values()):
        raise QuestionsError('"relevant" names no document; give the ids that answer it, or leave the line out')
    if any(grade < 0 for grade in grades.values()):
        raise QuestionsError("a grade is below 0; 0 means not relevant, more means better")
    answers = [line.answer] if isinstance(line.answer, str) else line.answer
    return Case(id=line.id or f"line-{number}", question=line.question, relevant=grades, answers=answers)
