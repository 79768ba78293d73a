"""The fewest faults of a schedule with which it still fails."""

from collections.abc import Awaitable, Callable, Sequence

Fails = Callable[[Sequence[int]], Awaitable[bool]]


async def shrink(count: int, fails: Fails) -> tuple[int, ...] | None:
    """Indices of the faults; None when it does not fail again with all of them.

    One alone is tried first, for that is what most failures come from; else one after another is left out.
    """
    if not await fails(()):
        for index in range(count):
            if await fails((index,)):
                return (index,)
    else:
        return ()
    everything = tuple(range(count))
    if count < 2 or not await fails(everything):
        return None
    kept = everything
    for index in everything:
        fewer = tuple(each for each in kept if each != index)
        if len(fewer) > 1 and await fails(fewer):
            kept = fewer
    return kept
