"""Epochs of ``documents``: which topics there are, and which of them takes a write at a given moment.

Pure.  Writers agree by the clock: an epoch is announced in ``control`` with the time from which it counts, at least
``LEAD`` seconds ahead, and around that time nobody writes for ``QUIET`` seconds on either side.  So a write that chose
the old topic has been asked for before any write to the new one is answered, as long as no two clocks, that of the
announcing command included, are more than two quiet times apart.  A writer that could not read ``control`` for
``PATIENCE`` seconds may have missed an announcement and must not write.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topics.codec import decode_one
from topics.control import Epoch
from topics.headers import Headers
from topics.registry import documents_of

QUIET = 2.0  # seconds before and after the move; clocks may differ by twice that
READ_EVERY = 1.0  # seconds between looks at `control`
PATIENCE = 5.0  # seconds
ANNOUNCING = 2.0  # seconds that the announcement may take to be in the log
LEAD = PATIENCE + ANNOUNCING + QUIET + 1.0  # seconds; less, and a writer that cannot read `control` may be too late
LATE = 30.0  # seconds after the move: what was asked for before it has arrived by then
_KEY = "epoch/"


class PartitionsError(ValueError):
    """A number of partitions that cannot be; the message says which can."""


@dataclass(frozen=True, slots=True)
class Epochs:
    """All epochs that are known, the oldest first; never none."""

    known: Sequence[Epoch]

    @property
    def first(self) -> Epoch:
        return self.known[0]

    @property
    def newest(self) -> Epoch:
        return self.known[-1]

    def of_topic(self, topic: str) -> Epoch | None:
        """The epoch whose topic this is."""
        return next((epoch for epoch in self.known if epoch.topic == topic), None)

    def of_number(self, number: int) -> Epoch | None:
        """The epoch of a version."""
        return next((epoch for epoch in self.known if epoch.number == number), None)

    def before(self, number: int) -> list[Epoch]:
        """Epochs earlier than this one."""
        return [epoch for epoch in self.known if epoch.number < number]

    def after(self, number: int) -> list[Epoch]:
        """Epochs later than this one."""
        return [epoch for epoch in self.known if epoch.number > number]

    def writes_at(self, now: float) -> Epoch | float:
        """The epoch that takes writes at this time (seconds since 1970); around a move the seconds to wait."""
        for epoch in reversed(self.known):
            if epoch.active_from is None:
                continue
            since = now - epoch.active_from / 1000
            if since >= QUIET:
                return epoch
            if since >= -QUIET:
                return QUIET - since
        return self.first


def read_epochs(records: Iterable[tuple[bytes | None, bytes | None, Headers]], first: Epoch) -> Epochs:
    """Fold ``control`` from its beginning (key, value, headers of each record).

    While it tells of no epoch, ``first`` is what there is.  Raises :class:`topics.codec.DecodeError`.
    """
    found: dict[bytes, Epoch] = {}
    for key, value, headers in records:
        if key is None or not key.startswith(_KEY.encode()):
            continue
        if value is None:
            found.pop(key, None)
        else:
            found[key] = decode_one(value, headers, Epoch)
    return Epochs(sorted(found.values(), key=lambda epoch: epoch.number) or [first])


def first_epoch(prefix: str, partitions: int) -> Epoch:
    """The epoch that every installation begins with."""
    return Epoch(number=1, topic=documents_of(1).full_name(prefix, ""), partitions=partitions)


def epoch_key(epoch: Epoch) -> str:
    """Key in ``control``."""
    return f"{_KEY}{epoch.number}"


def next_epoch(epochs: Epochs, prefix: str, partitions: int, lane: int) -> Epoch:
    """The epoch to move to; ``lane`` is how many partitions the internal topics have.

    Raises :class:`PartitionsError` unless every document keeps its internal partition, which is the number of its
    partition in ``documents`` modulo ``lane``.
    """
    newest = epochs.newest
    if partitions < 1 or partitions % lane:
        below, above = partitions // lane * lane, -(-partitions // lane) * lane
        near = [str(count) for count in (below, above) if count > 0 and count != newest.partitions]
        raise PartitionsError(
            f"{partitions} is no multiple of {lane}, the number of partitions of the internal topics: "
            f"{' or '.join(near) or newest.partitions + lane} would do"
        )
    if newest.active_from is None and newest.partitions == partitions:
        return newest  # prepared before: go on there
    if newest.active_from is None:
        raise PartitionsError(
            f"epoch {newest.number} is prepared with {newest.partitions} partitions: move there first, with that number"
        )
    if partitions == newest.partitions:
        raise PartitionsError(f"documents has {partitions} partitions: {partitions + lane} would do")
    number = newest.number + 1
    topic = documents_of(number).full_name(prefix, "")
    return Epoch(number=number, topic=topic, partitions=partitions, active_from=None)
