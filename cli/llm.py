"""`freshet llm`: versions of the language model; how each does, and which of them leads (docs/llm.md)."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, TypeVar

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from cli.control import read_llm, tell
from cli.environment import read_settings, reason_of
from connectors import build
from connectors.errors import ConnectorError
from connectors.kafka.reach import reach
from connectors.llm_ports import LlmBoard, WorkerVersions
from runtime.clock import millis
from runtime.endpoints import QUOTING
from runtime.settings import Settings
from streams.queries.figures import quantile
from topics.control import LlmVersions
from topics.versions import CANARY, VersionsError, promoted, rolled_back, with_canary

app = typer.Typer(help="Versions of the language model: compare, promote, roll back.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)
T = TypeVar("T")
SEEN_SECONDS = 10.0  # that workers may take to have seen a change
Workers = Mapping[str, WorkerVersions]


@app.command()
def status() -> None:
    """Show every version: its share of the questions, and how it has done since the last change."""

    def show(settings: Settings) -> None:
        workers, state = _known(settings)
        figures = _on_board(settings, lambda board: board.figures(state.changed_at))
        table = Table("version", "asked first by", "answers", "failed", "median", "p95", "first token", "tokens",
                      "citations", "removed")  # fmt: skip
        names = list(dict.fromkeys(name for worker in workers.values() for name in worker.names))
        for name in names or list(figures):
            table.add_row(name, _share(state, name), *_cells(figures.get(name, {})))
        console.print(table)
        since = (
            "the settings" if not state.changed_at else time.strftime("%F %TZ", time.gmtime(state.changed_at / 1000))
        )
        console.print(
            f"since {since}; {len(workers)} generate workers, {_behind(workers, state)} of them have yet to follow"
        )

    _guarded(show)


@app.command()
def canary(
    name: Annotated[str, typer.Argument(help="A version that workers know.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the questions; 0 takes it back.")] = CANARY,
) -> None:
    """Let a version be asked first by a share of the questions; a job stays with the version that it began with."""
    _guarded(lambda settings: _change(settings, lambda state: with_canary(state, name, share, millis()), name))


@app.command()
def promote(name: Annotated[str, typer.Argument(help="A version that workers know.")]) -> None:
    """Let a version be asked first by all questions."""
    _guarded(lambda settings: _change(settings, lambda state: promoted(state, name, millis()), name))


@app.command()
def rollback() -> None:
    """Take canaries back; where there are none, let the version lead that led before."""
    _guarded(lambda settings: _change(settings, lambda state: rolled_back(state, millis())))


def _change(settings: Settings, step: Callable[[LlmVersions], LlmVersions], name: str | None = None) -> None:
    workers, state = _known(settings)
    if unknowing := sorted(worker for worker, told in workers.items() if name and name not in told.names):
        raise VersionsError(
            f"{', '.join(unknowing)} does not know {name}: give it to every generate worker (FRESHET_LLM_ENDPOINTS) "
            f"and start them anew. Known there: {', '.join(workers[unknowing[0]].names)}"
        )
    if not workers:
        raise VersionsError("no generate worker has told which versions it knows: see that they run, with an endpoint")
    after = step(state)
    tell(settings, lambda: after)
    until = time.monotonic() + SEEN_SECONDS
    while (behind := _behind(workers, after)) and time.monotonic() < until:
        time.sleep(0.2)
        workers = _on_board(settings, lambda board: board.workers())
    console.print(f"[bold]{after.lead}[/bold] leads" + "".join(f", {n} has {s:.0%}" for n, s in after.shares.items()))
    if behind:
        console.print(
            f"[yellow]{behind} of {len(workers)} workers have not followed yet: `freshet llm status`[/yellow]"
        )


def _known(settings: Settings) -> tuple[Workers, LlmVersions]:
    """What workers know, and what holds: what `control` says, or their settings."""
    workers = _on_board(settings, lambda board: board.workers())
    if (told := read_llm(settings)) is None:
        lead = next((worker.lead for worker in workers.values()), QUOTING)
        told = LlmVersions(lead=lead, shares=next((dict(w.shares) for w in workers.values()), {}))
    return workers, told


def _behind(workers: Workers, state: LlmVersions) -> int:
    return sum(worker.changed_at != state.changed_at for worker in workers.values())


def _share(state: LlmVersions, name: str) -> str:
    if name == state.lead:
        return f"{1 - sum(state.shares.values()):.0%}, leads"
    return f"{state.shares[name]:.0%}" if name in state.shares else ""


def _cells(figures: Mapping[str, float]) -> list[str]:
    answers = figures.get("tried.ok", 0.0)
    failed = {name.removeprefix("tried."): n for name, n in figures.items() if name.startswith("tried.")}
    failed.pop("ok", None)
    tokens = f"{figures.get('input', 0):.0f} in, {figures.get('output', 0):.0f} out" if "output" in figures else ""
    return [
        f"{answers:.0f}",
        ", ".join(f"{reason} {n:.0f}" for reason, n in sorted(failed.items())),
        _ms(quantile(figures, "ms", 0.5)),
        _ms(quantile(figures, "ms", 0.95)),
        _ms(quantile(figures, "first_ms", 0.5)),
        tokens,
        f"{figures.get('kept', 0) / answers:.1f} an answer" if answers else "",
        f"{figures.get('removed', 0):.0f}",
    ]


def _ms(bound: float | None) -> str:
    return "" if bound is None else f"≤ {bound:.0f} ms" if bound < float("inf") else "> 60 s"


def _on_board(settings: Settings, ask: Callable[[LlmBoard], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        board = build.llm_board(settings)
        try:
            await board.open()
            return await ask(board)
        finally:
            await board.close()

    return asyncio.run(run())


def _guarded(work: Callable[[Settings], None]) -> None:
    settings = read_settings()
    try:
        asyncio.run(reach(settings.kafka))
        return work(settings)
    except VersionsError as error:
        console.print(f"[red]{error}[/red]")
    except (ConnectorError, KafkaException) as error:
        console.print(f"[red]{reason_of(settings, error)}[/red]")
    raise typer.Exit(1)
