"""Where this command finds its settings: the environment, and below it what the local stack of this checkout says."""

import asyncio
import json
import os

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from connectors.errors import ConnectorError, Transient
from connectors.kafka.reach import reach
from deploy.local.state import state_folder
from runtime.settings import Settings, SettingsError

console = Console(highlight=False)


def effective_environment() -> dict[str, str]:
    """The process's environment over the local stack's, so that commands work after ``make up`` as they are."""
    try:
        local = json.loads(state_folder().environment_file.read_text())["gateway"]
    except (OSError, ValueError, KeyError):
        local = {}
    found = dict(os.environ)
    for _, _, variable in Settings.variables():
        forms = {variable, f"{variable}_FILE"}
        if forms.isdisjoint(found):  # a value here stands above a file there, and a file here above a value there
            found |= {name: local[name] for name in forms & local.keys()}
    return found


def reason_of(settings: Settings, error: KafkaException | ConnectorError) -> str:
    """What went wrong at the brokers; where none lets us in, what to check."""
    try:
        asyncio.run(reach(settings.kafka))
    except Transient as unreached:
        return str(unreached)
    said = error.args[0].str() if isinstance(error, KafkaException) else str(error)
    return f"brokers at {settings.kafka.brokers}: {said}" if isinstance(error, KafkaException) else said


def read_settings() -> Settings:
    """The settings, or a message that names the wrong variable and exit code 2."""
    try:
        return Settings.from_env(effective_environment())
    except SettingsError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None
