"""A question that names a webhook, on the real system: its answer arrives, signed, and the log of deliveries knows."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.e2e.conftest import DEADLINE, System

pytestmark = pytest.mark.servers


class Hooks:
    """An endpoint on this machine that fails the first time, for each message."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], bytes]] = []
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                first = all(seen["webhook-id"] != headers["webhook-id"] for seen, _ in hooks.came)
                hooks.came.append((headers, body))
                self.send_response(500 if first else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def wait(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        """So many requests."""
        until = time.monotonic() + DEADLINE
        while len(self.came) < count:
            assert time.monotonic() < until, f"{len(self.came)} of {count} requests came"
            time.sleep(0.02)
        return self.came


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    found = Hooks()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join(5)


def test_an_answer_is_told(system: System, hooks: Hooks) -> None:
    """The answer that polling shows is the one that was told, twice under one id, as the first try failed."""
    system.put("webhooks/crane.md", "# Crane\n\nThe crane of lake Orm dances in March.\n")
    url = f"http://localhost:{hooks.server.server_address[1]}/hook"  # the system's settings allow this name
    made = system.http.post("/v1/webhooks", json={"url": url}).raise_for_status().json()
    place = f"/v1/webhooks/{made['id']}"
    try:
        question = {"question": "When does the crane of lake Orm dance?", "webhook": made["id"]}
        job = system.http.post("/v1/queries", json=question, headers={"Prefer": "wait=30"}).raise_for_status().json()
        came = hooks.wait(2)
        assert len({headers["webhook-id"] for headers, _ in came}) == len({body for _, body in came}) == 1
        for headers, body in came:
            Webhook(made["secret"]).verify(body, headers)
        message: dict[str, Any] = json.loads(came[0][1])
        assert message["type"] == "answer"
        assert message["data"]["job_id"] == job["job_id"]
        assert message["data"]["answer"]["text"] == job["answer"]["text"]
        delivery = settled(system, f"{place}/deliveries/{came[0][0]['webhook-id']}")
        assert delivery["state"] == "delivered" and [each["status"] for each in delivery["tries"]] == [500, 204]
    finally:
        system.http.delete(place)


def settled(system: System, place: str) -> dict[str, Any]:
    """A delivery once it waits for nothing more."""
    until = time.monotonic() + DEADLINE
    while True:
        found = dict(system.http.get(place).raise_for_status().json())
        if found["state"] != "waiting":
            return found
        assert time.monotonic() < until, found
        time.sleep(0.02)
