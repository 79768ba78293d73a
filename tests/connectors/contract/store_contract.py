"""What every vector store must do."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from connectors.errors import Permanent
from connectors.filters import matches
from connectors.ports import StoredChunk, StoredObject, Vectors, VectorStore
from topics.documents import Metadata
from topics.identity import PUBLIC, DocumentRef
from topics.queries import Condition, Filter, FilterScalar

DIMENSION = 8
AXES = np.eye(DIMENSION, dtype=np.float32)
# One key, all kinds of values: what one document has under it says nothing about the next.
VALUES: dict[str, Metadata] = {
    "missing": {},
    "text": {"k": "beta"},
    "case": {"k": "Beta"},
    "spaced": {"k": " beta"},
    "empty": {"k": ""},
    "stopword": {"k": "the"},
    "quoted": {"k": "'beta'"},
    "digits": {"k": "7"},
    "yes": {"k": "true"},
    "seven": {"k": 7},
    "half": {"k": 7.5},
    "minus": {"k": -7},
    "zero": {"k": 0},
    "minuszero": {"k": -0.0},
    "true": {"k": True},
    "false": {"k": False},
    "vast": {"k": 2**53},
    "vaster": {"k": 2**53 + 1},
    "long": {"k": -(2**63)},
    "date": {"k": "2026-01-02T03:04:05Z"},
    "zoned": {"k": "2026-01-02T05:04:05+02:00"},
    "day": {"k": "2026-01-02"},
    "far": {"k": "9999-12-31T23:59:59Z"},
    "old": {"k": "0001-01-01"},
    "nodate": {"k": "2026-02-30"},
    "list": {"k": ["alpha", "beta"]},
    "listed": {"k": ["beta", " beta", "7"]},
    "nothing": {"k": []},
    "composed": {"k": "\u00e9"},
    "decomposed": {"k": "e\u0301"},
}


class Catalogue:
    """Builds chunks of one test's own tenant."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.names: dict[str, str] = {}

    def chunk(
        self,
        name: str,
        vector: Sequence[float] | Vectors = AXES[0],
        *,
        access: tuple[str, ...] = (PUBLIC,),
        metadata: Mapping[str, object] | None = None,
        tenant: str | None = None,
        doc_id: str | None = None,
    ) -> StoredChunk:
        ref = DocumentRef(tenant or self.tenant, name if doc_id is None else doc_id)
        chunk_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ref.path}\n{name}"))
        self.names[chunk_id] = name
        return StoredChunk(
            id=chunk_id,
            ref=ref,
            ordinal=3,
            text=f"text of {name}",
            access=access,
            metadata=dict(metadata or {}),  # type: ignore[arg-type]  # tests write what they like
            vector=vector,
        )

    async def find(
        self,
        store: VectorStore,
        where: Filter | None = None,
        *,
        principals: Sequence[str] = (),
        vector: Vectors = AXES[0],
        limit: int = 1000,
    ) -> list[str]:
        hits = await store.search(self.tenant, vector, limit, principals, where or {})
        return [self.names[hit.id] for hit in hits]


def ids(chunks: Sequence[StoredChunk]) -> dict[DocumentRef, list[str]]:
    by_ref: dict[DocumentRef, list[str]] = {}
    for chunk in chunks:
        by_ref.setdefault(chunk.ref, []).append(chunk.id)
    return by_ref


