"""`freshet chaos`: what it refuses to begin, and what it says then."""

import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import uvicorn
from typer.testing import CliRunner

from cli.__main__ import app
from connectors.memory.jobs import MemoryJobs
from connectors.memory.manifests import MemoryManifests
from gateway.app import create_app
from gateway.keys import Key, Scope, digest, mint, write_keys
from gateway.memory_log import MemoryLog
from tests.gateway.builders import door_settings

DEADLINE = 10.0  # seconds


def chaos(*words: str, code: int, **environment: str) -> str:
    """Run it with these settings and none of the user's; what it says."""
    outside: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FRESHET_")}
    own = {**outside, **environment, "COLUMNS": "200"}
    result = CliRunner().invoke(app, ["chaos", *words], env=own)
    assert result.exit_code == code, result.output
    return result.output


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A gateway on the in-memory log that asks for keys, and keys by what they may."""
    keys = {"reader": mint("reader"), "writer": mint("writer"), "both": mint("both")}
    scopes: dict[str, list[Scope]] = {"reader": ["read"], "writer": ["write"], "both": ["read", "write"]}
    entries = [
        Key(id=name, sha256=digest(key), scopes=scopes[name], created=datetime.now(UTC)) for name, key in keys.items()
    ]
    file = tmp_path_factory.mktemp("keys") / "keys.jsonl"
    file.write_bytes(write_keys(entries))
    door = create_app(door_settings(API_KEYS_FILE=str(file)), MemoryManifests(), MemoryLog(), jobs=MemoryJobs())
    server = uvicorn.Server(uvicorn.Config(door, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + DEADLINE
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", keys
    server.should_exit = True
    thread.join(DEADLINE)


def test_it_does_nothing_unasked() -> None:
    """Without --yes it says what it would do, to a door that is not even there, and ends with 2."""
    said = chaos("--target", f"http://127.0.0.1:{free_port()}", code=2)
    assert "hang-up:streams" in said and "delete every document that it made" in said
    assert "Nothing was done" in said and "nobody answers" not in said


def test_a_door_that_is_not_there() -> None:
    """One sentence, and 2."""
    url = f"http://127.0.0.1:{free_port()}"
    assert f"{url}: nobody answers there" in chaos("--target", url, "--yes", code=2)


def test_a_kafka_that_is_not_there() -> None:
    """Said before anything is asked of the door."""
    broker = f"127.0.0.1:{free_port()}"
    said = chaos("--target", f"http://127.0.0.1:{free_port()}", "--yes", code=2, FRESHET_BROKERS=broker)
    assert broker in said.split("pays for them there.")[1] and "nobody answers" not in said


def test_a_door_that_is_somebody_elses() -> None:
    """What is no gateway of Freshet gets no documents."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = chaos("--target", f"http://127.0.0.1:{server.server_port}", "--yes", code=2)
    server.shutdown()
    server.server_close()
    assert "which is no gateway of Freshet" in said


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ({}, "401: show an API key"),
        ({"FRESHET_GATEWAY_API_KEY": "fr_nobody_0"}, "401: this API key is unknown, revoked or expired"),
        (
            {"FRESHET_GATEWAY_API_KEY": "writer"},
            "403: this needs the scope read; the key writer has write; this is about",
        ),
        (
            {"FRESHET_GATEWAY_API_KEY": "reader"},
            "403: this needs the scope write; the key reader has read; this is about",
        ),
    ],
    ids=["no key", "wrong key", "may not read", "may not write"],
)
def test_who_is_not_let_in_is_told(keyed: tuple[str, dict[str, str]], shown: dict[str, str], says: str) -> None:
    """Which status, what the door said, and what the key needs; never the key."""
    url, keys = keyed
    own = {name: keys.get(value, value) for name, value in shown.items()}
    said = chaos("--target", url, "--yes", code=2, **own)
    assert says in said
    assert all(value not in said for value in own.values())
    assert "remov" not in said, "nothing came to be"


def test_askers_are_checked_first(keyed: tuple[str, dict[str, str]]) -> None:
    """A variable that holds no key, an asker without a principal, askers without a key of who publishes."""
    url, keys = keyed
    own = {"FRESHET_GATEWAY_API_KEY": keys["both"], "STAFF_KEY": keys["reader"]}
    assert "STAFF holds no key" in chaos("--target", url, "--yes", "--asker", "staff=STAFF", code=2, **own)
    assert "say a principal" in chaos("--target", url, "--yes", "--asker", "STAFF_KEY", code=2, **own)
    alone = {"STAFF_KEY": keys["reader"]}
    said = chaos("--target", url, "--yes", "--asker", "staff=STAFF_KEY", code=2, **alone)
    assert "FRESHET_GATEWAY_API_KEY" in said
