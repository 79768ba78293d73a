"""Questions that somebody waits for go before those of a batch, on the real system."""

import time

import pytest

from tests.e2e.conftest import DEADLINE, System

pytestmark = pytest.mark.servers
BATCH = 200
QUESTION = "What does the heron of Aldmere eat at dawn?"


def test_an_interactive_question_passes_a_batch(system: System) -> None:
    """With 200 batch questions queued one that somebody waits for is answered while many wait; then all are done."""
    system.put("precedence", "The heron of Aldmere eats eels at dawn.", "text/plain")

    def ask() -> None:
        assert "eels" in system.ask(QUESTION, cache=False)["text"]

    ask()
    jobs = []
    for number in range(BATCH):
        body = {"question": f"{QUESTION} {number}", "cache": False, "priority": "batch"}
        posted = system.http.post("/v1/queries", json=body)
        assert posted.status_code == 202, posted.text
        jobs.append(posted.json()["job_id"])
    ask()
    waits = [system.http.get(f"/v1/queries/{job}").json()["state"] == "accepted" for job in jobs[BATCH // 2 :]]
    assert any(waits), "it was answered behind all that were there before it"
    until = time.monotonic() + DEADLINE
    for job in jobs:
        while (state := system.http.get(f"/v1/queries/{job}").json()["state"]) != "done":
            assert state in ("accepted", "retrieving", "generating"), state
            assert time.monotonic() < until
            time.sleep(0.05)
