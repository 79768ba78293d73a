"""Versions of the language model as plain functions: who is asked, and what a step does."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.codec import encode, schema_header
from topics.control import Epoch, LlmVersions
from topics.identity import mint_job_id
from topics.versions import KEY, VersionsError, chosen, promoted, read_versions, rolled_back, with_canary

JOBS = [mint_job_id(0) for _ in range(4000)]
ALONE = LlmVersions(lead="a")


def asked(state: LlmVersions, name: str) -> set[str]:
    return {job for job in JOBS if chosen(state, job) == name}


def test_a_canary_is_asked_by_its_share() -> None:
    """About so many jobs, always the same ones, and a share that grows keeps those that it had."""
    five, twenty = (with_canary(ALONE, "b", share, 1) for share in (0.05, 0.2))
    assert 120 < len(asked(five, "b")) < 290 and len(asked(five, "a")) == len(JOBS) - len(asked(five, "b"))
    assert asked(five, "b") == asked(five, "b") <= asked(twenty, "b")
    assert not asked(ALONE, "b") and asked(with_canary(five, "b", 0, 2), "a") == set(JOBS)
    assert asked(with_canary(ALONE, "b", 1.0, 1), "b") == set(JOBS)


def test_the_order_in_which_shares_are_told_does_not_matter() -> None:
    """What one worker has read as it was written, another has from its settings."""
    both = [LlmVersions(lead="a", shares=shares) for shares in ({"b": 0.2, "c": 0.3}, {"c": 0.3, "b": 0.2})]
    assert asked(both[0], "b") == asked(both[1], "b") and asked(both[0], "c") == asked(both[1], "c")


def test_promotion_and_the_way_back() -> None:
    """What is promoted leads alone; a rollback takes canaries back first, and then the promotion."""
    canary = with_canary(ALONE, "b", 0.05, 1)
    assert rolled_back(canary, 2) == LlmVersions(lead="a", changed_at=2)
    led = promoted(canary, "b", 3)
    assert led == LlmVersions(lead="b", previous="a", changed_at=3)
    back = rolled_back(led, 4)
    assert back == LlmVersions(lead="a", previous="b", changed_at=4)
    assert rolled_back(back, 5).lead == "b"
    assert promoted(canary, "a", 3) == LlmVersions(lead="a", changed_at=3)


def test_steps_that_cannot_be_taken_say_why() -> None:
    """Shares beyond the whole, a share for the leader, what leads already, and nothing to go back to."""
    steps: list[tuple[Callable[[], LlmVersions], str]] = [
        (lambda: with_canary(with_canary(ALONE, "b", 0.6, 1), "c", 0.5, 2), "add up to 1"),
        (lambda: with_canary(ALONE, "a", 0.1, 1), "a leads"),
        (lambda: promoted(ALONE, "a", 1), "leads already"),
        (lambda: rolled_back(ALONE, 1), "nothing to go back to"),
    ]
    for step, said in steps:
        with pytest.raises(VersionsError, match=said):
            step()


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=6))
def test_the_last_record_counts(leads: list[str | None]) -> None:
    """Of many the last; a null takes all back; other records of `control` are passed by."""
    other = Epoch(number=1, topic="t", partitions=4)
    records = [(b"epoch/1", encode(other), schema_header(other))]
    for lead in leads:
        state = LlmVersions(lead=lead or "")
        records.append((KEY.encode(), encode(state) if lead else None, schema_header(state)))  # type: ignore[arg-type]
    last = leads[-1] if leads else None
    assert read_versions(records) == (LlmVersions(lead=last) if last else None)
