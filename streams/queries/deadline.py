"""What costs something is not begun for a question whose deadline has passed."""

from runtime import metrics
from runtime.clock import Clock
from topics.headers import Hop


class Late(Exception):  # not an error of anything that is talked to: the asker has left
    """The deadline passed before this step."""

    def __init__(self, step: str) -> None:
        super().__init__(f"the deadline passed before {step}")


def in_time(hop: Hop, clock: Clock, step: str) -> None:
    """Go on, or raise :class:`Late`."""
    if hop.expired(clock.now()):
        metrics.not_begun.labels(step).inc()
        raise Late(step)
