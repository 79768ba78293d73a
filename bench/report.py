"""Results: a JSON file to compare, a table to read, a plot of how the figures scatter."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"


def save(name: str, result: Mapping[str, Any]) -> Path:
    """Write `bench/results/<name>.json`, replacing the last run's."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    return path


def show(title: str, unit: str, measured: Mapping[str, Sequence[float]], notes: Mapping[str, str]) -> None:
    """Print each measure's median, least and most, then the notes."""
    table = Table("measure", f"median {unit}", "least", "most", "rounds", title=title)
    for name, values in measured.items():
        table.add_row(name, f"{median(values):.1f}", f"{min(values):.1f}", f"{max(values):.1f}", str(len(values)))
    console = Console()
    console.print(table)
    for name, text in notes.items():
        console.print(f"{name}: {text}")


def plot(name: str, title: str, unit: str, measured: Mapping[str, Sequence[float]]) -> Path:
    """Draw every value, with the median as a bar, to `bench/results/<name>.png`."""
    import matplotlib

    matplotlib.use("Agg")  # no display needed
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.7 * len(measured)), layout="constrained")
    labels = list(measured)
    axes.barh(labels, [median(measured[label]) for label in labels], color="#c6d8e8", height=0.6)
    for row, label in enumerate(labels):
        axes.plot(measured[label], [row] * len(measured[label]), "o", color="#1f4e79", markersize=5, alpha=0.7)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=f"{unit} (bar: median, dots: rounds)", xlim=(0, None))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
