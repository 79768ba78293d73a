"""Some 300 files that nobody here wrote, of every format that can be had, through `freshet publish`.

They come out of Debian packages (documentation, examples, test data; fetched by apt-get once).  First `--sync --wait`;
then some are edited, some deleted, some added while `--watch --sync` follows; then `--sync --wait` again.  After each
step every file must be accounted for: visible, or refused or skipped with a reason; and nothing else may be visible.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from bench import debian, machine, report
from bench.installation import Installation, installation
from bench.reader_usage import ReaderUsage
from deploy.local.own_stack import process_environment
from deploy.local.programs import ROOT

CACHE = ROOT / ".freshet" / "bench-mixed"
DEADLINE = 200.0  # seconds for one step
EDITS, DELETES, ADDITIONS = 30, 30, 20
REFUSED = ("rejected", "dead-lettered")
_LINE = re.compile(r"(\d+) published, (\d+) unchanged, (\d+) deleted, (\d+) failed")
_REASON = re.compile(r"^  (\d+) (skipped|failed): (.*)$", re.MULTILINE)


@dataclass
class Said:
    """What `freshet publish` said at its end."""

    published: int
    unchanged: int
    deleted: int
    failed: int
    skipped: dict[str, int] = field(default_factory=dict)  # reason -> files
    refused: dict[str, int] = field(default_factory=dict)  # reason -> files that were sent and refused by the lane
    unsent: dict[str, int] = field(default_factory=dict)  # reason -> files that were refused before they were sent

    @property
    def files(self) -> int:
        """Files that it accounts for, in a run that saw each once."""
        return self.published + self.unchanged + sum(self.skipped.values()) + sum(self.unsent.values())


def read_summary(text: str) -> Said:
    """The last summary in what the command printed."""
    *_, line = _LINE.finditer(text)
    published, unchanged, deleted, failed = map(int, line.groups())
    said = Said(published, unchanged, deleted, failed)
    for count, what, reason in _REASON.findall(text[line.end() :]):
        sent = reason.partition(":")[0] in REFUSED
        into = said.skipped if what == "skipped" else said.refused if sent else said.unsent
        into[reason] = into.get(reason, 0) + int(count)
    return said


def run(arguments: Sequence[str]) -> None:
    """Publish, change, check; then write and print."""
    parser = argparse.ArgumentParser(prog="python -m bench mixed", description=__doc__)
    parser.add_argument("--files", type=int, default=300, help="files of the first run (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    draw = random.Random(options.seed)
    chosen = debian.choose(debian.files(CACHE), options.files + ADDITIONS)
    draw.shuffle(chosen)
    work = CACHE / "work"
    shutil.rmtree(work, ignore_errors=True)
    docs = work / "docs"
    docs.mkdir(parents=True)
    first, later = chosen[ADDITIONS:], chosen[:ADDITIONS]
    for file in first:
        file.put(docs)
    with installation() as freshet, ReaderUsage(freshet.stack) as usage:
        trial = _Trial(freshet, docs)
        result = trial.run(later, draw)
    result |= {
        "formats": dict(Counter(Path(file.name).suffix for file in first)),
        "megabytes": round(sum(file.size for file in first) / 1e6, 2),
        "readers": usage.figures(),
        "packages": list(debian.PACKAGES),
        "seed": options.seed,
        "machine": machine.features(),
    }
    report.save("mixed", result)
    report.show("Mixed real files", "s", {k: [v] for k, v in result["seconds"].items()}, _notes(result))


def _notes(result: Mapping[str, Any]) -> dict[str, str]:
    notes = {"files": f"{result['formats']}, {result['megabytes']} MB", "readers": str(result["readers"])}
    return notes | {name: str(step) for name, step in result["steps"].items()}


class _Trial:
    def __init__(self, freshet: Installation, docs: Path) -> None:
        self._freshet, self._docs = freshet, docs
        self._http = httpx.Client(base_url=freshet.stack.door, timeout=30)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        own = {"XDG_STATE_HOME": str(docs.parent / "state"), "COLUMNS": "200", "PYTHONPATH": path}
        self._environment = process_environment({**freshet.stack.environment, **own})

    def run(self, later: Sequence[debian.File], draw: random.Random) -> dict[str, Any]:
        """All steps; ``AssertionError`` where a count does not add up."""
        seconds: dict[str, float] = {}
        steps: dict[str, Any] = {}
        began = time.monotonic()
        said = self._publish("--sync", "--wait")
        seconds["sync"] = round(time.monotonic() - began, 1)
        _equal("files that the first run accounts for", said.files, len(self._on_disk()))
        steps["sync"] = asdict(said) | self._check()

        with self._following() as told:
            self._until(lambda: "following" in told.read_text(), "it does not follow")
            names = sorted(self._visible())
            gone = draw.sample(names, DELETES)
            texts = [n for n in names if n not in gone and n.endswith((".html", ".md", ".txt", ".rst"))]
            versions = {name: self._status(name)["visible_version"] for name in draw.sample(texts, EDITS)}
            began = time.monotonic()
            for name in gone:
                (self._docs / name.removeprefix("docs/")).unlink()
            for name in versions:
                with (self._docs / name.removeprefix("docs/")).open("a") as file:
                    file.write(f"\n<p>Changed while it was followed: {name}.</p>\n")
            for extra in later:
                extra.put(self._docs)
            self._until(self._settled, "the changes do not become visible")
            self._until(
                lambda: all(self._status(n)["visible_version"] > v for n, v in versions.items()),
                "an edit does not become visible",
            )
            seconds["watch"] = round(time.monotonic() - began, 1)
        watched = read_summary(told.read_text())
        _equal("published while it watched", watched.published, EDITS + len(later) - sum(watched.unsent.values()))
        _equal("deleted while it watched", watched.deleted, DELETES)
        steps["watch"] = asdict(watched) | self._check()

        began = time.monotonic()
        again = self._publish("--sync", "--wait")
        seconds["again"] = round(time.monotonic() - began, 1)
        _equal("published again", again.published, 0)
        _equal("deleted again", again.deleted, 0)
        _equal("files that the last run accounts for", again.files, len(self._on_disk()))
        steps["again"] = asdict(again) | self._check()
        return {"seconds": seconds, "steps": steps}

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-u", "-m", "cli", "publish", self._docs.name, *words]

    def _publish(self, *words: str) -> Said:
        done = subprocess.run(
            self._command(*words), cwd=self._docs.parent, env=self._environment, timeout=DEADLINE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        print(done.stdout)
        if done.returncode not in (0, 1):  # 1: some files failed, which it says
            raise RuntimeError(f"freshet publish ended with {done.returncode}")
        return read_summary(done.stdout)

    @contextmanager
    def _following(self) -> Iterator[Path]:
        told = self._docs.parent / "said"
        with told.open("wb") as out:
            process = subprocess.Popen(
                self._command("--watch", "--sync"),
                cwd=self._docs.parent, env=self._environment, stdout=out, stderr=out,
            )  # fmt: skip
        try:
            yield told
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            print(told.read_text())

    def _until(self, holds: Any, what: str) -> None:
        end = time.monotonic() + DEADLINE
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(what)
            time.sleep(0.25)

    def _on_disk(self) -> set[str]:
        return {f"docs/{path.relative_to(self._docs)}" for path in self._docs.rglob("*") if path.is_file()}

    def _visible(self) -> set[str]:
        found: set[str] = set()
        after: str | None = None
        while True:
            query = {"limit": "100"} | ({"after": after} if after else {})
            page = self._http.get("/v1/documents", params=query).raise_for_status().json()
            found |= {document["doc_id"] for document in page["documents"]}
            after = page.get("next")
            if not after:
                return found

    def _status(self, name: str) -> dict[str, Any]:
        answer = self._http.get(f"/v1/documents/{quote(name, safe='')}")
        return {"status": "unknown", "visible_version": None} if answer.status_code == 404 else answer.json()

    def _settled(self) -> bool:
        visible, disk = self._visible(), self._on_disk()
        return visible <= disk and all(self._status(name)["status"] in REFUSED for name in disk - visible)

    def _check(self) -> dict[str, Any]:
        """Every file is visible, or was refused with a reason, or is too large to send; nothing else is visible."""
        visible, disk = self._visible(), self._on_disk()
        _equal("visible without a file", sorted(visible - disk), [])
        refused: Counter[str] = Counter()
        for name in sorted(disk - visible):
            status = self._status(name)
            limit = self._freshet.settings.documents.max_document_bytes
            size = (self._docs.parent / name).stat().st_size
            if status["status"] in REFUSED and status["reason"]:
                refused[f"{Path(name).suffix}: {status['reason']}"] += 1
            elif status["status"] == "unknown" and (size > limit or size == 0):
                refused["too large to send" if size else "empty, not sent"] += 1
            else:
                raise AssertionError(f"{name} is neither visible nor refused: {status}")
        return {"files": len(disk), "visible": len(visible), "not visible": dict(refused)}


def _equal(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"{what}: {found}, not {expected}")
