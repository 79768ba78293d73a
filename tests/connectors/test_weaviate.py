"""Weaviate fulfils the contract of vector stores, and says so when it cannot."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import weaviate
from weaviate.exceptions import WeaviateInsertManyAllFailedError, WeaviateQueryError

from connectors.errors import Overloaded, Permanent, Transient, Unclear
from connectors.stores import weaviate_schema as schema
from connectors.stores.weaviate import WeaviateStore
from connectors.stores.weaviate_errors import judge, translate
from runtime.settings import Settings
from tests.connectors.contract.store_contract import AXES, DIMENSION, Catalogue, StoreContract, ids
from topics.identity import DocumentRef
from topics.queries import Condition

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("collections_swept")]


def make(settings: Settings, generation: str, *, model: str = "m", dimension: int = DIMENSION) -> WeaviateStore:
    return WeaviateStore(settings, model=model, dimension=dimension, generation=generation)


def with_documents(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update={"documents": settings.documents.model_copy(update=changes)})


@pytest.fixture
def generation() -> str:
    return f"g{uuid.uuid4().hex[:12]}"


class TestStore(StoreContract):
    """The contract, one bucket per tenant."""

    @pytest.fixture
    async def store(self, settings: Settings) -> AsyncIterator[WeaviateStore]:
        store = make(settings, "contract")
        await store.open()
        yield store
        await store.close()


class TestStoreOfThreeBuckets(StoreContract):
    """The contract, three buckets per tenant."""

    @pytest.fixture
    async def store(self, settings: Settings) -> AsyncIterator[WeaviateStore]:
        store = make(with_documents(settings, buckets=3), "buckets")
        await store.open()
        yield store
        await store.close()

    async def test_buckets_are_used_and_merged(self, store: WeaviateStore, catalogue: Catalogue) -> None:
        """Documents spread over all buckets, a document lies in one, and search merges them best first."""
        chunks = [catalogue.chunk(f"d{n}", AXES[0] + AXES[1] * n) for n in range(60)]
        places = {schema.Tenants(3).of(chunk.ref) for chunk in chunks}
        assert places == {f"{catalogue.tenant}-{bucket}" for bucket in range(3)}
        await store.upsert(chunks)
        assert await catalogue.find(store, limit=25) == [f"d{n}" for n in range(25)]


async def test_two_readers_learn_new_keys(settings: Settings, generation: str) -> None:
    """A process that only searches finds by a key as soon as another process has added it."""
    writer, reader = make(settings, generation), make(settings, generation)
    await writer.open()
    await reader.open()
    catalogue = Catalogue("acme")
    assert await catalogue.find(reader, {"later": Condition(eq="x")}) == []
    await writer.upsert([catalogue.chunk("a", metadata={"later": "x"})])
    assert await catalogue.find(reader, {"later": Condition(eq="x")}) == ["a"]
    await writer.close()
    await reader.close()


async def test_many_workers_start_and_write_at_once(settings: Settings, generation: str) -> None:
    """Several workers may create the collection, a tenant and the same new properties at the same moment."""
    stores = [make(settings, generation) for _ in range(4)]
    catalogue = Catalogue("acme")
    await asyncio.gather(*(store.open() for store in stores))
    metadata = {"a": "x", "b": 1, "c": True, "d": ["x"], "e": "2026-01-01"}
    await asyncio.gather(
        *(store.upsert([catalogue.chunk(f"d{n}", metadata=metadata)]) for n, store in enumerate(stores))
    )
    assert set(await catalogue.find(stores[0], {"d": Condition(eq="x")})) == {"d0", "d1", "d2", "d3"}
    await asyncio.gather(*(store.close() for store in stores))


async def test_open_and_close_are_repeatable(settings: Settings, generation: str) -> None:
    """Opening twice, closing twice and opening again is safe; closed means Transient."""
    store, catalogue = make(settings, generation), Catalogue("acme")
    await store.open()
    await store.open()
    await store.upsert([catalogue.chunk("a")])
    await store.close()
    await store.close()
    with pytest.raises(Transient):
        await store.existing(ids([catalogue.chunk("a")]))
    await store.open()
    assert await catalogue.find(store) == ["a"]
    await store.close()


@pytest.mark.parametrize("other", [{"model": "n"}, {"dimension": DIMENSION + 1}], ids=repr)
async def test_collection_of_another_shape_is_refused(
    settings: Settings, generation: str, other: dict[str, object]
) -> None:
    """A collection made for another model or dimension is Permanent at the start, and the message says what to do."""
    store = make(settings, generation)
    await store.open()
    stranger = make(settings, generation, **other)  # type: ignore[arg-type]
    with pytest.raises(Permanent, match="FRESHET_GENERATION"):
        await stranger.open()
    for each in (store, stranger):
        await each.close()


async def test_other_bucket_count_is_refused(settings: Settings, generation: str) -> None:
    """Changing the number of buckets would lose documents, so it is refused."""
    store, stranger = make(settings, generation), make(with_documents(settings, buckets=2), generation)
    await store.open()
    with pytest.raises(Permanent, match="buckets"):
        await stranger.open()
    for each in (store, stranger):
        await each.close()


async def test_too_many_keys_are_refused(settings: Settings, generation: str) -> None:
    """The key beyond the limit is Permanent and names chunk and setting; known keys still pass, in every kind."""
    store, catalogue = make(with_documents(settings, max_filterable_keys=2), generation), Catalogue("acme")
    await store.open()
    await store.upsert([catalogue.chunk("a", metadata={"k1": "x", "k2": "y"})])
    await store.upsert([catalogue.chunk("b", metadata={"k1": 1, "k2": True})])
    third = catalogue.chunk("c", metadata={"k3": "z"})
    with pytest.raises(Permanent, match=f"{third.id}.*FRESHET_MAX_FILTERABLE_KEYS"):
        await store.upsert([third])
    assert set(await catalogue.find(store)) == {"a", "b"}
    await store.close()


async def test_errors_of_single_objects_are_raised(settings: Settings, generation: str) -> None:
    """What the server refuses object by object is raised, naming the chunk, whether some or all objects failed."""
    store, catalogue = make(settings, generation), Catalogue("acme")
    await store.open()
    await store.upsert([catalogue.chunk("first")])
    store._dimension += 1  # let what does not fit pass our own check
    bad = catalogue.chunk("bad", [1.0] * (DIMENSION + 1))
    worse = replace(bad, id=str(uuid.uuid4()))
    with pytest.raises(Permanent, match="do not match"):
        await store.upsert([bad, worse])
    store._check_vector = lambda chunk: None  # type: ignore[method-assign]
    with pytest.raises(Permanent, match=bad.id):
        await store.upsert([catalogue.chunk("good"), bad])
    assert set(await catalogue.find(store)) == {"first", "good"}
    await store.close()


async def test_malformed_id_is_permanent(settings: Settings, generation: str) -> None:
    """An id that is no UUID is Permanent everywhere."""
    store, catalogue = make(settings, generation), Catalogue("acme")
    await store.open()
    for call in (
        store.upsert([replace(catalogue.chunk("a"), id="not-a-uuid")]),
        store.delete({DocumentRef("acme", "a"): ["not-a-uuid"]}),
        store.existing({DocumentRef("acme", "a"): ["not-a-uuid"]}),
    ):
        with pytest.raises(Permanent):
            await call
    await store.close()


async def test_collection_made_anew_is_healed(settings: Settings, generation: str) -> None:
    """When somebody drops the collection, opening again makes it anew and forgets what was known of the old one."""
    store, catalogue = make(settings, generation), Catalogue("acme")
    await store.open()
    await store.upsert([catalogue.chunk("a", metadata={"k": "x"})])
    name = schema.collection_name(settings.kafka.prefix, generation)
    async with httpx.AsyncClient(timeout=30) as http:
        (await http.delete(f"{settings.weaviate.url}/v1/schema/{name}")).raise_for_status()
    await store.open()
    await store.upsert([catalogue.chunk("b", metadata={"k": "x"})])
    assert await catalogue.find(store, {"k": Condition(eq="x")}) == ["b"]
    await store.close()


async def test_absent_server_is_transient(settings: Settings) -> None:
    """Nobody listening is Transient, quickly, and not ready."""
    gone = settings.weaviate.model_copy(update={"url": "http://127.0.0.1:1", "grpc": "127.0.0.1:2"})
    store = make(settings.model_copy(update={"weaviate": gone}), "g1")
    with pytest.raises(Transient):
        await store.open()
    assert not await store.ready()
    await store.close()


async def test_server_that_goes_away_costs_a_second(settings: Settings, generation: str) -> None:
    """When the server vanishes while we are connected, a search ends in about a second, not in the client's minute."""
    grpc_host, _, grpc_port = settings.weaviate.grpc.rpartition(":")
    http = httpx.URL(settings.weaviate.url)
    doors = [await _door(http.host, http.port or 80), await _door(grpc_host, int(grpc_port))]
    here = settings.weaviate.model_copy(
        update={"url": f"http://127.0.0.1:{doors[0].port}", "grpc": f"127.0.0.1:{doors[1].port}"}
    )
    store, catalogue = make(settings.model_copy(update={"weaviate": here}), generation), Catalogue("acme")
    await store.open()
    await store.upsert([catalogue.chunk("a")])
    for door in doors:
        await door.shut()
    began = time.monotonic()
    with pytest.raises(Transient):
        await catalogue.find(store)
    assert time.monotonic() - began < 3
    await store.close()


