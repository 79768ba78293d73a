"""`freshet epoch`: move `documents` to a topic with more partitions, while everything runs (docs/adr/0011)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cli.control import read_epochs, tell
from cli.environment import read_settings, reason_of
from cli.topics import command_for
from connectors.errors import ConnectorError
from connectors.kafka.reach import reach
from gateway.lanes import ANSWER_SECONDS, assigned
from runtime.brokers import librdkafka_options
from runtime.clock import millis
from runtime.settings import Settings
from topics import provision, registry
from topics.control import Epoch
from topics.epochs import LEAD, QUIET, PartitionsError, next_epoch

app = typer.Typer(help="Epochs of `documents`: list them, move to more partitions.", no_args_is_help=True)
console = Console(highlight=False)
T = TypeVar("T")


class NotMoved(RuntimeError):
    """The move stopped before anything was changed for writers; the message says how to go on."""


@app.command("list")
def list_() -> None:
    """Show every epoch: its topic, its partitions, since when documents are written there."""
    epochs, told = _guarded(lambda settings: read_epochs(settings))
    table = Table("epoch", "topic", "partitions", "documents are written there")
    for epoch in epochs.known:
        table.add_row(str(epoch.number), epoch.topic, str(epoch.partitions), _since(epoch))
    console.print(table)
    if not told:
        console.print("`control` tells of none yet: these are the settings (`freshet topics apply` puts them there)")


@app.command()
def move(
    partitions: Annotated[int, typer.Option(min=1, help="A multiple of FRESHET_PARTITIONS.")],
    in_: Annotated[float, typer.Option("--in", min=LEAD, help="Seconds between announcement and move.")] = LEAD,
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for the chunk workers.")] = 120.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check and say what would be done.")] = False,
) -> None:
    """Move `documents` to a topic with more partitions; run it again to go on where it stopped."""
    _guarded(lambda settings: Move(settings, partitions).run(in_, wait, dry_run))


@dataclass(slots=True)
class Move:
    """Prepare the topic, let the workers read it, then let the writers move: in this order."""

    settings: Settings
    partitions: int

    def run(self, lead: float, wait: float, dry_run: bool) -> None:
        kafka = self.settings.kafka
        epochs, told = read_epochs(self.settings)
        epoch = next_epoch(epochs, kafka.prefix, self.partitions, kafka.partitions)
        spec = registry.documents_of(epoch.number)
        config = provision.config_of(spec, kafka.insync, kafka.delete_retention_ms)
        plan = provision.TopicPlan(epoch.topic, epoch.partitions, kafka.replication, config)
        if dry_run:
            console.print(f"epoch {epoch.number} would be {epoch.topic} with {epoch.partitions} partitions:")
            console.print(command_for(plan), soft_wrap=True)
            return
        admin = AdminClient(librdkafka_options(kafka))
        self._make(admin, plan)
        if not told:
            tell(self.settings, lambda: epochs.first)
        if epoch is not epochs.newest:
            tell(self.settings, lambda: epoch)
        self._await_workers(admin, epoch, wait)
        if read_epochs(self.settings)[0].newest.active_from is not None:
            raise NotMoved("somebody else has announced it meanwhile: see `freshet epoch list`")
        announced = self._announce(epoch, lead)
        console.print(f"gateways and `freshet publish` write to {epoch.topic} from now on")
        console.print(
            f"Producers of your own: stop them, and start them again on [bold]{epoch.topic}[/bold]. "
            f"What still comes to the old topic after {_moment(announced)} is taken, but never replaces a version "
            "in the new one; the metric freshet_late_epoch_records_total counts it.",
            soft_wrap=True,
        )

    def _make(self, admin: AdminClient, plan: provision.TopicPlan) -> None:
        try:
            made = provision.apply(admin, [plan])
        except KafkaException as error:
            raise NotMoved(
                f"{plan.name} could not be made ({error.args[0].str()}). Have it made, then run this again:\n"
                f"{command_for(plan)}"
            ) from None
        if any("partitions" in difference for difference in made.drift):
            raise NotMoved(f"{'; '.join(made.drift)}: delete that topic, or move to as many partitions as it has")
        for difference in made.drift:
            console.print(f"  [yellow]{difference}[/yellow]")
        console.print(f"{plan.name} {'made' if made.created else 'found'}, {plan.partitions} partitions")

    def _await_workers(self, admin: AdminClient, epoch: Epoch, wait: float) -> None:
        """Until each partition of the new topic has a chunk worker that reads it."""
        group = registry.group_of(self.settings.kafka.prefix, "chunk", self.settings.documents.generation)
        until = time.monotonic() + wait
        with Progress(TextColumn("chunk workers read it"), BarColumn(), console=console) as progress:
            task = progress.add_task("", total=epoch.partitions)
            while (read := _read_partitions(admin, group, epoch.topic)) < epoch.partitions:
                progress.update(task, completed=read)
                if time.monotonic() > until:
                    raise NotMoved(
                        f"{read} of {epoch.partitions} partitions have a chunk worker after {wait:.0f} s. Documents "
                        "still go to the old topic. See that chunk workers run, then run this again"
                    )
                time.sleep(0.2)
            progress.update(task, completed=read)

    def _announce(self, epoch: Epoch, lead: float) -> Epoch:
        announced = epoch

        def record() -> Epoch:
            nonlocal announced
            moved = millis() + int(lead * 1000)
            announced = Epoch(number=epoch.number, topic=epoch.topic, partitions=epoch.partitions, active_from=moved)
            return announced

        tell(self.settings, record)
        assert announced.active_from is not None
        over = announced.active_from / 1000 + QUIET
        console.print(
            f"writers move at {_moment(announced)}; for {2 * QUIET:.0f} s around it gateways take no documents"
        )
        with Progress(TextColumn("move"), BarColumn(), console=console) as progress:
            task = progress.add_task("", total=lead + QUIET)
            while (left := over - time.time()) > 0:
                progress.update(task, completed=lead + QUIET - left)
                time.sleep(min(left, 0.2))
            progress.update(task, completed=lead + QUIET)
        return announced


def _read_partitions(admin: AdminClient, group: str, topic: str) -> int:
    """How many partitions of a topic the members of a group have (asked as docs/adr/0004 says)."""
    found = [member for g in admin.list_groups(group, timeout=ANSWER_SECONDS) for member in g.members]
    return len(set().union(*(assigned(member.assignment or b"").get(topic, set()) for member in found)))


def _moment(epoch: Epoch) -> str:
    return f"{datetime.fromtimestamp((epoch.active_from or 0) / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def _since(epoch: Epoch) -> str:
    if epoch.active_from is None:
        return "not yet: prepared"
    return f"from {_moment(epoch)}" if epoch.active_from else "from the beginning"


def _guarded(work: Callable[[Settings], T]) -> T:
    settings = read_settings()
    try:
        asyncio.run(reach(settings.kafka))
        return work(settings)
    except (NotMoved, PartitionsError) as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
    except (ConnectorError, KafkaException) as error:
        console.print(f"[red]{reason_of(settings, error)}[/red]", soft_wrap=True)
    raise typer.Exit(1)
