"""Any OpenAI-compatible chat endpoint (vLLM, OpenAI, ...), streaming, through OpenAI's SDK."""

from typing import Any

import httpx
import openai

from connectors.models.chat import LOOK_UP, Chat, Events, Piece, checked
from connectors.models.failures import Sdk
from runtime.endpoints import Endpoint
from topics.queries import Usage


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
        # A transport of our own: with httpx's, HTTP_PROXY of the environment would see questions and passages.
        http = openai.DefaultAsyncHttpxClient(
            transport=httpx.AsyncHTTPTransport(limits=openai.DEFAULT_CONNECTION_LIMITS)
        )
        self._client = openai.AsyncOpenAI(
            base_url=self._endpoint.address, api_key=self._endpoint.key or "none", max_retries=0, http_client=http
        )
        self._client.organization = self._client.project = None  # the environment's are for another endpoint

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _send(self, system: str, user: str, max_tokens: int) -> Events:
        while True:
            try:
                events = await self._opened.chat.completions.create(
                    model=self._endpoint.model,
                    messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                    stream=True,
                    extra_body={self._limit: max_tokens, **self._options},
                    timeout=openai.Timeout(self._endpoint.first_token_timeout, connect=LOOK_UP),
                )
                break
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._does_without(error):
                    raise
        assert isinstance(events, openai.AsyncStream)
        return events

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

    def _read(self, event: Any) -> Piece:
        text, finished, usage = "", False, None
        for choice in event.choices[:1]:
            finished = choice.finish_reason is not None
            text = checked(choice.delta.content or "")
        if (counted := getattr(event, "usage", None)) is not None:
            usage = Usage(int(counted.prompt_tokens), int(counted.completion_tokens))
        return Piece(text, finished, usage)

    @property
    def _opened(self) -> openai.AsyncOpenAI:
        assert self._client is not None, "open first"
        return self._client
