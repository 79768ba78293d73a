"""What a model may do with the documents: search, ask, read one, and see how fresh they are.

The same jobs, permits, tenants and principals as everywhere else; a tool is another way to ask.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from connectors.errors import ConnectorError
from connectors.ports import ManifestStore
from gateway.caller import Caller
from gateway.chunks import answer_of
from gateway.documents import status_of
from gateway.jobs import Job
from gateway.leaving import Leaving
from gateway.originals import Originals
from gateway.payloads import DocumentStatus, Passages, QuestionBody, question_errors
from gateway.ports import Log
from gateway.problems import Problem, invalid
from gateway.queries import failed, passages_of
from gateway.questions import Questions
from runtime.settings import Settings
from topics.identity import DocumentRef, IdentityError, Token, Version, check_doc_id
from topics.queries import Answer, Filter, Passage, Turn
from topics.registry import CHUNKS, DOCUMENTS, VECTORS

MAX_CHARS = 100_000  # of a document in one answer
LAG_SECONDS = 3.0  # that a look at what waits may take
REUSE_SECONDS = 2.0  # a look costs the broker a request for each stage
_LANE = frozenset(stage for spec in (DOCUMENTS, CHUNKS, VECTORS) for stage in spec.readers)
T = TypeVar("T")

Tokens = Annotated[
    list[str], Meta(description="Freshness tokens that publishing returned: what is found is at least this fresh.")
]
Where = Annotated[
    Filter,
    Meta(description='Conditions on metadata, e.g. {"year": {"gte": 2024}}: eq, ne, gt, gte, lt, lte, any, all.'),
]
Count = Annotated[int | None, Meta(description="How many passages.")]
DocId = Annotated[str, Meta(description="The document's id, as passages and citations name it.")]


class _Arguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A misspelt argument would be lost unseen."""


class SearchArguments(_Arguments):
    """Of `search`."""

    query: Annotated[str, Meta(description="What to look for: a question or words.")]
    k: Count = None
    filter: Where = {}
    at_least: Tokens = []


class AskArguments(_Arguments):
    """Of `ask`."""

    question: Annotated[str, Meta(description="The question.")]
    history: Annotated[list[Turn], Meta(description="What was said before, oldest first, for a follow-up.")] = []
    k: Count = None
    filter: Where = {}
    at_least: Tokens = []


class DocumentArguments(_Arguments):
    """Of `get_document`."""

    doc_id: DocId
    offset: Annotated[int, Meta(description="Where to begin: `next_offset` of the answer before.", ge=0)] = 0
    max_chars: Annotated[int, Meta(description="Most characters of text.", ge=1, le=MAX_CHARS)] = 20_000


class FreshnessArguments(_Arguments):
    """Of `freshness`."""

    doc_id: Annotated[str | None, Meta(description="A document, to learn which version is visible.")] = None
    at_least: Tokens = []


