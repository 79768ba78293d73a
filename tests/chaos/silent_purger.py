"""A purge worker that tells no edge anything and says that all is well: the run that must fail."""

from collections.abc import Sequence

from connectors.edges.http_purge import HttpPurger
from runtime.settings import Settings
from streams.worker import run


async def _nothing(self: HttpPurger, keys: Sequence[str]) -> None:
    del self, keys


if __name__ == "__main__":
    HttpPurger.purge = _nothing  # type: ignore[method-assign]
    run("purge", Settings.from_env())
