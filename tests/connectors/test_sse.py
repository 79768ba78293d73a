"""Events of a stream, however they are cut into blocks."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import TracebackType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.models import sse


class Word(msgspec.Struct):
    text: str


class Request:
    """A request whose answer comes in these blocks, and does not end by itself where it is ``open``."""

    def __init__(self, *blocks: bytes, stays_open: bool = False) -> None:
        self._blocks, self._open = blocks, stays_open
        self.read = 0
        self.closed = False

    async def __aenter__(self) -> "Request":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.closed = True

    async def iter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        for block in self._blocks:
            self.read += 1
            yield block
        if self._open:
            await asyncio.sleep(60)


async def words(request: Request) -> list[str]:
    async with await sse.Events.begin(request, Word) as events:
        return [word.text async for word in events]


@given(st.lists(st.text(max_size=5), max_size=5), st.lists(st.integers(1, 20), max_size=30), st.booleans())
def test_blocks_may_end_anywhere(texts: list[str], cuts: list[int], returns: bool) -> None:
    """Within a line, within a character; line separators of Unicode inside an event are no ends of lines."""
    end = b"\r\n" if returns else b"\n"
    told = [json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "replace") for text in texts]
    stream = b": a comment" + end * 2 + b"".join(b"event: word" + end + b"data: " + each + end * 2 for each in told)
    stream += b"data: [DONE]" + end * 2
    blocks = []
    for cut in cuts:
        blocks.append(stream[:cut])
        stream = stream[cut:]
    found = asyncio.run(words(Request(*blocks, stream)))
    assert found == [json.loads(each)["text"] for each in told]


async def test_a_stream_that_is_done_is_read_to_its_end() -> None:
    """So that its connection can be used again; one that does not end holds nobody up."""
    request = Request(b'data: {"text": "a"}\n\ndata: [DONE]\n\n', b"", b"")
    assert await words(request) == ["a"] and request.closed and request.read > 1
    async with asyncio.timeout(5):
        assert await words(Request(b'data:{"text": "a"}\ndata: [DONE]\n', stays_open=True)) == ["a"]


@pytest.mark.parametrize("stream", [b"data: {no JSON\n", b"data: []\n", b"x" * (sse.LONGEST + 1)])
async def test_what_is_no_event_is_an_error(stream: bytes) -> None:
    """And the request is closed all the same."""
    request = Request(stream)
    with pytest.raises(ValueError, match=r"."):
        await words(request)
    assert request.closed
