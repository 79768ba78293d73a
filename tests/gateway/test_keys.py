"""API keys: who comes in, as whom, and to what."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.errors import Transient
from connectors.memory.manifests import MemoryManifests
from connectors.ports import Flip, ManifestChunk
from gateway import keys as keys_module
from gateway.app import create_app
from gateway.keys import Key, KeyRing, Scope, digest, mint, read_keys, write_keys
from gateway.memory_log import MemoryLog
from gateway.serve import check_door
from runtime.settings import Settings, SettingsError
from tests.gateway.builders import asked, door_settings, serving, whole_story
from topics.documents import DocumentHead
from topics.identity import DocumentRef

PLAIN = {"Content-Type": "text/plain"}
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def entry(key: str, *scopes: Scope, **fields: Any) -> Key:
    """A line for a key."""
    return Key(id=key.split("_")[1], sha256=digest(key), scopes=list(scopes), created=NOW, **fields)


class Holders:
    """Keys of different people, and their file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        names = ("ann", "bob", "writer", "other", "twin", "ops", "late")
        self.ann, self.bob, self.writer, self.other, self.twin, self.ops, self.late = map(mint, names)
        self.entries = [
            entry(self.ann, "read", principals=["ann", "staff"]),
            entry(self.bob, "read", principals=["bob"]),
            entry(self.writer, "read", "write"),
            entry(self.other, "read", "write", tenant="acme"),
            entry(self.twin, "read", tenant="acme", principals=["ann", "staff"]),  # ann's namesake at another tenant
            entry(self.ops, "admin"),
            entry(self.late, "read", expires=datetime.now(UTC) - timedelta(seconds=1)),
        ]
        self.save()

    def save(self) -> None:
        self.path.write_bytes(write_keys(self.entries))


async def indexed(manifests: MemoryManifests, doc_id: str, *access: str) -> None:
    """Make a document visible."""
    head = DocumentHead(title="T", access=list(access), published_at=1)
    ref = DocumentRef("default", doc_id)
    await manifests.flip([Flip(ref, None, "1.1", False, head, {"c": ManifestChunk("h")}, (), 1)])


def shown(key: str, **headers: str) -> dict[str, str]:
    """Headers of somebody with a key."""
    return {"Authorization": f"Bearer {key}"} | headers


@pytest.fixture
def holders(tmp_path: Path) -> Holders:
    """Who has keys."""
    return Holders(tmp_path / "keys.jsonl")


@pytest.fixture
def keyed(holders: Holders) -> Settings:
    """Settings with keys."""
    return door_settings(TENANTS="default,acme", API_KEYS_FILE=str(holders.path), LLM_API_KEY="s3kret-of-the-model")


@pytest.fixture
async def guarded(keyed: Settings, manifests: MemoryManifests, log: MemoryLog) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that asks for keys."""
    async with serving(create_app(keyed, manifests, log)) as client:
        yield client


async def test_every_route_asks_for_its_scope(guarded: httpx.AsyncClient, holders: Holders) -> None:
    """As the OpenAPI document says it: no key is 401, a key without the scope 403, and the rest is open to all."""
    document = (await guarded.get("/schema/openapi.json")).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    ladder = {"read": holders.ops, "write": holders.ann, "admin": holders.writer}  # each lacks that scope
    scopes = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            url = path.format(doc_id="x", job_id="0" * 36, model="freshet")
            bare = await guarded.request(method, url, headers=PLAIN, content=b"x")
            if not operation["security"]:
                assert bare.status_code == 200, path
                continue
            assert operation["security"] == [{"bearer": []}, {"apiKey": []}]
            scope = operation["description"].rpartition("scope `")[2].removesuffix("`.")
            scopes[method, path] = scope
            assert bare.status_code == 401
            assert bare.headers["WWW-Authenticate"] == 'Bearer realm="freshet"'
            assert bare.headers["Content-Type"] == next(iter(operation["responses"]["401"]["content"]))
            lacking = await guarded.request(method, url, headers=shown(ladder[scope]) | PLAIN, content=b"x")
            assert lacking.status_code == 403, (method, path)
            assert f"needs the scope {scope}" in lacking.text
            assert {"401", "403"} <= set(operation["responses"])
    assert scopes == {
        ("post", "/v1/chat/completions"): "read",
        ("post", "/v1/embeddings"): "read",
        ("get", "/v1/models"): "read",
        ("get", "/v1/models/{model}"): "read",
        ("get", "/v1/documents"): "read",
        ("post", "/v1/documents"): "write",
        ("get", "/v1/documents/{doc_id}"): "read",
        ("put", "/v1/documents/{doc_id}"): "write",
        ("delete", "/v1/documents/{doc_id}"): "write",
        ("get", "/v1/retrieve"): "read",
        ("post", "/v1/retrieve"): "read",
        ("get", "/v1/queries"): "read",
        ("post", "/v1/queries"): "read",
        ("get", "/v1/queries/{job_id}"): "read",
        ("delete", "/v1/queries/{job_id}"): "read",
        ("get", "/v1/queries/{job_id}/events"): "read",
        ("get", "/metrics"): "admin",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer freshet_ann_" + "0" * 64},
        {"Authorization": "Bearer freshet_nobody_" + "0" * 64},
        {"Authorization": "Bearer x"},
        {"X-API-Key": "x" * 5000},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
async def test_wrong_keys_are_refused(guarded: httpx.AsyncClient, headers: dict[str, Any]) -> None:
    """Whatever is shown instead of a key, the answer is the same 401, and does not repeat it."""
    answer = await guarded.get("/v1/documents", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="freshet", error="invalid_token"'
    assert answer.json()["detail"] == "this API key is unknown, revoked or expired"


async def test_both_ways_to_show_a_key(guarded: httpx.AsyncClient, holders: Holders) -> None:
    """Authorization and X-API-Key do the same; somebody else's Authorization scheme does not count."""
    for headers in (
        {"authorization": f"bearer  {holders.ann}"},
        {"X-API-Key": holders.ann},
        {"Authorization": "Basic eDp5", "X-API-Key": holders.ann},
    ):
        assert (await guarded.get("/v1/documents", headers=headers)).status_code == 200
    assert (await guarded.get("/v1/documents", headers={"Authorization": f"Basic {holders.ann}"})).status_code == 401


