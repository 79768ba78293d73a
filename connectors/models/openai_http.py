"""Any OpenAI-compatible chat endpoint (vLLM, OpenAI, ...), streaming, through OpenAI's SDK but for the events."""

from typing import Any

import httpx
import httpx_aiohttp
import msgspec
import openai

from connectors.models import sse
from connectors.models.chat import LOOK_UP, Chat, Events, Piece
from connectors.models.failures import Sdk
from runtime.endpoints import Endpoint
from topics.queries import Usage


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Text
    finish_reason: str | None = None


class _Used(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Chunk(msgspec.Struct):
    """What is looked at of ``chat.completion.chunk``."""

    choices: list[_Choice] = []
    usage: _Used | None = None
    error: Any = None


class OpenAIModel(Chat):
    """Answer model behind ``/chat/completions``."""

    sdk = Sdk(openai, httpx, openai.OpenAIError)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._client: openai.AsyncOpenAI | None = None
        # What not every endpoint takes, and is left out once it was refused.
        self._options: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if endpoint.temperature is not None:
            self._options["temperature"] = endpoint.temperature
        self._limit = "max_tokens"  # OpenAI's later models know it by another name

    async def open(self) -> None:
        self._client = client_of(self._endpoint.address, self._endpoint.key)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _send(self, system: str, user: str, max_tokens: int) -> Events:
        while True:
            try:
                return await sse.Events.begin(self._request(system, user, max_tokens), _Chunk)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._does_without(error):
                    raise

    def _request(self, system: str, user: str, max_tokens: int) -> sse.Manager:
        return self._opened.chat.completions.with_streaming_response.create(
            model=self._endpoint.model,
            messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
            stream=True,
            extra_body={self._limit: max_tokens, **self._options},
            timeout=openai.Timeout(self._endpoint.first_token_timeout, connect=LOOK_UP),
        )

    def _does_without(self, error: openai.APIStatusError) -> bool:
        """Whether the request can be sent again without what was refused."""
        refused = error.param or next((name for name in self._options if name in str(error)), None)
        if refused == self._limit == "max_tokens":
            self._limit = "max_completion_tokens"
            return True
        return refused is not None and self._options.pop(refused, None) is not None

    async def _listed(self, seconds: float) -> bytes:
        response = await self._opened.get("/models", cast_to=httpx.Response, options={"timeout": seconds})
        return response.content

    def _read(self, event: _Chunk) -> Piece:
        if event.error is not None:
            raise ValueError(f"an error in mid-stream: {str(event.error)[:300]}")
        text, finished = "", False
        for choice in event.choices[:1]:
            finished = choice.finish_reason is not None
            text = choice.delta.content or ""
        used = event.usage
        return Piece(text, finished, Usage(used.prompt_tokens, used.completion_tokens) if used else None)

    @property
    def _opened(self) -> openai.AsyncOpenAI:
        assert self._client is not None, "open first"
        return self._client


def client_of(address: str, key: str | None) -> openai.AsyncOpenAI:
    """A client that goes where it is told and nowhere else."""
    # A transport of our own: with httpx's, HTTP_PROXY of the environment would see questions and passages.
    transport = httpx_aiohttp.AiohttpTransport(limits=openai.DEFAULT_CONNECTION_LIMITS)
    http = openai.DefaultAsyncHttpxClient(transport=transport)
    client = openai.AsyncOpenAI(base_url=address, api_key=key or "none", max_retries=0, http_client=http)
    client.organization = client.project = None  # the environment's are for another endpoint
    _ = client.chat, client.models  # imported on first use: 1 s or more that the first who asks would wait for
    return client
