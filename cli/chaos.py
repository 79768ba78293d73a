"""`freshet chaos`: traffic and rude clients against an installation of one's own, judged from what came back.

Through its public doors alone, with documents of its own alone.  What it does is in ``chaos/target.py``.
"""

import asyncio
import os
import secrets
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from connectors.errors import ConnectorError
from connectors.kafka.reach import reach
from runtime.settings import Settings, SettingsError

if TYPE_CHECKING:
    from chaos.target import Outcome

console = Console(highlight=False)
REPORTS = Path("chaos-reports")


def chaos(
    target: Annotated[str, typer.Option(help="Address of the gateway, as https://staging.example.", metavar="URL")],
    seconds: Annotated[float, typer.Option(help="How long traffic goes on.", min=5, max=24 * 3600)] = 300,
    rate: Annotated[float, typer.Option(help="Changes and questions a second, at most.", min=0.5, max=500)] = 10,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it only says what it would do.")] = False,
    asker: Annotated[
        list[str] | None,
        typer.Option(help="A principal, and the variable that holds its API key: staff=STAFF_KEY. Repeat it for more."),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose documents; the key's, or `default`, when absent.")] = None,
    mark_file: Annotated[
        Path | None, typer.Option(help="Lines that are added to it mark faults of your own: what begins, or `end`.")
    ] = None,
    cache_ttl: Annotated[float, typer.Option(help="Seconds that caches keep there (FRESHET_CACHE_TTL).")] = 300,
    recovery: Annotated[
        float, typer.Option(help="Seconds from the end of a fault until all must be normal again.")
    ] = 60,
    seed: Annotated[int | None, typer.Option(help="The same seed does the same in the same order.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report.")] = None,
) -> None:
    """Ask, publish and misbehave at an installation of yours, and judge what comes back."""
    # Settings of the local stack do not count here: its key is nobody else's business.
    try:
        settings = Settings.from_env(os.environ)
        others = _askers(asker or [])
    except (SettingsError, ValueError) as error:
        _say(str(error))
        raise typer.Exit(2) from None
    from chaos.askers import Askers
    from chaos.preflight import CannotBegin
    from chaos.target import Plan, run

    key = settings.gateway.api_key.get_secret_value() if settings.gateway.api_key else None
    if others and key is None:
        _say("--asker needs the key of who publishes in FRESHET_GATEWAY_API_KEY")
        raise typer.Exit(2)
    drawn = secrets.randbelow(2**31) if seed is None else seed
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    plan = Plan(
        url=target.rstrip("/"),
        name=name,
        seed=drawn,
        seconds=seconds,
        rate=rate,
        out=out or REPORTS / name,
        askers=Askers(key, others),
        tenant=tenant,
        kafka=settings if {"FRESHET_BROKERS", "FRESHET_BROKERS_FILE"} & os.environ.keys() else None,
        ttl=cache_ttl,
        recovery=recovery,
        mark_file=mark_file,
    )
    for line in plan.says():
        console.print(line, markup=False, soft_wrap=True)
    if not yes:
        _say("Nothing was done. Say --yes to have it done.")
        raise typer.Exit(2)
    if plan.kafka is not None:
        try:
            asyncio.run(reach(plan.kafka.kafka))
        except ConnectorError as error:
            _say(str(error))
            raise typer.Exit(2) from None
    console.print(f"seed {drawn}")

    async def all_of_it() -> "Outcome":
        return await run(plan, _stopped_by_signals(), lambda line: console.print(f"  {line}", markup=False))

    try:
        outcome = asyncio.run(all_of_it())
    except CannotBegin as error:
        _say(str(error))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    _report(outcome, plan.out)
    if outcome.broken or outcome.removal.left:
        raise typer.Exit(1)
    if outcome.stopped:
        raise typer.Exit(130)


def _askers(given: list[str]) -> dict[str, str]:
    """Keys by principal."""
    found = {}
    for each in given:
        principal, _, variable = each.partition("=")
        if not (principal and variable):
            raise ValueError(f"--asker {each}: say a principal and the variable that holds its key, as staff=STAFF_KEY")
        if not os.environ.get(variable):
            raise ValueError(f"--asker {each}: the variable {variable} holds no key")
        found[principal] = os.environ[variable]
    return found


def _stopped_by_signals() -> asyncio.Event:
    """Set by the first Ctrl-C or SIGTERM, after which all is removed; a second one waits for no more answers."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def told() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, told)
    return stop


def _report(outcome: "Outcome", out: Path) -> None:
    history = outcome.history
    table = Table("what", "count")
    answered = [read for read in history.reads if read.result == "ok"]
    busy = sum((read.error or "").startswith("429 ") for read in history.reads)
    table.add_row("changes acknowledged", str(sum(write.result == "ok" for write in history.writes)))
    table.add_row("questions answered", f"{len(answered)} of {len(history.reads)}")
    table.add_row("refused because it was full (429)", str(busy))
    table.add_row("jobs ended", f"{sum(job.final is not None for job in history.jobs)} of {len(history.jobs)}")
    table.add_row("faults: by clients, or marked", str(len(history.windows)))
    for name, found in outcome.violations.items():
        if name in outcome.unseen and not found:
            table.add_row(f"[dim]violations: {name}[/dim]", "[dim]nothing to judge[/dim]")
        else:
            table.add_row(f"violations: {name}", f"[{'red' if found else 'green'}]{len(found)}[/]")
    table.add_row("documents removed", str(outcome.removal.removed))
    if outcome.removal.left:
        table.add_row("[red]documents left[/red]", f"[red]{len(outcome.removal.left)}[/red]")
    console.print(table)
    for name, found in outcome.violations.items():
        for each in found[:5]:
            console.print(
                f"  {name}: {each.kind} {each.subject}: {each.detail}", style="red", markup=False, soft_wrap=True
            )
    console.print(f"history: {out}", soft_wrap=True)


def _say(text: str) -> None:
    console.print(text, style="red", markup=False, soft_wrap=True)
