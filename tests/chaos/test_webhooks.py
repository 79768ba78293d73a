"""What the campaign of webhooks counts as broken."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from chaos.receiver import Arrival
from chaos.webhooks import promises

FINE = [
    Arrival(1.0, "msg_a", "job_a", "answer", "body_a", True, "500"),
    Arrival(2.0, "msg_b", "job_b", "answer", "body_b", True, "taken"),
    Arrival(3.0, "msg_a", "job_a", "answer", "body_a", True, "taken"),
    Arrival(4.0, "msg_b", "job_b", "answer", "body_b", True, "taken"),
]
ACCEPTED = ["job_a", "job_b"]
DELIVERED = Counter(delivered=2, dropped=0)


def test_all_is_well() -> None:
    """Failures and repeats under the same id are what is promised."""
    assert promises(ACCEPTED, FINE, DELIVERED) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda arrivals: [a for a in arrivals if a.answered != "taken" or a.job_id == "job_b"], "never told"),
        (lambda arrivals: [*arrivals, replace(arrivals[0], message_id="msg_c")], "under more than one id"),
        (lambda arrivals: [*arrivals, replace(arrivals[0], job_id="job_c")], "no job that was accepted"),
        (lambda arrivals: [replace(a, message_id="msg_a") for a in arrivals], "shared by jobs"),
        (lambda arrivals: [*arrivals, replace(arrivals[0], body="other")], "changed between tries"),
        (lambda arrivals: [*arrivals, replace(arrivals[0], verified=False)], "no signature"),
    ],
)
def test_what_is_broken_is_told(spoil: Callable[[list[Arrival]], list[Arrival]], says: str) -> None:
    """Each promise has its own words."""
    assert any(says in text for text in promises(ACCEPTED, spoil(FINE), DELIVERED))


@pytest.mark.parametrize("state", ["waiting", "failed", "dropped"])
def test_the_delivery_log_counts(state: str) -> None:
    """What the endpoint took and the log does not call delivered is told as well."""
    assert any(state in text for text in promises(ACCEPTED, FINE, DELIVERED + Counter({state: 1})))
