"""A real Varnish before the real system: copies are given without asking, and go when their documents change."""

import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT
from deploy.local.varnish import Varnish, varnishd
from tests.e2e.conftest import System

pytestmark = pytest.mark.servers
SECONDS = 40.0  # for anything to happen
BOUND = 2.0  # seconds from a change's being known to its being seen at the edge, at most


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(look: Callable[[], Any], what: str, seconds: float = SECONDS) -> float:
    """Until that is so; how long it took."""
    began = time.monotonic()
    while not look():
        assert time.monotonic() - began < seconds, f"not after {seconds:.0f} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("ab") as out:
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        yield
    finally:
        child.terminate()
        child.wait(20)


@dataclass
class Edged:
    """The system with a gateway and a purge worker more, and Varnish before them."""

    system: System
    varnish: Varnish
    door: httpx.Client
    edge: httpx.Client

    def get(self, about: str) -> httpx.Response:
        query = {"q": f"What about {about}?", "filter": f'{{"about": {{"eq": "{about}"}}}}'}
        return self.edge.get("v1/retrieve", params=query)

    def text(self, about: str) -> str:
        answer = self.get(about)
        assert answer.status_code == 200, answer.text
        return " ".join(passage["text"] for passage in answer.json()["passages"])

    def publish(self, about: str, text: str, **fields: Any) -> None:
        self.system.put_json(f"edge/{about}", text=text, metadata={"about": about}, **fields)

    def promote(self, about: str) -> None:
        """Ask until a copy answers."""
        wait(lambda: self.get(about).headers["freshet-edge"] == "hit", f"a copy about {about}")

    def lane(self) -> dict[str, Any]:
        return dict(self.door.get("readyz").json()["checks"].get("lane.purge", {}))


@pytest.fixture
def edged(system: System, tmp_path: Path) -> Iterator[Edged]:
    if varnishd() is None:
        pytest.skip("Varnish is not installed: apt-get install varnish")
    secret, gateway = secrets.token_hex(8), free_port()
    varnish = Varnish(tmp_path / "varnish", gateway, free_port(), secret)
    (tmp_path / "secret").write_text(secret)
    environment = process_environment(
        {
            **system.stack.environment,
            "FRESHET_GATEWAY_PORT": str(gateway),
            "FRESHET_EDGE_URLS": varnish.url,
            "FRESHET_EDGE_SECRET_FILE": str(tmp_path / "secret"),
            "FRESHET_EDGE_PROMOTE_AFTER": "3",
            "FRESHET_EDGE_MAX_AGE": "3600",  # nothing ends by itself here
            "FRESHET_EDGE_TIMEOUT": "0.5",
        }
    )
    with ExitStack() as stack:
        varnish.start()
        stack.callback(varnish.stop)
        for name, command in (("gateway", ["gateway"]), ("purge", ["streams", "purge"])):
            command = [sys.executable, "-m", *command]
            stack.enter_context(running(command, tmp_path / f"{name}.log", environment))
        door = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{gateway}/", timeout=30))
        edge = stack.enter_context(httpx.Client(base_url=varnish.url, timeout=30))
        edged = Edged(system, varnish, door, edge)

        def ready() -> bool:
            try:
                return edged.lane() == {"ok": True} and door.get("readyz").status_code == 200
            except httpx.TransportError:
                return False

        wait(ready, "the lane and the gateway")
        yield edged


def test_no_copy_outlives_a_change(edged: Edged) -> None:
    """A question that comes again is answered by Varnish alone.  An edit, a delete and a revoked access are seen there
    within two seconds, though copies live for an hour; an edge that hangs holds the lane up, which `/readyz` says,
    and forgets what changed when it is back."""
    names = {what: f"{what}{secrets.token_hex(3)}" for what in ("edit", "delete", "access", "hang", "kept")}
    for name in names.values():
        edged.publish(name, f"The {name} is old.")
        edged.promote(name)
    took = {}
    edited, deleted, revoked, hung, kept = names.values()

    edged.publish(edited, f"The {edited} is new.")
    took["edit"] = wait(lambda: "new" in edged.text(edited), "the edit", BOUND)

    token = edged.system.http.delete(f"/v1/documents/edge/{deleted}").json()["token"]
    edged.system.wait(f"edge/{deleted}", token)
    took["delete"] = wait(lambda: not edged.text(deleted), "the delete", BOUND)

    edged.publish(revoked, f"The {revoked} is old.", access=["ann"])
    took["access"] = wait(lambda: not edged.text(revoked), "the revocation", BOUND)

    edged.varnish.send(signal.SIGSTOP)
    edged.publish(hung, f"The {hung} is new.")
    wait(lambda: f"edge {edged.varnish.url} is away" in edged.lane().get("reason", ""), "the lane's pause")
    assert edged.lane()["ok"] and edged.door.get("readyz").status_code == 200
    edged.varnish.send(signal.SIGCONT)
    took["hang"] = wait(lambda: "new" in edged.text(hung), "the edit while the edge hung", 10)
    wait(lambda: edged.lane() == {"ok": True}, "the lane goes on")
    edged.promote(hung)

    edged.promote(kept)
    edged.publish(edited, f"The {edited} is newer.")
    took["again"] = wait(lambda: "newer" in edged.text(edited), "the second edit", BOUND)
    assert edged.get(kept).headers["freshet-edge"] == "hit" and "old" in edged.text(kept), "what did not change stays"
    sys.stderr.write(f"seconds until it was seen at the edge: {took}\n")
