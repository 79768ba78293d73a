"""Tantivy fulfils the contract of keyword search, and keeps versions and places on disk."""

import ctypes
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import Permanent, Transient
from connectors.filters import matches
from connectors.keywords import tantivy_index
from connectors.keywords.tantivy_index import TantivyIndex
from connectors.keywords.terms import covering, metadata_terms, sortable, wanted
from connectors.search_ports import KeywordChunk
from tests.connectors.contract.keyword_contract import DATES, TEXTS, VALUES, Found, KeywordContract, Text
from topics.documents import DocumentHead, Metadata
from topics.identity import DocumentRef
from topics.queries import Condition, Filter

LOG = "log-1"
A = DocumentRef("acme", "a/b #1")
B = DocumentRef("acme", "a")


def head(**more: object) -> DocumentHead:
    return DocumentHead(published_at=0, **more)  # type: ignore[arg-type]


def chunks(*texts: str) -> list[KeywordChunk]:
    return [KeywordChunk(str(uuid.uuid5(uuid.NAMESPACE_OID, text)), text) for text in texts]


def allocated() -> int:
    """Bytes that this process has of the C library."""

    class Info(ctypes.Structure):
        _fields_ = [(f"field{number}", ctypes.c_size_t) for number in range(10)]

    info = ctypes.CDLL(None).mallinfo2
    info.restype = Info
    return int(info().field7)


class Table:
    """The table as the contract asks it: each put is one version of a document, committed."""

    def __init__(self, table: TantivyIndex) -> None:
        self.table = table

    async def put(self, texts: Sequence[Text]) -> None:
        for each in texts:
            ref = DocumentRef(each.tenant, each.doc_id)
            self.table.add(ref, "1", "m", head(access=list(each.access), metadata=each.metadata), chunks(each.text))
        self.table.commit(LOG, {0: 1})

    async def search(
        self,
        text: str,
        limit: int = 1000,
        principals: Sequence[str] = (),
        where: Filter | None = None,
        tenant: str = "acme",
    ) -> list[Found]:
        hits = self.table.search(tenant, text, limit, principals, where or {})
        return [Found(hit.ref.doc_id, hit.text, hit.score, hit.words) for hit in hits]

    async def texts(self, doc_id: str, places: Sequence[int], tenant: str = "acme") -> dict[int, str]:
        return self.table.texts(DocumentRef(tenant, doc_id), "1", places)


def opened(folder: Path, language: str = "english") -> TantivyIndex:
    table = TantivyIndex(folder, language)
    table.open(LOG)
    return table


@pytest.fixture
def table(tmp_path: Path) -> Iterator[TantivyIndex]:
    table = opened(tmp_path)
    yield table
    table.close()


def found(table: TantivyIndex, text: str) -> list[tuple[DocumentRef, str, int, str]]:
    return sorted((h.ref, h.version, h.ordinal, h.text) for h in table.search("acme", text, 100, (), {}))


class TestTantivy(KeywordContract):
    """The contract."""

    @pytest.fixture
    def keywords(self, table: TantivyIndex) -> Table:
        return Table(table)


