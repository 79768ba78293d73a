"""What every encoder promises, whatever it runs on.

Subclass and give the fixture ``encoder``.  ``tolerance`` is the largest change of any coordinate of a unit vector when
the same text is encoded in other company: padding and batch size choose other kernels, and bf16 has 8 bits.
"""

import asyncio
import re
import time

import numpy as np
import pytest

from connectors.ports import Encoder

_SENTENCE = "the broker keeps every record of a compacted topic until a newer one with the same key has been written"
WORDS = re.findall(r"\w+", _SENTENCE)


def text_of(words: int, start: int = 0) -> str:
    """A text of so many words, different for each start."""
    return " ".join(WORDS[(start + n * (1 + start % 3)) % len(WORDS)] for n in range(words))


class EncoderContract:
    """Inherit to hold an adapter to the port."""

    tolerance = 1e-3

    @pytest.fixture
    def encoder(self) -> Encoder:
        """The encoder under test, open."""
        raise NotImplementedError

    async def test_says_what_it_is(self, encoder: Encoder) -> None:
        """Model, backend and dimension are known once it is open."""
        assert encoder.model
        assert encoder.backend
        assert encoder.dimension > 0

    async def test_vectors_are_float32_rows_of_unit_length(self, encoder: Encoder) -> None:
        """Shape, type and length are as the port states, for texts of every length."""
        texts = [text_of(n, n) for n in (1, 3, 40, 150, 700)]
        vectors = await encoder.encode(texts)
        assert vectors.shape == (len(texts), encoder.dimension)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)

    async def test_no_texts_give_no_rows(self, encoder: Encoder) -> None:
        """An empty list is no error and keeps the dimension."""
        vectors = await encoder.encode([])
        assert vectors.shape == (0, encoder.dimension)
        assert vectors.dtype == np.float32

    async def test_order_is_kept(self, encoder: Encoder) -> None:
        """Row n belongs to text n although passes are sorted by length."""
        texts = [text_of(1 + (n * 37) % 90, n) for n in range(24)]
        together = await encoder.encode(texts)
        alone = np.concatenate([await encoder.encode([text]) for text in texts])
        np.testing.assert_allclose(together, alone, atol=self.tolerance)

    async def test_same_text_same_vector(self, encoder: Encoder) -> None:
        """A text's vector does not depend on its company, within the tolerance."""
        text = text_of(30)
        alone = await encoder.encode([text])
        crowd = await encoder.encode([text_of(200, 1), text, text_of(2, 2), *[text_of(60, n) for n in range(12)], text])
        np.testing.assert_allclose(crowd[[1, -1]], alone[[0, 0]], atol=self.tolerance)

    async def test_odd_texts_have_vectors(self, encoder: Encoder) -> None:
        """Nothing, spaces, control characters, lone surrogates, emoji and one endless word are all encoded."""
        texts = [
            "",
            "  \n\t",
            "\x00\x07",
            "\ud800 half a pair",
            "👩‍👩‍👧‍👦🇩🇪",
            "\u202eabc\u0301\u200b",
            "x" * 50_000,
            "图书馆" * 400,
        ]
        vectors = await encoder.encode(texts)
        assert vectors.shape == (len(texts), encoder.dimension)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)

    async def test_near_texts_are_nearer(self, encoder: Encoder) -> None:
        """A text is nearer to its variant than to one about something else."""
        vectors = await encoder.encode(
            [
                "The broker deletes old records of a compacted topic.",
                "Old records of compacted topics are deleted by the broker.",
                "Whisk the eggs with sugar until the cream is pale.",
            ]
        )
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2

    async def test_loop_is_never_blocked(self, encoder: Encoder) -> None:
        """Heartbeats go on while a long batch is encoded."""
        ticks = [time.perf_counter()]

        async def heartbeat() -> None:
            while True:
                await asyncio.sleep(0.01)
                ticks.append(time.perf_counter())

        task = asyncio.create_task(heartbeat())
        await asyncio.sleep(0)
        await encoder.encode([text_of(150, n) for n in range(24)])
        ticks.append(time.perf_counter())
        task.cancel()
        gaps = np.diff(ticks)
        assert gaps.max() < max(0.25, gaps.sum() / 3)

    async def test_calls_at_once_do_not_mix(self, encoder: Encoder) -> None:
        """Callers that wait together each get their own vectors."""
        texts = [text_of(5, n) for n in range(8)]
        together = await asyncio.gather(*[encoder.encode([text]) for text in texts])
        apart = [await encoder.encode([text]) for text in texts]
        np.testing.assert_allclose(np.concatenate(together), np.concatenate(apart), atol=self.tolerance)
