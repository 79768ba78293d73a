"""`freshet eval`: how good retrieval and answers are, by questions whose documents are known.

Asks through the gateway, as anybody does.  What it does is in ``cli/evaluation/``.
"""

import asyncio
import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.door import DoorError
from cli.environment import read_settings
from cli.evaluation import machine
from cli.evaluation.asking import MODES, USUAL, Asker
from cli.evaluation.bounds import parse_bound
from cli.evaluation.questions import Case, QuestionsError, read_cases
from cli.evaluation.report import Asked, Report, compare, make_report, read_report, write_report
from cli.evaluation.tables import show_differences, show_report

console = Console(highlight=False)


class Switch(StrEnum):
    """A choice of two."""

    on = "on"
    off = "off"


def evaluate(
    file: Annotated[Path | None, typer.Argument(help="JSON lines: question, relevant, and id, answer if any.")] = None,
    modes: Annotated[str, typer.Option(help=f"Any of {', '.join(MODES)}; comma-separated.")] = ",".join(USUAL),
    answers: Annotated[bool | None, typer.Option(help="Ask for answers too; unset: if the file has any.")] = None,
    passages: Annotated[int, typer.Option(help="Passages a question; documents rank by their best.", min=1)] = 30,
    cache: Annotated[Switch, typer.Option(help="Whether caches may answer.")] = Switch.off,
    model: Annotated[
        str | None, typer.Option(help="Version of the language model that answers (`freshet llm status`).")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Questions under way at once.", min=1, max=256)] = 4,
    tenant: Annotated[str | None, typer.Option(help="Tenant that owns the documents.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the whole report here.")] = None,
    fail_below: Annotated[
        list[str] | None, typer.Option(help="[MODE:]METRIC=VALUE, e.g. hybrid:mrr@10=0.6; repeat. Exit code 1 below.")
    ] = None,
    compared: Annotated[
        tuple[Path, Path] | None, typer.Option("--compare", help="Two reports: the second one minus the first.")
    ] = None,
) -> None:
    """Measure retrieval and answers by known questions; exit code 1 when any failed or a figure is below its bound."""
    try:
        bounds = [parse_bound(text) for text in fail_below or []]
        if (compared is None) == (file is None):
            raise QuestionsError("name a file of questions, or two reports with --compare")
        if compared:
            old, new = map(read_report, compared)
            found = compare(old, new)
            shared = max(each.interval.n for each in found)
            title = f"{compared[1].name} - {compared[0].name}: {shared} of {len(new.questions)} questions are in both"
            show_differences(found, title, console)
            return
        assert file is not None
        chosen = [name.strip() for name in modes.split(",")]
        if unknown := [name for name in chosen if name not in MODES]:
            raise QuestionsError(f"no mode {unknown[0]!r}; there are: {', '.join(MODES)}")
        cases = read_cases(file)
        wanted = (model is not None or any(case.answers for case in cases)) if answers is None else answers
        if model and not wanted:
            raise QuestionsError("--model is asked for answers, and --no-answers asks for none")
        described: dict[str, Any] = {
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "passages": passages,
            "cache": cache == Switch.on,
            "answers": wanted,
            "at_once": at_once,
            "llm": model,
        }
        report = asyncio.run(_measure(cases, chosen, described, tenant))
    except (QuestionsError, DoorError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    show_report(report, console)
    if json:
        write_report(report, json)
    missed = [said for bound in bounds for said in bound.missed(report)]
    for said in missed:
        console.print(said, style="red", markup=False, soft_wrap=True)
    if missed or report.failed:
        raise typer.Exit(1)


async def _measure(cases: list[Case], modes: list[str], described: dict[str, Any], tenant: str | None) -> Report:
    settings = read_settings()
    cache, answers = described["cache"], described["answers"]
    async with Asker(settings, tenant, described["passages"], cache, answers, described["llm"]) as asker:
        usable = await asker.usable(cases[0], modes)
        if usable != modes:
            console.print("no re-ranker is configured: nothing is measured with one")
        if not usable:
            raise QuestionsError("no mode is left to measure")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("questions", total=len(cases) * len(usable))
            outcomes = await asker.all(cases, usable, described["at_once"], lambda: progress.advance(task))
    asked = [Asked(case=case, outcomes=outcomes[case.id]) for case in cases]
    generations = sorted({o.generation for each in asked for o in each.outcomes.values() if o.generation})
    return make_report(
        asked, described | {"model": settings.encoder.model, "generations": generations}, machine.described()
    )
