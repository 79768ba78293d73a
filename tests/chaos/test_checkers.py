"""Checkers find nothing in what is sound, and each finds what it is for: one that never goes red proves nothing."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.checkers import CHECKERS, SOAK, Bounds, judge
from chaos.checkers.calm import calm, calm_spans, recoveries, recovery_times
from chaos.checkers.memory import lives
from chaos.checkers.vacuity import EVIDENCE
from chaos.harm import stranger
from chaos.history import History, Probe, Window
from chaos.mutations import MUTATIONS, PRODUCTS, Mutation, base, run
from chaos.sound import CALM, CAMPAIGN, sound

ROOT = Path(__file__).resolve().parents[2]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 32), st.floats(80, 200), st.integers(1, 4))
def test_what_is_sound_is_never_blamed(seed: int, seconds: float, faults: int) -> None:
    """Whatever is read, asked, killed and healed, in any order of events: a run that kept all promises is told so."""
    assert not any(judge(sound(seed, seconds, faults), CAMPAIGN).values())


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 32))
def test_a_sound_soak_is_never_blamed(seed: int) -> None:
    """Nor one without faults, of an hour's bounds."""
    assert not any(judge(base("soak", seed), CALM).values())


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.checker}: {mutation.name}")
def test_each_mutation_is_caught_by_its_own_checker(mutation: Mutation) -> None:
    """By that one and by no other, or nobody could say what is wrong."""
    assert mutation.caught_by() == [mutation.checker]


def test_every_checker_goes_red_for_something() -> None:
    """Of each there is a mutation, and of each there is evidence to be asked for, or its verdict could be empty."""
    assert {mutation.checker for mutation in MUTATIONS} == set(CHECKERS)
    assert set(EVIDENCE) == set(CHECKERS) - {"questions", "vacuity"}  # probes in calm are evidence of `stale` too


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m chaos mutations` prints a row for each, in Markdown, and every broken program it names is there."""
    assert run([]) == 0
    rows = Counter(line.split(" | ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("| "))
    assert rows["| lost"] == sum(mutation.checker == "lost" for mutation in MUTATIONS)
    assert rows.total() == len(MUTATIONS) + len(PRODUCTS) + 2
    assert all((ROOT / where).is_file() for where, _, _ in PRODUCTS)


def test_a_verdict_can_be_had_again(tmp_path: Path) -> None:
    """From the folder of a run, the same."""
    history = sound(3)
    MUTATIONS[0].spoil(history)
    history.save(tmp_path)
    assert judge(History.load(tmp_path), CAMPAIGN) == judge(history, CAMPAIGN) != judge(sound(3), CAMPAIGN)


BOUNDS = Bounds(normal=2, recovery={"kill-9": 5.0}, slowest=5.0)


def probed(*windows: Window, bad: tuple[float, float] = (0, 0)) -> History:
    """Two probes a second for a minute, none of them answered within this time."""
    history = History(began=0.0, ended=60.0, windows=list(windows))
    for number in range(120):
        ok = not bad[0] <= number / 2 < bad[1]
        history.probes.append(Probe(number / 2, 0.1 if ok else None, None if ok else "503", fresh=0.25))
    return history


def test_recovery_is_until_all_is_normal() -> None:
    """From the heal to the end of the first of so many good probes in a row; a single good one is luck."""
    history = probed(Window("kill-9:embed", 10.0, 10.1, healed=12.0), bad=(10.0, 15.0))
    history.probes[26].took, history.probes[26].error = 0.1, None  # at 13, all alone
    assert recovery_times(history, BOUNDS) == {"kill-9:embed": [3.25]}
    history.windows[0].released = 11.0  # from then on it could begin to come back
    assert recovery_times(history, BOUNDS) == {"kill-9:embed": [4.25]}
    assert not judge(history, BOUNDS)["recovery"]
    late = probed(Window("kill-9:embed", 10.0, 10.1, healed=12.0), bad=(10.0, 18.0))
    assert [v.kind for v in judge(late, BOUNDS)["recovery"]] == ["not-back"]


def test_a_fault_within_a_fault_is_not_timed() -> None:
    """Whether the first would have been over in time, nobody can tell; the second is timed."""
    one, two = Window("kill-9:embed", 10.0, 10.1, healed=12.0), Window("restart:kafka", 13.0, 13.1, healed=20.0)
    history = probed(one, two, bad=(10.0, 23.0))
    found = recoveries(history, BOUNDS)
    assert [(each.seconds, each.disturbed) for each in found] == [(None, True), (3.25, False)]
    assert not judge(history, BOUNDS)["recovery"]


def test_calm_is_where_no_fault_is_felt() -> None:
    """From before it is injected until all is normal again, even if it was healed long before."""
    history = probed(Window("kill-9:embed", 10.0, 10.1, healed=12.0), bad=(10.0, 15.0))
    undisturbed = calm(history, BOUNDS)
    assert undisturbed(0, 9.9) and undisturbed(15.3, 60)
    assert not undisturbed(9.9, 10.1) and not undisturbed(14, 14) and not undisturbed(15.2, 20)
    assert calm_spans(history, BOUNDS) == [(0.0, 10.0), (15.25, 60.0)]
    assert not judge(history, BOUNDS)["questions"]
    history.windows.clear()
    assert len(judge(history, BOUNDS)["questions"]) == 10


def test_a_restart_begins_a_life() -> None:
    """What a process needs while it starts is not held against it, nor what the one before had."""
    history = sound(1)
    assert {(life.program, life.pid) for life in lives(history, 10.0)} >= {("embed", 1000), ("gateway", 100)}
    for life in lives(history, 10.0):
        assert life.points[-1][0] - life.points[0][0] > 0 and life.times < 1.1


def test_one_job_may_be_told_of_whose_202_was_lost() -> None:
    """Who asks again after its deadline gets another: so many may be strangers, and none more."""
    history = base("campaign", 1)
    stranger(history)
    assert [v.kind for v in judge(history, CAMPAIGN)["webhooks"]] == ["stranger"]
    late = next(job for job in history.jobs if job.webhook and job.taken)
    late.sent = (late.taken or 0.0) - late.deadline
    assert judge(history, CAMPAIGN)["webhooks"] == []
    history.deliveries.append(replace(history.deliveries[-1], job_id="nor this", webhook_id="msg_other"))
    assert [v.kind for v in judge(history, CAMPAIGN)["webhooks"]] == ["stranger"]


def test_bounds_say_how_long_a_fault_may_be_felt() -> None:
    """By its kind, whatever its target; one that is not listed has half a minute."""
    assert (
        Bounds().back("kill-9:embed") == Bounds().recovery["kill-9"] != Bounds().slowest == Bounds().back("new:thing")
    )
    assert SOAK.drift and SOAK.slope and "recovery" in SOAK.optional
    assert not judge(base("quiet", 1), replace(CAMPAIGN, optional=frozenset({"recovery"})))["vacuity"]
