"""Compares what the tables hold about the scope, in the order of paths, streamed by SQL joins."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from streams.audit.findings import Finding, Known, judge
from streams.audit.tables import Row, Tables, ref_of
from topics.documents import Metadata
from topics.identity import DocumentRef, Version, identity_hash

Beyond = Callable[[DocumentRef, str | None], bool]

_KNOWN = """
SELECT s.path, l.epoch, l.offset, l.tombstone, l.offset <= coalesce(k.offset, -1),
       e.version, e.face, e.seen, e.status, m.version, m.deleted, coalesce(m.done, 1), m.face, m.seen, m.status
FROM scope s LEFT JOIN latest l USING (path) LEFT JOIN marks k ON k.epoch = l.epoch AND k.partition = l.partition
     LEFT JOIN events e USING (path) LEFT JOIN manifests m USING (path)
"""
_MISSING = """
SELECT n.path, n.id FROM scope JOIN lines n USING (path) LEFT JOIN objects o ON o.path = n.path AND o.id = n.id
WHERE o.id IS NULL ORDER BY n.path
"""
_HELD = """
SELECT n.path, n.id, n.position, n.hash, o.text_hash, o.imprint, o.vector, m.access, m.metadata, m.imprint
FROM scope JOIN manifests m USING (path) JOIN lines n USING (path)
     JOIN objects o ON o.path = n.path AND o.id = n.id
ORDER BY n.path, n.position
"""
# Not listed by Redis nor by the last event; nothing of the document is under way that might list it yet.
_UNLISTED = """
FROM objects o JOIN scope USING (path) LEFT JOIN lines n ON n.path = o.path AND n.id = o.id
     LEFT JOIN event_lines v ON v.path = o.path AND v.id = o.id
     LEFT JOIN latest l ON l.path = o.path LEFT JOIN marks k ON k.epoch = l.epoch AND k.partition = l.partition
     LEFT JOIN manifests m ON m.path = o.path
WHERE n.id IS NULL AND v.id IS NULL
"""
_SETTLED = """
AND (l.offset IS NULL OR l.offset <= coalesce(k.offset, -1)) AND (m.path IS NULL OR (m.done AND NOT m.doubted))
AND o.written_at < :before
"""
IN_FLIGHT = """
SELECT count(*), min(l.at) FROM scope JOIN latest l USING (path)
LEFT JOIN marks k ON k.epoch = l.epoch AND k.partition = l.partition WHERE l.offset > coalesce(k.offset, -1)
"""
UNLISTED = f"SELECT count(*) {_UNLISTED}"


def known_documents(tables: Tables, beyond: Beyond, path: str | None = None) -> Iterator[tuple[DocumentRef, Known]]:
    """What is known of each document of the scope, or of one of them."""
    query = _KNOWN + (" WHERE s.path = ?" if path is not None else " ORDER BY s.path")
    for row in tables.rows(query, () if path is None else (path,)):
        ref = ref_of(row[0])
        _, epoch, offset, tombstone, passed, event, event_face, event_seen, event_status, *redis = row
        version, deleted, done, face, seen, status = redis
        yield (
            ref,
            Known(
                logged=None if epoch is None else str(Version(epoch, offset)),
                tombstone=bool(tombstone),
                passed=bool(passed),
                event=event,
                event_face=event_face,
                event_seen=event_seen,
                event_status=event_status,
                version=version,
                deleted=bool(deleted),
                done=bool(done),
                face=face,
                seen=seen,
                status=status,
                beyond=beyond(ref, version),
            ),
        )


def findings(tables: Tables, beyond: Beyond, before: int, *, whole: bool) -> Iterator[Finding]:
    """All drift of the scope.  Unlisted objects written before ``before`` (ms since 1970) are orphaned."""
    for ref, known in known_documents(tables, beyond):
        if verdict := judge(known):
            kind, what = verdict
            yield _finding(ref, kind=kind, what=what, logged=known.logged, visible=known.visible)
    for path, rows in itertools.groupby(tables.rows(_MISSING), key=_path):
        ids = [row[1] for row in rows]
        yield _finding(ref_of(path), kind="missing", what=f"chunk {_some(ids)} is not in the store", objects=len(ids))
    if whole:
        for path, rows in itertools.groupby(tables.rows(_HELD), key=_path):
            if wrong := altered(rows):
                what = f"object {_some(list(wrong))}: {next(iter(wrong.values()))}"
                yield _finding(ref_of(path), kind="altered", what=what, objects=len(wrong))
    query = f"SELECT o.path, count(*), min(o.id) {_UNLISTED} {_SETTLED} GROUP BY o.path ORDER BY o.path"
    for path, count, example in tables.rows(query, {"before": before}):
        what = f"{count} objects are in no manifest, such as {example}"
        yield _finding(ref_of(path), kind="orphaned", what=what, objects=count)


def orphans(tables: Tables, path: str, before: int) -> list[str]:
    """Ids of a document's orphaned objects."""
    query = f"SELECT o.id {_UNLISTED} {_SETTLED} AND o.path = :path"
    return [row[0] for row in tables.rows(query, {"before": before, "path": path})]


def altered(rows: Iterator[Row]) -> dict[str, str]:
    """Which of a document's listed objects, in the order of its manifest, are not what they should be, and why."""
    seen: Counter[str] = Counter()
    wrong = {}
    for _, id_, position, wanted, text, imprint, vector, access, metadata, shared in rows:
        hash_of = partial(identity_hash, text, _list(access), _map(metadata))
        # Where an equal chunk before it is missing, its number among the equal ones cannot be counted.
        same = hash_of(seen[text]) == wanted or any(hash_of(repeat) == wanted for repeat in range(position + 1))
        seen[text] += 1
        if not same:
            wrong[id_] = "its text is not the one that was indexed"
        elif imprint != shared:
            wrong[id_] = "its access list or metadata is not the one that was indexed"
        elif not vector:
            wrong[id_] = "it has no vector of the right length"
    return wrong


def _finding(ref: DocumentRef, **fields: Any) -> Finding:
    return Finding(tenant=ref.tenant, doc_id=ref.doc_id, **fields)


def _path(row: Row) -> str:
    return str(row[0])


def _some(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{ids[0]} (and {len(ids) - 1} more)"


def _list(encoded: bytes) -> list[str]:
    return msgspec.json.decode(encoded, type=list[str])


def _map(encoded: bytes) -> Metadata:
    return msgspec.json.decode(encoded, type=Metadata)
