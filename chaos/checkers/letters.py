"""Dead letters: one for each document that was poisoned on purpose, and none for anything else."""

from chaos.checkers.bounds import Bounds
from chaos.history import History, Violation


def letters(history: History, bounds: Bounds) -> list[Violation]:
    """Letters without a cause, and causes without a letter."""
    del bounds
    explained = set()
    found = []
    for letter in history.letters:
        causes = [p for p in history.poisons if p.key == letter.key and p.reason in letter.reason]
        explained |= {(poison.key, poison.reason) for poison in causes}
        if not causes:
            place = f"{letter.topic}[{letter.partition}]@{letter.offset}"
            found.append(Violation("uncaused", letter.key, f"{place}: {letter.reason[:200]}", history.ended))
    missing = [poison for poison in history.poisons if (poison.key, poison.reason) not in explained]
    return found + [Violation("no-letter", p.key, f"should be refused: {p.reason}", p.at) for p in missing]
