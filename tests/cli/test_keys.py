"""`freshet keys`."""

import json
import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.__main__ import app
from gateway.keys import KeyRing


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the keys, named to the command."""
    found = tmp_path / "keys.jsonl"
    monkeypatch.setenv("FRESHET_API_KEYS_FILE", str(found))
    monkeypatch.setenv("FRESHET_TENANTS", "default,acme")
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["keys", *words])


def test_a_key_from_its_making_to_its_end(path: Path) -> None:
    """The key is printed alone and once, works, is listed without itself, and is gone after it was revoked."""
    made = run("create", "--id", "ann", "--tenant", "acme", "--principal", "ann", "--scope", "write", "--scope", "read",
               "--expires", "90d", "--note", "laptop")  # fmt: skip
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    assert re.fullmatch(r"freshet_ann_[0-9a-f]{64}", key)
    assert key not in made.stderr and "shown this once" in made.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = json.loads(path.read_text())
    assert (line["tenant"], line["principals"], line["scopes"]) == ("acme", ["ann"], ["read", "write"])
    assert key not in path.read_text() and key.rpartition("_")[2] not in path.read_text()
    ring = KeyRing(path, frozenset({"default", "acme"}))
    found = ring.find(key)
    assert found is not None and found.expires is not None and (found.expires - found.created).days == 90

    listed = run("list").stdout
    assert "ann" in listed and key.rpartition("_")[2] not in listed
    path.chmod(0o640)
    assert run("revoke", "ann").exit_code == 0
    assert path.read_text() == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert KeyRing(path, frozenset({"default"})).find(key) is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "--tenant", "nobody"), "not in FRESHET_TENANTS"),
        (("create", "--scope", "all"), "there are read, write, admin"),
        (("create", "--expires", "soon"), "is no time"),
        (("create", "--expires", "2020-01-01"), "is over"),
        (("create", "--id", "A_b"), "an id has"),
        (("revoke", "nobody"), "no key nobody"),
    ],
)
def test_mistakes_change_nothing(path: Path, words: tuple[str, ...], says: str) -> None:
    """What cannot be done is said, with exit code 2, and the file stays as it is."""
    assert run("create", "--id", "first").exit_code == 0
    before = path.read_bytes()
    done = run(*words)
    assert done.exit_code == 2
    assert says in done.output
    assert path.read_bytes() == before


def test_an_id_is_given_once(path: Path) -> None:
    """A key is not replaced by accident."""
    assert run("create", "--id", "ann").exit_code == 0
    assert "already" in run("create", "--id", "ann").output


def test_the_file_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the command says which setting is missing."""
    monkeypatch.delenv("FRESHET_API_KEYS_FILE", raising=False)
    assert "FRESHET_API_KEYS_FILE" in run("list").output
