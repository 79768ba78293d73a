"""`freshet eval`: what it says and how it ends."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.__main__ import app
from cli.evaluation.report import write_report
from tests.cli.evaluation.test_report import report_of


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["eval", *words], env={"COLUMNS": "200"})


def test_two_reports_side_by_side(tmp_path: Path) -> None:
    """`--compare` needs no gateway, and tells how many questions both reports asked."""
    write_report(report_of(False, False, True), tmp_path / "a.json")
    write_report(report_of(True, True, True), tmp_path / "b.json")
    done = run("--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert done.exit_code == 0, done.output
    assert "b.json - a.json: 3 of 3 questions are in both" in done.output and "+0.667" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bad.jsonl"], "line 2"),
        (["good.jsonl", "--modes", "vectors"], "no mode 'vectors'; there are: keyword, vector"),
        (["good.jsonl", "--fail-below", "mrr=1"], "no metric 'mrr'; there are: recall@1"),
        ([], "name a file of questions, or two reports"),
        (["--compare", "good.jsonl", "good.jsonl"], "must be a file that `freshet eval --json` wrote"),
        (["good.jsonl", "--modes", "vector"], "is the stack up?"),
    ],
)
def test_it_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    """A sentence and exit code 2, before anything is measured; a gateway that is away is no measurement of 0."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRESHET_GATEWAY_PORT", "9")  # discard: nobody listens
    line = json.dumps({"question": "q?", "relevant": ["a"]})
    Path("good.jsonl").write_text(line)
    Path("bad.jsonl").write_text(f"{line}\n{{}}\n")
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())
