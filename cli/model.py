"""`freshet model`: prepare the encoder."""

import typer
from rich.console import Console
from rich.table import Table

from cli.environment import read_settings

app = typer.Typer(help="The encoder: export it, measure it, choose a backend.", no_args_is_help=True)
console = Console(highlight=False)


@app.callback()
def _model() -> None:
    """The encoder."""


@app.command()
def prepare() -> None:
    """Export the model for this machine, measure each backend, choose the fastest that is exact enough."""
    from connectors.encoders.select import prepare as prepare_encoder

    report = prepare_encoder(read_settings().encoder)
    table = Table("backend", "chunks/s", "least cosine to fp32")
    for name, figures in report.get("backends", {}).items():  # a torch backend needs no export, so nothing was measured
        table.add_row(name, f"{figures['chunks_per_s']:.1f}", f"{figures['min_cosine']:.5f}")
    console.print(table)
    console.print(f"chosen: [bold]{report['chosen']}[/bold]")
