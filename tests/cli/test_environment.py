"""Where commands find their settings."""

import json
from pathlib import Path

import pytest

from cli import environment
from cli.environment import effective_environment
from deploy.local.state import State


@pytest.fixture(autouse=True)
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local stack that was brought up with two secrets, one of them in a file."""
    state = State(tmp_path)
    gateway = {
        "FRESHET_BROKERS": "stack:1",
        "FRESHET_LLM_API_KEY": "a",
        "FRESHET_GATEWAY_API_KEY_FILE": "/b",
        "PATH": "c",
    }
    state.environment_file.write_text(json.dumps({"gateway": gateway}))
    monkeypatch.setattr(environment, "state_folder", lambda: state)


def test_commands_speak_to_the_local_stack() -> None:
    """What the stack was brought up with holds for commands, secrets in files too; nothing else of it does."""
    found = effective_environment()
    assert (found["FRESHET_BROKERS"], found["FRESHET_GATEWAY_API_KEY_FILE"]) == ("stack:1", "/b")
    assert found["PATH"] != "c"


def test_the_own_environment_stands_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file given here stands above a value there, and a value here above a file there: never both."""
    monkeypatch.setenv("FRESHET_LLM_API_KEY_FILE", "/mine")
    monkeypatch.setenv("FRESHET_GATEWAY_API_KEY", "mine")
    found = effective_environment()
    assert "FRESHET_LLM_API_KEY" not in found and "FRESHET_GATEWAY_API_KEY_FILE" not in found
