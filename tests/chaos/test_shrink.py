"""The fewest faults that still fail."""

from collections.abc import Callable, Sequence

import pytest

from chaos.shrink import shrink


@pytest.mark.parametrize(
    ("fails", "least"),
    [
        (lambda indices: True, ()),  # with no fault at all
        (lambda indices: 2 in indices, (2,)),
        (lambda indices: {1, 4} <= set(indices), (1, 4)),
        (lambda indices: len(indices) == 5, (0, 1, 2, 3, 4)),
        (lambda indices: False, None),  # it was by chance
    ],
)
async def test_the_fewest(fails: Callable[[Sequence[int]], bool], least: tuple[int, ...] | None) -> None:
    """None where it fails without, one where one is enough, else those that matter."""
    tried: list[Sequence[int]] = []

    async def again(indices: Sequence[int]) -> bool:
        tried.append(indices)
        return fails(indices)

    assert await shrink(5, again) == least
    assert len(tried) <= 12  # a run takes minutes
