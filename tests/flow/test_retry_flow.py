"""Documents whose work has to be tried again, through the real stages and the real runner."""

from collections.abc import Sequence

import pytest

from connectors.errors import Unclear
from connectors.memory.deliveries import MemoryDeliveries
from connectors.memory.encoder import HashingEncoder
from connectors.memory.store import MemoryStore
from connectors.ports import LoggedRecord, StoredChunk, Vectors
from runtime.retry import Backoff
from runtime.settings import Documents, Kafka, Settings
from streams import runner as running
from streams.deadletters.shelf import NotRedrivable, redriven
from streams.documents.changes import identify
from streams.documents.chunk import Chunk
from streams.documents.deferrals import InTheState, ThroughTheLane
from streams.documents.embed import Embed
from streams.documents.index import Index
from streams.outcome import Deferrals, Output, Record, Stage
from streams.retries import Retries
from streams.runner import Runner
from tests.flow.inline import Lanes
from tests.streams.memory_stream import run_dry
from topics import registry
from topics.codec import decode
from topics.documents import DocumentPart, LastSeen
from topics.identity import DocumentRef, Token, document_key, partition_of
from topics.spec import TopicSpec, dead_letters_of

STAGES = {"chunk": registry.DOCUMENTS, "embed": registry.CHUNKS, "index": registry.VECTORS}


class FlakyEncoder(HashingEncoder):
    """Fails for texts that hold a certain word."""

    word: str | None = None

    async def encode(self, texts: Sequence[str]) -> Vectors:
        if self.word and any(self.word in text for text in texts):
            raise Unclear("out of memory", reason="encoder")
        return await super().encode(texts)


class FlakyStore(MemoryStore):
    """As the encoder, for chunks."""

    word: str | None = None

    async def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        if self.word and any(self.word in chunk.text for chunk in chunks):
            raise Unclear("no answer", reason="timeout")
        await super().upsert(chunks)


class Lane:
    """The document lane with its retry topics; each stage runs when told to."""

    def __init__(self, **documents: int) -> None:
        kafka = Kafka(retry_delay=0.05, retry_attempts=2, partitions=1)
        self.lanes = Lanes(Settings(kafka=kafka, documents=Documents(**documents)))
        self.manifests, self.log = self.lanes.manifests, self.lanes.log
        self.encoder = FlakyEncoder()
        self.store = FlakyStore(self.encoder.dimension)
        embed = Embed(self.encoder, self.lanes.cache)
        index = Index("g1", self.manifests, self.store, self.lanes.publish, self.lanes.clock)
        chunk = self.lanes.chunk
        steps: dict[str, tuple[Chunk | Embed | Index, Deferrals]] = {
            "chunk": (chunk, ThroughTheLane("chunk", registry.CHUNKS, chunk.identify, self.manifests)),
            "embed": (embed, ThroughTheLane("embed", registry.VECTORS, identify, self.manifests)),
            "index": (index, InTheState(self.manifests)),
        }
        self._runners: dict[str, Runner] = {}
        for name, (stage, deferrals) in steps.items():
            made = Stage(
                name=name, reads=STAGES[name], on_refused=stage.on_refused, batch_step=stage.step, batch=8,
                linger=0.01, deferrals=deferrals,
            )  # fmt: skip
            retries = Retries(name, registry.RETRIES[STAGES[name].name], kafka, self.lanes.clock)
            for key, again in ((name, False), (f"{name}.retry", True)):
                self._runners[key] = Runner(made, self.lanes.publish, MemoryDeliveries(), 4, retries, again)
        self._done: dict[str, int] = {}

    def publish(self, doc_id: str, text: str) -> Token:
        key = document_key(DocumentRef("default", doc_id))
        record = self.lanes.append(
            registry.DOCUMENTS, key, text.encode(), partition_of(key, 1), {"content-type": b"text/plain"}
        )
        return Token(1, record.partition, record.offset)

    async def run(self, *names: str) -> None:
        """Let runners work off what is new for them, in this order; ``index.retry`` is one of their names."""
        for name in names:
            stage, _, again = name.partition(".")
            topic = registry.RETRIES[STAGES[stage].name] if again else STAGES[stage]
            records = self.log[topic.name][self._done.get(name, 0) :]
            self._done[name] = self._done.get(name, 0) + len(records)
            await run_dry(self._runners[name], records)

    async def watermark(self) -> int:
        return (await self.manifests.watermarks()).get((1, 0), -1)

    async def version(self, doc_id: str) -> str | None:
        [manifest] = await self.manifests.read([DocumentRef("default", doc_id)])
        return manifest.version

    def letters(self, reads: TopicSpec) -> list[Record]:
        return self.log[dead_letters_of(reads).name]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BACKOFF", Backoff(first=0.001, cap=0.005))