class TestVersions:
    """What is there of which version."""

    def test_versions_stand_side_by_side_until_removed(self, table: TantivyIndex) -> None:
        """Each is found as it is, in its order, and one is removed without the others."""
        table.add(A, "1", "m1", head(), chunks("old pump", "old valve"))
        table.add(A, "2", "m2", head(), chunks("new pump"))
        table.add(B, "1", "m1", head(), chunks("other pump"))
        table.commit(LOG, {0: 3})
        assert found(table, "pump valve") == sorted(
            [(A, "1", 0, "old pump"), (A, "1", 1, "old valve"), (A, "2", 0, "new pump"), (B, "1", 0, "other pump")]
        )
        assert table.versions == {A: {"1": "m1", "2": "m2"}, B: {"1": "m1"}} and table.chunks == 4
        table.remove(A, ["1", "never there"])
        table.commit(LOG, {0: 3})
        assert found(table, "pump valve") == sorted([(A, "2", 0, "new pump"), (B, "1", 0, "other pump")])
        table.remove(A, ["2"])
        table.commit(LOG, {0: 3})
        assert table.versions == {B: {"1": "m1"}} and table.chunks == 1

    def test_chunks_that_can_be_found_are_counted(self, table: TantivyIndex) -> None:
        """As of the last commit, whatever was added and removed since, and after it was opened again."""
        table.add(A, "1", "m1", head(), chunks("one", "two", "three"))
        assert table.chunks == 0
        table.commit(LOG, {0: 1})
        table.add(A, "2", "m2", head(), chunks("four"))
        table.add(B, "1", "m1", head(), chunks("five"))
        assert table.chunks == 3
        table.remove(A, ["1"])
        assert table.chunks == 3
        table.commit(LOG, {0: 2})
        assert table.chunks == 2
        table.add(A, "3", "m3", head(), chunks("six"))
        table.close()
        table.open(LOG)
        assert table.chunks == 2

    def test_texts_by_their_places(self, table: TantivyIndex) -> None:
        """Of one version of one document, those that are there; nothing of versions that are not."""
        table.add(A, "1", "m1", head(), chunks("old one", "old two", "old three"))
        table.add(A, "2", "m2", head(), chunks("new one", "new two"))
        table.add(B, "1", "m1", head(), chunks("other"))
        table.commit(LOG, {0: 1})
        assert table.texts(A, "1", [2, 1]) == {1: "old two", 2: "old three"}
        assert table.texts(A, "2", range(5)) == {0: "new one", 1: "new two"}
        assert table.texts(A, "3", [0]) == {} == table.texts(A, "1", [])

    def test_a_version_added_again_takes_the_place_of_what_it_was(self, table: TantivyIndex) -> None:
        """Also within one commit; one of no chunks is a version too."""
        table.add(A, "1", "m1", head(), chunks("pump one", "pump two"))
        table.commit(LOG, {0: 1})
        table.add(A, "1", "m2", head(), chunks("pump three"))
        table.add(A, "1", "m3", head(), chunks("pump four"))
        table.add(B, "1", "empty", head(), [])
        table.commit(LOG, {0: 2})
        assert found(table, "pump") == [(A, "1", 0, "pump four")]
        assert table.versions == {A: {"1": "m3"}, B: {"1": "empty"}} and table.chunks == 1

    def test_what_was_not_committed_is_neither_found_nor_kept(self, tmp_path: Path) -> None:
        """After closing, it stands where the last commit left it, places included."""
        table = opened(tmp_path)
        table.add(A, "1", "m1", head(), chunks("pump"))
        table.commit(LOG, {0: 5, 3: 7})
        table.add(B, "1", "m1", head(), chunks("pump"))
        table.remove(A, ["1"])
        assert found(table, "pump") == [(A, "1", 0, "pump")]
        table.close()
        with pytest.raises(Transient):
            table.search("acme", "pump", 1, (), {})
        again = TantivyIndex(tmp_path, "english")
        assert again.open(LOG) == {0: 5, 3: 7} and again.versions == {A: {"1": "m1"}}
        assert found(again, "pump") == [(A, "1", 0, "pump")]
        again.close()

    def test_it_is_renewed_after_many_commits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is lost by that, searches beside it fail at no time, and what Tantivy notes of files goes with it."""
        monkeypatch.setattr(tantivy_index, "RENEWED_AFTER", 50)
        table, over, failed = opened(tmp_path), threading.Event(), list[Exception]()
        table.add(B, "1", "m1", head(), chunks("valve"))
        table.commit(LOG, {0: 1})

        def search() -> None:
            while not over.wait(0.001):
                try:
                    assert found(table, "valve") == [(B, "1", 0, "valve")]
                except Exception as error:
                    failed.append(error)

        beside = threading.Thread(target=search)
        beside.start()
        for version in range(149):
            table.add(A, "1", f"m{version}", head(), chunks(f"pump {version}"))
            table.commit(LOG, {0: version})
        over.set()
        beside.join()
        assert not failed
        table.close()
        again = opened(tmp_path)
        assert again.versions == {A: {"1": "m148"}, B: {"1": "m1"}}
        again.close()

    def test_commits_are_not_paid_for_with_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An open Tantivy index keeps 1.5 kB of each commit; all of that is given back."""
        monkeypatch.setattr(tantivy_index, "RENEWED_AFTER", 100)
        table, sizes = opened(tmp_path), list[int]()
        for commit in range(1, 401):
            table.add(A, "1", f"m{commit}", head(), chunks(f"pump {commit}"))
            table.commit(LOG, {0: commit})
            if commit % 100 == 0:
                sizes.append(allocated())
        table.close()
        assert sizes[-1] - sizes[0] < 150_000, sizes

    @pytest.mark.parametrize(("log_name", "language"), [("log-2", "english"), (LOG, "german")])
    def test_an_index_of_something_else_is_begun_anew(self, tmp_path: Path, log_name: str, language: str) -> None:
        """Of another log or language nothing is of use."""
        table = opened(tmp_path)
        table.add(A, "1", "m1", head(), chunks("pump"))
        table.commit(LOG, {0: 5})
        table.close()
        other = TantivyIndex(tmp_path, language)
        assert other.open(log_name) == {} and other.versions == {} and found(other, "pump") == []
        other.close()

    def test_a_folder_has_one_owner(self, table: TantivyIndex, tmp_path: Path) -> None:
        """A second process is told what to do."""
        with pytest.raises(Permanent, match="FRESHET_WORKER_SLOT"):
            TantivyIndex(tmp_path, "english").open(LOG)


