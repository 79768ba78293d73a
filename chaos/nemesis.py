"""Faults by a schedule that follows from a seed: inject, hold for some seconds, heal, and a quiet gap.

Faults are dealt from a shuffled deck, so that seeds in a row meet each of them equally often.  Most are followed by the
next only when all is normal again, so that one can tell how long that took; some meet a system that is still ill.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.faults import Fault
from chaos.faults.site import Site
from chaos.history import History, Window

FIRST = 5.0  # seconds of traffic before the first fault
HOLD = (3.0, 7.0)  # seconds
GAP = (5.0, 8.0)  # seconds between healed and the next
PACE = 15.0  # seconds that one fault takes with all of that, about
WELL_SECONDS = 45.0  # for the system to be well before a fault: longer than any bound on that
RASH = 0.2  # of the faults strike before the last one is got over
ACT_SECONDS = 120.0  # for inject and heal each, at most


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come; the pause is before it.  ``rash``: does not wait until the system is well."""

    fault: Fault
    pause: float
    hold: float
    rash: bool = False


def available(faults: Sequence[Fault], site: Site) -> tuple[list[Fault], list[str]]:
    """What can be done here, and of the others why not."""
    lacking = {fault.name: fault.lacks(site) for fault in faults}
    able = [fault for fault in faults if lacking[fault.name] is None]
    return able, [f"{name}: {why}" for name, why in lacking.items() if why is not None]


def schedule(seed: int, faults: Sequence[Fault], seconds: float) -> list[Planned]:
    """The same for the same seed, faults and time."""
    if not faults:
        return []
    count = max(1, round((seconds - FIRST) / PACE))
    return planned(seed, [_deal(seed * count + place, faults) for place in range(count)])


def planned(seed: int, faults: Sequence[Fault]) -> list[Planned]:
    """Just these, at times that follow from the seed."""
    draw = random.Random(seed)
    return [
        Planned(
            fault,
            draw.uniform(*GAP) if place else FIRST,
            0.0 if fault.instant else draw.uniform(*HOLD),
            place > 0 and draw.random() < RASH,
        )
        for place, fault in enumerate(faults)
    ]


def _deal(card: int, faults: Sequence[Fault]) -> Fault:
    """The card at that place of endless decks, each shuffled anew."""
    deck, place = divmod(card, len(faults))
    return random.Random(f"deck {deck}").sample(list(faults), len(faults))[place]


async def haunt(
    site: Site,
    plan: Sequence[Planned],
    history: History,
    well: Callable[[float], str | None],
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Do it all, and write down when; whatever happens, each fault is healed.

    ``well`` says what has been wrong since a moment, None where all has become normal.
    """
    since = history.now()
    for planned in plan:
        sick = well(since) if planned.rash else await until_well(well, since)
        await asyncio.sleep(planned.pause)
        window = Window(planned.fault.name, history.now(), sick=sick)
        history.windows.append(window)
        try:
            async with asyncio.timeout(ACT_SECONDS):
                await planned.fault.inject(site)
            window.injected = history.now()
            await asyncio.sleep(planned.hold)
        except Exception as error:  # a fault may fail in any way, and that is part of the history
            window.error = f"inject: {error!r}"[:300]
        finally:
            window.released = history.now()
            await _heal(planned.fault, site, window, history)
        since = history.now()
        say(_told(window, history))
    await until_well(well, since)


def _told(window: Window, history: History) -> str:
    held = "not injected" if window.injected is None else f"for {(window.released or 0) - window.injected:.1f} s"
    sick = "" if window.sick is None else ", while it was ill"
    error = "" if window.error is None else f": {window.error}"
    return f"{window.began - history.began:.0f} s: {window.fault} {held}{sick}{error}"


async def _heal(fault: Fault, site: Site, window: Window, history: History) -> None:
    try:
        async with asyncio.timeout(ACT_SECONDS):
            await fault.heal(site)
        window.healed = history.now()
    except Exception as error:  # as above
        window.error = f"{window.error or ''} heal: {error!r}".strip()[:300]


async def until_well(well: Callable[[float], str | None], since: float) -> str | None:
    """Wait until all is normal, or for as long as that may take; what is still wrong then."""
    try:
        async with asyncio.timeout(WELL_SECONDS):
            while well(since) is not None:
                await asyncio.sleep(0.2)
    except TimeoutError:
        return well(since)
    return None
