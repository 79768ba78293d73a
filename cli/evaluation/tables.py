"""Reports as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cli.evaluation.intervals import Interval
from cli.evaluation.report import Difference, Report
from cli.evaluation.scores import METRICS

NAMED = 10  # failures of a mode that are named; the report has all
SHOWN = {("hybrid", "keyword"), ("hybrid", "vector"), ("reranked", "hybrid")}  # of the differences between modes


def show_report(report: Report, console: Console) -> None:
    """Figures by mode, what the combination gains over its parts, time by step, and every failure's reason."""
    metrics = [m for m in METRICS if any(m in figures.scores for figures in report.modes.values())]
    table = Table("mode", *metrics, title=f"{len(report.questions)} questions")
    for mode, figures in report.modes.items():
        table.add_row(mode, *(f"{figures.scores[m].mean:.3f}" if m in figures.scores else "" for m in metrics))
    console.print(table)
    several = len(report.modes) > 1
    shown = [d for d in report.differences if (d.mode, d.base) in SHOWN]
    if several and (listed := shown or report.differences):
        show_differences(listed, "difference, with 95% bootstrap interval", console)
    steps = list(dict.fromkeys(step for figures in report.modes.values() for step in figures.timings))
    times = Table("mode", *steps, title="milliseconds: median / 95th percentile")
    for mode, figures in report.modes.items():
        times.add_row(mode, *("{:.1f} / {:.1f}".format(*figures.timings.get(step, (0.0, 0.0))) for step in steps))
    console.print(times)
    for mode, figures in report.modes.items():
        if figures.degraded:
            console.print(f"{mode}: degraded answers: {figures.degraded}", style="yellow", markup=False)
        for id_, reason in list(figures.failed.items())[:NAMED]:
            console.print(f"{mode}: {id_} failed: {reason}", style="red", markup=False)
        if len(figures.failed) > NAMED:
            console.print(f"{mode}: {len(figures.failed) - NAMED} more failed", style="red", markup=False)


def show_differences(differences: Sequence[Difference], title: str, console: Console) -> None:
    """A row for each pair of modes, a column for each metric; green where the interval is above 0, red below."""
    metrics = [m for m in METRICS if any(d.metric == m for d in differences)]
    table = Table("", *metrics, title=title)
    rows: dict[str, dict[str, str]] = {}
    for found in differences:
        name = found.mode if found.mode == found.base else f"{found.mode} - {found.base}"
        rows.setdefault(name, {})[found.metric] = _cell(found.interval)
    for name, cells in rows.items():
        table.add_row(name, *(cells.get(metric, "") for metric in metrics))
    console.print(table)


def _cell(found: Interval) -> str:
    style = "green" if found.low > 0 else "red" if found.high < 0 else "dim"
    return f"{found.mean:+.3f}\n[{style}]({found.low:+.3f} {found.high:+.3f})[/{style}]"
