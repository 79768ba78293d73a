"""`freshet view`: what Redis knows of what is visible; look at it, and build it anew from the log."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.environment import read_settings
from connectors import build
from connectors.errors import ConnectorError
from connectors.ports import TopicLog
from connectors.view_ports import ManifestView
from runtime.settings import Settings
from streams.documents.view import View
from topics import registry

app = typer.Typer(help="The view of index-events in Redis: what is visible.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)

GenerationOption = Annotated[
    str | None, typer.Option("--generation", help="Another generation than the one that is served.", metavar="NAME")
]
Work = Callable[[TopicLog, ManifestView], Coroutine[Any, Any, int]]


@app.command()
def status(generation: GenerationOption = None) -> None:
    """Tell whether it is whole and how far it is; exit code 1 when it is not whole."""
    _run(_settings(generation), _status)


@app.command()
def rebuild(generation: GenerationOption = None) -> None:
    """Forget what events tell and apply them all again; workers and questions wait or use the log meanwhile."""
    _run(_settings(generation), _rebuild)


async def _status(events: TopicLog, view: ManifestView) -> int:
    state, ends = await view.state(), await events.ends()
    table = Table("partition", "applied up to", "end of the log", "behind")
    for partition, end in sorted(ends.items()):
        applied = state.offsets.get(partition, 0)
        table.add_row(str(partition), str(applied), str(end), str(end - applied))
    console.print(table)
    console.print(f"server {state.server or '(a replica)'}: {'whole' if state.whole else '[red]not whole[/red]'}")
    if state.overtaken:
        console.print(f"{len(state.overtaken)} documents are about to be announced once more")
    return 0 if state.whole else 1


async def _rebuild(events: TopicLog, view: ManifestView) -> int:
    starts, ends = await events.starts(), await events.ends()
    total = sum(end - starts[partition] for partition, end in ends.items())
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )  # fmt: skip
    applied = 0
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("forgetting", total=total, rate="")
        await view.reset()
        bar.update(task, description="applying")

        def show(count: int, passed: int) -> None:
            nonlocal applied
            applied = count
            speed = count / max(bar.tasks[0].elapsed or 0.0, 0.001)
            bar.update(task, completed=passed, total=max(total, passed), rate=f"{speed:,.0f} events/s")

        await View("rebuild", events, view).catch_up(show)
        bar.update(task, completed=bar.tasks[0].total)
    state = await view.state()
    console.print(f"whole: {applied} events read here, {len(ends)} partitions, server {state.server}")
    return 0


def _settings(generation: str | None) -> Settings:
    settings = read_settings()
    if generation is None:
        return settings
    documents = settings.documents.model_copy(update={"generation": generation})
    return settings.model_copy(update={"documents": documents})


def _run(settings: Settings, work: Work) -> None:
    async def run() -> int:
        events, view = build.topic_log(settings, registry.INDEX_EVENTS), build.manifest_view(settings)
        try:
            await events.open()
            await view.open()
            return await work(events, view)
        finally:
            await events.close()
            await view.close()

    try:
        code = asyncio.run(run())
    except ConnectorError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    raise typer.Exit(code)
