"""One audit: a walk over everything, then closer looks at whatever seemed wrong.

The walk reads its sources one after the other while the system runs, so much of what it finds is only motion.  The
closer look is exact: it reads the log before the lane's progress, that before Redis, the objects and the events behind
it, and judges only documents whose manifest was the same before and after.
"""

from collections.abc import Set

import msgspec

from runtime.clock import Clock, millis
from streams.audit.compare import IN_FLIGHT, UNLISTED, findings
from streams.audit.report import Report, count_findings
from streams.audit.sources import Progress, Sources
from streams.audit.tables import BATCH, Row, Tables
from topics.identity import DocumentRef

LOOKS = 3  # closer looks at documents that change all the time


class Audit:
    """Compares, and changes nothing.  ``settle`` and ``grace`` are seconds; without ``whole`` no object is opened."""

    def __init__(
        self,
        sources: Sources,
        tables: Tables,
        clock: Clock,
        progress: Progress,
        *,
        whole: bool = True,
        settle: float = 3.0,
        grace: float = 3600.0,
    ) -> None:
        self.sources, self.tables = sources, tables
        self._clock, self._progress = clock, progress
        self._whole, self._settle, self._grace = whole, settle, grace

    @property
    def before(self) -> int:
        """Unlisted objects are orphaned when they were written before this, ms since 1970."""
        return millis(self._clock.now() - self._grace)

    async def run(self, report: Report) -> None:
        """The whole comparison."""
        tables, sources = self.tables, self.sources
        await sources.read_log()
        await sources.read_events()
        tables.look_at("SELECT path FROM latest UNION SELECT path FROM events")
        await sources.add_visible()
        await sources.read_manifests()
        await sources.walk_store()
        tables.look_also_at("SELECT path FROM objects")
        await sources.read_ends()
        report.documents = tables.count("SELECT count(*) FROM manifests WHERE version IS NOT NULL AND NOT deleted")
        report.chunks = tables.count("SELECT count(*) FROM lines")
        report.objects = tables.count("SELECT count(*) FROM objects")
        report.garbage = tables.count(UNLISTED)
        report.misplaced = sources.misplaced
        [(report.in_flight, report.oldest_in_flight)] = tables.rows(IN_FLIGHT)
        self._judge()
        await self.look_closer(report)

    async def look_closer(self, report: Report) -> None:
        """Judge once more, and exactly, whatever there are findings about; what remains is drift."""
        left = self.tables.look_at("SELECT path FROM findings")
        for _ in range(LOOKS):
            if not left:
                break
            self._progress("look again", 0, left)
            await self._clock.sleep(self._settle)
            await self.sources.read_log()
            await self.sources.read_manifests()
            await self.sources.read_objects()
            await self.sources.read_events()
            await self.sources.read_ends()
            moving = await self.sources.moving()
            self._judge(moving)
            self._progress("look again", left - len(moving), left)
            left = self.tables.look_at_these(moving)
        report.moving = left
        report.counts = count_findings(self.tables)

    def _judge(self, moving: Set[str] = frozenset()) -> None:
        """Replace the findings about the scope."""
        self.tables.forget_scope("findings")
        rows: list[Row] = []
        for finding in findings(self.tables, self.sources.beyond, self.before, whole=self._whole):
            path = DocumentRef(finding.tenant, finding.doc_id).path
            if path not in moving:
                rows.append((path, finding.kind, msgspec.json.encode(finding)))
            if len(rows) == BATCH:
                self.tables.put("findings", rows)
                rows = []
        self.tables.put("findings", rows)


def quiet(step: str, done: int, total: int | None) -> None:
    """Progress that nobody looks at."""
