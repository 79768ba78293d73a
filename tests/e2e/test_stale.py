"""Being told that an answer is no longer true, by the real system."""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import System

pytestmark = pytest.mark.servers
QUICK = 2.0  # seconds within which a change is told
Change = Callable[[System, str], Any]


def edit(system: System, doc_id: str) -> Any:
    return system.put(doc_id, f"The bell of {doc_id} was recast in Lund.")


def delete(system: System, doc_id: str) -> Any:
    return system.wait(doc_id, system.http.delete(f"/v1/documents/{doc_id}").json()["token"])


def revoke(system: System, doc_id: str) -> Any:
    return system.put_json(doc_id, text=f"The bell of {doc_id} was cast in Malmo.", access=["nobody"])


@pytest.mark.parametrize("change", [edit, delete, revoke])
def test_a_change_behind_an_answer_is_told(system: System, change: Change) -> None:
    """Whoever asked hears of it within two seconds, with both versions; a change elsewhere is not told, and the answer
    that was given again out of a cache is watched like the first."""
    doc_id, other = f"stale/{secrets.token_hex(4)}", f"stale/{secrets.token_hex(4)}"
    first = system.put(doc_id, f"The bell of {doc_id} was cast in Malmo.")
    for _ in range(2):
        body = {"question": f"Where was the bell of {doc_id} cast?", "k": 1, "notify_stale": True}
        job = system.http.post("/v1/queries", json=body, headers={"Prefer": "wait=30"}).json()
        assert job["answer"]["documents"] == {doc_id: first["visible_version"]}
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(system.events, job["job_id"])
        system.put(other, "Nobody asked about this one.")
        time.sleep(QUICK)  # for as long as a change may take to be told, this one is not
        assert not following.done()
        changed = change(system, doc_id)
        visible = time.monotonic()
        events = following.result(QUICK)
        assert time.monotonic() - visible < QUICK
    deleted = change is delete
    current = changed["version"] if deleted else changed["visible_version"]
    assert [name for _, name, _ in events[-2:]] == ["answer", "answer.stale"]
    assert events[-1][2]["documents"] == [
        {"doc_id": doc_id, "version": first["visible_version"], "current": current, "deleted": deleted}
    ]
    answer_id = events[-2][0]
    assert system.events(job["job_id"], last=answer_id) == events[-1:]
    seen = system.http.get(f"/v1/queries/{job['job_id']}/events", headers={"Last-Event-ID": events[-1][0] or ""})
    assert seen.status_code == 204
