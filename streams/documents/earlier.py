"""Earlier epochs of ``documents``: what a later one has replaced there, and deletes that must reach them.

Topics of different epochs are read side by side, in no order.  Behind the chunk stage the order of a document's
versions must be theirs all the same: compaction keeps what was written last, whatever a fence does later.
"""

from collections.abc import Mapping, Sequence

from connectors.ports import Manifest, ManifestStore
from runtime import metrics
from runtime.logs import logger
from streams.documents.changes import OVERTAKEN_KEY
from streams.outcome import Output, Record
from topics.epochs import LATE, Epochs
from topics.headers import MIRRORED, TOKEN
from topics.identity import DocumentRef, Token, Version, part_key, partition_of
from topics.registry import CHUNKS, documents_of

log = logger(__name__)


class Earlier:
    """Knows the epochs and the manifests."""

    def __init__(self, epochs: Epochs, manifests: ManifestStore) -> None:
        self._epochs, self._manifests = epochs, manifests
        self._told: set[int] = set()

    async def overtaken(self, versions: Mapping[Token, DocumentRef]) -> dict[Token, Manifest]:
        """Those of the versions for whose document a later epoch has a newer one, with what is current.

        A newer one that was refused replaces nothing.
        """
        asked = {token: ref for token, ref in versions.items() if self._epochs.after(token.epoch)}
        if not asked:
            return {}
        refs = list(dict.fromkeys(asked.values()))
        current = dict(zip(refs, await self._manifests.status(refs), strict=True))
        waiting = dict(zip(refs, await self._manifests.pending(refs), strict=True))
        found = {}
        for token, ref in asked.items():
            manifest, noted = current[ref], waiting[ref]
            newer = [manifest.version] if manifest.version else []
            seen = manifest.last_seen
            refused = seen and noted and seen.version == noted[0] and seen.status in ("rejected", "dead-lettered")
            if noted and not refused:
                newer.append(noted[0])
            if any(Version.parse(version).epoch > token.epoch for version in newer):
                found[token] = manifest
        return found

    def passed_over(self, record: Record, ref: DocumentRef, token: Token, current: Manifest, lane: int) -> list[Output]:
        """In place of a version that was overtaken; where by a delete, its record is deleted as well."""
        outputs = [Output(CHUNKS, part_key(ref, OVERTAKEN_KEY), None, lane, {TOKEN: str(token).encode()})]
        if current.deleted and record.value is not None:
            assert record.key is not None and current.version is not None
            topic, by = documents_of(token.epoch), current.version
            outputs.append(Output(topic, record.key, None, record.partition, {MIRRORED: by.encode()}))
        return outputs

    def mirrored(self, record: Record, token: Token) -> list[Output]:
        """Nulls for the earlier epochs: once the tombstone of a delete is gone, they must not bring the document back.

        They are deletes like any other, except that they are not mirrored again.
        """
        if record.value is not None or MIRRORED in record.headers:
            return []
        key, by = record.key or b"", str(token.version).encode()
        return [
            Output(documents_of(epoch.number), key, None, partition_of(key, epoch.partitions), {MIRRORED: by})
            for epoch in self._epochs.before(token.epoch)
        ]

    def count_late(self, records: Sequence[tuple[Record, Token]]) -> None:
        """Tell of producers that still write where nobody should any more; what they write is taken."""
        for record, token in records:
            later = self._epochs.after(token.epoch)
            if not later or later[0].active_from is None or MIRRORED in record.headers:
                continue
            if record.timestamp > later[0].active_from + LATE * 1000:
                metrics.late_epoch_records.inc()
                if token.epoch not in self._told:
                    self._told.add(token.epoch)
                    log.warning("records come to an earlier epoch", place=record.place, write_to=later[-1].topic)
