"""`POST /v1/embeddings` and `GET /v1/models`, in OpenAI's shape.

The vectors are those that documents are searched by.  The gateway has no encoder: texts go through the log to a
retrieval worker like questions do.
"""

import base64
import struct
import time
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from gateway.bodies import JSON, check_parameters, content_type, decode_json, pointer, read_body
from gateway.caller import Callers
from gateway.completions import PROBLEMS
from gateway.conversation import models_of, version_of
from gateway.documents import json_response
from gateway.jobs import Job
from gateway.openai_errors import ERRORS, handlers
from gateway.openapi import Doc, Parameter
from gateway.payloads import QuestionBody
from gateway.problems import FieldError, Problem, invalid
from gateway.queries import failed
from gateway.questions import Questions
from runtime.settings import Queries, Settings
from topics.fields import Refused, check_characters
from topics.queries import Embedded, Embedding

EMBEDDER: Final = "freshet-embedding"
FEW: Final = 4  # texts: more are a bulk load, and let all questions go first


class EmbedBody(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Texts to embed, in OpenAI's shape; lists of token numbers are not taken."""

    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class Vector(msgspec.Struct, kw_only=True):
    """One vector: numbers, or little-endian float32 in base64."""

    object: str = "embedding"
    index: int
    embedding: list[float] | str


class EmbedUsage(msgspec.Struct, kw_only=True):
    """Tokens as the encoder counts them."""

    prompt_tokens: int
    total_tokens: int


class Vectors(msgspec.Struct, kw_only=True):
    """All vectors, in the order of the texts.  ``freshet_encoder`` names what made them."""

    object: str = "list"
    data: list[Vector]
    model: str = EMBEDDER
    usage: EmbedUsage
    freshet_encoder: str


class Model(msgspec.Struct, kw_only=True):
    """A name that can be asked for."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "freshet"


class Models(msgspec.Struct, kw_only=True):
    """All of them."""

    object: str = "list"
    data: list[Model]


def texts_of(body: EmbedBody, limits: Queries) -> list[str]:
    """The texts; :class:`Problem` names what cannot be taken."""
    if body.dimensions is not None:
        raise invalid(
            "vectors have the length that the encoder gives them: leave dimensions out", pointer="/dimensions"
        )
    given = [body.input] if isinstance(body.input, str) else body.input
    if not 1 <= len(given) <= limits.embed_texts:
        raise invalid(f"1 to {limits.embed_texts} texts are embedded at once", pointer="/input")
    for place, text in enumerate(given):
        where = pointer("input", str(place))
        if not isinstance(text, str):
            raise invalid("a text is meant: lists of token numbers are not taken", pointer=where)
        if not text.strip():
            raise invalid("the text is empty", pointer=where)
        try:
            check_characters("the text", text)
        except Refused as refused:
            raise invalid(refused.reason, pointer=where) from None
    if sum(map(len, given)) > limits.embed_chars:
        raise invalid(f"more than {limits.embed_chars} characters together", pointer="/input")
    return given


def vectors_of(job: Job, *, as_numbers: bool) -> Vectors:
    """The result of an embed job; its errors become problems."""
    final = job.final
    if final is None:
        raise Problem("unavailable", "the gateway is stopping; ask again", retry_after=1)
    if final.type == "error":
        raise failed(job, final.data)
    rows: dict[int, bytes] = {}
    try:
        for _, emission in job.story:
            if emission.type == "vectors":
                some = msgspec.convert(emission.data, Embedded)
                rows |= {some.first + place: vector for place, vector in enumerate(some.vectors)}
        receipt = msgspec.convert(final.data["embedding"], Embedding)
        ordered = [rows[number] for number in range(receipt.count)]
    except (KeyError, msgspec.ValidationError) as error:
        raise Problem("job-failed", f"the vectors cannot be read: {error}", extra={"job_id": job.id}) from None
    return Vectors(
        data=[Vector(index=n, embedding=_shown(row, as_numbers=as_numbers)) for n, row in enumerate(ordered)],
        usage=EmbedUsage(prompt_tokens=receipt.tokens, total_tokens=receipt.tokens),
        freshet_encoder=receipt.model,
    )


def _shown(row: bytes, *, as_numbers: bool) -> list[float] | str:
    return list(struct.unpack(f"<{len(row) // 4}f", row)) if as_numbers else base64.b64encode(row).decode()


def make_embedding_routes(
    settings: Settings, questions: Questions, callers: Callers, hide: Callable[[str], str]
) -> list[HTTPRouteHandler]:
    """Build the routes."""
    respond = handlers(hide)
    since = int(time.time())
    body_limit = 64 * 1024 + 6 * settings.queries.embed_chars  # a character may be escaped as six
    models = {name: Model(id=name, created=since) for name in (*models_of(settings), EMBEDDER)}

    @post(
        "/v1/embeddings",
        status_code=200,
        exception_handlers=respond,
        opt={
            "doc": Doc(
                scope="read", gives={200: {JSON: Vectors}}, takes={JSON: EmbedBody}, problems=PROBLEMS, errors=ERRORS
            )
        },
    )
    async def embed(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Embed texts by the encoder that documents are searched by."""
        caller = callers.of(request)
        content_type(request, (JSON,))
        check_parameters(request)
        body = decode_json(await read_body(request, body_limit, "a list of texts"), EmbedBody)
        version_of(body.model, {EMBEDDER: None})
        texts = texts_of(body, settings.queries)
        work = QuestionBody(
            question="", priority="batch" if len(texts) > FEW else "interactive", timeout=settings.queries.deadline
        )
        job, _ = await questions.take(caller, work, "embed", texts)
        await job.finished(job.seconds_left() + 1)
        return json_response(vectors_of(job, as_numbers=body.encoding_format != "base64"), 200)

    @get(
        "/v1/models",
        exception_handlers=respond,
        opt={"doc": Doc(scope="read", gives={200: {JSON: Models}}, problems=("invalid",), errors=ERRORS)},
    )
    async def list_models(request: Request[Any, Any, Any]) -> Response[bytes]:
        """List the names that can be asked for: one answers, one embeds."""
        callers.of(request)
        check_parameters(request)
        return json_response(Models(data=list(models.values())), 200)

    @get(
        "/v1/models/{model:path}",
        exception_handlers=respond,
        opt={
            "doc": Doc(
                scope="read",
                gives={200: {JSON: Model}},
                parameters=(Parameter("model", "path", "A name of the list."),),
                problems=("invalid", "not-found"),
                errors=ERRORS,
            )
        },
    )
    async def get_model(request: Request[Any, Any, Any], model: str) -> Response[bytes]:
        """Tell whether there is a model of this name."""
        callers.of(request)
        check_parameters(request)
        model = model.removeprefix("/")  # a version's name may have slashes
        if model not in models:
            names = " and ".join(models)
            raise Problem("not-found", errors=[FieldError(f"there are {names}", parameter="model")])
        return json_response(models[model], 200)

    return [embed, list_models, get_model]
