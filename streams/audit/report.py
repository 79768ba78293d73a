"""What an audit tells."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from streams.audit.findings import KINDS, Finding, Kind
from streams.audit.tables import Tables


@dataclass(slots=True)
class Report:
    """Counts; the findings themselves stay in the tables."""

    generation: str
    documents: int = 0  # visible
    chunks: int = 0  # that their manifests list
    objects: int = 0  # in the store
    in_flight: int = 0  # documents whose newest version the lane has not reached
    oldest_in_flight: int | None = None  # its time in the log, ms since 1970
    moving: int = 0  # documents that changed each time they were looked at
    garbage: int = 0  # objects that no manifest lists, old or young
    misplaced: int = 0  # records on a partition where their key does not belong
    counts: dict[Kind, int] = field(default_factory=dict)  # documents by kind of drift
    mended: dict[str, int] = field(default_factory=dict)  # what a repair did
    hopeless: dict[str, str] = field(default_factory=dict)  # path -> why it cannot be mended, of some

    @property
    def clean(self) -> bool:
        return not any(self.counts.values())


def count_findings(tables: Tables) -> dict[Kind, int]:
    """Documents by kind of drift."""
    found: dict[Kind, int] = dict(tables.rows("SELECT kind, count(*) FROM findings GROUP BY kind"))
    return {kind: found[kind] for kind in KINDS if kind in found}


def read_findings(tables: Tables, kind: Kind | None = None, limit: int = -1) -> Iterator[Finding]:
    """Findings, streamed in the order of kinds and paths."""
    for each in KINDS if kind is None else (kind,):
        query = "SELECT finding FROM findings WHERE kind = ? ORDER BY path LIMIT ?"
        for (encoded,) in tables.rows(query, (each, limit)):
            yield msgspec.json.decode(encoded, type=Finding)
