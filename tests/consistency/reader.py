"""What a reader can find: everything a search gives that the manifests let through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from connectors.ports import ManifestStore, VectorStore
from tests.consistency.editions import DIMENSION
from topics.documents import DocumentHead
from topics.identity import DocumentRef

ANYTHING = np.full(DIMENSION, DIMENSION**-0.5, dtype=np.float32)
ALL = 1000


@dataclass(frozen=True, slots=True)
class View:
    """One document as a reader has it; ``passages`` are (text, section), sorted."""

    version: str
    head: DocumentHead
    passages: tuple[tuple[str, str], ...]


async def read(
    store: VectorStore, manifests: ManifestStore, tenant: str, principals: Sequence[str]
) -> dict[DocumentRef, View]:
    """All documents that somebody can see; fails where one shows two versions at once."""
    hits = await store.search(tenant, ANYTHING, ALL, principals, {})
    checked = await manifests.visible([(hit.ref, hit.id) for hit in hits])
    found: dict[DocumentRef, list[tuple[str, DocumentHead, tuple[str, str]]]] = {}
    for hit, visible in zip(hits, checked, strict=True):
        if visible is not None:
            passage = (hit.text, visible.section or "")
            found.setdefault(hit.ref, []).append((visible.version, visible.head, passage))
    views = {}
    for ref, lines in found.items():
        versions = {version for version, _, _ in lines}
        assert len(versions) == 1, f"{ref.doc_id} shows {sorted(versions)} at once"
        views[ref] = View(lines[0][0], lines[0][1], tuple(sorted(passage for _, _, passage in lines)))
    return views
