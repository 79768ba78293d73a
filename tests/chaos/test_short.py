"""The short form of `python -m chaos campaign`, on a whole system: `make chaos-short` with a seed that stays."""

import json
import os
from pathlib import Path

import pytest

from chaos.campaign import run
from chaos.history import History
from deploy.local.varnish import varnishd
from tests.e2e.conftest import E2E_PORT_BASE

pytestmark = pytest.mark.servers
BEHIND_E2E = 400  # ports


def test_nothing_is_broken_by_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic of every kind, a worker killed under it, and a verdict without violations; the report is whole."""
    base = int(os.environ.get("FRESHET_E2E_PORT_BASE", E2E_PORT_BASE)) + BEHIND_E2E
    monkeypatch.setenv("FRESHET_PORT_BASE", str(base))
    told = run(["--seed", "1", "--seeds", "1", "--seconds", "20", "--faults", "kill-9:index", "--out", str(tmp_path)])
    folder = tmp_path / "seed-1"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert told == 0, verdict["violations"]
    history = History.load(folder)
    assert [window.fault for window in history.windows] == ["kill-9:index"]
    assert {write.door for write in history.writes} == {"http", "kafka", "rows"}
    assert (varnishd() is None) is not any(read.copied for read in history.reads)
    assert (folder / "timeline.png").stat().st_size > 10_000
    assert (folder / "logs" / "index.log").exists() and (folder / "metrics-end" / "embed.txt").exists()
