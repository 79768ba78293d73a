"""A machine that finds nothing proves nothing: what is broken on purpose must be found."""

import pytest

from tests.consistency.exploration import explore, failure_of
from tests.consistency.machine import IndexMachine
from tests.consistency.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if not m.rare], ids=lambda mutation: mutation.name)
def test_is_found(mutation: Mutation) -> None:
    """The machine goes red over a stage that lacks this one thing."""
    if mutation.program:
        assert failure_of(mutation.machine(), mutation.program), f"{mutation.name}: nobody noticed"
        assert failure_of(IndexMachine, mutation.program) is None
        return
    looks = (explore(mutation.machine(), examples=1000, steps=50, seeded=seed, shrink=False) for seed in range(4, 14))
    assert any(looks), f"{mutation.name}: nobody noticed"
