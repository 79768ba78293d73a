"""A chunk worker that passes over every fiftieth document: the run that must fail."""

from collections.abc import Sequence

from runtime.settings import Settings
from streams.documents.chunk import Chunk
from streams.outcome import Emit, Outcome, Record
from streams.worker import run

EVERY = 50
_sound = Chunk.step


async def skipping(self: Chunk, records: Sequence[Record]) -> Sequence[Outcome]:
    outcomes = await _sound(self, records)
    return [Emit() if _skipped(record) else outcome for record, outcome in zip(records, outcomes, strict=True)]


def _skipped(record: Record) -> bool:
    """By its place in the log, so that another try is no way out."""
    return record.offset % EVERY == EVERY - 1


if __name__ == "__main__":
    Chunk.step = skipping  # type: ignore[method-assign]
    run("chunk", Settings.from_env())