async def test_an_expired_key_is_none(guarded: httpx.AsyncClient, holders: Holders) -> None:
    """After its time a key is as good as none."""
    assert (await guarded.get("/v1/documents", headers=shown(holders.late))).status_code == 401


async def test_tenant_and_principals_come_from_the_key(
    guarded: httpx.AsyncClient, holders: Holders, log: MemoryLog
) -> None:
    """Records bear what the key says; headers may repeat it, and say nothing else."""
    await guarded.put("/v1/documents/x", content=b"x", headers=shown(holders.other) | PLAIN)
    assert log.published[-1].key == b"@acme/x"
    question = {"question": "q"}
    await guarded.post("/v1/queries", json=question, headers=shown(holders.ann))
    assert (asked(log.published[-1])[0]).principals == ["ann", "staff"]
    same = {"Freshet-Tenant": "default", "Freshet-Principals": "staff, ann"}
    assert (await guarded.post("/v1/queries", json=question, headers=shown(holders.ann, **same))).status_code == 202
    count = len(log.published)
    for name, value in (("Freshet-Tenant", "acme"), ("Freshet-Principals", "bob"), ("Freshet-Principals", "ann")):
        answer = await guarded.post("/v1/queries", json=question, headers=shown(holders.ann, **{name: value}))
        assert answer.status_code == 403
        assert answer.json()["errors"][0]["header"] == name
    assert len(log.published) == count


async def test_jobs_belong_to_who_asked(
    guarded: httpx.AsyncClient, holders: Holders, log: MemoryLog, keyed: Settings
) -> None:
    """Another tenant's job is 404, and so is one asked with principals that one does not have, fresh or replayed."""
    job = (await guarded.post("/v1/queries", json={"question": "q"}, headers=shown(holders.ann))).json()["job_id"]
    for event in whole_story(job):
        log.answer(event)
    async with serving(create_app(keyed, MemoryManifests(), log)) as later:
        for client in (guarded, later):
            for path in (f"/v1/queries/{job}", f"/v1/queries/{job}/events"):
                assert (await client.get(path, headers=shown(holders.ann))).status_code == 200
                for stranger in (holders.other, holders.twin, holders.bob, holders.writer):
                    assert (await client.get(path, headers=shown(stranger))).status_code == 404


async def test_a_reader_is_told_of_what_it_may_see(
    guarded: httpx.AsyncClient, holders: Holders, manifests: MemoryManifests
) -> None:
    """Status and list show a reader no title or metadata of a document kept from it; who writes sees all."""
    await indexed(manifests, "open")
    await indexed(manifests, "secret", "ann")
    for key, sees in ((holders.ann, {"open", "secret"}), (holders.bob, {"open"}), (holders.writer, {"open", "secret"})):
        listed = (await guarded.get("/v1/documents", headers=shown(key))).json()["documents"]
        assert {document["doc_id"] for document in listed} == sees
        answer = await guarded.get("/v1/documents/secret", headers=shown(key))
        assert answer.status_code == (200 if "secret" in sees else 404)
    assert (await guarded.get("/v1/documents/open", headers=shown(holders.other))).status_code == 404


async def test_readiness_names_reasons_to_admins_only(
    guarded: httpx.AsyncClient, holders: Holders, log: MemoryLog
) -> None:
    """A balancer needs no key for a status; addresses of servers are for admins; secrets are for nobody."""
    log.broken = {"broker": "away at kafka-1:9093 with s3kret-of-the-model"}
    for headers, reason in (
        ({}, None),
        (shown(holders.ann), None),
        (shown(holders.ops), "away at kafka-1:9093 with **********"),
    ):
        answer = await guarded.get("/readyz", headers=headers)
        assert answer.status_code == 503
        assert answer.json()["checks"]["broker"].get("reason") == reason


