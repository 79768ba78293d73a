"""Freshness tokens and work that waits for another try: a version's token stays open until all work on it ended.

Watermarks move in the index stage, so it must learn of a deferral in order with the lane: chunk and embed say so in the
topic they write to, before they acknowledge, and say the end of it behind all that came of the retried record.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from connectors.ports import ManifestStore
from streams.documents.changes import DEFERRED_KEY, identify
from streams.outcome import Output, Record
from topics.codec import DecodeError, encode, schema_header
from topics.documents import DocumentDeferred
from topics.headers import TOKEN
from topics.identity import DocumentRef, Token, part_key
from topics.spec import TopicSpec

Identify: TypeAlias = Callable[[Record], tuple[DocumentRef, str, Token]]


class ThroughTheLane:
    """:class:`streams.outcome.Deferrals` of a stage in front of the index stage.

    ``writes`` is what it writes to; it has ``partitions``, where what the stage reads may have more.
    """

    def __init__(
        self,
        stage: str,
        writes: TopicSpec,
        identify: Identify,
        manifests: ManifestStore,
        partitions: int | None = None,
    ) -> None:
        self._stage, self._writes, self._identify, self._manifests = stage, writes, identify, manifests
        self._partitions = partitions

    async def begin(self, record: Record, reason: str) -> Sequence[Output]:
        try:
            ref, part, token = self._identify(record)
        except DecodeError:  # whose it is cannot be told: no token waits for it
            return []
        version = str(token.version)
        value = DocumentDeferred(
            tenant=ref.tenant, doc_id=ref.doc_id, version=version, stage=self._stage, reason=reason[:1000]
        )
        return [self._output(ref, part, token, record, value)]

    async def end(self, record: Record) -> Sequence[Output]:
        try:
            ref, part, token = self._identify(record)
        except DecodeError:
            return []
        return [self._output(ref, part, token, record, None)]

    async def overtaken(self, record: Record) -> bool:
        """Compaction would keep the old version's parts and drop the new one's, whatever the fence does later."""
        try:
            ref, _, token = self._identify(record)
        except DecodeError:
            return False
        version = str(token.version)
        [manifest], [pending] = await self._manifests.status([ref]), await self._manifests.pending([ref])
        if manifest.version is not None and manifest.version > version:
            return True
        seen = manifest.last_seen
        refused = seen is not None and pending is not None and seen.version == pending[0]
        return pending is not None and pending[0] > version and not refused

    def _output(
        self, ref: DocumentRef, part: str, token: Token, record: Record, value: DocumentDeferred | None
    ) -> Output:
        """The token is in the key, or compaction would let the news of one version stand for another's."""
        key = part_key(ref, f"{DEFERRED_KEY}{self._stage}-{part}-{token}")
        headers = {TOKEN: str(token).encode()}
        partition = record.partition % self._partitions if self._partitions else record.partition
        if value is None:
            return Output(self._writes, key, None, partition, headers)
        return Output(self._writes, key, encode(value), partition, {**headers, **schema_header(value)})


class InTheState:
    """:class:`streams.outcome.Deferrals` of the index stage itself, whose own fence knows what is overtaken."""

    def __init__(self, manifests: ManifestStore) -> None:
        self._manifests = manifests

    async def begin(self, record: Record, reason: str) -> Sequence[Output]:
        del reason  # it is in the retry topic
        try:
            _, part, token = identify(record)
        except DecodeError:
            return []
        await self._manifests.defer(token, own_work(part))
        return []

    async def end(self, record: Record) -> Sequence[Output]:
        try:
            _, part, token = identify(record)
        except DecodeError:
            return []
        await self._manifests.settle(token, own_work(part))
        return []

    async def overtaken(self, record: Record) -> bool:
        del record
        return False


def own_work(part: int | str) -> str:
    """Name of the index stage's own work on a part."""
    return f"index-{part}"