@pytest.mark.parametrize("place", ["embed", "index"])
async def test_the_watermark_stays_below_what_waits(place: str) -> None:
    """While a version is in retry its token stays open, whatever passes behind it; afterwards it ends."""
    lane = Lane()
    flaky = lane.encoder if place == "embed" else lane.store
    flaky.word = "poison"
    first, bad = lane.publish("a", "Alpha is fine."), lane.publish("b", "The poison is here.")
    last = lane.publish("c", "Gamma is fine.")
    await lane.run("chunk", "embed", "index")
    assert await lane.version("c") == str(last.version) and await lane.version("b") is None
    assert await lane.watermark() == first.offset
    await lane.run(f"{place}.retry", "index")
    assert await lane.watermark() == first.offset  # it failed once more
    flaky.word = None
    await lane.run(f"{place}.retry", "index")
    assert await lane.version("b") == str(bad.version)
    assert await lane.watermark() == last.offset
    assert not lane.manifests._deferred


async def test_parts_of_one_version_stay_together() -> None:
    """A version of which one part waits becomes visible when that has come, whole; its token is open till then."""
    lane = Lane(chunk_tokens=32, part_bytes=8192)
    words = [f"word{n} goes on and on." for n in range(400)]
    words[10] = "The poison stands here."
    lane.encoder.word = "poison"
    token = lane.publish("long", " ".join(words))
    other = lane.publish("other", "Something else.")
    await lane.run("chunk", "embed", "index")
    parts = [decode(r.value or b"", DocumentPart) for r in lane.log["chunks.{gen}"] if b"other" not in (r.key or b"")]
    assert len(parts) > 2
    for _ in range(4):  # more often than tries may fail: the last part is not at fault for what the first one lacks
        lane.publish("other", f"Something else {_}.")
        await lane.run("chunk", "embed", "index", "index.retry")
    assert await lane.version("long") is None and await lane.watermark() == token.offset - 1
    assert not lane.letters(registry.VECTORS)
    lane.encoder.word = None
    await lane.run("embed.retry", "index")
    assert await lane.watermark() == token.offset - 1
    await lane.run("index.retry")
    [manifest] = await lane.manifests.read([DocumentRef("default", "long")])
    assert manifest.version == str(token.version)
    assert await lane.store.existing({DocumentRef("default", "long"): list(manifest.chunks)}) == set(manifest.chunks)
    assert len(manifest.chunks) == sum(len(part.chunks) for part in parts)
    assert await lane.watermark() > other.offset


@pytest.mark.parametrize("place", ["embed", "index"])
async def test_a_later_version_overtakes(place: str) -> None:
    """The newer version is visible while the older one waits, and stays so when that comes; nobody gives it up."""
    lane = Lane()
    flaky = lane.encoder if place == "embed" else lane.store
    flaky.word = "poison"
    lane.publish("doc", "The poison is here.")
    await lane.run("chunk", "embed", "index")
    newer = lane.publish("doc", "A better text.")
    await lane.run("chunk", "embed", "index")
    assert await lane.version("doc") == str(newer.version)
    flaky.word = None
    await lane.run(f"{place}.retry", "index")
    assert await lane.version("doc") == str(newer.version)
    assert await lane.watermark() == newer.offset and not lane.manifests._deferred
    assert not lane.letters(STAGES[place])
    kept = [r for r in lane.log["vectors.{gen}"] if (r.key or b"").endswith(b"doc#0")][-1]  # what compaction keeps
    assert decode(kept.value or b"", DocumentPart).version == str(newer.version)


@pytest.mark.parametrize("refused", [False, True])
async def test_a_later_version_on_its_way_overtakes_unless_it_was_refused(refused: bool) -> None:
    """One that is not visible yet counts already, or the old would lie behind it in the log; one given up does not."""
    lane = Lane()
    lane.encoder.word = "poison"
    older = lane.publish("doc", "The poison is here.")
    await lane.run("chunk", "embed")
    newer = lane.publish("doc", "A better text.")
    await lane.run("chunk")
    if refused:
        seen = LastSeen(version=str(newer.version), status="dead-lettered", at=1)
        await lane.manifests.see(DocumentRef("default", "doc"), seen)
    lane.encoder.word = None
    await lane.run("embed", "embed.retry")
    kept = [r for r in lane.log["vectors.{gen}"] if (r.key or b"").endswith(b"doc#0")][-1]
    assert decode(kept.value or b"", DocumentPart).version == str((older if refused else newer).version)


