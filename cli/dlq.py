"""`freshet dlq`: records that a lane gave up: look at them, send them on their way again, or put them away."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from cli.environment import read_settings, reason_of
from cli.letters import READS, Dealt, Filters, by_reason, deal, find, moment, place_of, read
from connectors.errors import ConnectorError
from runtime.settings import Settings
from streams.deadletters.shelf import HANDLED, How, Letter, letter_of

T = TypeVar("T")

app = typer.Typer(help="Dead letters: list, show, redrive, discard.", no_args_is_help=True)
console = Console(highlight=False)
MANY = 100  # letters that are touched without asking
PREVIEW = 600  # characters

Lane = Annotated[str | None, typer.Option(help=f"Only of this lane: {', '.join(READS)}.")]
Reason = Annotated[str | None, typer.Option(help="Only with this reason, as `list` shows it.")]
Doc = Annotated[str | None, typer.Option(help="Only of this document: its id, or tenant/id.")]
Since = Annotated[str | None, typer.Option(help="Only given up since: 30m, 2h, 3d (ago), or an ISO time.")]
Before = Annotated[str | None, typer.Option(help="Only given up before; as --since.")]
Letters = Annotated[list[str] | None, typer.Argument(help="LANE/PARTITION/OFFSET, as `list` shows them.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest first.")]
All = Annotated[bool, typer.Option("--all", help="All there are, without a filter.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]
Yes = Annotated[bool, typer.Option("--yes", help=f"Do not stop at more than {MANY}.")]


@app.command("list")
def list_(
    lane: Lane = None,
    reason: Reason = None,
    doc: Doc = None,
    since: Since = None,
    before: Before = None,
    limit: Annotated[int, typer.Option(min=0, help="Letters shown one by one, the newest first.")] = 20,
) -> None:
    """Count open letters by lane, reason and partition, and show the newest."""
    filters = _filters(lane, reason, doc, since, before)
    found = _run(lambda settings: find(settings, filters))
    counts = Table("lane", "reason", "partition", "letters", "oldest", "newest")
    for name, letters in found.items():
        for why, partition, members in by_reason(letters.values()):
            times = sorted(letter.at for letter in members)
            counts.add_row(name, why, str(partition), str(len(members)), _time(times[0]), _time(times[-1]))
    total = sum(map(len, found.values()))
    if total:
        console.print(counts, markup=False)
    newest = sorted(_flat(found), key=lambda pair: -pair[1].at)[:limit]
    if newest:
        console.print(_table(newest), markup=False)
    console.print(f"{total} dead letters")


@app.command()
def show(letter: Annotated[str, typer.Argument(help="LANE/PARTITION/OFFSET, as `list` shows them.")]) -> None:
    """Show one letter: where it came from, why it was given up, its headers, the beginning of its value."""
    lane, *place = _place(letter)
    record = _run(lambda settings: read(settings, lane, (place[0], place[1])))
    if record is None or HANDLED in record.headers:
        console.print(f"[red]there is no letter at {letter}[/red]")
        raise typer.Exit(1)
    about = letter_of(record, READS[lane], read_settings().tenants)
    table = Table(show_header=False)
    for name, text in (
        ("document", about.document), ("came from", about.origin), ("given up", _time(about.at)),
        ("reason", about.reason), ("message", about.message),
    ):  # fmt: skip
        table.add_row(name, text)
    for name, value in sorted(record.headers.items()):
        table.add_row(f"header {name}", value.decode("utf-8", "replace")[:PREVIEW])
    console.print(table, markup=False)
    if record.value is None:
        console.print("value: left out, too large for the topic" if about.omitted else "value: null, a delete")
    else:
        console.print(f"value: {len(record.value)} bytes")
        console.print(record.value[: 4 * PREVIEW].decode("utf-8", "replace")[:PREVIEW], markup=False, soft_wrap=True)


@app.command()
def redrive(
    letters: Letters = None, lane: Lane = None, reason: Reason = None, doc: Doc = None, since: Since = None,
    before: Before = None, limit: Limit = None, all_: All = False, dry_run: DryRun = False, yes: Yes = False,
) -> None:  # fmt: skip
    """Let the lane try again: each letter goes to the retry topic with its original version, and through the fence."""
    _deal("redriven", _filters(lane, reason, doc, since, before, letters, all_), limit, dry_run, yes)


@app.command()
def discard(
    letters: Letters = None, lane: Lane = None, reason: Reason = None, doc: Doc = None, since: Since = None,
    before: Before = None, limit: Limit = None, all_: All = False, dry_run: DryRun = False, yes: Yes = False,
) -> None:  # fmt: skip
    """Put letters away: they are no longer listed, and stay in the topic until its retention ends."""
    _deal("discarded", _filters(lane, reason, doc, since, before, letters, all_), limit, dry_run, yes)


def _deal(how: How, filters: Filters, limit: int | None, dry_run: bool, yes: bool) -> None:
    settings = read_settings()
    found = _run(lambda settings: find(settings, filters))
    chosen = sorted(_flat(found), key=lambda pair: (pair[1].at, pair[1].place))[:limit]
    if missing := filters.places - {(lane, *letter.place) for lane, letter in chosen}:
        console.print(f"[yellow]not open: {', '.join('/'.join(map(str, place)) for place in sorted(missing))}[/yellow]")
    if dry_run:
        if chosen:
            console.print(_table(chosen), markup=False)
        console.print(f"{len(chosen)} would be {how}")
        return
    if len(chosen) > MANY and not yes:
        console.print(f"[red]{len(chosen)} letters would be {how}: narrow it down, or say --yes[/red]")
        raise typer.Exit(2)
    total = Dealt()
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(how, total=len(chosen))
        wait = 0.0
        for lane in READS:
            places = [letter.place for name, letter in chosen if name == lane]
            if places:
                dealt = _run(
                    lambda settings, lane=lane, places=places, wait=wait: deal(  # type: ignore[misc]
                        settings, lane, places, how, lambda n: progress.advance(task, n), wait
                    )
                )
                wait = settings.kafka.retry_delay  # what a later stage gave up may lack a part that is on its way now
                total.done += dealt.done
                for why, count in dealt.kept.items():
                    total.kept[why] = total.kept.get(why, 0) + count
    console.print(f"{total.done} {how}")
    for why, count in total.kept.items():
        console.print(f"  [yellow]{count} not {how}: {why}[/yellow]")
    if total.kept or missing:
        raise typer.Exit(1)


def _filters(
    lane: str | None, reason: str | None, doc: str | None, since: str | None, before: str | None,
    letters: list[str] | None = None, all_: bool | None = None,
) -> Filters:  # fmt: skip
    """``all_`` None means that no filter is needed."""
    try:
        if lane is not None and lane not in READS:
            raise ValueError(f"there is no lane {lane!r}: {', '.join(READS)}")
        if all_ is False and not any((lane, reason, doc, since, before, letters)):
            raise ValueError("say which: letters, filters, or --all")
        return Filters(lane, reason, doc, moment(since), moment(before), frozenset(map(place_of, letters or [])))
    except ValueError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None


def _place(text: str) -> tuple[str, int, int]:
    try:
        return place_of(text)
    except ValueError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None


def _run(begin: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    settings = read_settings()
    try:
        return asyncio.run(begin(settings))
    except (ConnectorError, KafkaException) as error:
        console.print(f"[red]{reason_of(settings, error)}[/red]", soft_wrap=True)
    raise typer.Exit(1)


def _flat(found: dict[str, dict[tuple[int, int], Letter]]) -> list[tuple[str, Letter]]:
    return [(lane, letter) for lane, letters in found.items() for letter in letters.values()]


def _table(letters: list[tuple[str, Letter]]) -> Table:
    table = Table("letter", "document", "reason", "message", "given up")
    for lane, letter in letters:
        place = f"{lane}/{letter.partition}/{letter.offset}"
        table.add_row(place, letter.document[-60:], letter.reason, letter.message[:80], _time(letter.at))
    return table


def _time(millis: int) -> str:
    return f"{datetime.fromtimestamp(millis / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"
