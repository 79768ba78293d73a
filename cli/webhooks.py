"""`freshet webhooks`: endpoints that are told how jobs end, over HTTP.

Where there are API keys, one with the scope admin is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from cli.door import Door, DoorError
from cli.environment import read_settings

app = typer.Typer(help="Webhooks: endpoints that are told how jobs end.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)

TenantOption = Annotated[str | None, typer.Option("--tenant", help="Whose webhooks.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]


@app.command("list")
def list_(tenant: TenantOption = None) -> None:
    """Show every webhook: where it leads, what it is told, how much waits for it."""
    with _door(tenant) as door:
        found = door.get("/v1/webhooks")["webhooks"]
    table = Table("id", "address", "events", "waiting", "dropped", "secrets", "state", "description")
    for each in found:
        state = f"[red]disabled: {each['disabled']}[/red]" if "disabled" in each else "enabled"
        counts = (str(each.get(name, "")) for name in ("waiting", "dropped", "signatures"))
        table.add_row(each["id"], each["url"], ", ".join(each["events"]), *counts, state, each.get("description", ""))
    console.print(table)


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where to tell it: https, at a public address.")],
    event: Annotated[list[str] | None, typer.Option(help="answer or error; repeat. Both when absent.")] = None,
    description: Annotated[str | None, typer.Option(help="Whose it is, what for.")] = None,
    tenant: TenantOption = None,
) -> None:
    """Make a webhook and print its secret, once: it cannot be had again, only replaced."""
    given = {"url": url, "events": event, "description": description}
    with _door(tenant) as door:
        made = door.post("/v1/webhooks", {name: value for name, value in given.items() if value is not None})
    _shown_once(made)


@app.command()
def rotate(
    webhook: IdArgument,
    overlap: Annotated[
        int | None, typer.Option(help="Seconds that the old secret signs beside the new one; 0: it is known to others.")
    ] = None,
    tenant: TenantOption = None,
) -> None:
    """Make a new secret and print it, once; messages bear a signature by each for a while."""
    with _door(tenant) as door:
        made = door.post(f"{_of(webhook)}/rotate", {} if overlap is None else {"overlap": overlap})
    _shown_once(made)


@app.command()
def remove(webhook: IdArgument, tenant: TenantOption = None) -> None:
    """Take a webhook away, and all that waits for it."""
    with _door(tenant) as door:
        door.send("DELETE", _of(webhook))
    console.print(f"{webhook} is removed", markup=False)


@app.command()
def disable(webhook: IdArgument, tenant: TenantOption = None) -> None:
    """Send nothing any more; what waits stays."""
    with _door(tenant) as door:
        door.send("PATCH", _of(webhook), {"disabled": True})
    console.print(f"{webhook} is disabled", markup=False)


@app.command()
def enable(webhook: IdArgument, tenant: TenantOption = None) -> None:
    """Send again, beginning with what waits."""
    with _door(tenant) as door:
        door.send("PATCH", _of(webhook), {"disabled": False})
    console.print(f"{webhook} is enabled", markup=False)


@app.command()
def ping(webhook: IdArgument, tenant: TenantOption = None) -> None:
    """Send a message of the type `ping`; `deliveries` tells how it went."""
    with _door(tenant) as door:
        made = door.send("POST", f"{_of(webhook)}/ping")
    console.print(made["id"], markup=False)


@app.command()
def deliveries(
    webhook: IdArgument,
    state: Annotated[str | None, typer.Option(help="Only those that are waiting, delivered or failed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    tenant: TenantOption = None,
) -> None:
    """Show what was and will be delivered: tries, what came back, and when the next try is."""
    with _door(tenant) as door:
        query = {"limit": limit} | ({"state": state} if state else {})
        found = door.get(f"{_of(webhook)}/deliveries", **query)["deliveries"]
    table = Table("id", "type", "state", "made", "tries", "last", "next try")
    for each in found:
        tries = each.get("tries", [])
        last = str(tries[-1].get("status") or tries[-1].get("error")) if tries else ""
        colour = {"delivered": "green", "failed": "red"}.get(each["state"], "yellow")
        shown = f"[{colour}]{each['state']}[/{colour}]"
        row = (each["type"], shown, _moment(each["created"]), str(len(tries)), last[:80], _moment(each.get("next_at")))
        table.add_row(each["id"], *row)
    console.print(table)


@app.command()
def redeliver(
    webhook: IdArgument,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="As `deliveries` shows it.")],
    tenant: TenantOption = None,
) -> None:
    """Deliver once more, at once, with the same `webhook-id`."""
    with _door(tenant) as door:
        door.send("POST", f"{_of(webhook)}/deliveries/{quote(delivery, safe='')}/redeliver")
    console.print(f"{delivery} is due now", markup=False)


@contextmanager
def _door(tenant: str | None) -> Iterator[Door]:
    try:
        with Door(read_settings(), tenant) as door:
            yield door
    except DoorError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None


def _of(webhook: str) -> str:
    return f"/v1/webhooks/{quote(webhook, safe='')}"


def _shown_once(made: dict[str, Any]) -> None:
    typer.echo(made["secret"])
    typer.echo(f"Keep it now: it is shown this once. It verifies what {made['id']} is told.", err=True)


def _moment(millis: int | None) -> str:
    return f"{datetime.fromtimestamp(millis / 1000, UTC):%Y-%m-%d %H:%M:%SZ}" if millis else ""
