"""`freshet webhooks`, against a gateway in memory."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from cli.__main__ import app
from connectors.memory.manifests import MemoryManifests
from connectors.memory.webhooks import MemoryWebhooks
from gateway.app import create_app
from gateway.memory_log import MemoryLog
from tests.gateway.builders import door_settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A gateway on loopback, and the command's settings that lead to it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gateway = create_app(door_settings(), MemoryManifests(), MemoryLog(), webhooks=MemoryWebhooks())
    server = uvicorn.Server(uvicorn.Config(gateway, port=port, log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    monkeypatch.setenv("FRESHET_GATEWAY_PORT", str(port))
    monkeypatch.setenv("FRESHET_GATEWAY_HOST", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "300")
    for _ in range(200):
        if server.started:
            break
        thread.join(0.05)
    assert server.started
    yield
    server.should_exit = True
    thread.join(10)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["webhooks", *words])


def test_a_webhook_from_its_making_to_its_end(served: None) -> None:
    """The secret is printed alone and once; everything that can be done is done, and told."""
    made = run("add", "https://hooks.example/freshet", "--event", "answer", "--description", "ours")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/=]{44}", secret)
    [webhook] = re.findall(r"we_[0-9a-f]{24}", made.stderr)
    listed = run("list").stdout
    assert webhook in listed and "ours" in listed and "answer" in listed and secret not in listed
    rotated = run("rotate", webhook)
    assert rotated.exit_code == 0 and rotated.stdout.strip().startswith("whsec_") and rotated.stdout.strip() != secret
    pinged = run("ping", webhook)
    assert pinged.exit_code == 0, pinged.output
    delivery = pinged.stdout.strip()
    shown = run("deliveries", webhook, "--state", "waiting").stdout
    assert delivery in shown and "ping" in shown
    assert run("redeliver", webhook, delivery).exit_code == 0
    assert run("disable", webhook).exit_code == 0 and "disabled: on request" in run("list").stdout
    assert run("enable", webhook).exit_code == 0 and "enabled" in run("list").stdout
    assert run("remove", webhook).exit_code == 0
    assert webhook not in run("list").stdout


def test_what_is_refused_is_told(served: None) -> None:
    """An address inside, an event that is none, a webhook that is not there: exit code 1 and the reason."""
    for words, says in (
        (("add", "https://127.0.0.1/"), "loopback"),
        (("add", "https://hooks.example/", "--event", "documents"), "documents"),
        (("remove", "we_none"), "no such webhook"),
        (("deliveries", "we_none"), "no such webhook"),
    ):
        found = run(*words)
        assert found.exit_code == 1 and says in found.output, (words, found.output)
