"""`freshet audit` on the running system: quiet while all is well, however busy; drift is found and mended."""

import asyncio
import itertools
import json
import secrets
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from cli import audit
from connectors.encoders.weights import resolve
from connectors.ports import Flip, ManifestChunk, StoredChunk
from connectors.state.redis_manifests import RedisManifests
from connectors.stores.weaviate import WeaviateStore
from deploy.local.own_stack import process_environment
from streams.audit.report import read_findings
from streams.audit.sources import Sources
from streams.audit.tables import Tables
from streams.documents.diff import event_of
from streams.documents.index import manifest_of
from tests.e2e.conftest import DEADLINE, System
from topics import registry
from topics.codec import encode, schema_header
from topics.documents import DocumentHead
from topics.identity import (
    PUBLIC,
    DocumentRef,
    Version,
    chunk_id,
    document_key,
    event_key,
    identity_hash,
    partition_of,
    text_hash,
)

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
BUSY = 24  # documents that are edited all the time
PLANTED = ("missing", "altered", "orphaned", "mixed", "stale", "lost", "extra")


def run(system: System, file: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and what the command wrote."""
    settings = {name: str(value) for name, value, _, _ in system.settings.describe({}) if value is not None}
    command = [sys.executable, "-m", "cli", "audit", "--settle", "0.5", "--json", str(file), *options]
    done = subprocess.run(
        command, cwd=ROOT, env=process_environment(settings), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, json.loads(file.read_text())


@dataclass
class Hands:
    """What goes around the lane: the hands of a vandal in Redis, store and log."""

    system: System
    folder: str
    manifests: RedisManifests
    store: WeaviateStore

    def ref(self, name: str) -> DocumentRef:
        return DocumentRef("default", f"{self.folder}/{name}")

    def put(self, name: str, title: str) -> DocumentRef:
        ref = self.ref(name)
        text = f"The word of document {name} is {secrets.token_hex(6)}."
        if name in self.texts:
            text = self.texts[name]
        self.texts[name] = text
        assert self.system.put_json(ref.doc_id, text=text, title=title, metadata={"n": 7})["status"] == "indexed"
        return ref

    def __post_init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def hash_of(self, ref: DocumentRef) -> dict[str, str]:
        found = await self.manifests._redis.hgetall(self.manifests._document(ref))
        return {str(name): str(value) for name, value in found.items()}

    async def set_hash(self, ref: DocumentRef, fields: dict[str, str]) -> None:
        await self.manifests._redis.delete(self.manifests._document(ref))
        if fields:
            await self.manifests._redis.hset(self.manifests._document(ref), mapping=dict[Any, Any](fields))

    async def stored(self, ref: DocumentRef) -> StoredChunk:
        """The one chunk of a document, with a vector of our own."""
        [manifest] = await self.manifests.read([ref])
        [found] = await self.store.objects({ref: list(manifest.chunks)}, whole=True)
        vector = [1.0] + [0.0] * (self.store._dimension - 1)
        return StoredChunk(found.id, ref, 0, found.text or "", (PUBLIC,), {"n": 7}, vector)

    def announce(self, ref: DocumentRef, value: bytes | None, headers: dict[str, bytes]) -> None:
        kafka = self.system.settings.kafka
        producer = Producer({"bootstrap.servers": kafka.brokers})
        partition = partition_of(document_key(ref), kafka.partitions)
        topic = registry.INDEX_EVENTS.full_name(kafka.prefix, "g1")
        producer.produce(topic, value, event_key(ref), partition, headers=list(headers.items()))
        assert producer.flush(10) == 0

    async def missing(self, ref: DocumentRef) -> None:
        await self.store.delete({ref: [(await self.stored(ref)).id]})

    async def altered(self, ref: DocumentRef) -> None:
        await self.store.upsert([replace(await self.stored(ref), text="Somebody else's words.")])

    async def orphaned(self, ref: DocumentRef) -> None:
        await self.store.upsert([replace(await self.stored(ref), id=str(uuid.uuid4()))])

    async def mixed(self, ref: DocumentRef) -> None:
        fields = await self.hash_of(ref)
        await self.set_hash(ref, fields | {"head": fields["head"].replace("First", "Forged")})

    async def stale(self, ref: DocumentRef) -> None:
        fields = await self.hash_of(ref)
        await asyncio.to_thread(self.put, "stale", "Second")
        await self.set_hash(ref, fields)

    async def lost(self, ref: DocumentRef) -> None:
        await self.missing(ref)
        await self.set_hash(ref, {})
        self.announce(ref, None, {})

    async def extra(self, ref: DocumentRef) -> None:
        fields, chunk = await self.hash_of(ref), await self.stored(ref)
        token = self.system.http.delete(f"/v1/documents/{ref.doc_id}").json()["token"]
        assert self.system.wait(ref.doc_id, token)["status"] == "deleted"
        async with asyncio.timeout(DEADLINE):
            while not (await self.manifests.status([ref]))[0].done:  # or its clean-up takes the object away again
                await asyncio.sleep(0.02)
        await self.store.upsert([chunk])
        await self.set_hash(ref, fields)

    async def stranger(self) -> DocumentRef:
        """A document that no record ever spoke of, complete everywhere else."""
        ref, text, version = self.ref("stranger"), "Nobody published this.", Version(1, 0)
        head = DocumentHead(published_at=1)
        line = ManifestChunk(identity_hash(text_hash(text), [], {}))
        id_ = chunk_id("g1", ref, version, 0)
        await self.store.upsert(
            [StoredChunk(id_, ref, 0, text, (PUBLIC,), {}, [1.0] + [0.0] * (self.store._dimension - 1))]
        )
        flip = Flip(ref, None, str(version), False, head, {id_: line}, (), 1)
        assert await self.manifests.flip([flip]) == [True]
        await self.manifests.finish({ref: str(version)})
        manifest = manifest_of(flip, None)
        assert manifest.last_seen is not None
        event = event_of(ref, manifest, manifest.last_seen)
        self.announce(ref, encode(event), schema_header(event))
        return ref


async def distrust(manifests: RedisManifests) -> None:
    """What the chunk stage does after it was away for too long."""
    await manifests.open()
    await manifests.distrust("planted")
    await manifests.close()


@pytest.fixture
def hands(system: System) -> Hands:
    weights = resolve(system.settings.encoder.model)
    store = WeaviateStore(system.settings, model=weights.model_id, dimension=weights.dimension)
    return Hands(system, f"audit-{secrets.token_hex(4)}", RedisManifests(system.settings), store)


@pytest.fixture
def editing(system: System) -> Iterator[list[str]]:
    """A thread that publishes, edits and deletes as fast as the lane goes; tokens as they come.

    Only a few versions are under way at a time: with a queue before the lane everything would be in flight, not moving.
    """
    tokens: list[str] = []
    stop = threading.Event()

    def edit() -> None:
        for n in itertools.count():
            if stop.is_set():
                return
            path = f"/v1/documents/busy/{n % BUSY}"
            if n % 5:
                text = f"Round {n} of a document that never rests. " * (1 + n % 40)
                response = system.http.put(path, content=text, headers={"Content-Type": "text/plain"})
            else:
                response = system.http.delete(path)
            assert response.status_code == 202
            tokens.append(response.json()["token"])
            if n >= 4:
                system.wait(f"busy/{(n - 4) % BUSY}", tokens[n - 4])

    thread = threading.Thread(target=edit)
    thread.start()
    yield tokens
    stop.set()
    thread.join(30)
    for n in range(BUSY):
        system.wait(f"busy/{n}", system.http.delete(f"/v1/documents/busy/{n}").json()["token"])


def test_a_busy_system_is_clean(system: System, editing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """While documents are published, edited and deleted without a pause, no audit of many raises an alarm.

    Some of them see motion that looks like drift: else there would be nothing to this test.
    """
    suspected = 0
    read = Sources.read_objects

    async def suspicious(sources: Sources) -> None:
        nonlocal suspected
        suspected += 1
        await read(sources)

    monkeypatch.setattr(Sources, "read_objects", suspicious)
    until = time.monotonic() + DEADLINE
    for rounds in itertools.count(1):
        with Tables() as tables:
            tenants = system.settings.tenants
            report = asyncio.run(
                audit._run(system.settings, tables, tenants, repair=False, times=(0.2, 3600.0), whole=True)
            )
            assert report.clean, (report, list(read_findings(tables)))
        if rounds >= 10 and suspected >= 3:
            break
        assert time.monotonic() < until, (rounds, suspected)
    assert len(editing) > 20 and report.documents


def test_drift_is_found_and_mended(system: System, hands: Hands, tmp_path: Path) -> None:
    """Each kind of drift, planted behind the lane's back, is found for what it is; after a repair all is clean."""

    async def plant() -> set[tuple[str, str]]:
        await hands.manifests.open()
        await hands.store.open()
        wanted = {("extra", (await hands.stranger()).doc_id)}
        for name in PLANTED:
            ref = await asyncio.to_thread(hands.put, name, "First")
            spoil: Callable[[DocumentRef], Awaitable[None]] = getattr(hands, name)
            await spoil(ref)
            wanted.add((name, ref.doc_id))
        await asyncio.to_thread(hands.put, "untouched", "First")
        await hands.manifests.close()
        await hands.store.close()
        return wanted

    wanted = asyncio.run(plant())

    def ours(found: dict[str, Any]) -> set[tuple[str, str]]:
        return {(f["kind"], f["doc_id"]) for f in found["drift"] if f["doc_id"].startswith(hands.folder)}

    code, found = run(system, tmp_path / "found.json", "--grace", "0")
    assert code == 1 and ours(found) == wanted, found
    asyncio.run(distrust(hands.manifests))
    assert system.http.get("/readyz").json()["checks"]["audit"] == {"ok": False, "reason": "planted"}
    code, mended = run(system, tmp_path / "mended.json", "--grace", "0", "--repair")
    assert (code, mended["drift"]) == (0, []), mended
    assert mended["mended"]["sent through the lane again"] == len(wanted) - 1, mended
    assert system.http.get("/readyz").json()["checks"]["audit"] == {"ok": True}
    code, found = run(system, tmp_path / "clean.json", "--grace", "0")
    assert (code, found["drift"], found["garbage"]) == (0, [], 0), found

    for name, text in hands.texts.items():
        shown = [p for p in system.retrieve(text) if p["doc_id"] == hands.ref(name).doc_id]
        assert [(p["text"], p["title"]) for p in shown] == (
            [] if name == "extra" else [(text, "Second" if name == "stale" else "First")]
        ), name
        system.http.delete(f"/v1/documents/{hands.ref(name).doc_id}")
    assert not [p for p in system.retrieve("Nobody published this.") if p["doc_id"] == hands.ref("stranger").doc_id]
    assert msgspec.json.decode((tmp_path / "found.json").read_bytes())["kinds"].keys() == set(PLANTED)
