"""The command as it is installed."""

import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).parent / "freshet"


def test_the_installed_command_runs() -> None:
    """`freshet --help` lists its commands, from the script that set-up installs."""
    shown = subprocess.run([str(COMMAND), "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    for name in ("publish", "ask", "demo", "worker", "gateway", "topics", "dlq", "stack", "settings"):
        assert name in shown
