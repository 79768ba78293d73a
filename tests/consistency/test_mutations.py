"""A machine that finds nothing proves nothing: what is broken on purpose must be found."""

import pytest

from tests.consistency.exploration import explore
from tests.consistency.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if not m.rare], ids=lambda mutation: mutation.name)
def test_is_found(mutation: Mutation) -> None:
    """The machine goes red over a stage that lacks this one thing."""
    found = explore(mutation.machine(), examples=1000, steps=50, seeded=4, shrink=False)
    assert found is not None, f"{mutation.name}: nobody noticed"
