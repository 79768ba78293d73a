"""An encoder that is there at once and encodes when it has been loaded: keyword search need not wait for it."""

import asyncio
from collections.abc import Sequence

from connectors.encoders.select import open_encoder
from connectors.encoders.weights import resolve
from connectors.errors import Transient
from connectors.ports import Encoder, Vectors
from runtime.settings import Encoder as EncoderSettings


class LoadingEncoder:
    """:class:`connectors.ports.Encoder`; until :meth:`load` is done it raises :class:`Transient`."""

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings
        weights = resolve(settings.model)
        self.model, self.dimension, self.backend = weights.model_id, weights.dimension, "loading"
        self._encoder: Encoder | None = None

    async def load(self) -> None:
        """Load, and then stay: what runs beside a stage may not end."""
        self._encoder = await open_encoder(self._settings)
        self.backend = self._encoder.backend
        await asyncio.Event().wait()

    async def encode(self, texts: Sequence[str]) -> Vectors:
        if self._encoder is None:
            raise Transient("the encoder is being loaded", reason="loading")
        return await self._encoder.encode(texts)
