"""An edge in the campaign against caches: a real Varnish, and how its copies did."""

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.checks import Edge
from chaos.history import History
from deploy.local.varnish import Varnish

PORT_OFFSET = 98  # from the stack's base: nothing else of a stack lies there
PROMOTE_AFTER = 3
RULES = Edge(purge=2.0, max_age=3600.0)  # no copy ends by itself in a run
LEAST_HITS = 0.2


@dataclass(frozen=True, slots=True)
class Copies:
    """What came through the edge.  ``late``: for how many seconds what its copies showed had not been the newest."""

    asked: int
    hits: int
    late: list[float]

    @property
    def hit_ratio(self) -> float:
        return self.hits / max(1, self.asked)

    @classmethod
    def of(cls, history: History) -> "Copies":
        """Each question once, though it is a read of several documents."""
        kinds = Counter({(r.began, r.ended): r.edge for r in history.reads if r.edge}.values())
        return cls(kinds.total(), kinds["hit"], sorted(lateness(history)))


def lateness(history: History) -> Iterator[float]:
    """Of each copy that showed less than was visible before: for how long that had been so."""
    for read in history.reads:
        if not read.copied or not read.passages:
            continue
        writes = [w for w in history.writes if w.revision.doc_id == read.doc_id and w.visible is not None]
        titles = {write.revision.title: write.revision.number for write in writes}
        shown = titles.get(read.passages[0][0], 0)
        newer = [w.visible for w in writes if w.revision.number > shown and w.visible and w.visible < read.began]
        if newer:
            yield read.began - min(newer)


@contextmanager
def edge_before(port_base: str, folder: Path, rules: Edge = RULES) -> Iterator[tuple[str, dict[str, str]]]:
    """Run Varnish before the stack at this base; gives its address, and the settings that tell the stack of it."""
    base = int(port_base)
    varnish = Varnish(folder, base, base + PORT_OFFSET, secrets.token_hex(16))
    varnish.start()
    try:
        yield (
            varnish.url,
            {
                "FRESHET_EDGE_URLS": varnish.url,
                "FRESHET_EDGE_SECRET": varnish.secret,
                "FRESHET_EDGE_PROMOTE_AFTER": str(PROMOTE_AFTER),
                "FRESHET_EDGE_MAX_AGE": f"{rules.max_age:.0f}",
            },
        )
    finally:
        varnish.stop()
