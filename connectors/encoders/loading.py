"""An encoder that loads beside everything else, and encodes when it has: keyword search need not wait for it."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from connectors.encoders import select
from connectors.encoders.weights import resolve
from connectors.errors import Transient
from connectors.ports import Encoder, Vectors
from runtime.settings import Encoder as EncoderSettings

PATIENCE: Final = 3.0  # seconds: OpenVINO is there in one, torch in six or more


class LoadingEncoder:
    """:class:`connectors.ports.Encoder`; begins to load when it is made, and raises :class:`Transient` until it has."""

    def __init__(self, settings: EncoderSettings) -> None:
        weights = resolve(settings.model)
        self.model, self.dimension, self.backend = weights.model_id, weights.dimension, "loading"
        self._loading = asyncio.ensure_future(select.open_encoder(settings))

    async def open(self) -> None:
        """Wait for it a moment, so that a start is degraded only where loading takes long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(self._loading)

    async def close(self) -> None:
        self._loading.cancel()

    async def failed(self) -> None:
        """Return when loading has failed; its error is raised."""
        encoder = await asyncio.shield(self._loading)
        self.backend = encoder.backend
        await asyncio.Event().wait()

    async def encode(self, texts: Sequence[str]) -> Vectors:
        if not self._loading.done():
            raise Transient("the encoder is being loaded", reason="loading")
        encoder: Encoder = self._loading.result()
        return await encoder.encode(texts)
