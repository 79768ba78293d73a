"""Verdicts on a history.  Pure: the same history gets the same verdict.

A reader may see a document's old version or its new one; never two, never a part of one, never what was deleted or
revoked once that was visible, never anything older than what was visible before the question was asked, or than the
token that it asked for.  Where caches may answer, what is new or visible again may be missing for their time to live,
and for no longer; a token asks for it at once.  A copy at an edge may besides be behind for as long as purging takes,
and lack what is new for as long as it lives.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from chaos.documents import Revision, statements_in
from chaos.history import History, Read, Violation, Write

SEARCH_SECONDS = 2.0  # from the begin of a search to the begin of its entry's time to live, at most
_TITLE = re.compile(r"revision (\d+)$")


@dataclass(frozen=True, slots=True)
class Edge:
    """What copies at an edge may do, in seconds: be behind until they are purged, and live."""

    purge: float = 0.0
    max_age: float = 0.0


NO_EDGE = Edge()


def judge(history: History, ttl: float = 0.0, edge: Edge = NO_EDGE) -> list[Violation]:
    """All violations, in the order of the reads; documents that were lost at the end.

    Kinds: mixed, half, revoked, deleted, stale, behind, vanished, invented, lost.
    ``ttl`` is for how many seconds caches may answer as before a document was there; 0 where none may.
    """
    writes: dict[str, list[Write]] = {read.doc_id: [] for read in history.reads}
    for write in history.writes:
        writes.setdefault(write.revision.doc_id, []).append(write)
    past = {doc_id: _Past(each) for doc_id, each in writes.items()}
    found = list[Violation]()
    for read in history.reads:
        if read.result == "ok":
            copy = edge if read.copied else NO_EDGE
            found += _judge_read(read, past[read.doc_id], ttl + copy.max_age, copy.purge)
    return found + lost(history)


def lost(history: History) -> list[Violation]:
    """Writes that the log acknowledged and that never came to an outcome."""
    return [
        Violation("lost", w.revision.doc_id, f"revision {w.revision.number}, token {w.token}, has no outcome", w.sent)
        for w in history.writes
        if w.result == "ok" and w.visible is None
    ]


class _Past:
    """What was written of a document, to be asked thousands of times: an hour has a thousand writes of each."""

    def __init__(self, writes: list[Write]) -> None:
        self._writes = sorted(writes, key=lambda write: write.revision.number)
        self.revisions = {write.revision.number: write.revision for write in writes}
        self.tokens = {write.token: write.revision.number for write in writes}
        seen = sorted((write.visible, write.revision.number) for write in writes if write.visible is not None)
        self._moments = [moment for moment, _ in seen]
        self._newest = [0, *accumulate((number for _, number in seen), max)]

    def newest_before(self, moment: float) -> int:
        """The newest that was visible then."""
        return self._newest[bisect_left(self._moments, moment)]

    def since(self, number: int, ended: float) -> list[Revision]:
        """This one and all later ones that were sent by then."""
        first = bisect_left(self._writes, number, key=lambda write: write.revision.number)
        return [write.revision for write in self._writes[first:] if write.sent <= ended]


def _judge_read(read: Read, past: _Past, ttl: float, purge: float) -> list[Violation]:
    def broken(kind: str, detail: str) -> list[Violation]:
        return [Violation(kind, read.doc_id, f"for {read.principal or 'everyone'}: {detail}", read.began)]

    ended = read.began if read.ended is None else read.ended
    floor, asked = past.newest_before(read.began - purge), 0
    if read.at_least is not None and not read.degraded:
        asked = past.tokens[read.at_least]
    if not read.passages:
        since = max(past.newest_before(read.began - (ttl + SEARCH_SECONDS if ttl else 0)), asked)
        if since and not read.degraded and all(one.shown_to(read.principal) for one in past.since(since, ended)):
            return broken("vanished", f"nothing is shown, though every version from {since} on may be seen")
        return []
    numbers = {int(match[1]) if (match := _TITLE.search(title)) else -1 for title, _ in read.passages}
    said = statements_in(read.doc_id, [text for _, text in read.passages])
    if len(numbers) > 1:
        return broken("mixed", f"titles of versions {sorted(numbers)} in one answer")
    shown = past.revisions.get(numbers.pop())
    if shown is None:
        return broken("invented", f"title {read.passages[0][0]!r} was never published")
    if not shown.shown_to(read.principal):
        return broken("deleted" if shown.deletes else "revoked", f"version {shown.number} is not for this reader")
    if said != shown.said:
        return broken(*_difference(shown, said, past.revisions))
    if shown.number < floor:
        return _too_old(read, shown, past.revisions[floor])
    if shown.number < asked:
        return broken("behind", f"version {shown.number} is shown though at least {asked} was asked for")
    return []


def _difference(shown: Revision, said: frozenset[tuple[int, str]], all_: dict[int, Revision]) -> tuple[str, str]:
    if said < shown.said:
        return "half", f"version {shown.number} with {len(said)} of its {len(shown.said)} statements"
    others = [n for n, revision in all_.items() if said & revision.said - shown.said]
    return "mixed", f"version {shown.number} with statements of versions {others[:5]}"


def _too_old(read: Read, shown: Revision, current: Revision) -> list[Violation]:
    kind = "deleted" if current.deletes else "stale" if current.shown_to(read.principal) else "revoked"
    detail = (
        f"version {shown.number} is shown to {read.principal or 'everyone'} though {current.number} was visible before"
    )
    return [Violation(kind, read.doc_id, detail, read.began)]
