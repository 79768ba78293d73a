"""Workers of a campaign's own in place of those that the stack runs."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from deploy.local.own_stack import OwnStack, process_environment
from deploy.local.programs import ROOT

STOP_SECONDS = 20


@contextmanager
def in_place_of(
    name: str, command: Sequence[str], stack: OwnStack, settings: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Stop a worker and run this command instead, with these settings beside the stack's, until the block ends."""
    stack.stop(name)
    environment = process_environment({**stack.environment, **(settings or {})})
    child = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
