"""Chunks of document versions by their words, in a Tantivy index on disk, beside the places of the log they came from.

Several versions of a document may be there at once; which of them counts is not known here.  Everything since the last
:meth:`commit` is lost with the process, places included, so that reading goes on from where the index stands.  An index
that cannot be read, or is of another make, is thrown away: all of it is in the log.

Nothing here waits for anything but the disk: whoever calls does it in a thread, searches apart (0.2 ms).
"""

import gc
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tantivy import Document, Index, IndexWriter, Occur, Query, SchemaBuilder

from connectors.errors import Permanent, Transient
from connectors.keywords.language import analyser, spaced, words_of
from connectors.keywords.rarity import rarity
from connectors.keywords.terms import access_terms, allowed_terms, metadata_terms, wanted
from connectors.search_ports import KeywordChunk, KeywordHit
from runtime.logs import logger
from topics.documents import DocumentHead
from topics.identity import DocumentRef
from topics.queries import Filter

MAKE: Final = 2  # of what is stored; another one is built anew
HEAP: Final = 64 * 1024 * 1024  # bytes that may wait for a commit
RENEWED_AFTER: Final = 1000  # commits
MOST_WORDS: Final = 64  # of a question that are looked for: the rarest
HEADING_WEIGHT: Final = 0.6  # a word in title or headings, against one in the text
FIELDS: Final = ("words", "heading_words")
_ALL: Final = 1_000_000_000
log = logger(__name__)


