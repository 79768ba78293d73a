"""Any OpenAI-compatible chat endpoint (vLLM, OpenAI, ...), streaming.

Delivery: one answer, tried once; the stage decides what comes next.  Only a prompt that turned out too long is sent
again, shorter.  Silence longer than ``first_token_timeout`` counts as away, and nothing waits past ``seconds``.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import httpx
import msgspec
import openai
from openai.types.chat import ChatCompletionChunk

from connectors.errors import ConnectorError, Overloaded, Permanent, Transient
from connectors.models.prompt import messages
from connectors.models.window import estimate, fitting, is_overflow, room_for_answer, window_told
from connectors.ports import Delta
from runtime.settings import Llm
from topics.queries import Passage

LOOK_UP = 5.0  # seconds that /v1/models may take
KNOWN_FOR = 300.0  # seconds until the window is asked for again: another model may be served under the name by then
SHRINK = 0.75  # of the tokens of a prompt that was too long, in spite of the estimate, for the next
SHORTENED = 4  # how often


@dataclass(frozen=True, slots=True)
class _Window:
    tokens: int | None
    until: float


class _Served(msgspec.Struct):
    id: str
    max_model_len: int | None = None  # vLLM's own field


class _Listing(msgspec.Struct):
    data: list[_Served]


# The client checks nothing of what it is sent: what is no chat completion, such as a web page, fails where it is read.
_NO_COMPLETION = (ValueError, TypeError, AttributeError)
_TROUBLE = (openai.OpenAIError, httpx.HTTPError, TimeoutError, *_NO_COMPLETION)


class OpenAIModel:
    """Answer model behind ``settings.url``."""

    def __init__(self, settings: Llm) -> None:
        self._settings = settings
        self.name = settings.model or "default"
        self._client: openai.AsyncOpenAI | None = None
        self._window = _Window(settings.context_tokens, float("inf") if settings.context_tokens else 0.0)

    async def open(self) -> None:
        key = self._settings.api_key.get_secret_value() if self._settings.api_key else "none"
        self._client = openai.AsyncOpenAI(base_url=self._settings.url, api_key=key, max_retries=0)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def stream(self, question: str, passages: Sequence[Passage], seconds: float) -> AsyncGenerator[Delta, None]:
        """Tokens as the endpoint sends them, behind an empty piece that tells what was dropped."""
        now = asyncio.get_running_loop().time
        ends = now() + seconds
        # No time limit spans a yield: it would strike whatever the reader happens to be doing.
        try:
            async with asyncio.timeout_at(ends):
                kept, chunks = await self._begin(question, passages)
            async with chunks:
                if dropped := len(passages) - kept:
                    yield Delta("", dropped)
                finished = False
                while now() < ends:
                    async with asyncio.timeout_at(ends):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for choice in chunk.choices[:1]:
                        finished = finished or choice.finish_reason is not None
                        if text := choice.delta.content:
                            yield Delta(_text(text))
                else:
                    raise TimeoutError("the time for the answer is over")
                if not finished:
                    raise Transient("endpoint broke the stream off", reason="cut")
        except _TROUBLE as error:
            raise _translate(error) from error

    async def _begin(
        self, question: str, passages: Sequence[Passage]
    ) -> tuple[int, openai.AsyncStream[ChatCompletionChunk]]:
        """Send the prompt with as many passages as fit; tells how many those are."""
        window = await self._context()
        kept, most = len(passages), self._settings.max_tokens
        for _ in range(SHORTENED):
            if window is not None:
                most = room_for_answer(window, self._settings.max_tokens)
                kept = min(kept, fitting(question, passages, window - most))
            if passages and not kept:
                break
            try:
                return kept, await self._send(question, passages[:kept], most)
            except openai.BadRequestError as error:
                if not is_overflow(str(error)):
                    raise
                told = window_told(str(error))
                if told is not None and told != window and not self._settings.context_tokens:
                    self._window = _Window(told, time.monotonic() + KNOWN_FOR)
                    window = told
                    continue
                kept = fitting(question, passages, int(estimate(question, passages[:kept]) * SHRINK))
        raise Permanent("not even the best passage fits into the model's context window", reason="window")

    async def _send(
        self, question: str, passages: Sequence[Passage], max_tokens: int
    ) -> openai.AsyncStream[ChatCompletionChunk]:
        chunks = await self._opened.chat.completions.create(
            model=self.name,
            messages=messages(question, passages),  # type: ignore[arg-type]  # plain dicts
            max_tokens=max_tokens,
            temperature=self._settings.temperature,
            stream=True,
            timeout=openai.Timeout(self._settings.first_token_timeout, connect=LOOK_UP),
        )
        assert isinstance(chunks, openai.AsyncStream)
        return chunks

    async def _context(self) -> int | None:
        """The model's window; None where the endpoint does not tell, as OpenAI's does not."""
        if time.monotonic() < self._window.until:
            return self._window.tokens
        tokens = None
        try:
            response = await self._opened.get(
                "/models", cast_to=httpx.Response, options={"timeout": min(LOOK_UP, self._settings.first_token_timeout)}
            )
            listing = msgspec.json.decode(response.content, type=_Listing)
            tokens = next((each.max_model_len for each in listing.data if each.id == self.name), None)
        except msgspec.MsgspecError:
            pass  # no list of models: the question itself will tell whether this is a chat endpoint
        except openai.APIStatusError as error:
            if error.status_code >= 429:  # the question itself would fare no better
                raise
        self._window = _Window(tokens, time.monotonic() + KNOWN_FOR)
        return tokens

    @property
    def _opened(self) -> openai.AsyncOpenAI:
        assert self._client is not None, "open first"
        return self._client


def _text(content: object) -> str:
    if not isinstance(content, str):
        raise TypeError(f"a piece of text that is {type(content).__name__}")
    return content


def _translate(error: Exception) -> ConnectorError:
    match error:
        case openai.APIStatusError() if error.status_code == 429 or (
            error.status_code >= 500 and "retry-after" in error.response.headers
        ):
            after = error.response.headers.get("retry-after", "")
            return Overloaded(
                f"endpoint is rate limited: {error}", retry_after=float(after) if after.isdigit() else 1.0
            )
        case openai.APITimeoutError() | httpx.TimeoutException() | TimeoutError():
            return Transient(f"endpoint is silent: {error!r}", reason="timeout")
        case openai.APIConnectionError() | httpx.ConnectError():
            return Transient(f"endpoint does not answer: {error!r}", reason="away")
        case httpx.TransportError():
            return Transient(f"endpoint broke the stream off: {error!r}", reason="cut")
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return Permanent("endpoint refuses the API key: check FRESHET_LLM_API_KEY", reason="key")
        case openai.NotFoundError():
            return Permanent(
                f"endpoint does not know the model: check FRESHET_LLM_MODEL and FRESHET_LLM_URL ({error})",
                reason="model",
            )
        case ValueError() | TypeError() | AttributeError():
            return Transient(f"endpoint failed: it sent no chat completion ({error!r})", reason="endpoint")
        case openai.APIStatusError() if error.status_code < 500:
            return Permanent(f"endpoint refuses the request: {error}", reason="request")
        case _:
            return Transient(f"endpoint failed: {error!r}", reason="endpoint")
