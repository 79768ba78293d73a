"""A chat request in OpenAI's shape, and the question in it.  Pure.

The last message is the question, what was said before it the history.  A client sends the whole conversation each
time, so of a long one the last turns are taken.  What cannot be done is refused by name; what has no effect here,
since the server's settings decide it, is taken, and the answer lists it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from gateway.bodies import pointer
from gateway.payloads import QuestionBody, question_errors
from gateway.problems import FieldError, Problem, invalid
from runtime.settings import Queries, Settings
from topics.fields import Refused, check_characters
from topics.headers import Priority
from topics.queries import Filter, Role, Search, Turn

MODEL: Final = "freshet"
MAX_MESSAGES: Final = 2000  # in one request; a history takes far fewer
# Refused unless they say what is done anyway.
_REFUSED: Final = {
    "tools": "tools are not called",
    "tool_choice": "tools are not called",
    "functions": "functions are not called",
    "function_call": "functions are not called",
    "response_format": "answers are text",
    "modalities": "answers are text",
    "audio": "answers are text",
    "prediction": "answers are not predicted",
    "web_search_options": "the documents are searched, not the web",
    "logprobs": "log probabilities are not given",
    "top_logprobs": "log probabilities are not given",
    "logit_bias": "tokens are not weighted",
    "stop": "answers end where they end",
}
_NOTHING: Final[tuple[Any, ...]] = (None, False, 0, [], {}, "none", "auto", {"type": "text"}, ["text"])
_IGNORED: Final = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "seed",
    "user", "store", "metadata", "parallel_tool_calls", "reasoning_effort", "verbosity", "service_tier",
    "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
)  # fmt: skip
ChatRole: TypeAlias = Literal["system", "developer", "user", "assistant", "tool", "function"]


class Part(msgspec.Struct, kw_only=True):
    """A part of a message; only `text` is read."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, kw_only=True):
    """A turn.  What a client sends back of an earlier answer beside its text is not read."""

    role: ChatRole
    content: str | list[Part] | None = None
    tool_calls: Any = None


class StreamOptions(msgspec.Struct, kw_only=True):
    """``include_usage``: a last chunk with token counts."""

    include_usage: bool = False


class Extras(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What else can be said of a question: the fields of `POST /v1/queries`."""

    k: int | None = None
    search: Search = "hybrid"
    rerank: bool = True
    explain: bool = False
    cache: bool = True
    model: str | None = None
    filter: Filter = {}
    at_least: list[str] = []
    timeout: float | None = None
    priority: Priority = "interactive"


class ChatBody(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A chat request in OpenAI's shape.  The last message is the question; ``freshet`` says more about it."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    freshet: Extras = msgspec.field(default_factory=Extras)
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    stop: Any = None
    temperature: Any = None
    top_p: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    presence_penalty: Any = None
    frequency_penalty: Any = None
    seed: Any = None
    user: Any = None
    store: Any = None
    metadata: Any = None
    parallel_tool_calls: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None


def models_of(settings: Settings) -> dict[str, str | None]:
    """Names that answer, and the version of the language model that each stands for; one leaves the choice to us."""
    return {MODEL: None, **{f"{MODEL}/{each.name}": each.name for each in settings.llm.versions}}


def version_of(name: str, known: Mapping[str, str | None]) -> str | None:
    """The version that a model's name stands for; 404 for a name that is none."""
    if name not in known:
        said = f"there is no model {name[:80]!r}: use {' or '.join(known)}"
        raise Problem("not-found", errors=[FieldError(said, pointer="/model")])
    return known[name]


def question_of(body: ChatBody, settings: Settings) -> QuestionBody:
    """The question with its history; :class:`Problem` names the field that cannot be taken."""
    for name, why in _REFUSED.items():
        if getattr(body, name) not in _NOTHING:
            raise invalid(f"{why}: leave {name} out", pointer=pointer(name))
    if body.n not in (None, 1):
        raise invalid("one answer is given: leave n out", pointer="/n")
    if body.stream_options is not None and not body.stream:
        raise invalid("only with stream: true", pointer="/stream_options")
    if not 0 < len(body.messages) <= MAX_MESSAGES:
        raise invalid(f"1 to {MAX_MESSAGES} messages are taken", pointer="/messages")
    said = [_said(place, message) for place, message in enumerate(body.messages)]
    if body.messages[-1].role != "user":
        raise invalid("the last message is the question: its role must be user", pointer=_at(len(said) - 1, "role"))
    extras = {name: getattr(body.freshet, name) for name in Extras.__struct_fields__}
    turns = [
        Turn(role=_role(m.role), content=text)
        for m, text in zip(body.messages[:-1], said[:-1], strict=True)
        if m.role in ("user", "assistant") and text.strip()
    ]
    question = QuestionBody(question=said[-1], history=latest(turns, settings.queries), **extras)
    if errors := question_errors(question, settings):
        raise Problem("invalid", errors=[_renamed(error, len(said) - 1) for error in errors])
    return question


def without_effect(body: ChatBody) -> list[str]:
    """What was given and is not heeded."""
    given = [name for name in _IGNORED if getattr(body, name) is not None]
    system = any(message.role in ("system", "developer") for message in body.messages)
    return [*given, *["system messages"] * system]


def latest(turns: Sequence[Turn], limits: Queries) -> list[Turn]:
    """The last turns that fit; of one that does not, its beginning."""
    room, found = limits.history_chars, list[Turn]()
    for turn in reversed(turns[-limits.history_turns :] if limits.history_turns else ()):
        if not room:
            break
        found.append(Turn(role=turn.role, content=turn.content[:room]))
        room -= len(found[-1].content)
    return found[::-1]


def _role(role: ChatRole) -> Role:
    return "assistant" if role == "assistant" else "user"


def _said(place: int, message: Message) -> str:
    if message.role in ("tool", "function") or message.tool_calls:
        raise invalid("tools are not called, so nothing comes of one", pointer=_at(place, "role"))
    parts = [Part(type="text", text=message.content)] if isinstance(message.content, str) else message.content or []
    for number, part in enumerate(parts):
        if part.type != "text" or part.text is None:
            what = "a part of type text has no text" if part.type == "text" else f"{part.type[:40]!r} cannot be read"
            raise invalid(f"{what}: send text", pointer=_at(place, "content", str(number)))
    text = "\n".join(part.text or "" for part in parts)
    try:
        check_characters("a message", text)
    except Refused as refused:
        raise invalid(refused.reason, pointer=_at(place, "content")) from None
    return text


def _at(place: int, *below: str) -> str:
    return pointer("messages", str(place), *below)


def _renamed(error: FieldError, last: int) -> FieldError:
    """What was found wrong with the question, said of the request."""
    where = error.pointer or ""
    return FieldError(error.detail, pointer=_at(last, "content") if where == "/question" else f"/freshet{where}")