class TantivyIndex:
    """One folder, one process.  ``language`` is one of :data:`connectors.keywords.language.LANGUAGES`."""

    def __init__(self, folder: Path, language: str, heap: int = HEAP) -> None:
        self._folder, self._language, self._heap = folder, language, heap
        self._analyser = analyser(language)
        self._schema = _schema()
        self._index: Index | None = None
        self._writer: IndexWriter | None = None
        self._chunks = 0  # as of the last commit
        self._commits = 0  # since it was opened
        self.versions: dict[DocumentRef, dict[str, str]] = {}  # by version, what it was made of (see `add`)

    def open(self, log_name: str) -> dict[int, int]:
        """Places of the log of this name from which to read on; none where everything must be read.

        Raises :class:`Permanent` when another process has the folder.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            return self._load(log_name)
        except _Unreadable as error:
            log.warning("keyword index is built anew", folder=str(self._folder), reason=str(error))
            self.forget()
            return self._load(log_name)

    def close(self) -> None:
        """Let go of the folder; what was not committed is lost."""
        writer, self._index, self._writer = self._writer, None, None
        if writer is not None:
            with _failing("close"):
                writer.rollback()
                writer.wait_merging_threads()

    def forget(self) -> None:
        """Remove everything; it is closed afterwards."""
        self._index = self._writer = None  # what fails to be read may fail to be closed
        gc.collect()  # the folder's lock goes with the last reference
        shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True)
        self.versions = {}

    def add(
        self, ref: DocumentRef, version: str, made_of: str, head: DocumentHead, chunks: Sequence[KeywordChunk]
    ) -> None:
        """Add a whole version, in place of what it was before if it was there; seen after the next commit."""
        self.remove(ref, [version])
        with _failing("add"):
            for ordinal, chunk in enumerate(chunks):
                self._write.add_document(self._document(ref, version, ordinal, head, chunk))
            self._write.add_document(_note("head", path=ref.path, version=version, value=made_of))
        self.versions.setdefault(ref, {})[version] = made_of

    def remove(self, ref: DocumentRef, versions: Sequence[str]) -> None:
        """Remove versions of a document; seen after the next commit."""
        held = self.versions.get(ref, {})
        for version in versions:
            if held.pop(version, None) is not None:
                both = [(Occur.Must, self._term("path", ref.path)), (Occur.Must, self._term("version", version))]
                with _failing("remove"):
                    self._write.delete_documents_by_query(Query.boolean_query(both))
        if not held:
            self.versions.pop(ref, None)

    def commit(self, log_name: str, places: Mapping[int, int]) -> None:
        """Keep what was added and removed, and that it came from before these places."""
        value = json.dumps({"make": MAKE, "language": self._language, "log": log_name, "places": dict(places)})
        with _failing("commit"):
            self._write.delete_documents_by_term("kind", "places")
            self._write.add_document(_note("places", value=value))
            self._write.commit()
            self._read.reload()
            self._count()
            self._commits += 1
            if self._commits >= RENEWED_AFTER:
                self._renew()

    def _renew(self) -> None:
        """Open it anew, while searches go on: as long as it is open it notes each file it ever had, 1.5 kB a commit."""
        self._write.wait_merging_threads()
        self._writer = None  # it has the folder's lock
        self._index, self._writer = self._opened()
        self._commits = 0

    def _opened(self) -> tuple[Index, IndexWriter]:
        index = Index(self._schema, path=str(self._folder))
        index.register_tokenizer("words", self._analyser)
        index.config_reader("Manual")
        writer = index.writer(self._heap, num_threads=1)
        index.reload()
        return index, writer

    def _count(self) -> None:
        """When nothing waits for a commit: every version has one document of its own beside chunks, the places one."""
        self._chunks = max(0, self._read.searcher().num_docs - sum(map(len, self.versions.values())) - 1)

    @property
    def chunks(self) -> int:
        """Chunks that can be found, of old versions too."""
        _ = self._read  # complains
        return self._chunks

    def search(self, tenant: str, text: str, limit: int, principals: Sequence[str], where: Filter) -> list[KeywordHit]:
        """Best chunks by BM25, best first; ``text`` is never syntax."""
        words = list(dict.fromkeys(words_of(text, self._analyser)))
        must, never = wanted(where)
        if not words or limit < 1 or not all(must):
            return []
        allowed = [[f"{term}" for term in allowed_terms(principals)], *must]
        clauses = [(Occur.Must, _silent(self._term("tenant", tenant)))]
        clauses += [(Occur.Must, _silent(Query.term_set_query(self._schema, "terms", terms))) for terms in allowed]
        clauses += [(Occur.MustNot, Query.term_set_query(self._schema, "terms", terms)) for terms in never]
        with _failing("search"):
            searcher = self._read.searcher()
            weights = {word: rarity(searcher.doc_freq("words", word), searcher.num_docs) for word in words}
            known = [word for word in words if any(searcher.doc_freq(field, word) for field in FIELDS)]
            sought = sorted(known, key=weights.__getitem__, reverse=True)[:MOST_WORDS]
            clauses.append((Occur.Must, Query.boolean_query([(Occur.Should, q) for w in sought for q in self._of(w)])))
            hits = searcher.search(Query.boolean_query(clauses), limit, count=False).hits
            return [self._hit(tenant, score, searcher.doc(address), weights) for score, address in hits]

    def texts(self, ref: DocumentRef, version: str, ordinals: Sequence[int]) -> dict[int, str]:
        """Texts of a version by their places, of those that are there."""
        if not ordinals:
            return {}
        places = Query.term_set_query(self._schema, "ordinal", list(ordinals))
        all_of = [self._term("path", ref.path), self._term("version", version), places]
        with _failing("texts"):
            searcher = self._read.searcher()
            hits = searcher.search(Query.boolean_query([(Occur.Must, each) for each in all_of]), len(ordinals)).hits
            found = [searcher.doc(address) for _, address in hits]
            return {int(str(each.get_first("ordinal"))): str(each.get_first("text")) for each in found}

    def _hit(self, tenant: str, score: float, found: Document, weights: Mapping[str, float]) -> KeywordHit:
        path, text = str(found.get_first("path")), str(found.get_first("text"))
        held = set(words_of(f"{text} {found.get_first('heading') or ''}", self._analyser))
        share = sum(weight for word, weight in weights.items() if word in held) / sum(weights.values())
        ordinal = found.get_first("ordinal")
        assert isinstance(ordinal, int)
        ref = DocumentRef(tenant, path.removeprefix(f"{tenant}/"))
        return KeywordHit(ref, str(found.get_first("version")), ordinal, str(found.get_first("id")), text, score, share)

    def _of(self, word: str) -> Iterator[Query]:
        yield self._term("words", word, "freq")
        yield Query.boost_query(self._term("heading_words", word, "freq"), HEADING_WEIGHT)

    def _term(self, field: str, value: str, option: str = "basic") -> Query:
        return Query.term_query(self._schema, field, value, option)

    def _document(
        self, ref: DocumentRef, version: str, ordinal: int, head: DocumentHead, chunk: KeywordChunk
    ) -> Document:
        document = _note("chunk", path=ref.path, version=version, tenant=ref.tenant, id=chunk.id, text=chunk.text)
        document.add_unsigned("ordinal", ordinal)
        heading = " ".join(filter(None, (head.title, chunk.section)))
        document.add_text("heading", heading)
        document.add_text("heading_words", spaced(heading))
        document.add_text("words", spaced(chunk.text))
        for term in (*access_terms(head.access), *metadata_terms(head.metadata)):
            document.add_text("terms", term)
        return document

    def _load(self, log_name: str) -> dict[int, int]:
        with _failing("open"):
            self._index, self._writer = self._opened()
            self._commits = 0
            searcher = self._index.searcher()
            noted = [searcher.doc(at) for _, at in searcher.search(self._term("kind", "places"), 2).hits]
            self.versions, self._chunks = {}, 0
            if not searcher.num_docs:
                return {}
            kept = json.loads(str(noted[0].get_first("value"))) if len(noted) == 1 else {}
            mine = {"make": MAKE, "language": self._language, "log": log_name}
            if {name: kept.get(name) for name in mine} != mine:
                raise _Unreadable(f"it was made of {kept or 'nothing that is known'}, and {mine} is wanted")
            for _, at in searcher.search(self._term("kind", "head"), _ALL if searcher.num_docs else 1).hits:
                head = searcher.doc(at)
                tenant, _, doc_id = str(head.get_first("path")).partition("/")
                held = self.versions.setdefault(DocumentRef(tenant, doc_id), {})
                held[str(head.get_first("version"))] = str(head.get_first("value"))
            self._count()
            return {int(partition): place for partition, place in kept["places"].items()}

    @property
    def _read(self) -> Index:
        if self._index is None:
            raise Transient("the keyword index is not open", reason="keyword")
        return self._index

    @property
    def _write(self) -> IndexWriter:
        if self._writer is None:
            raise Transient("the keyword index is not open", reason="keyword")
        return self._writer


class _Unreadable(Transient):
    """What is on disk is no index, or none of ours; or Tantivy failed."""


@contextmanager
def _failing(doing: str) -> Iterator[None]:
    """Tantivy's errors as ours; damage may even be told as a panic, which is no :class:`Exception`."""
    try:
        yield
    except (Transient, Permanent):
        raise
    except BaseException as error:
        if "LockBusy" in str(error):
            raise Permanent(
                "another process has this keyword index: give each worker a FRESHET_WORKER_SLOT of its own",
                reason="keyword",
            ) from None
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise _Unreadable(f"keyword index, {doing}: {str(error)[:300]}", reason="keyword") from error
        raise


def _schema() -> Any:
    builder = SchemaBuilder()
    for name in ("kind", "path", "version", "tenant"):
        builder.add_text_field(name, stored=name in ("path", "version"), tokenizer_name="raw", index_option="basic")
    builder.add_text_field("terms", tokenizer_name="raw", index_option="basic")
    for name in FIELDS:
        builder.add_text_field(name, tokenizer_name="words", index_option="freq")
    for name in ("id", "text", "heading", "value"):
        builder.add_text_field(name, stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("ordinal", stored=True, indexed=True)
    return builder.build()


def _note(kind: str, **texts: str) -> Document:
    document = Document()
    document.add_text("kind", kind)
    for name, text in texts.items():
        document.add_text(name, text)
    return document


def _silent(query: Query) -> Query:
    """One that decides, and adds nothing to the score."""
    return Query.const_score_query(query, 0.0)
