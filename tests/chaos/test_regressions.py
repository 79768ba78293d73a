"""What campaigns have found can be done again."""

import time
from argparse import Namespace

from chaos.campaign import seeds_of
from chaos.faults import FAULTS
from chaos.regressions import REGRESSIONS


def test_every_regression_can_be_named_and_done() -> None:
    """No two bear one name, each names faults that there are, and says what was broken."""
    assert len({each.name for each in REGRESSIONS}) == len(REGRESSIONS)
    known = {fault.name for fault in FAULTS}
    assert all(set(each.faults) <= known and each.broke for each in REGRESSIONS)


def test_as_many_seeds_as_were_asked_for_or_fit() -> None:
    """One, or a number, or those that end within the time; never none."""

    def seeds(count: int | None, minutes: float | None, began: float) -> list[int]:
        return list(seeds_of(Namespace(seed=7, seeds=count, minutes=minutes), began))

    now = time.monotonic()
    assert seeds(None, None, now) == [7] and seeds(3, None, now) == [7, 8, 9]
    assert seeds(3, 1.0, now) == [7, 8, 9] and seeds(3, 1.0, now - 61) == [7] and seeds(None, 1.0, now - 61) == [7]
    whole = seeds(None, 0.001, now)
    assert whole[0] == 7 and len(whole) > 1 and whole == list(range(7, 7 + len(whole)))
