"""Recovery: every fault is healed, and in time all is normal again."""

from chaos.checkers.bounds import Bounds
from chaos.checkers.calm import recoveries
from chaos.history import History, Violation


def recovery(history: History, bounds: Bounds) -> list[Violation]:
    """Faults that were felt for too long after they were healed; where another began meanwhile, nobody can tell."""
    found = [Violation("not-healed", w.fault, w.error or "", w.began) for w in history.windows if w.healed is None]
    for each in recoveries(history, bounds):
        assert each.window.healed is not None
        most = bounds.back(each.window.fault)
        if each.disturbed or (each.seconds is not None and each.seconds <= most):
            continue
        took = "never" if each.seconds is None else f"after {each.seconds:.1f} s"
        detail = f"normal again {took}, {most:g} s allowed"
        found.append(Violation("not-back", each.window.fault, detail, each.window.healed))
    return found
