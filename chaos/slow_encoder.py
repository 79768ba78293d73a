"""A worker whose encoder can be slowed while it runs: `python -m chaos.slow_encoder STAGE FILE`.

The file holds by how many times slower; without a file it is as quick as ever.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from connectors.encoders import select
from connectors.ports import Encoder, Vectors
from runtime.settings import Encoder as EncoderSettings
from runtime.settings import Settings
from streams.worker import run


class SlowEncoder:
    """:class:`connectors.ports.Encoder`, another one made slower; waiting costs no processor time."""

    def __init__(self, encoder: Encoder, factor: Path) -> None:
        self._encoder, self._factor = encoder, factor
        self.model, self.backend, self.dimension = encoder.model, encoder.backend, encoder.dimension

    async def encode(self, texts: Sequence[str]) -> Vectors:
        began = time.monotonic()
        vectors = await self._encoder.encode(texts)
        if self._factor.exists():
            await asyncio.sleep((float(self._factor.read_text()) - 1) * (time.monotonic() - began))
        return vectors


def main(stage: str, factor: Path) -> None:
    """Run the stage's worker."""
    whole = select.open_encoder

    async def slowed(settings: EncoderSettings) -> Encoder:
        return SlowEncoder(await whole(settings), factor)

    select.open_encoder = slowed
    run(stage, Settings.from_env())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
