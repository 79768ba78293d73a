"""HTTP bodies <-> records, both ways.  Pure.

Records tolerate unknown fields, so that readers survive newer writers; the door does not: a misspelt field of a
client would be lost unseen.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gateway.bodies import pointer
from gateway.problems import FieldError
from runtime.endpoints import NAME
from runtime.settings import Settings
from topics.documents import Document, Metadata
from topics.fields import (
    MAX_METADATA_KEY,
    MAX_METADATA_VALUE,
    Refused,
    check_access,
    check_characters,
    check_entry,
    check_json_type,
    check_text,
    check_title,
    check_uri,
    is_date,
    millis_of,
)
from topics.headers import Priority
from topics.identity import IdentityError, Token
from topics.queries import Condition, Filter, Lacking, Passage, Search, Turn

LONGEST_SECONDS = 600.0  # a question's timeout, unless the default is longer
MODEL = re.compile(NAME)
MAX_FILTER_KEYS = 32
MAX_ERRORS = 20  # fields that are told to be wrong in one answer
MAX_TOKENS = 1024  # freshness tokens in one question: one per partition is what a client needs


class DocumentBody(Document, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A document as JSON."""


class BulkLine(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of a bulk request: a document, or `{"id": ..., "deleted": true}`."""

    id: str
    deleted: bool = False
    text: str | msgspec.UnsetType = msgspec.UNSET
    media_type: str = "text/plain"
    title: str | None = None
    uri: str | None = None
    metadata: Metadata = {}
    access: list[str] = []
    published_at: datetime | None = None

    def document(self) -> Document | None:
        """What goes into the log; None deletes."""
        if self.deleted or self.text is msgspec.UNSET:
            return None
        return Document(
            text=self.text,
            media_type=self.media_type,
            title=self.title,
            uri=self.uri,
            metadata=self.metadata,
            access=self.access,
            published_at=self.published_at,
        )


class Accepted(msgspec.Struct, kw_only=True):
    """The log has taken a document version; ``token`` asks for answers that are at least this fresh."""

    doc_id: str
    version: str
    token: str


class DocumentStatus(msgspec.Struct, kw_only=True):
    """Where a document is on its way.  ``version`` is the newest known, ``visible_version`` the one readers see.

    Times are milliseconds since 1970.  What is told of the content is told of the visible version.
    """

    doc_id: str
    status: str
    version: str | None = None
    visible_version: str | None = None
    chunks: int | None = None
    title: str | None = None
    uri: str | None = None
    metadata: Metadata = {}
    access: list[str] = []
    published_at: int | None = None
    indexed_at: int | None = None
    reason: str | None = None


class DocumentPage(msgspec.Struct, kw_only=True):
    """Visible documents in order of their ids; ``next`` is the `after` of the next page."""

    documents: list[DocumentStatus]
    next: str | None = None


class QuestionBody(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A question.  ``filter`` holds conditions by metadata key, ``at_least`` freshness tokens, ``timeout`` seconds.

    ``search`` is one of the two searches alone or both, ``rerank`` false leaves re-ranking out where it is configured,
    ``explain`` asks for the scores of each passage, ``cache`` false neither reads nor fills a cache, and ``model``
    names the version of the language model to ask, in place of the one whose turn it is.  With ``history``, what was
    said before in a conversation, oldest first, a follow-up question is understood.  ``notify_stale`` keeps the stream
    of events open until a document behind the answer changes.  ``priority`` `batch` lets all others go first.
    ``webhook`` is the id of one that is told how the job ends, or true for all that the tenant has.
    """

    question: str
    history: list[Turn] = []
    k: int | None = None
    search: Search = "hybrid"
    rerank: bool = True
    explain: bool = False
    cache: bool = True
    model: str | None = None
    notify_stale: bool = False
    filter: Filter = {}
    at_least: list[str] = []
    timeout: float | None = None
    webhook: bool | str = False
    priority: Priority = "interactive"


class Passages(msgspec.Struct, kw_only=True):
    """What was found.  ``timings`` are milliseconds; ``degraded`` is empty when all was well.

    ``lacking`` lists what `at_least` asked for and was not had; ``oldest_passage_seconds`` is the age of the oldest
    passage since its event time at the source.  ``standalone`` is what a follow-up question was searched for as.
    """

    job_id: str
    passages: list[Passage]
    generation: str
    degraded: list[str] = []
    lacking: list[Lacking] = []
    oldest_passage_seconds: float | None = None
    standalone: str | None = None
    timings: dict[str, float] = {}


class JobView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A job as polling shows it; ``passages`` come before ``answer``.  ``deadline`` is ms since 1970."""

    job_id: str
    state: str
    deadline: int
    links: dict[str, str]
    passages: list[Any] | None = None
    answer: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class JobSummary(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A job in a list; ``question`` is its beginning.  Times are ms since 1970."""

    job_id: str
    state: str
    accepted_at: int
    deadline: int
    links: dict[str, str]
    question: str = ""
    finished_at: int | None = None


class JobPage(msgspec.Struct, kw_only=True):
    """Jobs, newest first; ``next`` is the `cursor` of the next page, which may be there although this one is short."""

    jobs: list[JobSummary]
    next: str | None = None


def links_of(job_id: str) -> dict[str, str]:
    """Where a job is."""
    return {"self": f"/v1/queries/{job_id}", "events": f"/v1/queries/{job_id}/events"}


def document_errors(document: Document | BulkLine, max_metadata_keys: int) -> list[FieldError]:
    """What a document's types do not say; the lane would refuse the same, when nobody listens any more."""
    errors = _refusals("title", lambda: check_title(document.title))
    errors += _refusals("uri", lambda: check_uri(document.uri))
    errors += metadata_errors(document.metadata, max_metadata_keys)
    if not (wrong := _principals(document.access)):
        wrong = _refusals("access", lambda: check_access(document.access))
    errors += wrong
    errors += _refusals("media_type", lambda: check_json_type(document.media_type))
    if (moment := document.published_at) is not None:
        errors += _refusals("published_at", lambda: millis_of(moment))
    if document.text is not msgspec.UNSET:
        errors += _refusals("text", lambda: _check_words(str(document.text)))
    return errors


def metadata_errors(metadata: Metadata, max_keys: int) -> list[FieldError]:
    """Metadata must be few enough, named, and such as the store keeps unchanged."""
    errors = []
    if len(metadata) > max_keys:
        errors.append(FieldError(f"{len(metadata)} keys; at most {max_keys} are taken", pointer=pointer("metadata")))
    for key, value in metadata.items():
        errors += _refusals("metadata", lambda key=key, value=value: check_entry(key, value), key)  # type: ignore[misc]
        if len(errors) >= MAX_ERRORS:
            break
    return errors


def _principals(access: list[str]) -> list[FieldError]:
    errors = []
    for place, principal in enumerate(access):
        errors += _refusals("access", lambda principal=principal: check_access([principal]), str(place))  # type: ignore[misc]
        if len(errors) >= MAX_ERRORS:
            break
    return errors


def _refusals(field: str, check: Callable[[], Any], *below: str) -> list[FieldError]:
    try:
        check()
    except Refused as refused:
        return [FieldError(refused.reason, pointer=pointer(field, *below))]
    return []


def _check_condition(key: str, condition: Condition) -> None:
    """Refuse what can never hold: a slip would look like an empty shelf."""
    check_text("a filter key", key, MAX_METADATA_KEY, 1)
    if condition == Condition():
        raise Refused("no condition is given: say eq, ne, gt, gte, lt, lte, any or all")
    for name in ("gt", "gte", "lt", "lte"):
        bound = getattr(condition, name)
        if isinstance(bound, str) and not is_date(bound):
            raise Refused(f"{name} compares numbers and dates, as 2026-01-31 or 2026-01-31T12:00:00Z: {bound[:40]!r}")
    if condition.any == []:
        raise Refused("any of nothing never holds: name what to look for")
    for text in (condition.eq, condition.ne, *(condition.any or ()), *(condition.all or ())):
        if isinstance(text, str):
            check_text("a filter value", text, MAX_METADATA_VALUE)


def _check_words(text: str) -> None:
    if not text.strip():
        raise Refused('the text is empty; to delete a document use DELETE, or in bulk "deleted": true')
    check_characters("text", text)


def history_errors(history: Sequence[Turn], settings: Settings) -> list[FieldError]:
    """A conversation must be short enough, and of words."""
    limits = settings.queries
    if len(history) > limits.history_turns:
        return [FieldError(f"at most {limits.history_turns} turns: send the last ones", pointer="/history")]
    if sum(len(turn.content) for turn in history) > limits.history_chars:
        return [FieldError(f"more than {limits.history_chars} characters: send the last turns", pointer="/history")]
    errors = []
    for place, turn in enumerate(history):
        said = turn.content
        errors += _refusals("history", lambda said=said: check_characters("a turn", said), str(place), "content")  # type: ignore[misc]
    return errors


def longest_timeout(settings: Settings) -> float:
    """Most seconds that a client may ask for."""
    return max(LONGEST_SECONDS, settings.queries.deadline, settings.queries.batch_deadline)


def question_errors(body: QuestionBody, settings: Settings) -> list[FieldError]:
    """What a question's types do not say."""
    limits, longest = settings.queries, longest_timeout(settings)
    errors = []
    if not body.question.strip():
        errors.append(FieldError("the question is empty", pointer="/question"))
    elif len(body.question) > limits.max_question_chars:
        errors.append(FieldError(f"more than {limits.max_question_chars} characters", pointer="/question"))
    else:
        errors += _refusals("question", lambda: check_characters("the question", body.question))
    errors += history_errors(body.history, settings)
    if body.k is not None and not 1 <= body.k <= limits.max_k:
        errors.append(FieldError(f"1 to {limits.max_k} passages can be asked for", pointer="/k"))
    if body.model is not None and not MODEL.fullmatch(body.model):
        errors.append(FieldError("no name of a model: `freshet llm status` lists them", pointer="/model"))
    if body.timeout is not None and not (math.isfinite(body.timeout) and 0 < body.timeout <= longest):
        errors.append(FieldError(f"more than 0 and at most {longest:g} seconds", pointer="/timeout"))
    if len(body.filter) > MAX_FILTER_KEYS:
        errors.append(FieldError(f"at most {MAX_FILTER_KEYS} keys can be filtered on", pointer="/filter"))
    for key, condition in body.filter.items():
        errors += _refusals("filter", lambda key=key, condition=condition: _check_condition(key, condition), key)  # type: ignore[misc]
    if len(body.at_least) > MAX_TOKENS:
        errors.append(FieldError(f"at most {MAX_TOKENS} tokens", pointer="/at_least"))
    for place, token in enumerate(body.at_least[:MAX_TOKENS]):
        try:
            Token.parse(token)
        except IdentityError as error:
            errors.append(FieldError(str(error), pointer=pointer("at_least", str(place))))
    return errors
