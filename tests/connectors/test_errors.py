"""What is made of several errors."""

import pytest

from connectors.errors import Overloaded, Permanent, Transient, Unclear, surest


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([Unclear("a"), Transient("b"), Permanent("c")], "c"),
        ([Unclear("a"), Overloaded("b", retry_after=1)], "b"),
        ([Unclear("a"), Unclear("b")], "a"),
        ([RuntimeError("a")], "a"),
    ],
)
def test_the_surest_is_told(errors: list[Exception], expected: str) -> None:
    """A record at fault outdoes an outage, and that what may be either: its pause must not count against a record."""
    assert str(surest(errors)) == expected
