"""Durable jobs on the whole system: asked twice, kept, listed, cancelled, and followed past a killed gateway."""

import os
import secrets
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from chaos.streams import second_gateway
from tests.e2e.conftest import DEADLINE, System

pytestmark = pytest.mark.servers
SECOND = 36  # port of the second gateway, from the stack's base


@pytest.fixture
def about(system: System) -> str:
    """A word that only one document has."""
    word = f"word{secrets.token_hex(4)}"
    system.put(f"jobs/{word}", f"The {word} was built in Oslo.")
    return word


def eventually(true: Callable[[], Any]) -> Any:
    """Its value, as soon as it has one."""
    until = time.monotonic() + DEADLINE
    while not (found := true()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def listed(system: System, job_id: str, state: str) -> dict[str, Any] | None:
    """The job in the list of those in this state."""
    page = system.http.get("/v1/queries", params={"state": state, "limit": "100"}).json()
    return next((job for job in page["jobs"] if job["job_id"] == job_id), None)


def test_asked_twice_kept_and_listed(system: System, about: str) -> None:
    """The same key gives the same job, the deliver lane keeps it, the list has it, and another body is refused."""
    body, headers = {"question": f"Where was the {about} built?"}, {"Idempotency-Key": f"key of {about}"}
    one = system.http.post("/v1/queries", json=body, headers=headers)
    other = system.http.post("/v1/queries", json=body, headers=headers)
    assert (one.status_code, one.content) == (202, other.content)
    assert system.http.post("/v1/queries", json={"question": "Why?"}, headers=headers).status_code == 409
    job_id = one.json()["job_id"]
    found = eventually(lambda: listed(system, job_id, "done"))
    assert found["question"] == body["question"] and found["finished_at"] >= found["accepted_at"]
    assert "Oslo" in system.http.get(f"/v1/queries/{job_id}").json()["answer"]["text"]


def test_a_cancelled_job_is_not_answered(system: System, about: str) -> None:
    """Cancelled before anybody wrote it, it is dropped where it waits: no work, one end, and the list says so."""
    system.stack.stop("generate")
    try:
        job_id = system.http.post("/v1/queries", json={"question": f"What of the {about}?"}).json()["job_id"]
        eventually(lambda: "passages" in system.http.get(f"/v1/queries/{job_id}").json())
        gone = system.http.delete(f"/v1/queries/{job_id}")
        assert (gone.status_code, gone.json()["state"]) == (200, "cancelled")
    finally:
        system.stack.start("generate")
    assert system.ask(f"Where was the {about} built?", cache=False)["found"], "the lane goes on behind it"
    assert eventually(lambda: listed(system, job_id, "cancelled"))
    names = [name for _, name, _ in system.events(job_id)]
    assert names == ["accepted", "retrieving", "passages", "error"]


def test_a_killed_gateway_is_left_for_another(system: System, about: str) -> None:
    """Cut off by kill -9 in mid-stream, a client goes on at another replica behind the last event that it had."""
    port = int(system.stack.environment["FRESHET_GATEWAY_PORT"]) + SECOND
    system.stack.stop("generate")
    started = False
    try:
        job_id = system.http.post("/v1/queries", json={"question": f"Where was the {about} built?"}).json()["job_id"]
        told = []
        with pytest.raises(httpx.TransportError), system.http.stream("GET", f"/v1/queries/{job_id}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("id:"):
                    told.append(line[3:].strip())
                if line == "event: passages":
                    pid = system.stack.pid("gateway")
                    assert pid is not None
                    os.kill(pid, signal.SIGKILL)
        system.stack.start("generate")
        started = True
        with second_gateway(system.stack, port) as door, httpx.Client(base_url=door, timeout=60) as http:
            other = System(system.stack, system.settings, http)
            rest = other.events(job_id, told[-1])
            whole = other.events(job_id)
    finally:
        if not started:
            system.stack.start("generate")
        eventually(lambda: _ready(system))
    assert (rest[0][1], rest[-1][1]) == ("generating", "answer")
    ids = [id_ for id_, _, _ in whole if id_ is not None]
    assert told + [id_ for id_, _, _ in rest] == ids and len(set(ids)) == len(ids)


def _ready(system: System) -> bool:
    try:
        return system.http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
