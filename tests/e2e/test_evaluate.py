"""`freshet eval` on the real system."""

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.own_stack import process_environment
from tests.e2e.conftest import System

pytestmark = pytest.mark.servers


def test_quality_is_measured(system: System, tmp_path: Path) -> None:
    """Questions find their documents and are answered with citations of them; a bound that is missed ends with 1."""
    names = {"Tansy": "the tower", "Sorrel": "the mill", "Yarrow": "the quay"}
    run, lines = secrets.token_hex(3), []
    for name, place in names.items():
        doc_id = f"quality/{run}/{name}"
        system.put(doc_id, f"{name} Pell of {run} keeps her boat behind {place}, and paints it every spring.")
        question = {"question": f"Where does {name} Pell of {run} keep her boat?", "relevant": [doc_id]}
        lines.append(json.dumps(question | {"answer": f"behind {place}"}))
    file, report = tmp_path / "questions.jsonl", tmp_path / "report.json"
    file.write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "cli", "eval", str(file), "--modes", "default", "--json", str(report),
         "--fail-below", "recall@5=0.9", "--fail-below", "exact=0.9"],
        env=process_environment({**system.stack.environment, "COLUMNS": "200"}), text=True, timeout=60, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 1 and "default: exact is 0.0000, below 0.9" in done.stdout, done.stdout
    figures = json.loads(report.read_text())["modes"]["default"]
    scores = {name: score["mean"] for name, score in figures["scores"].items()}
    assert scores["recall@5"] == scores["cites"] == 1 and scores["citations"] > 0.3 and scores["f1"] > 0.1
    assert not figures["failed"] and figures["timings"]["search"][0] > 0
