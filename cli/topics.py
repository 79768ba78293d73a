"""`freshet topics`: create or verify the topics of an installation."""

import asyncio
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.table import Table

from cli.control import read_epochs, tell
from cli.environment import read_settings, reason_of
from connectors.errors import ConnectorError
from connectors.kafka.reach import reach
from runtime.brokers import librdkafka_options
from runtime.settings import Settings
from topics import provision, registry
from topics.control import Generation

app = typer.Typer(help="Topics: create, verify, print.", no_args_is_help=True)
console = Console(highlight=False)


def plans_of(settings: Settings) -> list[provision.TopicPlan]:
    """Every topic as the settings want it."""
    kafka = settings.kafka
    return provision.plan(
        kafka.prefix,
        settings.documents.generation,
        kafka.partitions,
        kafka.reply_partitions,
        kafka.replication,
        kafka.insync,
        kafka.delete_retention_ms,
    )


def command_for(plan: provision.TopicPlan) -> str:
    """What an administrator may run in our place."""
    config = " ".join(f"--config {key}={value}" for key, value in plan.config.items())
    return (
        f"kafka-topics.sh --create --if-not-exists --topic {plan.name} --partitions {plan.partitions} "
        f"--replication-factor {plan.replication} {config}"
    )


@app.command()
def apply(
    print_only: Annotated[bool, typer.Option("--print", help="Only print them, for an administrator.")] = False,
    alter: Annotated[bool, typer.Option("--alter", help="Set what differs on topics that are there.")] = False,
) -> None:
    """Create missing topics, verify the others; exit code 1 where the broker differs from the settings."""
    settings = read_settings()
    plans = plans_of(settings)
    if print_only:
        for plan in plans:
            console.print(command_for(plan), soft_wrap=True)
        return
    try:
        asyncio.run(reach(settings.kafka))
        result = provision.apply(AdminClient(librdkafka_options(settings.kafka)), plans, alter=alter)
        _found(settings)
    except (KafkaException, ConnectorError) as error:
        console.print(f"[red]{reason_of(settings, error)}[/red]", soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(
        f"{len(result.created)} created, {len(result.altered)} altered, {len(result.verified)} verified, "
        f"{len(result.drift)} differences"
    )
    for difference in result.drift:
        console.print(f"  [yellow]{difference}[/yellow]")
    if result.drift:
        if not alter:
            console.print("`freshet topics apply --alter` sets what is a setting; partitions stay as they are")
        raise typer.Exit(1)


@app.command("list")
def list_() -> None:
    """Show every topic: purpose, key, who writes, who reads."""
    table = Table("topic", "key", "written by", "read by", "purpose")
    for spec in registry.ALL:
        table.add_row(
            spec.name, spec.key, ", ".join(spec.writers), ", ".join((*spec.readers, *spec.followers)), spec.purpose
        )
    console.print(table)


def _found(settings: Settings) -> None:
    """Put the first epoch and the first generation on record, whoever made the topics."""
    epochs, told = read_epochs(settings)
    if told:
        return
    documents = settings.documents
    generation = Generation(
        name=documents.generation,
        state="active",
        model=settings.encoder.model,
        chunk_tokens=documents.chunk_tokens,
        buckets=documents.buckets,
    )
    tell(settings, lambda: generation)
    tell(settings, lambda: epochs.first)
