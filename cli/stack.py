"""`freshet stack`: bring the local stack up, take it down, show it, read its logs.

Only draws and parses; what happens is in `deploy.local.stack`.  Every command may be repeated.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from deploy.local import stack
from deploy.local.copies import BROKERS, STORES
from deploy.local.environment import MissingAddress
from deploy.local.failures import StepFailed
from deploy.local.ports import BadPortBase
from deploy.local.programs import BadWorkers
from deploy.local.readiness import StackFailed
from deploy.local.state import state_folder
from deploy.local.status import report
from runtime.secrets import without_password

app = typer.Typer(name="stack", help="The local stack: servers, workers and gateway.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)
STATED_FAILURES = (StackFailed, StepFailed, BadPortBase, BadWorkers, MissingAddress)

StateOption = Annotated[
    Path | None, typer.Option("--state", help="State folder; .freshet in the checkout when not given.", metavar="DIR")
]


def _fail(error: Exception) -> NoReturn:
    console.print(str(error), style="red", markup=False)
    raise typer.Exit(1)


def _tell(line: str) -> None:
    console.print(f"  {line}", markup=False)


@app.command()
def up(
    state: StateOption = None,
    servers_only: Annotated[bool, typer.Option(help="Kafka, Weaviate and Redis, no workers and no gateway.")] = False,
    brokers: Annotated[int | None, typer.Option(help="Kafka brokers, 1 or 3: of three, one may be away.")] = None,
    stores: Annotated[int | None, typer.Option(help="Weaviate nodes, 1 or 3: of three, one may be away.")] = None,
) -> None:
    """Start everything in the background and return when it is ready."""
    began = time.monotonic()
    folder = state_folder(state)
    copies = {variable: str(count) for variable, count in ((BROKERS, brokers), (STORES, stores)) if count is not None}
    try:
        result = stack.up(folder, {**os.environ, **copies}, _tell, servers_only=servers_only)
    except STATED_FAILURES as error:
        _fail(error)
    took = f"{time.monotonic() - began:.1f} s"
    if result.already_up:
        console.print(f"already up ({took})")
    else:
        console.print(f"up after {took}")
    if servers_only:
        shown = (
            f"  {name}={','.join(without_password(each)[0] for each in value.split(','))}"
            for name, value in result.addresses.items()
        )
        console.print("\n".join(shown), markup=False)
    else:
        door = f"http://127.0.0.1:{result.ports.gateway}"
        console.print(f"gateway: {door}  logs: {folder.folder / 'logs'}  stop: make down")


@app.command()
def down(state: StateOption = None) -> None:
    """Stop what was started here: workers first, then the gateway, then the servers."""
    began = time.monotonic()
    if stack.down(state_folder(state), _tell):
        console.print(f"down after {time.monotonic() - began:.1f} s")
    else:
        console.print("nothing was running")


@app.command()
def status(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
) -> None:
    """Name every process with its pid, ports, log and health; exit 1 when something is not well."""
    folder = state_folder(state)
    found = report(folder)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        table = Table("process", "state", "pid", "ports", "up", "health")
        for entry in found["processes"]:
            ports = " ".join(f"{use}:{port}" for use, port in entry["ports"].items())
            uptime = "" if entry["uptime_s"] is None else f"{entry['uptime_s']:.0f} s"
            name, process_state, health = entry["name"], entry["state"], entry["health"]
            table.add_row(name, process_state, str(entry["pid"] or ""), ports, uptime, health)
        console.print(table if found["processes"] else f"nothing was started from {found['state']}")
        console.print(f"logs: {folder.folder / 'logs'}")
    raise typer.Exit(0 if found["ok"] else 1)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A process that status names; all when not given.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of the end to begin with.")] = 50,
    state: StateOption = None,
) -> None:
    """Show the end of a process's log."""
    folder = state_folder(state)
    known = sorted(path.stem for path in (folder.folder / "logs").glob("*.log"))
    names = [name] if name else known
    if name and name not in known:
        there = ", ".join(known) or "none"
        _fail(StackFailed(f"No log of {name!r} in {folder.folder / 'logs'}; there are: {there}"))
    for each in names:
        prefix = f"{each}: " if len(names) > 1 else ""
        for line in folder.tail(each, lines):
            sys.stdout.write(f"{prefix}{line}\n")
    if follow:
        _follow({each: folder.log(each) for each in names})


def _follow(paths: dict[str, Path]) -> None:
    """Print what is added; a file that became shorter was rotated and is read from its start."""
    offsets = {name: path.stat().st_size for name, path in paths.items()}
    try:
        while True:
            for name, path in paths.items():
                size = path.stat().st_size if path.exists() else 0
                if size != offsets[name]:
                    with path.open("rb") as file:
                        file.seek(offsets[name] if size > offsets[name] else 0)
                        text = file.read()
                        offsets[name] = file.tell()
                    sys.stdout.write(text.decode(errors="replace"))
                    sys.stdout.flush()
            time.sleep(0.2)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    app()