class TestLanguage:
    """What counts as the same word."""

    @pytest.mark.parametrize(
        ("language", "text", "asked", "finds"),
        [
            ("english", "The pumps were running.", "run pump", True),
            ("english", "To be or not to be", "to be or not", False),
            ("none", "To be or not to be", "to be or not", True),
            ("none", "The pumps were running.", "pump", False),
            ("none", "Caf\u00e9 M\u00fcnchen", "cafe MUNCHEN", True),
            ("german", "Die alten H\u00e4user der Stra\u00dfe", "Haus", True),
            ("german", "Die alten H\u00e4user der Stra\u00dfe", "strasse", True),
            ("german", "Die alten H\u00e4user", "die der und", False),
            ("english", "a re\u0301sume\u0301", "r\u00e9sum\u00e9", True),
            ("english", "a r\u00e9sum\u00e9", "re\u0301sume\u0301", True),
            ("english", "a \ufb01lter \uff21\uff22\uff23", "filters abc", True),
            ("english", "the o\u0308l and sum", "resume", False),
            ("none", "\u6771\u4eac\u90fd\u306e\u5929\u6c17", "\u5929\u6c17", True),
            ("none", "\u6771\u4eac\u90fd\u306e\u5929\u6c17", "\u6c17\u5929", False),
            ("english", "Kafka\u96c6\u7fa4\u914d\u7f6e", "kafka", True),
            ("english", "Kafka\u96c6\u7fa4\u914d\u7f6e", "\u7fa4\u914d", True),
            ("none", "สวัสดีครับ", "สวัสดี", True),
            ("none", "नमस्ते दुनिया", "दुनिया", True),
            ("arabic", "الكتاب جديد", "كتاب", True),
        ],
    )  # fmt: skip
    def test_words(self, tmp_path: Path, language: str, text: str, asked: str, *, finds: bool) -> None:
        """Stop words, endings, accents in either form, ligatures, and scripts without spaces."""
        table = opened(tmp_path, language)
        table.add(A, "1", "m", head(), chunks(text))
        table.commit(LOG, {0: 1})
        hits = table.search("acme", asked, 10, (), {})
        assert [hit.text for hit in hits] == ([text] if finds else [])
        table.close()

    def test_headings_count(self, table: TantivyIndex) -> None:
        """A word of the title finds all chunks, and one of a section its chunk, behind texts that hold it."""
        table.add(
            A, "1", "m", head(title="Turbines"), [*chunks("It is red."), KeywordChunk("i", "It is blue.", "Valves")]
        )
        table.add(B, "1", "m", head(), chunks("It is a turbine."))
        table.commit(LOG, {0: 1})
        assert [h.ref for h in table.search("acme", "turbine", 9, (), {})] == [B, A, A]
        assert [h.text for h in table.search("acme", "valve", 9, (), {})] == ["It is blue."]
        assert [h.words for h in table.search("acme", "turbine", 9, (), {})] == [1.0, 1.0, 1.0]

    def test_a_long_question_keeps_its_rarest_words(self, table: TantivyIndex) -> None:
        """When there are more than are looked for, the common ones go."""
        common = " ".join(f"w{n}" for n in range(100))
        for n in range(5):
            table.add(DocumentRef("acme", f"d{n}"), "1", "m", head(), chunks(common))
        table.add(A, "1", "m", head(), chunks("turbine"))
        table.commit(LOG, {0: 1})
        assert A in {h.ref for h in table.search("acme", f"{common} turbine", 9, (), {})}


