"""`freshet topics`: create or verify the topics of an installation."""

from typing import Annotated

import msgspec
import typer
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.table import Table

from cli.environment import read_settings
from runtime.settings import Settings
from topics import provision, registry
from topics.codec import encode, schema_header
from topics.control import Epoch, Generation

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
        kafka.delete_retention_ms,
    )


@app.command()
def apply(
    print_only: Annotated[bool, typer.Option("--print", help="Only print them, for an administrator.")] = False,
) -> None:
    """Create missing topics, verify the others; exit code 1 where the broker differs from the settings."""
    settings = read_settings()
    plans = plans_of(settings)
    if print_only:
        for plan in plans:
            config = " ".join(f"--config {key}={value}" for key, value in plan.config.items())
            console.print(
                f"kafka-topics.sh --create --if-not-exists --topic {plan.name} --partitions {plan.partitions} "
                f"--replication-factor {plan.replication} {config}",
                soft_wrap=True,
            )
        return
    try:
        result = provision.apply(AdminClient({"bootstrap.servers": settings.kafka.brokers}), plans)
        if any(name.endswith(".control") for name in result.created):
            _found(settings)
    except KafkaException as error:
        console.print(f"[red]broker at {settings.kafka.brokers}: {error.args[0].str()}[/red]")
        raise typer.Exit(1) from None
    console.print(f"{len(result.created)} created, {len(result.verified)} verified, {len(result.drift)} differences")
    for difference in result.drift:
        console.print(f"  [yellow]{difference}[/yellow]")
    if result.drift:
        raise typer.Exit(1)


@app.command("list")
def list_() -> None:
    """Show every topic: purpose, key, who writes, who reads."""
    table = Table("topic", "key", "written by", "read by", "purpose")
    for spec in registry.ALL:
        table.add_row(spec.name, spec.key, ", ".join(spec.writers), ", ".join(spec.readers), spec.purpose)
    console.print(table)


def _found(settings: Settings) -> None:
    """Put the first epoch and the first generation on record."""
    kafka, documents = settings.kafka, settings.documents
    epoch = Epoch(
        number=kafka.epoch,
        topic=registry.DOCUMENTS.full_name(kafka.prefix, documents.generation),
        partitions=kafka.partitions,
    )
    generation = Generation(
        name=documents.generation,
        state="active",
        model=settings.encoder.model,
        chunk_tokens=documents.chunk_tokens,
        buckets=documents.buckets,
    )
    records: dict[str, msgspec.Struct] = {
        f"epoch/{epoch.number}": epoch,
        f"generation/{generation.name}": generation,
    }
    producer = Producer({"bootstrap.servers": kafka.brokers, "partitioner": "murmur2_random", "acks": "all"})
    for key, record in records.items():
        headers: list[tuple[str, str | bytes | None]] = [*schema_header(record).items()]
        producer.produce(
            registry.CONTROL.full_name(kafka.prefix, documents.generation), encode(record), key, headers=headers
        )
    if producer.flush(kafka.request_timeout):
        raise KafkaException("control records were not confirmed")
