"""The public interface for caches of others, through the example in the documentation."""

import json
import secrets
import subprocess
import sys

import pytest

from deploy.local.programs import ROOT
from tests.e2e.conftest import System
from topics import registry

pytestmark = pytest.mark.servers


def test_the_documented_consumer_sees_every_change(system: System) -> None:
    """`docs/examples/invalidate.py` tells a new version and a delete, newest last, and nothing older after it."""
    name = secrets.token_hex(4)
    doc_id, address = f"{name}/a b#1.md", f"{name}/a%20b%231.md"
    first = system.put(address, "The heron stands in the reeds.")
    second = system.put(address, "The heron stands in the shallows.")
    token = system.http.delete(f"/v1/documents/{address}").json()["token"]
    gone = system.wait(address, token)
    topic = registry.INDEX_EVENTS.full_name(system.settings.kafka.prefix, system.settings.documents.generation)
    command = [sys.executable, str(ROOT / "docs" / "examples" / "invalidate.py")]
    command += ["--brokers", system.settings.kafka.brokers, "--topic", topic, "--group", name, "--to-end"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    mine = [(line["state"], line["version"]) for line in lines if line["document"] == f"default/{doc_id}"]
    assert mine[-1] == ("deleted", gone["version"])
    assert [version for _, version in mine] == sorted({version for _, version in mine})
    assert {version for _, version in mine} <= {first["version"], second["version"], gone["version"]}
