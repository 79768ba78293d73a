"""The time of day by the log: told by brokers, moved by nothing else."""

import time

import pytest

from gateway.log_time import LogTime


def test_a_jump_of_the_machine_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on as before, an hour ahead or back."""
    ours, now = LogTime(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert abs(ours.seconds() - now) < 1
    assert abs(ours.millis() / 1000 - now) < 1


@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_it_is_what_brokers_tell(off: float) -> None:
    """One record is enough, and a second one changes nothing more than it must."""
    ours, brokers = LogTime(), time.time() + off
    sent = time.monotonic()
    ours.heard(int(brokers * 1000), sent)
    assert abs(ours.seconds() - brokers) < 0.5


def test_a_late_acknowledgement_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record was written some time between its sending and now: a time that is possible stays."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    ours = LogTime()
    now = ours.seconds()
    ours.heard(int((now - 9) * 1000), sent=90.0)
    assert ours.seconds() == now
    ours.heard(int((now - 20) * 1000), sent=90.0)
    assert ours.seconds() == pytest.approx(now - 10, abs=0.01)  # the latest that it can have been
