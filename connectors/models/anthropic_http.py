"""Any endpoint that speaks Anthropic's messages protocol (Anthropic, vLLM, ...), streaming, through its SDK."""

from typing import Any

import anthropic
import httpx2

from connectors.models.chat import LOOK_UP, Chat, Events, Piece, checked
from connectors.models.failures import Sdk
from runtime.endpoints import Endpoint
from topics.queries import Usage


class AnthropicModel(Chat):
    """Answer model behind ``/v1/messages``."""

    sdk = Sdk(anthropic, httpx2, anthropic.AnthropicError)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._client: anthropic.AsyncAnthropic | None = None
        # The SDK no longer knows it, since Anthropic's later models refuse it: sent only where it is asked for.
        self._options = {} if endpoint.temperature is None else {"temperature": endpoint.temperature}

    async def open(self) -> None:
        # A transport of our own: with httpx's, HTTP_PROXY of the environment would see questions and passages.
        transport = httpx2.AsyncHTTPTransport(limits=anthropic.DEFAULT_CONNECTION_LIMITS)
        self._client = anthropic.AsyncAnthropic(
            base_url=self._endpoint.address.removesuffix("/v1"),
            api_key=self._endpoint.key or "none",  # without, the SDK looks for one in the environment and in files
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultAsyncHttpxClient(transport=transport),
        )
        _ = self._client.messages  # imported on first use, while somebody waits

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _send(self, system: str, user: str, max_tokens: int) -> Events:
        events = await self._opened.messages.create(
            model=self._endpoint.model,
            system=system,
            messages=[{"role": "user", "content": user}],
            max_tokens=max_tokens,
            extra_body=self._options,
            stream=True,
            timeout=anthropic.Timeout(self._endpoint.first_token_timeout, connect=LOOK_UP),
        )
        assert isinstance(events, anthropic.AsyncStream)
        return events

    async def _listed(self, seconds: float) -> bytes:
        response = await self._opened.get("/v1/models", cast_to=httpx2.Response, options={"timeout": seconds})
        return response.content

    def _read(self, event: Any) -> Piece:
        match event.type:
            case "content_block_delta" if event.delta.type == "text_delta":
                return Piece(checked(event.delta.text))
            case "message_delta":
                used = event.usage
                usage = None if used is None else Usage(_read_in(used), int(used.output_tokens))
                return Piece("", event.delta.stop_reason is not None, usage)
            case "message_stop":
                return Piece("", True)
        return Piece()

    @property
    def _opened(self) -> anthropic.AsyncAnthropic:
        assert self._client is not None, "open first"
        return self._client


def _read_in(usage: Any) -> int:
    """All tokens of the prompt: those that were cached are counted apart."""
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(int(getattr(usage, part, None) or 0) for part in parts)
