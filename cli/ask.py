"""`freshet ask`: a question over HTTP, its stages live, the answer with citations and the time of each hop."""

import contextlib
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.door import Door, DoorError
from cli.environment import read_settings

console = Console(highlight=False)


class Search(StrEnum):
    """Ways of searching."""

    hybrid = "hybrid"
    vector = "vector"
    keyword = "keyword"


@dataclass(slots=True)
class Told:
    """What has been heard of a job so far."""

    question: str
    stages: list[tuple[str, float]] = field(default_factory=list)  # name, ms since asked
    text: str = ""
    passages: list[dict[str, Any]] = field(default_factory=list)
    answer: dict[str, Any] | None = None
    error: str | None = None

    def hear(self, name: str, data: dict[str, Any], ms: float) -> None:
        """Take in one event."""
        if name != "token" or not any(stage == "token" for stage, _ in self.stages):
            self.stages.append((name, ms))
        if name == "restarted":
            self.text = ""
        elif name == "passages":
            self.passages = data["passages"]
        elif name == "token":
            self.text += data["text"]
        elif name == "answer":
            self.answer, self.text = data, data["text"]
        elif name == "error":
            self.error = f"{data.get('reason')}: {data.get('message')}"

    def __rich__(self) -> Panel:
        line = Text(" → ").join(Text.assemble((name, "cyan"), (f" {ms:.0f} ms", "dim")) for name, ms in self.stages)
        parts = [line, Text()]
        if self.error:
            parts.append(Text(self.error, "red"))
        else:
            parts.append(Text(self.text or "…", "bold" if self.answer else "none"))
        if self.answer:
            parts.append(Text())
            parts += [_citation(citation) for citation in self.answer.get("citations", [])]
            parts.append(_receipt(self.answer))
        return Panel(Text("\n").join(parts), title=Text(self.question, "bold"), title_align="left")


def _citation(citation: dict[str, Any]) -> Text:
    where = citation.get("title") or citation["doc_id"]
    inside = (citation.get("section") or "").removeprefix(where).removeprefix(" > ")
    section = f" > {inside}" if inside else ""
    offset = int(citation["version"].partition(".")[2])
    return Text.assemble(
        (f"[{citation['marker']}] ", "green"), where, (section, "dim"), (f"  {citation['doc_id']} @{offset}", "dim")
    )


def _receipt(answer: dict[str, Any]) -> Text:
    timings = "  ".join(f"{name} {ms:.0f} ms" for name, ms in answer.get("timings", {}).items())
    degraded = f"  degraded: {', '.join(answer['degraded'])}" if answer.get("degraded") else ""
    return Text(f"{timings}  ·  {answer['model']}, generation {answer['generation']}{degraded}", "dim")


def _explanation(passages: list[dict[str, Any]]) -> Table:
    """Why each passage stands where it does."""
    names = list(dict.fromkeys(name for passage in passages for name in passage.get("scores", {})))
    table = Table("passage", *names, "words", title="passages, best first", title_justify="left")
    for passage in passages:
        scores = passage.get("scores", {})
        cells = [f"{scores[name]:.4g}" if name in scores else "" for name in names]
        where = " > ".join(filter(None, (passage.get("title") or passage["doc_id"], passage.get("section"))))
        words = f"{passage['words']:.0%}" if passage.get("words") is not None else ""
        table.add_row(where, *cells, words)
    return table


def ask_live(door: Door, question: str, out: Console, **body: Any) -> Told:
    """Ask and draw what comes back as it comes; who leaves with Ctrl-C has the job cancelled."""
    told = Told(question)
    began = time.perf_counter()
    job = door.post("/v1/queries", {"question": question, **body})["job_id"]
    with Live(told, console=out, refresh_per_second=20, transient=False):
        try:
            for name, data in door.events(job):
                told.hear(name, data, (time.perf_counter() - began) * 1000)
        except KeyboardInterrupt:
            with contextlib.suppress(DoorError):  # it may have ended just now
                door.delete(f"/v1/queries/{job}")
            raise
    if not out.is_terminal:
        out.line()  # a live view ends its last line only on a terminal
    return told


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    k: Annotated[int, typer.Option(help="Passages to look at.", min=1)] = 5,
    at_least: Annotated[list[str] | None, typer.Option(help="Freshness token: wait until the index has it.")] = None,
    search: Annotated[Search, typer.Option(help="Both searches, or one of them.")] = Search.hybrid,
    explain: Annotated[bool, typer.Option("--explain", help="Show the scores of each passage.")] = False,
    model: Annotated[
        str | None, typer.Option(help="Version of the language model to ask (`freshet llm status`).")
    ] = None,
) -> None:
    """Ask a question and watch the answer come."""
    try:
        with Door(read_settings()) as door:
            body: dict[str, Any] = {"k": k, "at_least": at_least or [], "search": search.value, "explain": explain}
            told = ask_live(door, question, console, **body, model=model)
    except DoorError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    if explain and told.passages:
        console.print(_explanation(told.passages))
    if told.error or told.answer is None:
        raise typer.Exit(1)
