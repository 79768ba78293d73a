"""Workers of a campaign's own in place of those that the stack runs."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from deploy.local.own_stack import OwnStack, process_environment
from deploy.local.programs import ROOT

STOP_SECONDS = 20


@contextmanager
def in_place_of(name: str, command: Sequence[str], stack: OwnStack) -> Iterator[None]:
    """Stop a worker and run this command instead, until the block ends."""
    stack.stop(name)
    settings = {**stack.environment, "FRESHET_METRICS_PORT": str(urlsplit(stack.metrics(name)).port)}
    child = subprocess.Popen(command, cwd=ROOT, env=process_environment(settings))
    try:
        yield
    finally:
        end(child, STOP_SECONDS)


def end(child: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Ask a process of ours to stop, and see to it after so many seconds."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
