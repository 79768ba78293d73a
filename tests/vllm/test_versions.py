"""A new version of the language model in a running system: a share of the questions, all of them, and back again."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT
from tests.e2e.conftest import System
from tests.vllm.conftest import MODEL, NEW
from tests.vllm.faults import Faults

pytestmark = pytest.mark.vllm
QUESTION = "Where does the kettle of Ulm stand?"


def llm(system: System, *words: str) -> str:
    """The command as a person runs it, on the machine of the gateway."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "llm", *words], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env=process_environment(system.stack.environment) | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answered(system: System, times: int, **fields: str) -> Counter[str]:
    """Who wrote so many answers."""
    found: Counter[str] = Counter()
    for _ in range(times):
        body = {"question": QUESTION, "cache": False, "k": 1, **fields}
        job = system.http.post("/v1/queries", json=body, headers={"Prefer": "wait=20"}).json()
        assert not job["answer"].get("degraded"), job
        found[job["answer"]["model"]] += 1
    return found


def test_a_version_is_tried_promoted_and_taken_back(system: System, endpoint: Faults) -> None:
    """Each by one command, seen by the running worker without a restart; figures of both are told side by side."""
    assert system.put("kettle.md", "The kettle of Ulm stands on the hill behind the old mill.")["status"] == "indexed"
    worker = system.stack.pid("generate")
    assert answered(system, 3) == {MODEL: 3} and answered(system, 1, model=NEW) == {NEW: 1}
    assert f"{MODEL} leads, {NEW} has 50%" in llm(system, "canary", NEW, "--share", "0.5")
    both = answered(system, 16)
    assert set(both) == {MODEL, NEW}
    assert f"{NEW} leads" in llm(system, "promote", NEW)
    assert answered(system, 4) == {NEW: 4}
    assert f"{MODEL} leads" in llm(system, "rollback")
    assert answered(system, 4) == {MODEL: 4}
    assert system.stack.pid("generate") == worker
    shown = llm(system, "status")
    assert re.search(rf"{MODEL} +│ 100%, leads", shown) and "1 generate workers, 0 of them" in shown