class Told(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An answer and its receipt."""

    job_id: str
    answer: Answer


class Read(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A document: its status, and as much of its text as was asked for."""

    document: DocumentStatus
    media_type: str | None = None
    text: str | None = None
    next_offset: int | None = None
    note: str | None = None


class Reached(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Whether what a token stands for can be found: `visible`, `pending`, `rejected` or `dead-lettered`."""

    token: str
    status: str
    reason: str | None = None


class Freshness(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How fresh answers are.  ``audited`` False: deletes may have been missed, and an audit has yet to find out.

    ``waiting`` counts records of all tenants that wait for a stage on their way to be found; operators are told.
    """

    audited: bool
    waiting: dict[str, int] | None = None
    tokens: list[Reached] = []
    document: DocumentStatus | None = None


class Tool(msgspec.Struct, kw_only=True, frozen=True):
    """One tool: what it takes and gives, and how what it gives reads."""

    title: str
    description: str
    takes: type[msgspec.Struct]
    gives: type[msgspec.Struct]
    run: Callable[[Caller, Any], Awaitable[Any]]
    shown: Callable[[Any], str]


class Tools:
    """All tools of a gateway."""

    def __init__(
        self, settings: Settings, questions: Questions, manifests: ManifestStore, log: Log, leaving: Leaving
    ) -> None:
        self._leaving = leaving
        self._settings, self._questions, self._manifests, self._log = settings, questions, manifests, log
        self._originals = Originals(log)
        self._measured = -REUSE_SECONDS
        self._lengths: asyncio.Future[dict[str, int]] | None = None
        self.all = {
            "search": Tool(
                title="Search the documents",
                description="Find passages of the documents, best first, each with its document's id and address.",
                takes=SearchArguments, gives=Passages, run=self.search, shown=lambda found: shown(found.passages),
            ),
            "ask": Tool(
                title="Ask the documents",
                description="Get an answer that is written from the documents and cites them as [n]. It may say that "
                "the documents do not answer the question. `degraded` lists what it is less good by.",
                takes=AskArguments, gives=Told, run=self.ask, shown=_answer_shown,
            ),
            "get_document": Tool(
                title="Read a document",
                description="Read a document's text as it was published, and which version of it counts now.",
                takes=DocumentArguments, gives=Read, run=self.get_document,
                shown=lambda read: read.text if read.text is not None else read.note or read.document.status,
            ),
            "freshness": Tool(
                title="See how fresh the documents are",
                description="Learn whether versions that were published (by their tokens) can be found yet, and where "
                "a document is on its way.",
                takes=FreshnessArguments, gives=Freshness, run=self.freshness, shown=_freshness_shown,
            ),
        }  # fmt: skip

    async def search(self, caller: Caller, given: SearchArguments) -> Passages:
        """Passages for a question."""
        body = QuestionBody(question=given.query, k=given.k, filter=given.filter, at_least=given.at_least)
        job = await self._asked(caller, body, answered=False)
        return passages_of(job, {})

    async def ask(self, caller: Caller, given: AskArguments) -> Told:
        """A whole answer."""
        body = QuestionBody(
            question=given.question, history=given.history, k=given.k, filter=given.filter, at_least=given.at_least
        )
        job = await self._asked(caller, body, answered=True)
        final = job.final
        if final is None:
            raise Problem("unavailable", "the gateway is stopping; ask again", retry_after=1)
        if final.type == "error":
            raise failed(job, final.data)
        return Told(job_id=job.id, answer=answer_of(job, final.data))

    async def _asked(self, caller: Caller, body: QuestionBody, *, answered: bool) -> Job:
        if errors := question_errors(body, self._settings):
            raise Problem("invalid", errors=errors)
        job, _ = await self._questions.take(caller, body, "answer" if answered else "retrieve")
        await self._leaving.finished(job, caller.traceparent)
        return job

    async def get_document(self, caller: Caller, given: DocumentArguments) -> Read:
        """A document that the caller may see."""
        ref = DocumentRef(caller.tenant, _id(given.doc_id))
        status = await self._status(caller, ref)
        read = Read(document=status)
        if status.visible_version is None:
            read.note = "no version of it can be read"
            return read
        found = await self._originals.find(ref, Version.parse(status.visible_version))
        if found is None:
            read.note = "the log no longer has this version: a newer one is on its way"
            return read
        read.media_type, read.note = found.media_type, found.why
        if found.text is not None:
            end = given.offset + given.max_chars
            read.text, read.next_offset = found.text[given.offset : end], end if end < len(found.text) else None
        return read

    async def freshness(self, caller: Caller, given: FreshnessArguments) -> Freshness:
        """What is visible."""
        body = QuestionBody(question="x", at_least=given.at_least)
        if errors := question_errors(body, self._settings):
            raise Problem("invalid", errors=errors)
        tokens = [Token.parse(text) for text in given.at_least]
        found = Freshness(audited=await self._manifests.distrusted() is None)
        if caller.key is None or "admin" in caller.key.scopes:
            found.waiting = await self._waiting()
        if tokens:
            refused, marks = await self._manifests.refusals(tokens), await self._manifests.watermarks()
            for token in tokens:
                passed = token.offset <= marks.get((token.epoch, token.partition), -1)
                why = refused.get(token)
                status = str(why.status) if why else "visible" if passed else "pending"
                found.tokens.append(Reached(token=str(token), status=status))
        if given.doc_id is not None:
            found.document = await self._status(caller, DocumentRef(caller.tenant, _id(given.doc_id)))
        return found

    async def _waiting(self) -> dict[str, int] | None:
        if time.monotonic() - self._measured > REUSE_SECONDS:
            self._measured, self._lengths = time.monotonic(), asyncio.ensure_future(self._log.queue_lengths())
        try:
            async with asyncio.timeout(LAG_SECONDS):
                lengths = await asyncio.shield(self._lengths) if self._lengths else {}
        except (ConnectorError, TimeoutError):  # what tokens and documents tell does not depend on it
            return None
        return {stage: length for stage, length in lengths.items() if stage in _LANE}

    async def _status(self, caller: Caller, ref: DocumentRef) -> DocumentStatus:
        manifest = (await self._manifests.read([ref]))[0]
        noted = (await self._manifests.pending([ref]))[0]
        found = status_of(ref.doc_id, manifest, noted[0] if noted else None, len(manifest.chunks))
        if found is None or not _may_read(caller, found.access):
            raise Problem("not-found", f"there is no document {ref.doc_id[:200]!r}, or it is not for you")
        return found


def _may_read(caller: Caller, access: Sequence[str]) -> bool:
    """As in a search: a key that may write documents does not see what its principals do not."""
    return not access or not set(access).isdisjoint(caller.principals)


def _id(text: str) -> str:
    try:
        return check_doc_id(text)
    except IdentityError as error:
        raise invalid(str(error), pointer="/doc_id") from None


def shown(passages: Sequence[Passage]) -> str:
    """Passages as a model reads them."""
    if not passages:
        return "Nothing was found."
    return "\n\n".join(f"[{number}] {_source(p)}\n{p.text}" for number, p in enumerate(passages, 1))


def _source(passage: Any) -> str:
    return " - ".join(filter(None, [passage.title, passage.section, passage.uri, f"document {passage.doc_id}"]))


def _answer_shown(told: Told) -> str:
    answer = told.answer
    sources = "\n".join(f"[{citation.marker}] {_source(citation)}" for citation in answer.citations)
    label = f"Less good than it could be: {', '.join(answer.degraded)}" if answer.degraded else ""
    return "\n\n".join(filter(None, [answer.text, sources, label]))


def _freshness_shown(found: Freshness) -> str:
    lines = [f"{reached.token}: {reached.status}" for reached in found.tokens]
    if found.document is not None:
        seen = found.document
        lines.append(f"{seen.doc_id}: {seen.status}, visible version {seen.visible_version or 'none'}")
    if found.waiting:
        lines.append(f"Waiting: {', '.join(f'{length} for {stage}' for stage, length in found.waiting.items())}.")
    if not found.audited:
        lines.append("Deletes may have been missed: an audit is due.")
    return "\n".join(lines) or "All that is indexed is audited."
