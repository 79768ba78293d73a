"""Where this command finds its settings: the environment, and below it what the local stack of this checkout says."""

import json
import os

import typer
from rich.console import Console

from deploy.local.state import state_folder
from runtime.settings import Settings, SettingsError

console = Console(highlight=False)


def effective_environment() -> dict[str, str]:
    """The process's environment over the local stack's, so that commands work after ``make up`` as they are."""
    try:
        local = json.loads(state_folder().environment_file.read_text())["gateway"]
    except (OSError, ValueError, KeyError):
        local = {}
    known = {variable for _, _, variable in Settings.variables()}
    return {name: value for name, value in local.items() if name in known} | dict(os.environ)


def read_settings() -> Settings:
    """The settings, or a message that names the wrong variable and exit code 2."""
    try:
        return Settings.from_env(effective_environment())
    except SettingsError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None
