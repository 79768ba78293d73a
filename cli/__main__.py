"""`freshet`: the one command line.  Each command loads only what it runs."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import (
    ask,
    audit,
    cache,
    chaos,
    demo,
    dlq,
    epoch,
    evaluate,
    jobs,
    keys,
    llm,
    model,
    publish,
    reference,
    sources,
    stack,
    topics,
    view,
    webhooks,
)
from cli.environment import effective_environment, read_settings
from runtime.settings import SettingsError
from streams.topology import BY_NAME

app = typer.Typer(
    help="Answers as fresh as the documents behind them, on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold secrets
    rich_markup_mode="rich",
)
app.add_typer(stack.app, name="stack")
app.add_typer(topics.app, name="topics")
app.add_typer(cache.app, name="cache")
app.add_typer(dlq.app, name="dlq")
app.add_typer(epoch.app, name="epoch")
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(llm.app, name="llm")
app.add_typer(model.app, name="model")
app.add_typer(sources.app, name="sources")
app.add_typer(view.app, name="view")
app.add_typer(webhooks.app, name="webhooks")
app.command()(publish.publish)
app.command()(ask.ask)
app.command()(audit.audit)
app.command()(demo.demo)
app.command()(chaos.chaos)
app.command("eval")(evaluate.evaluate)
app.command()(reference.reference)
console = Console(highlight=False)


@app.command()
def worker(lane: Annotated[str, typer.Argument(help=f"One of: {', '.join(BY_NAME)}.")]) -> None:
    """Run one worker until it is told to stop."""
    if lane not in BY_NAME:
        console.print(f"[red]no lane {lane!r}; there are: {', '.join(BY_NAME)}[/red]")
        raise typer.Exit(2)
    from streams.worker import run

    run(lane, read_settings())


@app.command()
def gateway() -> None:
    """Run the HTTP gateway until it is told to stop."""
    from gateway.serve import run

    try:
        run(read_settings())
    except SettingsError as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None


@app.command()
def settings() -> None:
    """Show every setting, its value and where it comes from; secrets stay hidden."""
    table = Table("variable", "value", "source", "meaning", row_styles=["", "dim"])
    for variable, value, source, description in read_settings().describe(effective_environment()):
        table.add_row(variable, "" if value is None else str(value), source, description)
    console.print(table)


if __name__ == "__main__":
    app()
