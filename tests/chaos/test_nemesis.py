"""The schedule of faults, and what becomes of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from chaos import nemesis
from chaos.faults.site import Site
from chaos.history import History
from chaos.nemesis import Planned, available, haunt, planned, schedule

SITE = cast(Site, None)  # the faults here look at nothing


@dataclass
class Spoken:
    """A fault that only says what it was told to do."""

    name: str
    said: list[str] = field(default_factory=list)
    instant: bool = False
    why_not: str | None = None
    fails: str = ""

    def lacks(self, site: Site) -> str | None:
        return self.why_not

    async def inject(self, site: Site) -> None:
        self.said.append(f"inject {self.name}")
        if self.fails == "inject":
            raise RuntimeError("told to fail")

    async def heal(self, site: Site) -> None:
        self.said.append(f"heal {self.name}")
        if self.fails == "heal":
            raise RuntimeError("told to fail")


FAULTS = [Spoken(f"kind:{number}") for number in range(10)]


def test_a_schedule_follows_from_its_seed() -> None:
    """The same seed, the same faults, pauses and holds; another seed, others."""
    assert schedule(3, FAULTS, 90) == schedule(3, FAULTS, 90) != schedule(4, FAULTS, 90)
    assert len(schedule(3, FAULTS, 90)) == 6 and len(schedule(3, FAULTS, 20)) == 1 and schedule(3, [], 90) == []


def test_seeds_in_a_row_meet_every_fault() -> None:
    """Ten faults by sixes: five seeds meet each of them three times, wherever they begin."""
    for begin in (0, 5, 1_700_000_000):
        met = Counter(plan.fault.name for seed in range(begin, begin + 5) for plan in schedule(seed, FAULTS, 90))
        assert set(met.values()) == {3} and len(met) == 10


def test_what_is_held_and_what_is_not() -> None:
    """An instant fault is not held; the first never strikes an ill system, and some of the others do."""
    plan = planned(1, [Spoken("a", instant=True), *FAULTS])
    assert plan[0].hold == 0 and all(nemesis.HOLD[0] <= each.hold <= nemesis.HOLD[1] for each in plan[1:])
    rash = [each.rash for seed in range(40) for each in planned(seed, FAULTS)]
    assert not any(rash[::10]) and 0.05 < sum(rash) / len(rash) < 0.4


def test_what_cannot_be_done_is_said() -> None:
    """It is left out, with the reason."""
    able, missing = available([FAULTS[0], Spoken("clock:embed", why_not="no faketime")], SITE)
    assert able == [FAULTS[0]] and missing == ["clock:embed: no faketime"]


@pytest.mark.parametrize("fails", ["", "inject", "heal"])
async def test_every_fault_is_healed(fails: str) -> None:
    """Whatever it does; the window says what happened, and the next one follows."""
    said: list[str] = []
    history = History()
    plan = [Planned(Spoken("a", said, fails=fails), 0.0, 0.01), Planned(Spoken("b", said), 0.0, 0.0)]
    await haunt(SITE, plan, history, lambda _: None)
    assert said == ["inject a", "heal a", "inject b", "heal b"]
    first, second = history.windows
    assert (first.injected is None, first.healed is None) == (fails == "inject", fails == "heal")
    assert (first.error or "").startswith(f"{fails}: RuntimeError" if fails else "")
    assert first.released is not None and second.healed is not None and second.error is None


async def test_a_fault_waits_until_the_last_is_got_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not for ever, and not if it is rash: then it is noted that the system was ill."""
    monkeypatch.setattr(nemesis, "WELL_SECONDS", 0.05)

    def ill_after_the_first(history: History) -> Callable[[float], str | None]:
        return lambda _: "ill" if history.windows else None

    for rash in (False, True):
        history = History()
        plan = [Planned(FAULTS[0], 0.0, 0.0), Planned(FAULTS[1], 0.0, 0.0, rash)]
        await haunt(SITE, plan, history, ill_after_the_first(history))
        assert [window.sick for window in history.windows] == [None, "ill"]
        between = history.windows[1].began - (history.windows[0].healed or 0)
        assert (between < 0.05) is rash