async def test_problem_documents_hold_no_secrets(guarded: httpx.AsyncClient, holders: Holders, log: MemoryLog) -> None:
    """What a system behind us said is passed on without what must not be known."""
    log.failure = Transient("refused s3kret-of-the-model")
    answer = await guarded.put("/v1/documents/x", content=b"x", headers=shown(holders.writer) | PLAIN)
    assert answer.status_code == 503
    assert answer.json()["detail"] == "refused **********"


async def test_a_changed_file_counts(
    guarded: httpx.AsyncClient, holders: Holders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revoked key is refused and a new one taken without a restart; a broken file changes nothing."""
    monkeypatch.setattr(keys_module, "LOOK_SECONDS", 0.0)

    async def status(key: str) -> int:
        return (await guarded.get("/v1/documents", headers=shown(key))).status_code

    new = mint("new")
    assert (await status(holders.ann), await status(new)) == (200, 401)
    holders.entries = [*holders.entries[1:], entry(new, "read")]
    holders.save()
    assert (await status(holders.ann), await status(new)) == (401, 200)
    holders.path.write_text("{half a line")
    assert await status(new) == 200
    holders.path.unlink()
    assert await status(new) == 200
    holders.entries.pop()
    holders.save()
    assert await status(new) == 401


def test_the_file_is_looked_at_once_a_second(holders: Holders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests in the same second share one look at the file."""
    ring = KeyRing(holders.path, frozenset({"default", "acme"}))
    looks, stamp = 0, KeyRing._stamp

    def counted(ring: KeyRing) -> tuple[int, int, int]:
        nonlocal looks
        looks += 1
        return stamp(ring)

    monkeypatch.setattr(KeyRing, "_stamp", counted)
    now = time.monotonic()
    monkeypatch.setattr("gateway.keys.time.monotonic", lambda: now + 5)
    for _ in range(10):
        assert ring.find(holders.ann)
    assert looks == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1"),
        ("[]", "line 1"),
        ('{"id": "a"}', "sha256"),
        ('{"id": "a", "sha256": "x", "scopes": [], "created": "2026-01-01T00:00:00Z"}', "64 hexadecimal"),
        ('{"id": "a", "sha256": "%s", "scopes": ["all"], "created": "2026-01-01T00:00:00Z"}', "scopes"),
        ('{"id": "a", "sha256": "%s", "scopes": [], "created": "2026-01-01T00:00:00Z", "admin": true}', "admin"),
        ('{"id": "a", "sha256": "%s", "scopes": [], "created": "2026-01-01T00:00:00"}', "no zone"),
        ('{"id": "a", "sha256": "%s", "scopes": [], "created": "2026-01-01T00:00:00Z", "tenant": "x"}', "tenant"),
        ('{"id": "A b", "sha256": "%s", "scopes": [], "created": "2026-01-01T00:00:00Z"}', "an id has"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start(tmp_path: Path, line: str, says: str) -> None:
    """A gateway does not start with keys that it cannot read, and says which line is wrong and why."""
    path = tmp_path / "keys"
    path.write_text(line.replace("%s", "0" * 64))
    with pytest.raises(SettingsError, match=says):
        KeyRing(path, frozenset({"default"}))


def test_a_missing_file_is_refused_at_the_start(tmp_path: Path) -> None:
    """No file is not the same as no keys."""
    with pytest.raises(SettingsError, match="No such file"):
        KeyRing(tmp_path / "none", frozenset({"default"}))


def test_keys_have_256_bits_and_survive_the_file() -> None:
    """What is minted cannot be guessed, differs each time, and its line comes back as it was."""
    key = mint("a-1")
    assert key != mint("a-1") and len(key.rpartition("_")[2]) == 64
    line = entry(key, "read", principals=["ann"], note="n")
    text = write_keys([line])
    assert read_keys(text) == {"a-1": line}
    assert key.rpartition("_")[2].encode() not in text


@pytest.mark.parametrize(
    ("host", "more", "opens"),
    [
        ("127.0.0.1", {}, True),
        ("127.8.8.8", {}, True),
        ("::1", {}, True),
        ("localhost", {}, True),
        ("0.0.0.0", {}, False),
        ("::", {}, False),
        ("10.0.0.1", {}, False),
        ("gateway.example", {}, False),
        ("0.0.0.0", {"API_KEYS_FILE": "/any"}, True),
        ("0.0.0.0", {"API_BEHIND_PROXY": "true"}, True),
    ],
)
def test_no_open_door_to_other_machines(host: str, more: dict[str, str], opens: bool) -> None:
    """Beyond loopback a gateway needs keys or somebody in front, and says how to get either."""
    settings = door_settings(GATEWAY_HOST=host, **more)
    if opens:
        check_door(settings)
        return
    with pytest.raises(SettingsError, match=r"freshet keys create.*FRESHET_API_BEHIND_PROXY=true"):
        check_door(settings)


async def test_without_keys_all_is_as_ever(client: httpx.AsyncClient) -> None:
    """On loopback nothing is asked for, and the OpenAPI document says that a key may be left out."""
    assert (await client.get("/metrics")).status_code == 200
    document = (await client.get("/schema/openapi.json")).json()
    assert {} in document["paths"]["/v1/documents"]["get"]["security"]
    assert "401" not in document["paths"]["/v1/documents"]["get"]["responses"]
