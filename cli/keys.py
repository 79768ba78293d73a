"""`freshet keys`: make, list and revoke the API keys of the gateway; a running one notices within a second."""

import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from cli.environment import read_settings
from gateway.keys import KEY_ID, SCOPES, Key, Scope, digest, mint, read_keys, write_keys
from runtime.settings import Settings
from topics.identity import DEFAULT_TENANT

app = typer.Typer(help="API keys of the gateway: create, list, revoke.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)
_AGE = re.compile(r"(\d{1,5})([hd])")


@app.command()
def create(
    name: Annotated[str | None, typer.Option("--id", help="Its public name; random when absent.")] = None,
    tenant: Annotated[str, typer.Option(help="The tenant it belongs to.")] = DEFAULT_TENANT,
    principal: Annotated[list[str] | None, typer.Option(help="Who asks with it; repeat for more.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCOPES)}; repeat. `read` when absent.")] = None,
    expires: Annotated[str | None, typer.Option(help="90d or 12h from now, or an ISO time.")] = None,
    note: Annotated[str | None, typer.Option(help="Who has it, what for.")] = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    settings = read_settings()
    key_id = name or secrets.token_hex(4)
    scopes = [known for known in SCOPES if known in (scope or ["read"])]
    if unknown := set(scope or []) - set(SCOPES):
        _fail(f"no scope {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")
    if not KEY_ID.fullmatch(key_id):
        _fail("an id has up to 40 of a-z, 0-9 and -")
    if tenant not in settings.tenants:
        _fail(f"tenant {tenant!r} is not in FRESHET_TENANTS")
    path, keys = _keys(settings)
    if key_id in keys:
        _fail(f"there is a key {key_id} already: revoke it first, or choose another --id")
    minted = mint(key_id)
    keys[key_id] = _key(key_id, minted, tenant, sorted(set(principal or [])), scopes, _moment(expires), note)
    _write(path, keys)
    typer.echo(minted)
    typer.echo(f"Keep it now: it is shown this once. Added to {path}.", err=True)


@app.command("list")
def list_() -> None:
    """Show every key: what it may do, for whom, until when."""
    table = Table("id", "tenant", "principals", "scopes", "created", "expires", "note")
    now = datetime.now(UTC)
    for key in _keys(read_settings())[1].values():
        until = f"{key.expires:%Y-%m-%d %H:%MZ}" if key.expires else ""
        shown = f"[red]{until} expired[/red]" if key.expired(now) else until
        principals, scopes = ", ".join(key.principals), ", ".join(key.scopes)
        table.add_row(key.id, key.tenant, principals, scopes, f"{key.created:%Y-%m-%d}", shown, key.note or "")
    console.print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """Take a key away; requests with it are refused within a second."""
    path, keys = _keys(read_settings())
    if keys.pop(key_id, None) is None:
        _fail(f"no key {key_id} in {path}")
    _write(path, keys)
    console.print(f"{key_id} is revoked; {len(keys)} keys are left in {path}", markup=False)


def _key(
    key_id: str,
    minted: str,
    tenant: str,
    principals: list[str],
    scopes: list[Scope],
    expires: datetime | None,
    note: str | None,
) -> Key:
    return Key(
        id=key_id,
        sha256=digest(minted),
        tenant=tenant,
        principals=principals,
        scopes=scopes,
        created=datetime.now(UTC).replace(microsecond=0),
        expires=expires,
        note=note,
    )


def _keys(settings: Settings) -> tuple[Path, dict[str, Key]]:
    path = settings.api.keys_file
    if path is None:
        _fail("set FRESHET_API_KEYS_FILE to the file of the keys, here and for the gateway")
    try:
        return path, read_keys(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        _fail(f"{path}: {error}")


def _write(path: Path, keys: dict[str, Key]) -> None:
    """Replace the file in one step, with the rights it had; a new one is the owner's alone."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    part = path.with_name(f".{path.name}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(write_keys(keys.values()))
            os.fchmod(file.fileno(), mode)
        part.replace(path)
    except OSError as error:
        _fail(f"{path} cannot be written: {error.strerror}")


def _moment(text: str | None) -> datetime | None:
    now = datetime.now(UTC).replace(microsecond=0)
    if text is None:
        return None
    if age := _AGE.fullmatch(text):
        return now + (timedelta(hours=int(age[1])) if age[2] == "h" else timedelta(days=int(age[1])))
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"{text!r} is no time: write 12h, 90d or 2027-01-31T12:00")
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return when if when > now else _fail(f"{text} is over")


def _fail(said: str) -> NoReturn:
    console.print(said, style="red", markup=False)
    raise typer.Exit(2)
