"""`freshet sources`: try the mapping of topics of your own, before a worker writes anything."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.environment import read_settings
from connectors import build
from connectors.errors import ConnectorError
from runtime.settings import Settings
from streams.outcome import Emit, Outcome, Record, Refuse
from streams.sources.map import Map
from topics.codec import decode
from topics.documents import Document

app = typer.Typer(help="Topics of your own: try how they are mapped.", no_args_is_help=True)
console = Console(highlight=False)
_POLL = 1.0  # seconds
_PREVIEW = 120  # characters of a text


@app.command("try")
def try_(
    records: Annotated[int, typer.Option(min=1, max=10_000, help="So many of each partition, the newest.")] = 20,
    show: Annotated[int, typer.Option(min=0, help="Documents and refusals shown of each topic.")] = 3,
) -> None:
    """Map the newest records of each topic and show what would come of them; writes nothing."""
    settings = read_settings()
    if not settings.sources:
        console.print("[red]FRESHET_SOURCES names no topics (docs/sources.md)[/red]")
        raise typer.Exit(2)
    stage = Map(settings.sources, settings.tenants, settings.documents.max_metadata_keys)
    refused = 0
    for source in settings.sources:
        try:
            found = asyncio.run(_newest(settings, source.topic, records))
        except ConnectorError as error:
            console.print(f"[red]{error}[/red]")
            raise typer.Exit(1) from None
        outcomes = [(record, stage.outcome(record)) for record in found]
        refused += sum(isinstance(outcome, Refuse) for _, outcome in outcomes)
        console.print(_summary(source.topic, [outcome for _, outcome in outcomes]))
        for record, outcome in [pair for pair in outcomes if isinstance(pair[1], Refuse)][-show:] if show else []:
            assert isinstance(outcome, Refuse)
            console.print(f"  refused {'/'.join(map(str, record.place))}: {outcome.message}", markup=False)
        for _, outcome in [pair for pair in outcomes if isinstance(pair[1], Emit)][-show:] if show else []:
            assert isinstance(outcome, Emit)
            _show(outcome)
    raise typer.Exit(1 if refused else 0)


async def _newest(settings: Settings, topic: str, count: int) -> list[Record]:
    log = build.foreign_log(settings, topic)
    try:
        await log.open()
        first, ends = await log.starts(), await log.ends()
        places, found = {p: max(first[p], end - count) for p, end in ends.items()}, []
        while places := {p: at for p, at in places.items() if at < ends[p]}:
            read, places = await log.read(places, _POLL)
            found += [Record(topic, r.partition, r.offset, r.key, r.value, r.headers, r.timestamp) for r in read]
    finally:
        await log.close()
    return found


def _summary(topic: str, outcomes: Sequence[Outcome]) -> str:
    """How many become what."""
    kinds = Counter(_kind(outcome) for outcome in outcomes)
    return f"{topic}: {len(outcomes)} records, {', '.join(f'{n} {kind}' for kind, n in kinds.items()) or 'none read'}"


def _kind(outcome: Outcome) -> str:
    if isinstance(outcome, Emit):
        return "documents" if outcome.outputs[0].value is not None else "deletes"
    return "refused" if isinstance(outcome, Refuse) else "passed over"


def _show(outcome: Emit) -> None:
    (output,) = outcome.outputs
    table = Table(show_header=False)
    table.add_row("key", output.key.decode())
    if output.value is None:
        table.add_row("value", "null: deleted")
    else:
        document = decode(output.value, Document)
        for name in document.__struct_fields__:
            value = getattr(document, name)
            if value not in (None, {}, []):
                table.add_row(name, str(value)[:_PREVIEW])
    console.print(table, markup=False)
