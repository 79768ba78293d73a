"""The folder of a run: history, verdict, a picture, and what programs wrote and counted meanwhile."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.checkers import CHECKERS
from chaos.history import History, Violation
from chaos.timeline import draw
from chaos.verdict import Verdict, percentiles
from deploy.local.own_stack import OwnStack, process_environment
from deploy.local.programs import ROOT

SHOWN = 10  # violations of a run that are told one by one
AUDIT_SECONDS = 300
LOG_BYTES = 20 * 1024 * 1024  # of one program's log, its end


@dataclass
class Folder:
    """Where a run's report goes; made before the run, so that it knows what was there."""

    path: Path
    stack: OwnStack
    metrics: Mapping[str, str]  # at the begin, by program
    _sizes: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sizes = {log: log.stat().st_size for log in self._logs()}

    def save(self, history: History, verdict: Verdict, metrics: Mapping[str, str]) -> None:
        """All of it."""
        history.save(self.path)
        (self.path / "verdict.json").write_text(json.dumps(asdict(verdict), indent=1))
        for name, texts in (("begin", self.metrics), ("end", metrics)):
            for program, text in texts.items():
                _put(self.path / f"metrics-{name}" / f"{program}.txt", text.encode())
        for log in self._logs():
            with log.open("rb") as file:
                size = log.stat().st_size
                since = self._sizes.get(log, 0)
                file.seek(max(since if since <= size else 0, size - LOG_BYTES))  # a smaller one was begun anew
                _put(self.path / "logs" / log.name, file.read())
        draw(history, self.path / "timeline.png")

    def _logs(self) -> list[Path]:
        return sorted((self.stack.state.folder / "logs").glob("*.log"))


def audit(stack: OwnStack, out: Path) -> list[Violation]:
    """`freshet audit`: what nobody asked for must be right too."""
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cli", "audit", "--json", str(out / "audit.json")]
    environment = process_environment(stack.environment)
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=AUDIT_SECONDS, capture_output=True, text=True)
    (out / "audit.txt").write_text(done.stdout + done.stderr)
    return [Violation("drift", "audit", done.stdout[-500:], 0.0)] if done.returncode else []


def tell(verdict: Verdict, console: Console) -> None:
    """One line of a run, and what was broken."""
    counts = verdict.counts
    well = "[green]no violations[/green]" if verdict.clean else f"[red]{verdict.kinds.total()} violations[/red]"
    console.print(
        f"seed {verdict.seed}: {counts['changes']} changes, {counts['questions']} questions, {counts['jobs']} jobs, "
        f"{counts['webhooks told']} webhooks; {', '.join(verdict.faults) or 'no faults'}: {well}"
    )
    broken = [(name, each) for name, found in verdict.violations.items() for each in found]
    for name, each in broken[:SHOWN]:
        console.print(f"  [red]{name}: {each.kind}[/red] {each.subject}: {each.detail}", soft_wrap=True)
    if len(broken) > SHOWN:
        console.print(f"  and {len(broken) - SHOWN} more")


def totals(verdict: Verdict, runs: int, console: Console) -> None:
    """Over all seeds."""
    table = Table("what", "count", title=f"{runs} runs")
    for name, count in verdict.counts.items():
        table.add_row(name, f"{count:,}")
    for name in (*CHECKERS, "besides"):
        count = len(verdict.violations.get(name, ()))
        table.add_row(f"violations: {name}", f"[{'red' if count else 'green'}]{count}[/]")
    console.print(table)
    times = Table("fault", "times", "recovery p50", "p95", title="seconds from the end of a fault to normal")
    for fault in sorted(set(verdict.faults)):
        seconds = verdict.recovery.get(fault, ())
        p50, p95 = (f"{each:.1f}" for each in percentiles(seconds)) if seconds else ("-", "-")
        times.add_row(fault, str(verdict.faults.count(fault)), p50, p95)
    console.print(times)
    _list(verdict.missing, "left out", console)


def _list(lines: Sequence[str], title: str, console: Console) -> None:
    for line in lines:
        console.print(f"  {title}: {line}", soft_wrap=True)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
