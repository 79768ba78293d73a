"""The whole system as a user has it after `make up`, on ports of its own."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deploy.local.own_stack import OwnStack, own_stack
from deploy.local.state import state_folder
from deploy.local.supervisor import Supervisor
from runtime.settings import Settings
from tests.traces import Collector, collector

E2E_PORT_BASE = "18300"
DEADLINE = 60.0  # seconds for anything to happen


@dataclass
class System:
    """A running system and how to talk to it."""

    stack: OwnStack
    settings: Settings
    http: httpx.Client

    def wait(self, doc_id: str, token: str) -> dict[str, Any]:
        """Status of a document once that version has its outcome."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            response = self.http.get(f"/v1/documents/{doc_id}", params={"token": token})
            if response.status_code == 200 and response.json()["status"] != "pending":
                return dict(response.json())
            time.sleep(0.01)
        raise AssertionError(f"{doc_id} has no outcome after {DEADLINE:.0f} s")

    def put(self, doc_id: str, text: str, media_type: str = "text/markdown", **headers: str) -> dict[str, Any]:
        """Publish over HTTP and wait for the outcome."""
        response = self.http.put(
            f"/v1/documents/{doc_id}", content=text, headers={"Content-Type": media_type} | headers
        )
        assert response.status_code == 202, response.text
        return self.wait(doc_id, response.json()["token"])

    def put_json(self, doc_id: str, **fields: Any) -> dict[str, Any]:
        response = self.http.put(f"/v1/documents/{doc_id}", json=fields)
        assert response.status_code == 202, response.text
        return self.wait(doc_id, response.json()["token"])

    def retrieve(self, question: str, principals: str = "", **fields: Any) -> list[dict[str, Any]]:
        headers = {"Freshet-Principals": principals} if principals else {}
        response = self.http.post("/v1/retrieve", json={"question": question, **fields}, headers=headers)
        assert response.status_code == 200, response.text
        return list(response.json()["passages"])

    def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        response = self.http.post("/v1/queries", json={"question": question, **fields}, headers={"Prefer": "wait=30"})
        assert response.status_code == 200, response.text
        return dict(response.json()["answer"])

    def events(self, job_id: str, last: str | None = None) -> list[tuple[str | None, str, dict[str, Any]]]:
        """(id, name, data) of a job's events, to its end."""
        headers = {"Last-Event-ID": last} if last else {}
        found = []
        with self.http.stream("GET", f"/v1/queries/{job_id}/events", headers=headers) as response:
            assert response.status_code == 200
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    fields[name] = value.strip()
                elif "data" in fields:
                    found.append((fields.get("id"), fields.get("event", ""), json.loads(fields["data"])))
                    fields = {}
        return found

    def kill(self, name: str) -> None:
        self.stack.send(name)


@pytest.fixture(scope="session")
def traces() -> Iterator[Collector]:
    """What the whole system sends its traces to."""
    with collector() as found:
        yield found


@pytest.fixture(scope="session")
def system(traces: Collector) -> Iterator[System]:
    """Servers, workers and gateway: started here and stopped here."""
    base = os.environ.get("FRESHET_E2E_PORT_BASE", E2E_PORT_BASE)
    state = state_folder(state_folder().folder / "e2e")
    if Supervisor.connect(state) is None:  # what an earlier run published would be found by this one's questions
        shutil.rmtree(state.folder, ignore_errors=True)
    settings = {
        "FRESHET_OTLP_ENDPOINT": traces.endpoint,
        "FRESHET_WEBHOOK_ALLOW": "localhost",
        "FRESHET_WEBHOOK_RETRIES": "0.2,1,5",
    }
    with own_stack("e2e", base, settings) as stack, httpx.Client(base_url=stack.door, timeout=60) as http:
        yield System(stack, Settings.from_env(stack.environment), http)