async def test_a_version_given_up_ends_its_token() -> None:
    """A record that fails while others pass is dead-lettered; whoever holds its token learns why, and the wait ends."""
    lane = Lane()
    lane.encoder.word = "poison"
    bad = lane.publish("bad", "The poison is here.")
    await lane.run("chunk", "embed", "index")
    for n in range(2):
        lane.publish("ok", f"Text number {n}.")
        await lane.run("chunk", "embed", "embed.retry", "index")
    [letter] = lane.letters(registry.CHUNKS)
    assert letter.headers["__connect.errors.exception.class.name"] == b"encoder"
    [refusal] = (await lane.manifests.refusals([bad])).values()
    assert refusal.status == "dead-lettered" and "out of memory" in (refusal.reason or "")
    assert await lane.watermark() > bad.offset and not lane.manifests._deferred


async def test_unchanged_chunks_prove_nothing() -> None:
    """A version that needs neither encoder nor store passes during their outage, and gives up nobody."""
    lane = Lane()
    lane.publish("ok", "The same text.")
    await lane.run("chunk", "embed", "index")
    lane.encoder.word = lane.store.word = "poison"
    lane.publish("bad", "The poison is here.")
    await lane.run("chunk", "embed", "index")
    for _ in range(5):
        lane.publish("ok", "The same text.")
        await lane.run("chunk", "embed", "embed.retry", "index", "index.retry")
    assert not lane.letters(registry.CHUNKS) and not lane.letters(registry.VECTORS)


async def test_a_retried_document_keeps_its_version() -> None:
    """Out of the retry topic of ``documents`` comes the version that the first delivery had, not that of the copy."""
    lane = Lane()
    for n in range(5):
        token = lane.publish("doc", f"Text number {n}.")
    record = lane.log["documents"][-1]
    chunk = lane._runners["chunk"]
    assert chunk._retries is not None
    outcome = chunk._retries.failed(record, Unclear("told to"))
    headers = {**record.headers, **outcome.retry.headers()}  # type: ignore[union-attr]
    copy = Output(registry.RETRIES["documents"], record.key or b"", record.value, record.partition, headers)
    await lane.lanes.publish([copy])
    await lane.run("chunk.retry", "embed", "index")
    assert await lane.version("doc") == str(token.version)
    assert lane.lanes.event("doc").head.published_at == record.timestamp  # type: ignore[union-attr]


@pytest.mark.parametrize("overtaken", [False, True])
async def test_a_redriven_letter_passes_the_fence(overtaken: bool) -> None:
    """It comes back as the version it was: visible if nothing newer is, and otherwise changing nothing."""
    lane = Lane()
    lane.store.word = "poison"
    token = lane.publish("doc", "The poison is here.")
    await lane.run("chunk", "embed", "index")
    for n in range(2):
        lane.publish("ok", f"Text number {n}.")
        await lane.run("chunk", "embed", "index", "index.retry")
    [letter] = lane.letters(registry.VECTORS)
    if overtaken:
        token = lane.publish("doc", "A better text.")
        await lane.run("chunk", "embed", "index")
    lane.store.word = None
    before = await lane.watermark()
    kept = LoggedRecord(letter.partition, letter.offset, letter.key, letter.value, letter.headers, letter.timestamp)
    await lane.lanes.publish([redriven(kept, registry.VECTORS)])
    await lane.run("index.retry")
    event = lane.lanes.event("doc")
    assert event.version == str(token.version) and event.last_seen.status == "indexed"
    assert len(event.manifest) == 1 and await lane.watermark() == before


async def test_a_stranger_is_not_redriven() -> None:
    """What was put into a retry topic from outside has no version; its letter never gets one from its place there."""
    lane = Lane()
    await lane.lanes.publish([Output(registry.RETRIES["documents"], b"doc", b"stranger", 0)])
    await lane.run("chunk.retry")
    [letter] = lane.letters(registry.DOCUMENTS)
    assert not lane.log["chunks.{gen}"]
    kept = LoggedRecord(letter.partition, letter.offset, letter.key, letter.value, letter.headers, letter.timestamp)
    with pytest.raises(NotRedrivable):
        redriven(kept, registry.DOCUMENTS)
