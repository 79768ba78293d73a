"""What all chat endpoints have in common: a prompt that fits, pieces within the time, failures by their names.

Delivery: one answer, tried once; the stage decides what comes next.  Only a prompt that turned out too long is sent
again, shorter.  Silence longer than ``first_token_timeout`` counts as away, and nothing waits past ``seconds``.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from connectors.errors import Permanent, Transient
from connectors.models.failures import Sdk, translate
from connectors.models.prompt import prompt
from connectors.models.window import estimate, fitting, is_overflow, room_for_answer, window_told
from connectors.ports import Delta
from runtime.endpoints import Endpoint
from topics.queries import Passage, Usage

LOOK_UP = 5.0  # seconds that a list of models may take
KNOWN_FOR = 300.0  # seconds until the window is asked for again: another model may be served under the name by then
SHRINK = 0.75  # of the tokens of a prompt that was too long, in spite of the estimate, for the next
SHORTENED = 4  # how often
PROBE = ("Reply with the word yes.", "Is anybody there?")  # system, user


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event of a stream says."""

    text: str = ""
    finished: bool = False
    usage: Usage | None = None


class Events(Protocol):
    """The open stream of an SDK."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Any]: ...

    async def __anext__(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Window:
    tokens: int | None
    until: float


class _Served(msgspec.Struct):
    id: str
    max_model_len: int | None = None  # vLLM's own field
    max_input_tokens: int | None = None  # Anthropic's


class _Listing(msgspec.Struct):
    data: list[_Served]


class Chat(ABC):
    """An endpoint of one kind.  What an SDK is sent it does not check: it fails where it is read."""

    sdk: Sdk

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.name, self.provider = endpoint.name, str(endpoint.provider)
        self._window = _Window(endpoint.context_tokens, float("inf") if endpoint.context_tokens else 0.0)

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _send(self, system: str, user: str, max_tokens: int) -> Events:
        """Begin an answer."""

    @abstractmethod
    async def _listed(self, seconds: float) -> bytes:
        """The list of models, as it is sent."""

    @abstractmethod
    def _read(self, event: Any) -> Piece:
        """One event of the stream."""

    async def stream(self, question: str, passages: Sequence[Passage], seconds: float) -> AsyncGenerator[Delta, None]:
        """Tokens as the endpoint sends them, behind an empty piece that tells what was dropped."""
        now = asyncio.get_running_loop().time
        ends = now() + seconds
        # No time limit spans a yield: it would strike whatever the reader happens to be doing.
        try:
            async with asyncio.timeout_at(ends):
                kept, events = await self._begin(question, passages)
            async with events:
                if dropped := len(passages) - kept:
                    yield Delta("", dropped)
                finished = False
                while now() < ends:
                    async with asyncio.timeout_at(ends):
                        event = await anext(events, None)
                    if event is None:
                        break
                    piece = self._read(event)
                    finished = finished or piece.finished
                    if piece.text or piece.usage:
                        yield Delta(piece.text, usage=piece.usage)
                else:
                    raise TimeoutError("the time for the answer is over")
                if not finished:
                    raise Transient("endpoint broke the stream off", reason="cut")
        except self.sdk.troubles as error:
            raise translate(error, self.sdk, self.name) from error

    async def complete(self, system: str, user: str, max_tokens: int, seconds: float) -> str:
        """A short answer to any prompt, whole."""
        said = list[str]()
        try:
            async with asyncio.timeout(seconds):
                events = await self._send(system, user, max_tokens)
                async with events:
                    async for event in events:
                        piece = self._read(event)
                        said.append(piece.text)
                        if piece.finished:
                            return "".join(said)
            raise Transient("endpoint broke the stream off", reason="cut")
        except self.sdk.troubles as error:
            raise translate(error, self.sdk, self.name) from error

    async def probe(self, seconds: float) -> None:
        """Ask for one token."""
        try:
            async with asyncio.timeout(seconds):
                events = await self._send(*PROBE, 1)
                async with events:
                    async for event in events:
                        if self._read(event) != Piece():
                            return
            raise Transient("endpoint broke the stream off", reason="cut")
        except self.sdk.troubles as error:
            raise translate(error, self.sdk, self.name) from error

    async def _begin(self, question: str, passages: Sequence[Passage]) -> tuple[int, Events]:
        """Send the prompt with as many passages as fit; tells how many those are."""
        window = await self._context()
        kept, most = len(passages), self._endpoint.max_tokens
        for _ in range(SHORTENED):
            if window is not None:
                most = room_for_answer(window, self._endpoint.max_tokens)
                kept = min(kept, fitting(question, passages, window - most))
            if passages and not kept:
                break
            try:
                return kept, await self._send(*prompt(question, passages[:kept]), most)
            except self.sdk.names.BadRequestError as error:
                if not is_overflow(str(error)):
                    raise
                told = window_told(str(error))
                if told is not None and told != window and not self._endpoint.context_tokens:
                    self._window = _Window(told, time.monotonic() + KNOWN_FOR)
                    window = told
                    continue
                kept = fitting(question, passages, int(estimate(question, passages[:kept]) * SHRINK))
        raise Permanent("not even the best passage fits into the model's context window", reason="window")

    async def _context(self) -> int | None:
        """The model's window; None where the endpoint does not tell, as OpenAI's does not."""
        if time.monotonic() < self._window.until:
            return self._window.tokens
        tokens = None
        try:
            listing = msgspec.json.decode(
                await self._listed(min(LOOK_UP, self._endpoint.first_token_timeout)), type=_Listing
            )
            served = next((each for each in listing.data if each.id == self._endpoint.model), None)
            tokens = (served.max_model_len or served.max_input_tokens) if served else None
        except msgspec.MsgspecError:
            pass  # no list of models: the question itself will tell whether this is a chat endpoint
        except self.sdk.names.APIStatusError as error:
            if error.status_code >= 429:  # the question itself would fare no better
                raise
        self._window = _Window(tokens, time.monotonic() + KNOWN_FOR)
        return tokens


def checked(content: object) -> str:
    """Text of a piece, in whatever else an address may have answered."""
    if not isinstance(content, str):
        raise TypeError(f"a piece of text that is {type(content).__name__}")
    return content
