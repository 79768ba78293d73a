"""The index stage keeps its promise under any program of edits, repeats, crashes and stalled writers."""

import os

import pytest

from runtime.settings import Settings
from tests.consistency.exploration import explore
from tests.consistency.machine import IndexMachine
from tests.consistency.servers import on_servers

SEED = int(os.environ.get("CONSISTENCY_SEED", "1"))  # of a campaign every run has its own


def amount(name: str, default: int) -> int:
    """How much to do: e.g. CONSISTENCY_EXAMPLES=2000."""
    return int(os.environ.get(f"CONSISTENCY_{name}", default))


def test_in_memory() -> None:
    """Readers see whole versions only, none goes back, and what is acknowledged was announced."""
    found = explore(IndexMachine, examples=amount("EXAMPLES", 300), steps=amount("STEPS", 50), seeded=SEED)
    assert found is None, f"\n{found}"


@pytest.mark.servers
def test_on_real_servers(settings: Settings) -> None:
    """The same holds with Weaviate and Redis."""
    with on_servers(settings) as machine:
        found = explore(machine, examples=amount("SERVER_EXAMPLES", 20), steps=amount("SERVER_STEPS", 40), seeded=SEED)
    assert found is None, f"\n{found}"
