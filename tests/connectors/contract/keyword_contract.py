"""What every keyword search must do, whichever way its texts come to be there."""

import math
import random
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pytest

from connectors.filters import matches
from connectors.ports import StoredChunk, VectorStore
from connectors.search_ports import KeywordIndex
from topics.documents import Metadata
from topics.identity import PUBLIC, DocumentRef
from topics.queries import Condition, Filter

NUMBERS: list[int | float] = [0, 1, -1, 7, -7, 0.1, -0.1, 1e-300, -1e-300, 5e-324, 1e15, 1e300, -1e300, 1.7e308]
NUMBERS += [2**31, -(2**31), 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, -(2**63), 10**30, 15.999999999999998, 16]
DATES = ["2026-01-02", "2026-01-02T00:00:00Z", "2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00", "1969-12-31"]
DATES += ["0001-01-01", "9999-12-31T23:59:59.999999Z", "2026-01-02T03:04:05.000001Z"]
TEXTS = [
    "a",
    "A",
    " a",
    "a ",
    "",
    "the",
    "7",
    "true",
    "2026-02-30",
    "\u00e9",
    "e\u0301",
    "a\nb",
    "\U0001f600",
    "x" * 4096,
]
VALUES = [*NUMBERS, *DATES, *TEXTS, True, False]
KEYS = ["k", "K", "k ", "text", "\u00e9", "1"]
NEVER = "never-used"


@dataclass(frozen=True)
class Text:
    """One chunk of a document of its own."""

    doc_id: str
    text: str
    access: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    tenant: str = "acme"


@dataclass(frozen=True)
class Found:
    """A hit, with the document's id for a name."""

    doc_id: str
    text: str
    score: float
    words: float


class Keywords(Protocol):
    """The search under test, and how texts come into it."""

    async def put(self, texts: Sequence[Text]) -> None:
        """Let these be found."""

    async def search(
        self,
        text: str,
        limit: int = 1000,
        principals: Sequence[str] = (),
        where: Filter | None = None,
        tenant: str = "acme",
    ) -> list[Found]:
        """Ask."""

    async def texts(self, doc_id: str, places: Sequence[int], tenant: str = "acme") -> dict[int, str]:
        """Texts of a document by their places; each that was put is in the first."""


class InStore:
    """Keyword search over what a vector store holds; tenants bear another name there, so that tests share nothing."""

    def __init__(self, store: VectorStore, index: KeywordIndex, dimension: int) -> None:
        self._store, self._index, self._dimension, self._run = store, index, dimension, secrets.token_hex(4)

    def _ref(self, tenant: str, doc_id: str) -> DocumentRef:
        return DocumentRef(f"{tenant}-{self._run}", doc_id)

    def _id(self, ref: DocumentRef) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, ref.path))

    async def put(self, texts: Sequence[Text]) -> None:
        """As the lane does."""
        vector = np.ones(self._dimension, np.float32)
        refs = [(self._ref(each.tenant, each.doc_id), each) for each in texts]
        await self._store.upsert(
            [StoredChunk(self._id(r), r, 0, t.text, t.access or (PUBLIC,), t.metadata, vector) for r, t in refs]
        )

    async def search(
        self,
        text: str,
        limit: int = 1000,
        principals: Sequence[str] = (),
        where: Filter | None = None,
        tenant: str = "acme",
    ) -> list[Found]:
        """As a question does."""
        owner = self._ref(tenant, "").tenant
        hits = await self._index.search(owner, text, limit, principals, where or {})
        assert all(hit.ref.tenant == owner and hit.id == self._id(hit.ref) and hit.version is None for hit in hits)
        return [Found(hit.ref.doc_id, hit.text, hit.score, hit.words or 0.0) for hit in hits]

    async def texts(self, doc_id: str, places: Sequence[int], tenant: str = "acme") -> dict[int, str]:
        """As passages get their neighbours."""
        ref = self._ref(tenant, doc_id)
        ids = {place: self._id(ref) if place == 0 else str(uuid.uuid4()) for place in places}
        return await self._index.texts(ref, "1", ids)


async def names(keywords: Keywords, text: str, **more: Any) -> set[str]:
    """Documents that are found."""
    found = await keywords.search(text, **more)
    assert len({hit.doc_id for hit in found}) == len(found)
    return {hit.doc_id for hit in found}


def random_value(draw: random.Random) -> Any:
    """A value of a document."""
    return draw.sample(TEXTS, draw.randint(0, 4)) if draw.random() < 0.2 else draw.choice(VALUES)