class _Door:
    """A TCP relay that can be shut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers += [writer, back]
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async def shut(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


async def _door(host: str, port: int) -> _Door:
    door = _Door(host, port)
    await door.open()
    return door


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("new node has a vector with length 4: vector dimensions do not match the index dimensions", Permanent),
        ("invalid number property 'n' on class 'X': requires a float, the given value is 'str'", Permanent),
        ("store is read-only due to: disk usage too high", Transient),
        ("shard is in status READONLY", Transient),
        ("context deadline exceeded", Unclear),
        ("invalid memory address or nil pointer dereference", Unclear),
        ("not enough memory mappings", Overloaded),
        ("429 too many requests", Overloaded),
        ("leader not found", Transient),
        ("something that no version ever said", Unclear),
    ],
)
def test_messages_are_told_apart(text: str, kind: type[Exception]) -> None:
    """Only what is surely the object's fault is Permanent; an outage never is, and what may be either is Unclear."""
    assert type(judge(text, "upsert")) is kind


def test_client_errors_are_told_apart() -> None:
    """Errors without a server's message are judged by their kind."""
    assert type(translate(TimeoutError(), "search")) is Unclear
    assert type(translate(httpx.ConnectError("refused"), "search")) is Transient
    assert type(translate(ValueError("surrogates not allowed"), "upsert")) is Permanent
    assert type(translate(WeaviateQueryError("panic", "GRPC search"), "search")) is Unclear
    assert type(translate(WeaviateInsertManyAllFailedError("read-only"), "upsert")) is Transient
    assert type(translate(weaviate.exceptions.WeaviateClosedClientError(), "upsert")) is Transient


def test_names_are_injective() -> None:
    """Different prefixes, generations, tenants and keys never meet under one name, not even by their case."""
    pairs = [("a", "b"), ("A", "b"), ("a_b", "c"), ("a", "b_c"), ("a-b", "c"), ("a_0b", "c"), ("a_u", "b"), ("a", "0b")]
    pairs += [("freshet", "g1"), ("Freshet", "g1"), ("fReshet", "g1"), ("f_creshet", "g1"), ("a-", "b"), ("a_d", "b")]
    names = {schema.collection_name(*pair).lower() for pair in pairs}
    assert len(names) == len(pairs)
    keys = ["a", "A", "_a", "__a", "_61", "a_", "a b", "\u00e9", "e\u0301", "k" * 300, "K" * 300, "_h", "h", ""]
    assert len({schema.property_name("s", key).lower() for key in keys}) == len(keys)
    tenants = ["a", "a-1", "a_1", "x" * 63, "x" * 62, "h" * 63]
    places = [place for tenant in tenants for place in schema.Tenants(12).all(tenant)]
    assert len(set(places)) == len(places)
    assert all(len(place) <= 64 for place in places)
