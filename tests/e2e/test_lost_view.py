"""The state Redis of a running system loses everything."""

import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis

from deploy.local.own_stack import process_environment
from streams.queries.manifests import PATIENCE
from tests.e2e.conftest import DEADLINE, System

pytestmark = pytest.mark.servers
log = logging.getLogger(__name__).info
ROOT = Path(__file__).resolve().parents[2]
HERON = "# Herons\n\nThe heron of pond number {n} is called {name}."
QUESTION = "What is the heron of pond number {n} called?"


def test_a_flush_loses_nothing_and_shows_nothing_wrong(system: System) -> None:
    """Under publishing and asking: no wrong answer, no 404 for what is there, no 500; all answerable afterwards."""
    system.put("herons/gone", HERON.format(n=99, name="Gone"))
    token = system.http.delete("/v1/documents/herons/gone").json()["token"]
    assert system.wait("herons/gone", token)["status"] == "deleted"
    system.put("herons/0", HERON.format(n=0, name="Zero"))
    wrong: list[str] = []
    asked, labelled, slowest = 0, 0, 0.0
    stop = threading.Event()

    def ask() -> None:
        nonlocal asked, labelled, slowest
        while not stop.is_set() or asked < 20:
            question = {"question": QUESTION.format(n=0), "k": 50, "cache": False}
            answer = system.http.post("/v1/retrieve", json=question)
            status = system.http.get("/v1/documents/herons/0")
            if status.status_code not in {200, 503}:
                wrong.append(f"status {status.status_code}: {status.text}")
            if answer.status_code != 200:
                wrong.append(f"question {answer.status_code}: {answer.text}")
                continue
            asked, found = asked + 1, answer.json()
            labelled += "manifests-from-log" in found.get("degraded", [])
            slowest = max(slowest, found["timings"]["manifests"])
            ids = {passage["doc_id"] for passage in found["passages"]}
            if "herons/gone" in ids or "herons/0" not in ids:
                wrong.append(f"passages of {sorted(ids)}")

    reader = threading.Thread(target=ask)
    reader.start()
    tokens: dict[str, str] = {}
    with redis.Redis.from_url(system.settings.redis.state_url) as state:
        for n in range(1, 31):
            answer = system.http.put(
                f"/v1/documents/herons/{n}", content=HERON.format(n=n, name=f"Name{n}"),
                headers={"Content-Type": "text/markdown"},
            )  # fmt: skip
            assert answer.status_code == 202, answer.text
            tokens[f"herons/{n}"] = answer.json()["token"]
            if n % 10 == 5:
                state.flushall()
            time.sleep(0.05)
    for doc_id, token in tokens.items():
        assert system.wait(doc_id, token)["status"] == "indexed"
    until = time.monotonic() + DEADLINE
    while system.http.get("/readyz").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    stop.set()
    reader.join(DEADLINE)
    assert not wrong, wrong[:5]
    assert not reader.is_alive() and labelled and slowest < 1500, (asked, labelled, slowest)
    log(f"{asked} questions, {labelled} from the log, manifests took {slowest:.0f} ms at most")
    for n in (0, 7, 30):
        answer = system.http.post(
            "/v1/retrieve", json={"question": QUESTION.format(n=n), "k": 50, "at_least": list(tokens.values())[-1:]}
        ).json()
        assert f"herons/{n}" in {passage["doc_id"] for passage in answer["passages"]}
        assert not answer.get("degraded") and not answer.get("lacking")


def test_questions_do_not_wait_for_a_silent_redis(system: System) -> None:
    """A state Redis that accepts and says nothing costs the first question a few seconds and the next ones none."""
    system.put("herons/silent", HERON.format(n=4321, name="Silent"))
    system.stack.send("redis-state", signal.SIGSTOP)
    try:
        took, labels = [], []
        for _ in range(6):
            began = time.monotonic()
            answer = system.http.post("/v1/retrieve", json={"question": QUESTION.format(n=4321), "k": 50})
            assert answer.status_code == 200, answer.text
            took.append(time.monotonic() - began)
            labels.append(answer.json().get("degraded"))
            assert "herons/silent" in {passage["doc_id"] for passage in answer.json()["passages"]}
        assert system.http.get("/v1/documents/herons/silent").status_code == 503
    finally:
        system.stack.send("redis-state", signal.SIGCONT)
    log(f"seconds: {[round(seconds, 2) for seconds in took]}")
    assert labels == [["manifests-from-log"]] * 6
    assert sorted(took)[3] < PATIENCE and max(took) < 5  # who waited for Redis waited at least that long
    until = time.monotonic() + DEADLINE
    while system.http.get("/readyz").status_code != 200 or system.http.post(
        "/v1/retrieve", json={"question": QUESTION.format(n=4321), "k": 50}
    ).json().get("degraded"):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_operator_rebuilds_the_view(system: System) -> None:
    """`freshet view rebuild` ends whole with everything visible as before, and `freshet view status` agrees."""
    system.put("herons/kept", HERON.format(n=1234, name="Kept"))
    before = system.http.get("/v1/documents", params={"limit": 1000}).json()["documents"]
    environment = dict(system.stack.environment)

    def freshet(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "view", *words], cwd=ROOT, env=process_environment(environment),
            capture_output=True, text=True, timeout=DEADLINE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "whole" in freshet("rebuild")
    assert "not whole" not in freshet("status")
    after = system.http.get("/v1/documents", params={"limit": 1000}).json()["documents"]
    assert [(d["doc_id"], d["version"]) for d in after] == [(d["doc_id"], d["version"]) for d in before]
    assert "herons/kept" in {d["doc_id"] for d in after}
