"""The picture of a run: faults above, and below what they did to questions, to freshness and to the lag.

One axis of seconds for all.  A fault is a bar for as long as it was held; behind it, paler and through all that is
below, the time until all was normal again.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.checkers.bounds import Bounds
from chaos.checkers.calm import recoveries, released_at
from chaos.history import History, Probe, Window

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, DPI = (16.0, 10.0), 100
HEIGHTS = [2.2, 3, 2.4, 2.4]
MARGINS = {"left": 0.07, "right": 0.85, "top": 0.94, "bottom": 0.06, "hspace": 0.12}  # legends stand at the right
FAULT, FELT, WELL, FAILED, DEGRADED, INK = "#8c2d04", "#fdd0a2", "#1f4e79", "#cb181d", "#e6870b", "#333333"
LANES = ("#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d", "#17becf", "#666666", "#fb8072")
SPARSE = 300.0  # seconds of a run whose marks and lines have room; those of a longer one are smaller
ROWS = 6  # of bars: more faults at a time share a row


def draw(history: History, path: Path) -> None:
    """Write it as a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # no display needed
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(4, 1, figsize=SIZE, sharex=True, gridspec_kw={"height_ratios": HEIGHTS, **MARGINS})
    faults, questions, freshness, lag = panels
    _faults(faults, history)
    _questions(questions, history)
    _freshness(freshness, history)
    _lag(lag, history)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
        _shade(axes, history)
    lag.set_xlim(0, max(1.0, history.ended - history.began))
    lag.set_xlabel("seconds from the begin of the run", fontsize=12)
    figure.suptitle(_title(history), fontsize=14, x=0.01, ha="left")
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)


def _title(history: History) -> str:
    jobs, letters = len(history.jobs), len(history.letters)
    questions = len({(read.began, read.ended) for read in history.reads}) + len(history.probes)
    return (
        f"Seed {history.seed}: {len(history.windows)} faults among {len(history.writes):,} changes of documents, "
        f"{questions:,} questions and {jobs:,} jobs; {letters} dead letters"
    )


def _felt(history: History) -> list[tuple[Window, float | None, str]]:
    """Faults, when all was normal again where that was seen, and how that is told."""
    found: list[tuple[Window, float | None, str]] = [(w, None, "never healed") for w in history.windows if not w.healed]
    for each in recoveries(history, Bounds()):
        if each.seconds is not None:
            found.append((each.window, released_at(each.window) + each.seconds, f"back in {each.seconds:.1f} s"))
        else:
            found.append((each.window, None, "another began first" if each.disturbed else "not back"))
    return sorted(found, key=lambda one: one[0].began)


def _size(history: History, points: float) -> float:
    """Of a mark or a line, in so many points or less."""
    return max(1.0, points * min(1.0, math.sqrt(SPARSE / max(1.0, history.ended - history.began))))


def _shade(axes: "Axes", history: History) -> None:
    for window, normal, _ in _felt(history):
        held = released_at(window)
        until = max(normal or held, window.healed or history.ended) if window.healed else history.ended
        axes.axvspan(window.began - history.began, until - history.began, color=FELT, alpha=0.3, linewidth=0, zorder=0)


def _faults(axes: "Axes", history: History) -> None:
    """A bar for each, its name beside it, in the first row that has room for both."""
    length = max(1.0, history.ended - history.began)
    ends = [0.0] * ROWS
    for window, normal, told in _felt(history):
        began, over = window.began - history.began, min(released_at(window), history.ended) - history.began
        label = f"{window.fault}  ({told})"
        until = max(over, (normal or 0.0) - history.began)
        width = len(label) * length / 160  # of the text, as wide as letters of this size are on the whole axis
        left = until + width > length
        row = next((row for row, end in enumerate(ends) if end <= (began - width if left else began)), ROWS - 1)
        ends[row] = until + (0.0 if left else width) + length / 100
        axes.barh(row, max(over - began, length / 300), left=began, height=0.62, color=FAULT, zorder=3)
        if normal is not None:
            axes.barh(row, normal - history.began - over, left=over, height=0.3, color=FAULT, alpha=0.35, zorder=2)
        place = began - length / 200 if left else until + length / 200
        color = FAILED if window.error or window.healed is None else INK
        axes.text(place, row, label, va="center", ha="right" if left else "left", fontsize=10, color=color, zorder=4)
    used = max([2, *(row + 1 for row, end in enumerate(ends) if end)])
    axes.set(yticks=[], ylim=(used - 0.4, -0.6), ylabel="faults")
    axes.barh(-2, 0, color=FAULT, height=0.62, label="held")
    axes.barh(-2, 0, color=FAULT, height=0.3, alpha=0.35, label="over, and still felt")
    _legend(axes)
    axes.spines["left"].set_visible(False)
    if not history.windows:
        axes.text(0.5, 0.5, "no faults", transform=axes.transAxes, ha="center", color=INK, fontsize=12)


