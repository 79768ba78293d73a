"""`freshet jobs`: what was asked and what became of it; cancel what nobody wants any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.ask import Told
from cli.door import Door, DoorError
from cli.environment import read_settings

app = typer.Typer(help="Jobs: list, show, cancel.", no_args_is_help=True)
console = Console(highlight=False)
PAGE = 100

Tenant = Annotated[str | None, typer.Option(help="Whose jobs; `default` when absent.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


class State(StrEnum):
    """States that a job can be in."""

    accepted = "accepted"
    retrieving = "retrieving"
    generating = "generating"
    done = "done"
    failed = "failed"
    expired = "expired"
    cancelled = "cancelled"


@app.command("list")
def list_(
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    tenant: Tenant = None,
) -> None:
    """List jobs, newest first."""
    with _door(tenant) as door:
        found = _listed(door, state, limit)
    table = Table("job", "state", "accepted", "seconds", "question")
    for job in found:
        took = f"{(job['finished_at'] - job['accepted_at']) / 1000:.1f}" if "finished_at" in job else ""
        when = datetime.fromtimestamp(job["accepted_at"] / 1000).strftime("%m-%d %H:%M:%S")
        table.add_row(job["job_id"], job["state"], when, took, job.get("question", "")[:80])
    console.print(table)


@app.command()
def show(job_id: JobId, tenant: Tenant = None) -> None:
    """Show a job: its state, its passages, its answer."""
    with _door(tenant) as door:
        job = door.get(f"/v1/queries/{job_id}")
    console.print(f"{job['job_id']}  {job['state']}")
    for passage in job.get("passages") or []:
        where = " > ".join(filter(None, (passage.get("title") or passage["doc_id"], passage.get("section"))))
        console.print(f"  [dim]{where}[/dim]", soft_wrap=True)
    told = Told(job_id)
    if answer := job.get("answer"):
        told.hear("answer", answer, 0)
        console.print(told)
    elif error := job.get("error"):
        told.hear("error", error, 0)
        console.print(told)


@app.command()
def cancel(job_id: JobId, tenant: Tenant = None) -> None:
    """Cancel a job: work on it ends at once."""
    with _door(tenant) as door:
        job = door.delete(f"/v1/queries/{job_id}")
    console.print(f"{job['job_id']}  {job['state']}")


def _listed(door: Door, state: State | None, limit: int) -> list[dict[str, Any]]:
    """As many as are wanted, page by page."""
    found: list[dict[str, Any]] = []
    parameters: dict[str, Any] = {"state": state.value} if state else {}
    while len(found) < limit:
        page = door.get("/v1/queries", limit=min(PAGE, limit - len(found)), **parameters)
        found += page["jobs"]
        if page["next"] is None:
            break
        parameters["cursor"] = page["next"]
    return found


@contextmanager
def _door(tenant: str | None) -> Iterator[Door]:
    """The gateway; what it refuses is told in one line."""
    try:
        with Door(read_settings(), tenant) as door:
            yield door
    except DoorError as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(1) from None