class StoreContract:
    """Subclasses give a fixture ``store``: open, for vectors of ``DIMENSION``."""

    @pytest.fixture
    def catalogue(self) -> Catalogue:
        return Catalogue(f"t{uuid.uuid4().hex[:12]}")

    async def test_round_trip(self, store: VectorStore, catalogue: Catalogue) -> None:
        """What was written exists and is found, nearest first, with its text, document and cosine."""
        near = (AXES[0] * 0.6 + AXES[1] * 0.8).astype(np.float32)
        chunks = [catalogue.chunk("a", AXES[0] * 3), catalogue.chunk("b", near), catalogue.chunk("c", -AXES[0])]
        await store.upsert(chunks)
        assert await store.existing(ids(chunks)) == {chunk.id for chunk in chunks}
        hits = await store.search(catalogue.tenant, AXES[0], 10, [], {})
        assert [(hit.id, hit.ref, hit.text) for hit in hits] == [(c.id, c.ref, c.text) for c in chunks]
        assert [hit.score for hit in hits] == pytest.approx([1.0, 0.6, -1.0], abs=1e-5)
        assert await catalogue.find(store, limit=2) == ["a", "b"]
        assert await catalogue.find(store, limit=0) == []

    async def test_upsert_replaces(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Writing an id again replaces vector, access and metadata, and leaves one object; the same again is fine."""
        await store.upsert([catalogue.chunk("a", AXES[0], access=("x",), metadata={"k": "old", "gone": 1})])
        for _ in range(2):
            await store.upsert([catalogue.chunk("a", AXES[1], access=("y",), metadata={"k": "new"})])
        assert await catalogue.find(store, principals=["x"]) == []
        assert await catalogue.find(store, {"k": Condition(eq="old")}, principals=["y"]) == []
        assert await catalogue.find(store, {"gone": Condition(eq=1)}, principals=["y"]) == []
        assert await catalogue.find(store, {"k": Condition(eq="new")}, principals=["y"]) == ["a"]
        [hit] = await store.search(catalogue.tenant, AXES[1], 10, ["y"], {})
        assert hit.score == pytest.approx(1.0, abs=1e-5)

    async def test_nothing_asked(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Empty calls are fine, and so is a tenant for whom nothing was ever stored."""
        await store.upsert([])
        await store.delete({})
        assert await store.existing({}) == set()
        unknown = catalogue.chunk("a")
        assert await store.existing(ids([unknown])) == set()
        await store.delete(ids([unknown]))
        assert await catalogue.find(store) == []

    async def test_delete(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Deleted objects are neither found nor there; ids that are not there, and doing it twice, are fine."""
        chunks = [catalogue.chunk(name) for name in "abc"]
        await store.upsert(chunks)
        for _ in range(2):
            await store.delete(ids([chunks[0], catalogue.chunk("unknown"), chunks[2]]))
        assert await catalogue.find(store) == ["b"]
        assert await store.existing(ids(chunks)) == {chunks[1].id}

    async def test_thousands_at_once(self, store: VectorStore, catalogue: Catalogue) -> None:
        """2,500 chunks of one document are written, looked up and deleted, all of them."""
        rng = np.random.default_rng(1)
        vectors = rng.normal(size=(2500, DIMENSION)).astype(np.float32)
        chunks = [catalogue.chunk(f"c{n}", v, doc_id="long") for n, v in enumerate(vectors)]
        await store.upsert(chunks)
        assert await store.existing(ids(chunks)) == {chunk.id for chunk in chunks}
        await store.delete(ids(chunks[:-1]))
        assert await store.existing(ids(chunks)) == {chunks[-1].id}
        assert await catalogue.find(store) == ["c2499"]

    async def test_lookalike_ids_come_back_whole(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Document ids come back letter by letter, whatever is in them."""
        doc_ids = ["a", "A", " a", "a ", "a/b#1%2F@", "caf\u00e9", "cafe\u0301", "\U0001f600", "'a'", "x" * 1024]
        await store.upsert([catalogue.chunk(f"c{n}", doc_id=doc_id) for n, doc_id in enumerate(doc_ids)])
        hits = await store.search(catalogue.tenant, AXES[0], 100, [], {})
        assert sorted(hit.ref.doc_id for hit in hits) == sorted(doc_ids)

    async def test_tenants_share_nothing(self, store: VectorStore, catalogue: Catalogue) -> None:
        """A tenant finds only its own, also when its name begins another's and when ids are equal."""
        other = f"{catalogue.tenant}-0"
        await store.upsert([catalogue.chunk("a"), catalogue.chunk("b", tenant=other)])
        assert await catalogue.find(store) == ["a"]
        await store.delete({DocumentRef(other, "a"): [catalogue.chunk("a").id]})
        assert await catalogue.find(store) == ["a"]

    async def test_access(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Everyone sees what is public; the rest needs one principal of the list, spelled exactly."""
        await store.upsert(
            [
                catalogue.chunk("public"),
                catalogue.chunk("staff", access=("staff", "admin")),
                catalogue.chunk("boss", access=("group:boss", "Admin")),
                catalogue.chunk("spaced", access=(" staff",)),
            ]
        )
        seen: dict[tuple[str, ...], set[str]] = {
            (): {"public"},
            ("nobody",): {"public"},
            ("staff",): {"public", "staff"},
            ("staff ",): {"public"},
            (" staff",): {"public", "spaced"},
            ("",): {"public"},
            ("admin",): {"public", "staff"},
            ("Admin",): {"public", "boss"},
            ("admin", "group:boss"): {"public", "staff", "boss"},
            ("STAFF", "group"): {"public"},
        }
        for principals, expected in seen.items():
            assert set(await catalogue.find(store, principals=principals)) == expected, principals

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (Condition(eq="beta"), "text list listed"),
            (Condition(eq="Beta"), "case"),
            (Condition(eq=" beta"), "spaced listed"),
            (Condition(eq=""), "empty"),
            (Condition(eq="the"), "stopword"),
            (Condition(eq=7), "seven"),
            (Condition(eq=7.0), "seven"),
            (Condition(eq="7"), "digits listed"),
            (Condition(eq=True), "true"),
            (Condition(eq=0), "zero minuszero"),
            (Condition(eq=2**53), "vast"),
            (Condition(eq=2**53 + 1), "vaster"),
            (Condition(eq="2026-01-02T03:04:05Z"), "date zoned"),
            (Condition(eq="2026-02-30"), "nodate"),
            (Condition(gt=7), "half vast vaster"),
            (Condition(gte=7, lt=7.5), "seven"),
            (Condition(lt=0), "minus long"),
            (Condition(gt="2026-01-02"), "date zoned far"),
            (Condition(lte="2026-01-02T00:00:00Z"), "day old"),
            (Condition(gt="beta"), ""),
            (Condition(any=["alpha", "Beta"]), "case list"),
            (Condition(any=[]), ""),
            (Condition(all=["beta", "7"]), "listed"),
            (Condition(all=["beta"]), "text list listed"),
            (Condition(eq="beta", any=["alpha"]), "list"),
        ],
        ids=repr,
    )
    async def test_conditions(self, filled: tuple[VectorStore, Catalogue], condition: Condition, expected: str) -> None:
        """Each operator finds what it names, of the right kind only."""
        store, catalogue = filled
        assert set(await catalogue.find(store, {"k": condition})) == set(expected.split())

    async def test_every_operator_on_every_value(self, filled: tuple[VectorStore, Catalogue]) -> None:
        """The store and the definition of filters agree, for each operator with each value that some document has."""
        store, catalogue = filled
        scalars: list[FilterScalar] = [7, -7.25, 1e300, "nowhere", "2026-01-02T03:04:05.000001Z"]
        scalars += [v for m in VALUES.values() for v in m.values() if not isinstance(v, list)]
        conditions = [Condition(eq=v) for v in scalars] + [Condition(ne=v) for v in scalars]
        for bound in (v for v in scalars if not isinstance(v, bool)):
            conditions += [Condition(gt=bound), Condition(gte=bound), Condition(lt=bound), Condition(lte=bound)]
        texts = [v for v in scalars if isinstance(v, str)]
        for some in ([], *([t] for t in texts), *map(list, itertools.combinations(["beta", " beta", "7", "true"], 2))):
            conditions += [Condition(any=some), Condition(all=some), Condition(ne="beta", any=some)]
        for condition in conditions:
            found = set(await catalogue.find(store, {"k": condition}))
            assert found == {name for name, has in VALUES.items() if matches(has, {"k": condition})}, condition

    @pytest.fixture
    async def filled(self, store: VectorStore, catalogue: Catalogue) -> tuple[VectorStore, Catalogue]:
        """A chunk for each of ``VALUES``."""
        await store.upsert([catalogue.chunk(name, metadata=has) for name, has in VALUES.items()])
        return store, catalogue

    async def test_unknown_key(self, store: VectorStore, catalogue: Catalogue) -> None:
        """A key that no document ever had holds for nothing but ``ne``."""
        await store.upsert([catalogue.chunk("a", metadata={"k": "v"})])
        key = f"never-{uuid.uuid4().hex}"
        for condition in (Condition(eq="v"), Condition(gt=1), Condition(lt="2026-01-01"), Condition(any=["v"])):
            assert await catalogue.find(store, {key: condition}) == []
        assert await catalogue.find(store, {key: Condition(ne="v")}) == ["a"]
        assert await catalogue.find(store, {key: Condition(ne="v"), "k": Condition(eq="v")}) == ["a"]
        assert await catalogue.find(store, {key: Condition(eq="v"), "k": Condition(eq="v")}) == []

    async def test_odd_keys(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Any text is a key, and keys that look alike are different keys."""
        keys = ["a", "A", "a_", "a__", "a-b", "a b", "a.b", "_61", "id", "vector", "text", "doc_id", "access", "", "1"]
        keys += ["\u00e9", "e\u0301", "\U0001f600", "k" * 300, "k" * 301, "K" * 300, "s_a", "_h", "$where", "a\n"]
        await store.upsert([catalogue.chunk(f"c{n}", metadata={key: f"v{n}"}) for n, key in enumerate(keys)])
        for n, key in enumerate(keys):
            assert await catalogue.find(store, {key: Condition(eq=f"v{n}")}) == [f"c{n}"], key
            others = set(catalogue.names.values()) - {f"c{n}"}
            assert set(await catalogue.find(store, {key: Condition(ne=f"v{n}")})) == others, key

    async def test_several_keys(self, store: VectorStore, catalogue: Catalogue) -> None:
        """All keys of a filter must hold, together with access."""
        await store.upsert(
            [
                catalogue.chunk("a", metadata={"lang": "en", "year": 2025}),
                catalogue.chunk("b", metadata={"lang": "en", "year": 2026}),
                catalogue.chunk("c", metadata={"lang": "de", "year": 2026}),
                catalogue.chunk("d", metadata={"lang": "en", "year": 2026}, access=("staff",)),
            ]
        )
        where = {"lang": Condition(eq="en"), "year": Condition(gte=2026)}
        assert await catalogue.find(store, where) == ["b"]
        assert set(await catalogue.find(store, where, principals=["staff"])) == {"b", "d"}

    async def test_long_values(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Texts of 100,000 characters can be stored and asked for."""
        await store.upsert([catalogue.chunk("a", metadata={"long": "x" * 100_000, "many": ["y" * 50_000, "z"]})])
        assert await catalogue.find(store, {"long": Condition(eq="x" * 100_000)}) == ["a"]
        assert await catalogue.find(store, {"many": Condition(all=["z", "y" * 50_000])}) == ["a"]

    @pytest.mark.parametrize(
        "vector", [[1.0] * (DIMENSION - 1), [1.0] * (DIMENSION + 1), [], [float("nan")] * DIMENSION], ids=repr
    )
    async def test_unfit_vector_is_refused(self, store: VectorStore, catalogue: Catalogue, vector: list[float]) -> None:
        """A vector of another length, or with holes, is Permanent and names its chunk; the tenant stays usable."""
        bad = catalogue.chunk("bad", vector)
        with pytest.raises(Permanent, match=bad.id):
            await store.upsert([catalogue.chunk("good"), bad])
        await store.upsert([catalogue.chunk("good")])
        assert await catalogue.find(store) == ["good"]

    async def test_ready(self, store: VectorStore) -> None:
        """An open store is ready."""
        assert await store.ready()

    async def test_walk(self, store: VectorStore, catalogue: Catalogue) -> None:
        """A walk meets every object of the tenant once and no other's, with text, vector and age; by id as well."""
        assert await walked(store, catalogue.tenant) == {}
        began = int(time.time() * 1000) - 2000
        chunks = [catalogue.chunk(f"c{n}", doc_id=f"d{n % 40}") for n in range(1300)]
        await store.upsert([*chunks, catalogue.chunk("other", tenant=f"{catalogue.tenant}x")])
        found = await walked(store, catalogue.tenant)
        assert {(o.id, o.ref, o.text, o.vector) for o in found.values()} == {
            (c.id, c.ref, c.text, True) for c in chunks
        }
        assert all(began < o.written_at < began + 60_000 for o in found.values())
        bare = await walked(store, catalogue.tenant, whole=False)
        assert {(o.id, o.ref, o.text) for o in bare.values()} == {(c.id, c.ref, None) for c in chunks}
        named = await store.objects(ids([*chunks[:600], catalogue.chunk("unknown", doc_id="d1")]), whole=True)
        assert {o.id: o for o in named} == {c.id: found[c.id] for c in chunks[:600]}
        assert await store.objects({}, whole=True) == []

    async def test_imprints(self, filled: tuple[VectorStore, Catalogue]) -> None:
        """What was written can be told from the object: its imprint is that of its access list and metadata alone."""
        store, catalogue = filled
        found = await walked(store, catalogue.tenant)
        assert {catalogue.names[o.id]: o.imprint for o in found.values()} == {
            name: store.imprint([], has) for name, has in VALUES.items()
        }
        same = [{"nothing", "missing"}, {"zero", "minuszero"}]  # a store need not tell these apart
        by_imprint: dict[str, set[str]] = {}
        for o in found.values():
            by_imprint.setdefault(o.imprint, set()).add(catalogue.names[o.id])
        assert all(len(names) == 1 or names in same for names in by_imprint.values())

    async def test_imprints_of_access(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Order and repetition of principals do not matter, everything else does."""
        lists = {"public": (), "a": ("a",), "ab": ("a", "b"), "spaced": (" a",), "star": ("'*'",)}
        await store.upsert([catalogue.chunk(name, access=has or (PUBLIC,)) for name, has in lists.items()])
        found = {catalogue.names[o.id]: o.imprint for o in (await walked(store, catalogue.tenant)).values()}
        assert found == {name: store.imprint(has, {}) for name, has in lists.items()}
        assert len(set(found.values())) == len(lists)
        assert store.imprint(["b", "a", "b"], {}) == found["ab"]

    async def test_an_object_written_again_is_young(self, store: VectorStore, catalogue: Catalogue) -> None:
        """Age counts from the last time an object was written."""
        await store.upsert([catalogue.chunk("a")])
        [before] = (await walked(store, catalogue.tenant)).values()
        await asyncio.sleep(0.05)
        await store.upsert([catalogue.chunk("a", access=("x",))])
        [after] = (await walked(store, catalogue.tenant)).values()
        assert after.written_at > before.written_at and after.imprint != before.imprint


async def walked(store: VectorStore, tenant: str, *, whole: bool = True) -> dict[str, StoredObject]:
    """All objects of a tenant by id, none met twice."""
    pages = [page async for page in store.walk(tenant, whole=whole)]
    found = {o.id: o for page in pages for o in page}
    assert len(found) == sum(map(len, pages))
    return found