def _questions(axes: "Axes", history: History) -> None:
    """Probes and, fainter, everyone's questions; what failed lies on the upper edge."""
    probes, reads = history.probes, history.reads
    others = [r for r in reads if r.result == "ok" and r.ended is not None]
    axes.plot(
        [r.began - history.began for r in others], [max(1.0, ((r.ended or 0) - r.began) * 1000) for r in others],
        ".", color=WELL, alpha=0.18, markersize=_size(history, 4), label="readers",
    )  # fmt: skip
    good = [p for p in probes if p.took is not None and not p.degraded]
    poor = [p for p in probes if p.took is not None and p.degraded]
    _dots(axes, history, good, "o", WELL, "probe, answered")
    _dots(axes, history, poor, "D", DEGRADED, "probe, degraded")
    axes.set_yscale("log")
    axes.set_ylim(bottom=3)
    top = max(10_000.0, axes.get_ylim()[1])
    axes.set_ylim(3, top * 1.6)
    failed = [p.at for p in probes if p.took is None]
    failed_reads = [r.began for r in reads if r.result != "ok"]
    _crosses(axes, history, failed_reads, top, "reader, failed", size=5, alpha=0.5)
    _crosses(axes, history, failed, top, "probe, failed", size=8, alpha=1.0)
    axes.set_yticks([10, 100, 1000, 10_000], ["10 ms", "100 ms", "1 s", "10 s"])
    axes.set_ylabel("question answered after")
    _legend(axes)


def _dots(axes: "Axes", history: History, probes: Sequence[Probe], marker: str, color: str, label: str) -> None:
    at = [p.at - history.began for p in probes]
    axes.plot(
        at,
        [max(1.0, (p.took or 0) * 1000) for p in probes],
        marker,
        color=color,
        markersize=_size(history, 4.5),
        label=label,
    )


def _crosses(axes: "Axes", history: History, moments: Sequence[float], top: float, label: str, **how: float) -> None:
    at = [moment - history.began for moment in moments]
    size, alpha = how["size"], how["alpha"]
    axes.plot(at, [top] * len(at), "x", color=FAILED, markersize=size, alpha=alpha, mew=1.8, label=label, clip_on=False)


def _freshness(axes: "Axes", history: History) -> None:
    """Seconds from publishing to answerable; what was not seen lies on the upper edge."""
    at = [probe.at - history.began for probe in history.probes]
    fresh = [math.nan if probe.fresh is None else probe.fresh for probe in history.probes]  # a gap in the line
    axes.plot(at, fresh, "-o", color=WELL, linewidth=0.8, markersize=_size(history, 3.5))
    top = max([1.0, *(probe.fresh for probe in history.probes if probe.fresh is not None)]) * 1.15
    missing = [p.at for p in history.probes if p.fresh is None]
    _crosses(axes, history, missing, top, "not seen in its time", size=8, alpha=1.0)
    axes.set(ylim=(0, top * 1.08), ylabel="change answerable\nafter, s")
    if missing:
        _legend(axes)


def _lag(axes: "Axes", history: History) -> None:
    """Records behind, by lane; those that never were are left out."""
    asked = [sample for sample in history.samples if sample.lag]
    most = {lane: max(s.lag.get(lane, 0) for s in asked) for lane in sorted({lane for s in asked for lane in s.lag})}
    for place, lane in enumerate(lane for lane, records in most.items() if records):
        points = [(s.at - history.began, s.lag.get(lane, 0)) for s in asked]
        color = LANES[place % len(LANES)]
        axes.plot(
            [at for at, _ in points], [lag for _, lag in points], color=color, linewidth=_size(history, 1.6), label=lane
        )
    axes.set(ylim=(0, None), ylabel="records behind")
    _legend(axes)


def _legend(axes: "Axes") -> None:
    handles: Any = axes.get_legend_handles_labels()
    if handles[0]:
        axes.legend(*handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=10)