NUMBERS = st.one_of(
    st.integers(), st.integers(2**52, 2**54), st.integers(-10, 10), st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = st.one_of(NUMBERS, st.sampled_from(VALUES), st.sampled_from(DATES))
LISTS = st.lists(st.sampled_from(TEXTS + DATES), max_size=3)
ORDERED = st.one_of(NUMBERS, st.sampled_from(DATES), st.dates().map(str), st.just("a"))
KEYS = st.sampled_from(["k", "l"])
METADATA = st.dictionaries(KEYS, st.one_of(SCALARS, LISTS, st.dates().map(str)))
CONDITIONS = st.builds(
    Condition,
    **{name: st.one_of(st.none(), SCALARS) for name in ("eq", "ne")},
    **{name: st.one_of(st.none(), ORDERED) for name in ("gt", "gte", "lt", "lte")},
    **{name: st.one_of(st.none(), LISTS) for name in ("any", "all")},
)
SINGLE = st.one_of(
    *(st.builds(Condition, **{name: SCALARS}) for name in ("eq", "ne")),
    *(st.builds(Condition, **{name: ORDERED}) for name in ("gt", "gte", "lt", "lte")),
)


def passes(metadata: Metadata, where: Mapping[str, Condition]) -> bool:
    terms = set(metadata_terms(metadata))
    must, never = wanted(dict(where))
    return all(terms & set(some) for some in must) and not any(terms & set(some) for some in never)


@given(METADATA, st.dictionaries(KEYS, st.one_of(SINGLE, CONDITIONS)))
def test_terms_say_what_filters_mean(metadata: Metadata, where: Filter) -> None:
    """For whatever metadata and filter."""
    assert passes(metadata, where) == matches(metadata, where)


@given(NUMBERS, NUMBERS, st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"]))
def test_terms_compare_all_numbers(value: int | float, bound: int | float, name: str) -> None:
    """Also those that are nearly the same."""
    for at in (bound, value):
        where = {"k": msgspec.convert({name: at}, Condition)}
        assert passes({"k": value}, where) == matches({"k": value}, where)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_digits_order_as_numbers_do(one: float, other: float) -> None:
    """Equal digits are equal numbers; smaller ones smaller."""
    one, other = one + 0.0, other + 0.0
    assert (sortable(one) < sortable(other)) == (one < other) and (sortable(one) == sortable(other)) == (one == other)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_prefixes_cover_a_range_and_nothing_else(first: int, last: int, inside: int) -> None:
    """Whatever lies in it has exactly one of them, and they are few."""
    prefixes = covering(first, last)
    assert len(prefixes) <= 480
    for number in (inside, first, last, max(0, first - 1), min(2**64 - 1, last + 1)):
        digits = f"{number:016x}"
        assert sum(digits.startswith(prefix) for prefix in prefixes) == (first <= number <= last)
