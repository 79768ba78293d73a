"""`freshet audit`: does everything that is visible come from the log, and is everything from the log visible?

Only draws and parses; what happens is in `streams.audit`.
"""

import asyncio
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.control import read_epochs
from cli.environment import read_settings
from connectors import build
from connectors.errors import ConnectorError
from runtime.clock import SystemClock, millis
from runtime.settings import Settings
from streams.audit.audit import Audit
from streams.audit.findings import KINDS
from streams.audit.repair import Repair
from streams.audit.report import Report, read_findings
from streams.audit.sources import Sources
from streams.audit.tables import Tables
from streams.outcome import Output
from streams.publisher import Publisher
from topics import registry
from topics.identity import DocumentRef

console = Console(highlight=False)
EXAMPLES = 5  # shown of each kind
STEPS = {
    "log": "log",
    "events": "index events",
    "redis": "manifests",
    "store": "objects",
    "look again": "second look",
    "repair": "repair",
    "lane": "waiting for the lane",
    "sweep": "sweep",
}


def audit(
    tenant: Annotated[list[str] | None, typer.Option(help="Only of this tenant; repeat for more.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything that was found to this file.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend it through the lane, and look again.")] = False,
    grace: Annotated[float, typer.Option(help="Seconds that unlisted objects are left alone.", min=0)] = 3600.0,
    settle: Annotated[float, typer.Option(help="Seconds before what seems wrong is looked at again.", min=0)] = 3.0,
    quick: Annotated[bool, typer.Option("--quick", help="Do not open objects: alterations go unseen.")] = False,
) -> None:
    """Compare log, index events, Redis and vector store; exit code 0 clean, 1 drift, 2 could not look."""
    settings = read_settings()
    tenants = frozenset(tenant) if tenant else settings.tenants
    if unknown := tenants - settings.tenants:
        console.print(f"[red]unknown tenant: {', '.join(sorted(unknown))} (FRESHET_TENANTS)[/red]")
        raise typer.Exit(2)
    try:
        with Tables() as tables:
            report = asyncio.run(_run(settings, tables, tenants, repair=repair, times=(settle, grace), whole=not quick))
            _show(report, tables)
            if json is not None:
                with json.open("w") as file:
                    write_json(report, tables, file)
    except (ConnectorError, OSError) as error:
        console.print(f"[red]could not look: {error}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if report.clean else 1)


async def _run(
    settings: Settings,
    tables: Tables,
    tenants: frozenset[str],
    *,
    repair: bool,
    times: tuple[float, float],
    whole: bool,
) -> Report:
    from connectors.encoders.weights import resolve

    kafka, documents, clock = settings.kafka, settings.documents, SystemClock()
    weights = resolve(settings.encoder.model)
    columns = (TextColumn("[bold]{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as bars:
        tasks = {}

        def progress(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(STEPS[step], total=total)
            bars.update(tasks[step], completed=done, total=total)

        epochs, _ = await asyncio.to_thread(read_epochs, settings)
        sources = Sources(
            tenants,
            epochs,
            {each.number: build.topic_log(settings, registry.documents_of(each.number)) for each in epochs.known},
            build.topic_log(settings, registry.INDEX_EVENTS),
            build.manifest_store(settings),
            build.vector_store(settings, weights.model_id, weights.dimension),
            tables,
            progress,
            whole=whole,
        )
        look = Audit(sources, tables, clock, progress, whole=whole, settle=times[0], grace=times[1])
        report = Report(documents.generation)
        try:
            await sources.open()
            distrust = await sources.manifests.distrusted()
            await look.run(report)
            if repair and not report.clean:
                producer = build.producer(settings)
                await producer.open()

                def name_of(output: Output) -> str:
                    return output.spec.full_name(kafka.prefix, documents.generation)

                publish = Publisher(lambda: producer, name_of, kafka.request_timeout)
                try:
                    await Repair(look, publish, clock, progress, kafka.partitions).run(report)
                finally:
                    await producer.close()
            if distrust and repair and report.clean and not report.moving and tenants == settings.tenants and whole:
                await sources.manifests.trust(distrust)
        finally:
            await sources.close()
    return report


def _show(report: Report, tables: Tables) -> None:
    console.print(
        f"{report.documents} documents visible, {report.chunks} chunks, {report.objects} objects"
        f" (generation {report.generation})"
    )
    if report.in_flight:
        age = (millis() - (report.oldest_in_flight or 0)) / 1000
        console.print(f"{report.in_flight} documents have a newer version in flight, the oldest since {age:.0f} s")
    if report.moving:
        console.print(f"{report.moving} documents changed each time they were looked at, and were not judged")
    if report.misplaced:
        console.print(f"{report.misplaced} records lie on a partition where their key does not belong: dead letters")
    if report.garbage:
        console.print(f"{report.garbage} objects were in no manifest")
    for what, count in report.mended.items():
        console.print(f"[green]{count} {what}[/green]")
    if report.clean:
        console.print("[bold green]clean[/bold green]")
        return
    table = Table("drift", "documents", "document", "log", "visible", "what is wrong")
    for kind, count in report.counts.items():
        for number, found in enumerate(read_findings(tables, kind, EXAMPLES)):
            ref = DocumentRef(found.tenant, found.doc_id)
            first = (kind, str(count)) if number == 0 else ("", "")
            cells = (ref.path[-60:], _short(found.logged), _short(found.visible), found.what)
            table.add_row(*first, *map(Text, cells))  # ids may look like markup
    console.print(table)
    for path, why in report.hopeless.items():
        console.print(f"not mended: {path}: {why}", style="yellow", markup=False, soft_wrap=True)


def _short(version: str | None) -> str:
    """Epoch and offset without their zeros."""
    epoch, _, offset = (version or "").partition(".")
    return f"{int(epoch)}.{int(offset)}" if offset else ""


def write_json(report: Report, tables: Tables, file: TextIO) -> None:
    """Counts, then every finding, one a line."""
    counts = msgspec.to_builtins(report) | {"clean": report.clean, "at": millis(), "kinds": KINDS}
    encoded = msgspec.json.encode(counts).decode()
    file.write(encoded[:-1] + ',"drift":[')
    for number, finding in enumerate(read_findings(tables)):
        file.write(f"{',' if number else ''}\n{msgspec.json.encode(finding).decode()}")
    file.write("\n]}\n")
