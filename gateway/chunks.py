"""A job as chunks of a chat completion, and as a whole one.

A chunk that went out cannot be taken back.  When an answer is begun anew (`restarted`), what the new attempt writes is
held until it says more than was sent; where it says something else the stream ends with an error, and the client asks
again.  Nobody is left with two beginnings.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.attempts import RESTARTED, Emission
from gateway.jobs import Job
from gateway.openai_errors import told
from gateway.problems import Problem
from gateway.queries import failed
from gateway.sse import HEARTBEAT
from topics.queries import Answer, Citation, Lacking, Passage

DONE = b"data: [DONE]\n\n"
BYTES_PER_TOKEN = 4  # of the estimate in `usage`
_MARKER = re.compile(r"\[(\d{1,3})\]")


class UrlCitation(msgspec.Struct, kw_only=True):
    """Where the marker of a citation stands in the text, and what it cites."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(msgspec.Struct, kw_only=True):
    """OpenAI's shape of a citation; only documents that have an address can be told so."""

    type: str = "url_citation"
    url_citation: UrlCitation


class Receipt(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What OpenAI's shape has no place for: the job, its passages, and what the answer is worth.

    ``ignored`` lists what was given with the request and has no effect here.  ``usage_estimated``: the model's endpoint
    did not count tokens, so `usage` is a guess.
    """

    job_id: str
    passages: list[Passage] = []
    citations: list[Citation] = []
    documents: dict[str, str] = {}
    found: bool | None = None
    model: str | None = None
    rung: int = 0
    generation: str | None = None
    cached: bool = False
    standalone: str | None = None
    oldest_passage_seconds: float | None = None
    degraded: list[str] = []
    lacking: list[Lacking] = []
    timings: dict[str, float] = {}
    usage_estimated: bool = False
    ignored: list[str] = []


class ChatMessage(msgspec.Struct, kw_only=True):
    """The answer."""

    role: str = "assistant"
    content: str
    refusal: str | None = None
    annotations: list[Annotation] = []


class Choice(msgspec.Struct, kw_only=True):
    """There is always one."""

    index: int = 0
    message: ChatMessage
    finish_reason: str = "stop"
    logprobs: None = None


class Usage(msgspec.Struct, kw_only=True):
    """As the model's endpoint counts; where it does not, four bytes of passages and answer are taken for a token."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(msgspec.Struct, kw_only=True):
    """A chat completion in OpenAI's shape; ``freshet`` holds the rest."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    freshet: Receipt


class Restarted(Exception):
    """The answer was begun anew and reads otherwise than what was sent of it."""


class Sent:
    """What went out of an answer, and what its newest attempt says."""

    def __init__(self) -> None:
        self.text = ""  # that went out
        self._now = ""

    def restart(self) -> None:
        """The text begins again."""
        self._now = ""

    def feed(self, piece: str) -> str:
        """What can go out because of this piece."""
        self._now += piece
        if self._now.startswith(self.text):
            new, self.text = self._now[len(self.text) :], self._now
            return new
        if not self.text.startswith(self._now):
            raise Restarted
        return ""

    def finish(self, whole: str) -> str:
        """What is left to go out when the answer is complete; one that was not streamed goes out at once."""
        if not self.text.strip():
            self.text += whole
            return whole
        if not self._now.strip():
            self.restart()
            return self.feed(whole)
        if self._now.rstrip() != self.text.rstrip():
            raise Restarted
        return ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The job of a request, and what else the request said: the name of the model, and what has no effect here."""

    job: Job
    model: str
    ignored: list[str]
    usage: bool = False


async def follow(asked: Asked, items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The stream of a job, of which ``items`` are the story."""
    sent, job = Sent(), asked.job
    yield _chunk(asked, {"role": "assistant", "content": ""})
    try:
        async for item in items:
            if item is None:
                yield HEARTBEAT
                continue
            for chunk in _told(asked, item[1], sent):
                yield chunk
    except Restarted:
        detail = f"the answer was begun anew and reads otherwise: ask again, or read /v1/queries/{job.id}"
        yield _error(Problem("unavailable", detail))
        return
    except Problem as problem:
        yield _error(problem)
        return
    final = job.final
    if final is None:
        yield _error(Problem("unavailable", f"the gateway stops; the answer will be at /v1/queries/{job.id}"))
    elif final.type == "error":
        yield _error(failed(job, final.data))
    else:
        yield DONE


def _told(asked: Asked, emission: Emission, sent: Sent) -> list[bytes]:
    job, ignored = asked.job, asked.ignored
    match emission.type:
        case "passages":
            receipt = Receipt(job_id=job.id, passages=_passages(job), ignored=ignored)
            return [_chunk(asked, {}, freshet=receipt)]
        case _ if emission.type == RESTARTED:
            sent.restart()
        case "token":
            if text := sent.feed(str(emission.data["text"])):
                return [_chunk(asked, {"content": text})]
        case "answer":
            answer = answer_of(job, emission.data)
            rest = sent.finish(answer.text)
            out = [_chunk(asked, {"content": rest})] if rest else []
            marks = msgspec.to_builtins(annotations(sent.text, answer.citations))
            last = {"annotations": marks} if marks else {}
            out.append(_chunk(asked, last, finish="stop", freshet=receipt_of(job, answer, ignored, passages=False)))
            if asked.usage:
                out.append(_chunk(asked, None, usage=usage_of(job, answer)))
            return out
    return []


def whole(asked: Asked) -> Completion:
    """A finished job as one completion; its error becomes a problem."""
    job = asked.job
    final = job.final
    if final is None:
        raise Problem("unavailable", f"the gateway stops; the answer will be at /v1/queries/{job.id}", retry_after=1)
    if final.type == "error":
        raise failed(job, final.data)
    answer = answer_of(job, final.data)
    message = ChatMessage(content=answer.text, annotations=annotations(answer.text, answer.citations))
    return Completion(
        id=_id(job),
        created=job.accepted_at // 1000,
        model=asked.model,
        choices=[Choice(message=message)],
        usage=usage_of(job, answer),
        freshet=receipt_of(job, answer, asked.ignored, passages=True),
    )


def answer_of(job: Job, data: Mapping[str, Any]) -> Answer:
    """The answer of a job."""
    try:
        return msgspec.convert(data, Answer)
    except msgspec.ValidationError as error:
        raise Problem("job-failed", f"the answer cannot be read: {error}", extra={"job_id": job.id}) from None


def receipt_of(job: Job, answer: Answer, ignored: list[str], *, passages: bool) -> Receipt:
    """All that the answer says of itself."""
    same = {name: getattr(answer, name) for name in Receipt.__struct_fields__ if hasattr(answer, name)}
    shown = _passages(job) if passages else []
    return Receipt(job_id=job.id, passages=shown, ignored=ignored, usage_estimated=answer.usage is None, **same)


def annotations(text: str, citations: Sequence[Citation]) -> list[Annotation]:
    """A citation of an addressed document wherever its marker stands."""
    cited = {str(citation.marker): citation for citation in citations if citation.uri}
    return [
        Annotation(
            url_citation=UrlCitation(
                start_index=match.start(), end_index=match.end(), title=c.title or c.doc_id, url=c.uri or ""
            )
        )
        for match in _MARKER.finditer(text)
        if (c := cited.get(match[1])) is not None
    ]


def usage_of(job: Job, answer: Answer) -> Usage:
    """What the answer took, or about how many tokens its passages and its text have."""
    prompt = sum(_tokens(passage.text) for passage in _passages(job))
    written = _tokens(answer.text)
    if answer.usage is not None:
        prompt, written = answer.usage.input_tokens, answer.usage.output_tokens
    return Usage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def _passages(job: Job) -> list[Passage]:
    return msgspec.convert(job.passages or [], list[Passage])


def _id(job: Job) -> str:
    return f"chatcmpl-{job.id}"


def _chunk(asked: Asked, delta: dict[str, Any] | None, *, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    created = asked.job.accepted_at // 1000
    head = {"id": _id(asked.job), "object": "chat.completion.chunk", "created": created, "model": asked.model}
    return _data({**head, "choices": choices, **more})


def _error(problem: Problem) -> bytes:
    return _data(told(problem))


def _data(content: Any) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
