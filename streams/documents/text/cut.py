"""Cut blocks into chunks whose boundaries resynchronise after an edit.

A document is divided at its strongest anchor (a heading before a paragraph before a sentence; among equals the
choice falls by a hash of the text around the place), each half at its strongest, and so on until the parts fit.
No choice depends on what lies beyond the part that is divided, so an edit changes the part it falls in and, where
it moves the bounds of a choice, the one beside it; everything else is cut as before.

Takes blocks, gives pieces in order that hold every word once, none above the most tokens.  Refuses nothing.
"""

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from streams.documents.text.blocks import Block
from streams.documents.text.units import Anchor, Count, Unit, units_of

_LEAST = 0.35  # of the most tokens: what a chunk should have at least
_SECTION = 0.4  # ...and what two sections must each have to be parted although one chunk could hold both
_FILL = 0.85  # how full chunks are planned: room to choose among boundaries
_PLANNED = 2.0  # chunks; parts below this size are divided so that few chunks come out of them
_CONTEXT = 24  # characters on either side that a boundary's hash reads: an edit farther away does not change it


class Piece(msgspec.Struct, frozen=True):
    """Text of one chunk, and the headings above all of it."""

    text: str
    section: str | None = None


def cut(blocks: Sequence[Block], count: Count, most: int) -> list[Piece]:
    """Chunks of a document in order; ``count`` gives the tokens of each of many texts."""
    units = units_of(blocks, count, most)
    plan = _Plan(units, most)
    spans = plan.divide(0, len(units))
    done: list[tuple[int, int]] = []
    while spans:
        over = plan.over(spans, count)
        done += [span for span in spans if span not in over]
        spans = [half for a, b in over for at in [plan.choose(a, b)] for half in ((a, at), (at, b))]
    return [Piece(text, _section(units[a:b])) for a, b in sorted(done) if (text := _text(units[a:b]))]


class _Plan:
    def __init__(self, units: Sequence[Unit], most: int) -> None:
        self.units = units
        self.most = most
        self.least = int(most * _LEAST)
        self.before = [0, *accumulate(unit.tokens for unit in units)]  # tokens before each unit
        self.joints = [0, *accumulate(max(1, len(unit.text) - len(unit.text.strip())) for unit in units)]
        self.rank = [0] * len(units)
        for place in range(1, len(units)):
            around = units[place - 1].text.rstrip()[-_CONTEXT:] + "\n" + units[place].text[:_CONTEXT].rstrip()
            self.rank[place] = units[place].anchor << 32 | zlib.crc32(around.encode("utf-8", "replace"))

    def over(self, spans: Sequence[tuple[int, int]], count: Count) -> set[tuple[int, int]]:
        """Spans that came out too long.

        Prices add up exactly only where the tokenizer never looks across blanks.  Elsewhere a joint costs up to one
        token for each of its blanks: only spans that this could matter for are counted again.
        """
        doubtful = [
            (a, b)
            for a, b in spans
            if b - a > 1 and self.before[b] - self.before[a] + self.joints[b] - self.joints[a] > self.most
        ]
        counts = count([_text(self.units[a:b]) for a, b in doubtful]) if doubtful else []
        return {span for span, tokens in zip(doubtful, counts, strict=True) if tokens > self.most}

    def divide(self, first: int, last: int) -> list[tuple[int, int]]:
        """Spans of units that become chunks."""
        spans: list[tuple[int, int]] = []
        todo = [(first, last)] if last > first else []
        while todo:
            a, b = todo.pop()
            at = self.choose(a, b) if self.before[b] - self.before[a] > self.most else self._section_start(a, b)
            if at is None:
                spans.append((a, b))
            else:
                todo += [(at, b), (a, at)]
        return spans

    def choose(self, a: int, b: int) -> int:
        """The boundary at which to divide units a to b (at least two)."""
        total = self.before[b] - self.before[a]
        if total <= _PLANNED * self.most:
            chunks = max(2, -(-total // int(self.most * _FILL)))
            fitting = [self._strongest(a, b, total - (chunks - n) * self.most, n * self.most) for n in range(1, chunks)]
            best = max((place for place in fitting if place), key=self.rank.__getitem__, default=None)
            if best is not None and self.rank[best] >= Anchor.LINE << 32:
                return best
        found = self._strongest(a, b, 0, total)
        if found is None:  # no boundary leaves both sides enough
            found = self._nearest_middle(a, b, range(a + 1, b))
        return found

    def _strongest(self, a: int, b: int, low: float, high: float) -> int | None:
        """Best boundary with low to high tokens before it, and enough on both sides."""
        start = self.before[a]
        low = max(low, self.least)
        high = min(high, self.before[b] - start - self.least)
        i = bisect_left(self.before, start + low, a + 1, b)
        j = bisect_right(self.before, start + high, a + 1, b)
        if i >= j:
            return None
        rank = self.rank[i:j]
        best = max(rank)
        if rank.count(best) == 1:
            return i + rank.index(best)
        # Equal texts have equal hashes; the middle one keeps the work at n log n.
        return self._nearest_middle(a, b, [i + n for n, value in enumerate(rank) if value == best])

    def _nearest_middle(self, a: int, b: int, places: Sequence[int]) -> int:
        middle = self.before[a] + self.before[b]
        return min(places, key=lambda place: abs(2 * self.before[place] - middle))

    def _section_start(self, a: int, b: int) -> int | None:
        """Where a span that fits one chunk holds two sections that are worth one each."""
        least = self.most * _SECTION
        total = self.before[b] - self.before[a]
        if total < 2 * least:
            return None
        found = self._strongest(a, b, least, total - least)
        return found if found is not None and self.rank[found] >= Anchor.HEADING << 32 else None


def _text(units: Sequence[Unit]) -> str:
    return "".join(unit.text for unit in units).strip()


def _section(units: Sequence[Unit]) -> str | None:
    """The path of headings that all units stand under; the first unit's where they share none."""
    paths = {unit.section or "" for unit in units}
    if len(paths) == 1:
        return units[0].section
    shared: list[str] = []
    for steps in zip(*(path.split(" > ") for path in paths), strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    return " > ".join(shared) or units[0].section
