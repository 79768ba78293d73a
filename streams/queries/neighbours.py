"""Give passages the text around them: chunks before and after, of the same version and in its order.

Passages of one document whose surroundings meet become one, in the place of the best, so that no text stands twice.
What cannot be had for certain is left as it is: a passage never gets the text of another version.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from connectors.errors import Transient
from connectors.ports import Manifest
from connectors.search_ports import KeywordIndex
from streams.queries.manifests import Reading
from topics.identity import DocumentRef
from topics.queries import Passage


@dataclass(slots=True)
class _Wide:
    """A passage and the texts that it stands for by their places; none where they are not known."""

    passage: Passage
    texts: dict[int, str] = field(default_factory=dict)

    def meets(self, other: "_Wide") -> bool:
        """Whether both are of one document and leave no gap."""
        near = {place + step for place in self.texts for step in (-1, 0, 1)}
        return self.passage.doc_id == other.passage.doc_id and not near.isdisjoint(other.texts)

    def whole(self) -> Passage:
        """The passage with all of them."""
        text = "\n\n".join(self.texts[place] for place in sorted(self.texts))
        return msgspec.structs.replace(self.passage, text=text or self.passage.text)


class Neighbours:
    """Of a worker; ``each`` is how many chunks on either side."""

    def __init__(self, keywords: KeywordIndex, each: int) -> None:
        self._keywords, self._each = keywords, each

    async def widen(self, passages: Sequence[Passage], tenant: str, manifests: Reading) -> list[Passage]:
        """The passages with what is around them, best first."""
        whose = [DocumentRef(tenant, passage.doc_id) for passage in passages]
        refs = list(dict.fromkeys(whose))
        known = dict(zip(refs, await manifests.read(refs), strict=True))
        around = await asyncio.gather(*(self._around(p, r, known[r]) for p, r in zip(passages, whose, strict=True)))
        kept: list[_Wide] = []
        for wide in map(_Wide, passages, around):
            met = [other for other in kept if other.meets(wide)]
            for other in [*met[1:], wide] if met else []:
                met[0].texts |= other.texts
            kept = [other for other in kept if other not in met[1:]] + ([] if met else [wide])
        return [wide.whole() for wide in kept]

    async def _around(self, passage: Passage, ref: DocumentRef, manifest: Manifest) -> dict[int, str]:
        ids = list(manifest.chunks)
        if manifest.version != passage.version or passage.chunk_id not in ids:
            return {}
        own = ids.index(passage.chunk_id)
        places = range(max(0, own - self._each), min(len(ids), own + self._each + 1))
        with contextlib.suppress(Transient):  # an index that is being built has them later
            texts = await self._keywords.texts(ref, passage.version, {place: ids[place] for place in places})
            if len(texts) == len(places):
                return {**texts, own: passage.text}
        return {}
