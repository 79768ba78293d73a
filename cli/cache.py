"""`freshet cache`: passages that are kept for questions that come again; how many, and away with them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Never

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from cli.environment import read_settings
from connectors import build
from connectors.errors import ConnectorError
from connectors.search_ports import HotCache
from runtime.settings import Documents, Settings
from topics.identity import DEFAULT_TENANT, DocumentRef, IdentityError, check_doc_id

app = typer.Typer(help="The hot cache: passages of questions that were asked a moment ago.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)

GenerationOption = Annotated[
    str | None, typer.Option("--generation", help="Another generation than the one that is served.", metavar="NAME")
]
Work = Callable[[HotCache], Coroutine[Any, Any, None]]


@app.command()
def status(generation: GenerationOption = None) -> None:
    """Tell how many questions are kept, of how many that may be, and how long at most."""
    settings = _of_generation(read_settings(), generation)

    async def tell(cache: HotCache) -> None:
        state, most = await cache.state(), settings.cache.entries
        table = Table("generation", "entries", "at most", "bytes", "kept for")
        name = settings.documents.generation
        table.add_row(name, str(state.entries), str(most), str(state.size), f"{settings.cache.ttl:g} s")
        console.print(table)
        if not settings.cache.enabled:
            console.print("[yellow]FRESHET_CACHE_ENABLED is off here: workers that see this neither read nor fill it")

    _run(settings, tell)


@app.command()
def purge(
    doc: Annotated[
        str | None, typer.Option("--doc", help="What came of this document, in the generation served.", metavar="ID")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Whose document it is.")] = None,
    generation: Annotated[
        str | None, typer.Option("--generation", help="Everything of this generation.", metavar="NAME")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything of every generation.")] = False,
) -> None:
    """Forget what is kept; the next questions are searched for.

    Never needed for freshness, since an entry counts only while all that it came from is current.
    """
    given = [doc is not None, generation is not None, all_]
    if sum(given) != 1:
        _refuse("say what to forget: one of --doc ID, --generation NAME, --all")
    if tenant is not None and doc is None:
        _refuse("--tenant goes with --doc")
    settings = read_settings()
    if doc is None:
        _run(_of_generation(settings, generation), lambda cache: _forget(cache.purge(everywhere=all_)))
        return
    known = settings.tenants
    if (tenant := tenant or DEFAULT_TENANT) not in known:
        _refuse(f"tenant {tenant!r} is unknown here; FRESHET_TENANTS names {', '.join(sorted(known))}")
    try:
        ref = DocumentRef(tenant, check_doc_id(doc))
    except IdentityError as error:
        _refuse(str(error))
    _run(settings, lambda cache: _forget(cache.evict([ref])))


async def _forget(work: Coroutine[Any, Any, int]) -> None:
    gone = await work
    console.print(f"{gone} {'entry' if gone == 1 else 'entries'} forgotten")


def _of_generation(settings: Settings, generation: str | None) -> Settings:
    if generation is None:
        return settings
    try:
        documents = Documents.model_validate(settings.documents.model_dump() | {"generation": generation})
    except ValidationError as error:
        _refuse(f"no name of a generation: {generation!r} ({error.errors()[0]['msg']})")
    return settings.model_copy(update={"documents": documents})


def _run(settings: Settings, work: Work) -> None:
    async def run() -> None:
        cache = build.hot_cache(settings)
        try:
            await cache.open()
            await work(cache)
        finally:
            await cache.close()

    try:
        asyncio.run(run())
    except ConnectorError as error:
        console.print(f"[red]the cache at FRESHET_REDIS_CACHE_URL: {error}[/red]")
        raise typer.Exit(1) from None


def _refuse(message: str) -> Never:
    console.print(f"[red]{message}[/red]")
    raise typer.Exit(2)
