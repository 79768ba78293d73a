"""Writes outputs and waits until the broker has them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordTooLargeError

from connectors.errors import Permanent, Transient
from streams.outcome import Output


class Publisher:
    """``producer`` gives Faust's producer once the application runs; ``name_of`` the full name of a topic."""

    def __init__(self, producer: Callable[[], Any], name_of: Callable[[Output], str], timeout: float) -> None:
        self._producer, self._name_of, self._timeout = producer, name_of, timeout

    async def __call__(self, outputs: Sequence[Output]) -> None:
        """Raises :class:`Transient` unless every output is confirmed, :class:`Permanent` for one too large."""
        if not outputs:
            return
        try:
            async with asyncio.timeout(self._timeout):
                futures = [
                    await self._producer().send(
                        self._name_of(o), o.key, o.value, o.partition, None, list(o.headers.items())
                    )
                    for o in outputs
                ]
                await asyncio.gather(*futures)
        except (MessageSizeTooLargeError, RecordTooLargeError) as error:
            raise Permanent(f"larger than the topic's max.message.bytes: {error}", reason="too-large") from error
        except (KafkaError, TimeoutError, ConnectionError) as error:
            raise Transient(f"broker did not confirm: {error!r}", reason="broker") from error
