"""An index worker that acknowledges every tenth batch and makes nothing of it visible: the run that must fail."""

from collections.abc import Sequence

from runtime.settings import Settings
from streams.documents.index import Index
from streams.outcome import Emit, Outcome, Record
from streams.worker import run

EVERY = 10
_sound = Index.step
_batches = 0


async def hasty(self: Index, records: Sequence[Record]) -> Sequence[Outcome]:
    global _batches
    _batches += 1
    return [Emit()] * len(records) if _batches % EVERY == 0 else await _sound(self, records)


if __name__ == "__main__":
    Index.step = hasty  # type: ignore[method-assign]
    run("index", Settings.from_env())