def random_condition(draw: random.Random) -> Condition:
    """One or two operators, their bounds near values that documents have."""
    condition = Condition()
    for operator in draw.sample(["eq", "ne", "gt", "gte", "lt", "lte", "any", "all"], draw.choice([1, 1, 2])):
        value: Any
        if operator in ("any", "all"):
            value = draw.sample(TEXTS + DATES, draw.randint(0, 3))
        elif operator in ("eq", "ne"):
            value = draw.choice(VALUES)
        else:
            value = draw.choice([*NUMBERS, *DATES, "a"])
            if isinstance(value, float):
                value = draw.choice([value, math.nextafter(value, math.inf), math.nextafter(value, -math.inf)])
        condition = _with(condition, operator, value)
    return condition


def _with(condition: Condition, operator: str, value: Any) -> Condition:
    given = {name: getattr(condition, name) for name in condition.__struct_fields__}
    return Condition(**{**given, operator: value})


class KeywordContract:
    """Subclasses give a fixture ``keywords``: empty for its tenants ``acme`` and ``other``."""

    async def test_words_are_found_best_first(self, keywords: Keywords) -> None:
        """A text with more of the rarer words comes first; ``words`` is the share that it holds; no word, no hit."""
        await keywords.put(
            [
                Text("both", "The turbine drives a compressor."),
                Text("one", "A turbine turns."),
                Text("none", "Cats sleep all day."),
                *(Text(f"more{n}", "A turbine is a machine.") for n in range(5)),
            ]
        )
        found = await keywords.search("turbine compressor")
        assert found[0].doc_id == "both" and found[0].words == pytest.approx(1.0)
        assert found[0].text == "The turbine drives a compressor."
        assert {hit.doc_id for hit in found[1:]} == {"one", *(f"more{n}" for n in range(5))}
        assert all(0 < hit.words < 0.5 and hit.score < found[0].score for hit in found[1:])
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
        assert len(await keywords.search("turbine", limit=3)) == 3 and await keywords.search("turbine", limit=0) == []
        assert await keywords.search("zebra") == []

    async def test_access(self, keywords: Keywords) -> None:
        """Everyone sees what is public; the rest needs one principal of the list, spelled exactly."""
        lists = {"public": (), "staff": ("staff", "admin"), "boss": ("group:boss", "Admin"), "spaced": (" staff",)}
        await keywords.put([Text(name, "pump", access=access) for name, access in lists.items()])
        seen: dict[tuple[str, ...], set[str]] = {
            (): {"public"},
            ("nobody",): {"public"},
            ("staff",): {"public", "staff"},
            ("staff ",): {"public"},
            (" staff",): {"public", "spaced"},
            ("",): {"public"},
            ("Admin",): {"public", "boss"},
            ("admin", "group:boss"): {"public", "staff", "boss"},
            ("STAFF", "group"): {"public"},
        }
        for principals, expected in seen.items():
            assert await names(keywords, "pump", principals=principals) == expected, principals
        many = [f"p{n}" for n in range(2000)]
        assert await names(keywords, "pump", principals=[*many, "staff"]) == {"public", "staff"}

    async def test_tenants_share_nothing(self, keywords: Keywords) -> None:
        """A tenant finds only its own, also when ids are equal; one that has nothing finds nothing."""
        await keywords.put(
            [Text("a", "pump one"), Text("a", "pump two", tenant="other"), Text("other/a", "pump three")]
        )
        assert {hit.text for hit in await keywords.search("pump")} == {"pump one", "pump three"}
        assert {hit.text for hit in await keywords.search("pump", tenant="other")} == {"pump two"}
        assert await keywords.search("pump", tenant="nobody") == []

    @pytest.mark.parametrize("seed", range(2))
    async def test_filters_mean_what_they_are_defined_to(self, keywords: Keywords, seed: int) -> None:
        """Whatever metadata documents have, a filter finds exactly those for which its definition holds."""
        draw = random.Random(seed)
        has = {f"d{n}": {key: random_value(draw) for key in KEYS if draw.random() < 0.7} for n in range(150)}
        has |= {f"v{n}": {"k": value} for n, value in enumerate(VALUES)}
        await keywords.put([Text(name, "pump", metadata=metadata) for name, metadata in has.items()])
        hits = 0
        for _ in range(250):
            keys = draw.sample([*KEYS, "k", NEVER], draw.choice([1, 1, 2]))
            where = {key: random_condition(draw) for key in keys}
            wanted = {name for name, metadata in has.items() if matches(metadata, where)}
            assert await names(keywords, "pump", where=where) == wanted, where
            hits += 0 < len(wanted) < len(has)
        assert hits > 100  # the filters tell documents apart

    @pytest.mark.parametrize(
        "text",
        ["pump AND", "+pump -pump", 'pump"', '"pump', "text:pump", "NOT pump", "pump^9", "pump~2", "pump\\", "(pump",
         "pump [a TO z]", "pump && ||", "tenant:other pump", "{pump}", "pump/", "'pump'", "<b>pump</b>", "\npump\t",
         "$where pump", "\U0001f600 pump \U0001f600", "\u202epump\u202c", "pump \u05e9\u05dc\u05d5\u05dd", "PUMP",
         "pump\0"],
    )  # fmt: skip
    async def test_what_is_typed_is_never_syntax(self, keywords: Keywords, text: str) -> None:
        """Whatever stands around a word, the word is looked for, in its tenant and nowhere else."""
        await keywords.put([Text("a", "The pump is red."), Text("b", "Cats sleep."), Text("x", "pump", tenant="other")])
        assert "a" in await names(keywords, text)
        assert "x" not in await names(keywords, text)

    @pytest.mark.parametrize(
        "text", ["", " ", "*", "?", '+-&|!(){}[]^"~*?:\\/', "\0", "\U0001f600", "\u202e", "*:*", "."]
    )
    async def test_what_holds_no_word_finds_nothing(self, keywords: Keywords, text: str) -> None:
        """It is no error, and not a wish for everything."""
        await keywords.put([Text("a", "The pump is red.")])
        assert await keywords.search(text) == []

    async def test_a_long_question_is_read_to_its_end(self, keywords: Keywords) -> None:
        """Whoever pastes a log and asks at its end is answered."""
        await keywords.put([Text("a", "The turbine is red."), Text("b", "Noise like w3 and w5.")])
        noise = " ".join(f"w{n}" for n in range(700))
        found = await keywords.search(f"{noise} turbine")
        assert {hit.doc_id for hit in found} == {"a", "b"} and all(0 < hit.words < 0.1 for hit in found)

    async def test_texts_of_all_scripts(self, keywords: Keywords) -> None:
        """Words of every script that puts spaces between them are found, whatever the case."""
        texts = {
            "hebrew": "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
            "greek": "\u0391\u03b8\u03ae\u03bd\u03b1 \u03c0\u03cc\u03bb\u03b7",
        }
        texts |= {
            "russian": "\u041c\u043e\u0441\u043a\u0432\u0430 \u0433\u043e\u0440\u043e\u0434",
            "korean": "\uc11c\uc6b8 \ub3c4\uc2dc",
        }
        await keywords.put([Text(name, text) for name, text in texts.items()])
        for name, text in texts.items():
            assert await names(keywords, text.split()[0]) == {name}
            assert await names(keywords, text.split()[1].upper()) == {name}

    async def test_a_text_that_is_put_again_is_replaced(self, keywords: Keywords) -> None:
        """Its words, access list and metadata are the new ones, and there is one of it."""
        before = Text("a", "old pump", access=("x",), metadata={"k": 1})
        await keywords.put([before])
        await keywords.put([replace(before, text="new pump", access=("y",), metadata={"k": 2})])
        assert await names(keywords, "pump", principals=["x"]) == set()
        assert await names(keywords, "old", principals=["y"]) == set()
        assert await names(keywords, "pump", principals=["y"], where={"k": Condition(eq=1)}) == set()
        assert await names(keywords, "new", principals=["y"], where={"k": Condition(eq=2)}) == {"a"}

    async def test_texts_by_their_places(self, keywords: Keywords) -> None:
        """Those that are there, of this document and tenant; of a document that is not there, none."""
        await keywords.put([Text("a", "one pump"), Text("b", "two pumps"), Text("a", "other pump", tenant="other")])
        assert await keywords.texts("a", [0, 1]) == {0: "one pump"}
        assert await keywords.texts("b", [0]) == {0: "two pumps"}
        assert await keywords.texts("a", [0], tenant="other") == {0: "other pump"}
        assert await keywords.texts("c", [0]) == {} == await keywords.texts("a", [])
        assert await keywords.texts("a", [0], tenant="nobody") == {}
