"""The table as a page of the documentation."""

from collections.abc import Mapping, Sequence

from tests.e2e.bad_input.kinds import Answer

_WIDEST = 200  # characters of what was said
_HEAD = """# Bad input

What Freshet answers to mistakes, as observed: `tests/e2e/test_bad_input.py` sends each of these to a running system and compares this page with what comes back.
A mistake of a client is never a 5xx, and no record is lost: it is refused where it comes in, or becomes one dead letter with a reason (`freshet dlq list`).
Some of what looks wrong is taken, and the answer says what became of it.
The gateway hangs up on requests whose line and headers have more than 64 KiB or take longer than 10 s, and on bodies of which nothing comes for 15 s.
"""


def render(seen: Mapping[str, Sequence[tuple[str, Answer]]]) -> str:
    """Markdown."""
    lines = [_HEAD]
    for section in sorted(seen):
        lines += [f"## {section}", "", "| what | answer | what it says |", "|---|---|---|"]
        lines += [
            f"| {_cell(name)} | {_cell(answer.outcome)} | {_cell(answer.said)} |" for name, answer in seen[section]
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    """One line that breaks no table."""
    line = " ".join("".join(c if c.isprintable() or c.isspace() else ascii(c)[1:-1] for c in text).split())
    shown = line if len(line) <= _WIDEST else line[: _WIDEST - 3] + "..."
    return shown.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
