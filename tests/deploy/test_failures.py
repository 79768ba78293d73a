"""One clear sentence for each kind of failure, and progress that shows them."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.local.failures import StepFailed, explain
from deploy.local.progress import Progress


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("write /x/y: no space left on device", "disk is full"),
        ("error: Failed to write: No space left on device (os error 28)", "disk is full"),
        ("dial tcp: lookup proxy: no such host", "could not be reached"),
        ("error: error sending request for url: dns error: Name or service not known", "could not be reached"),
        ("Could not transfer artifact: Connection refused", "could not be reached"),
        ("HTTP status client error (403 Forbidden) for url", "refused"),
        ("tls: failed to verify certificate: x509: unknown authority", "certificate"),
        ("Hash mismatch for `six==1.16.0`", "not what was locked"),
        ("No solution found when resolving dependencies", "does not have it"),
        ("something new", "failed (something new)"),
    ],
)
def test_each_failure_has_its_sentence(output: str, says: str) -> None:
    """What the program printed decides the sentence, which names the part."""
    sentence = explain("kafka", output)
    assert sentence.startswith("kafka: ")
    assert says in sentence


def run(progress: Progress, code: str) -> str:
    """Run some Python as the part `tiny`."""
    return progress.run("tiny", [sys.executable, "-c", code], environment=os.environ)


def test_a_failed_program_is_explained() -> None:
    """The exception carries the sentence, and the output for whoever wants more."""
    with pytest.raises(StepFailed, match="disk is full") as caught:
        run(Progress(lambda _: None), "print('No space left on device'); raise SystemExit(1)")
    assert "No space left" in caught.value.output


def test_a_program_that_is_missing_is_explained(tmp_path: Path) -> None:
    """A tool that vanished between look and use is a sentence too."""
    with pytest.raises(StepFailed, match="could not be started"):
        Progress(lambda _: None).run("tiny", [tmp_path / "gone"], environment=os.environ)


def test_stop_ends_children_at_once() -> None:
    """After Ctrl-C no compiler stays behind, and no new one is started."""
    progress = Progress(lambda _: None)
    threading.Timer(0.3, progress.stop).start()
    began = time.monotonic()
    with pytest.raises(StepFailed, match="stopped"):
        run(progress, "import time; time.sleep(30)")
    assert time.monotonic() - began < 5
    with pytest.raises(StepFailed, match="stopped"):
        run(progress, "pass")


def test_a_silent_part_is_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that prints nothing for long is shown with what it does; a finished one is not."""
    monkeypatch.setattr("deploy.local.progress._SILENCE_S", 0.0)
    lines: list[str] = []
    progress = Progress(lines.append)
    with progress.following("weaviate", "started"):
        progress.note("weaviate", "compiling, about 40 %")
        progress.tick()
    progress.tick()
    assert [line.split("weaviate", 1)[1].strip() for line in lines] == [
        "started",
        "compiling, about 40 %",
        "ready after 0 s",
    ]


def test_a_part_that_fails_is_not_called_ready() -> None:
    """The closing line appears only after success."""
    lines: list[str] = []
    with pytest.raises(StepFailed), Progress(lines.append).following("kafka", "started"):
        raise StepFailed("no")
    assert not any("ready" in line for line in lines)
