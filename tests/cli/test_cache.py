"""`freshet cache` on the real Redis."""

import asyncio
import os
import secrets

import pytest
from typer.testing import CliRunner

from cli import cache
from connectors.caches.redis_hot import RedisHotCache
from runtime.settings import Settings
from topics.identity import DocumentRef

A, B, ACME = DocumentRef("default", "a"), DocumentRef("default", "b/*"), DocumentRef("acme", "a")


class Desk:
    """The command line on an installation of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        outside: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FRESHET_")}
        own = environment | {"FRESHET_PREFIX": f"c{secrets.token_hex(4)}", "FRESHET_TENANTS": "default,acme"}
        self._environment: dict[str, str | None] = {**outside, **own}
        self.settings = Settings.from_env(own)

    def __call__(self, *words: str, code: int = 0) -> str:
        result = CliRunner().invoke(cache.app, list(words), env=self._environment)
        assert result.exit_code == code, result.output
        return result.output

    def fill(self, generation: str = "g1") -> None:
        """Three entries: of a and b, of b, of another tenant's a."""
        documents = self.settings.documents.model_copy(update={"generation": generation})
        kept = RedisHotCache(self.settings.model_copy(update={"documents": documents}))

        async def fill() -> None:
            await kept.open()
            for key, refs in {"k": [A, B], "l": [B], "m": [ACME]}.items():
                await kept.put(key, b"12345", refs)
            await kept.close()

        asyncio.run(fill())


@pytest.mark.servers
def test_what_is_kept_is_counted_and_goes_as_told(server_environment: dict[str, str]) -> None:
    """A document's entries, a generation's, or all of them; nothing else, and twice is harmless."""
    freshet = Desk(server_environment)
    freshet.fill()
    freshet.fill("g2")
    assert "│ 3       │ 10000   │ 15    │ 300 s" in freshet("status")
    assert freshet("purge", "--doc", "a") == "1 entry forgotten\n"
    assert freshet("purge", "--doc", "a") == "0 entries forgotten\n"
    assert freshet("purge", "--doc", "a", "--tenant", "acme") == "1 entry forgotten\n"
    assert freshet("purge", "--doc", "b/*") == "1 entry forgotten\n"
    assert freshet("purge", "--generation", "g1") == "0 entries forgotten\n"
    freshet.fill()
    assert freshet("purge", "--generation", "g2") == "3 entries forgotten\n"
    assert "│ 3 " in freshet("status") and "│ 0 " in freshet("status", "--generation", "g2")
    freshet.fill("g2")
    assert freshet("purge", "--all") == "6 entries forgotten\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "one of --doc ID, --generation NAME, --all"),
        (("--doc", "a", "--all"), "one of"),
        (("--generation", "g1", "--all"), "one of"),
        (("--all", "--tenant", "acme"), "--tenant goes with --doc"),
        (("--doc", "a", "--tenant", "nobody"), "FRESHET_TENANTS names acme, default"),
        (("--doc", ""), "document id is empty"),
        (("--generation", "G*"), "no name of a generation"),
    ],
)
def test_what_is_not_clear_is_not_done(words: tuple[str, ...], told: str) -> None:
    """It exits with 2 and says what to write."""
    assert told in Desk({})("purge", *words, code=2)


def test_a_cache_that_is_away_is_named() -> None:
    """It exits with 1, and names the setting."""
    away = Desk({"FRESHET_REDIS_CACHE_URL": "redis://127.0.0.1:1/0"})
    assert "FRESHET_REDIS_CACHE_URL" in away("status", code=1)
    assert "FRESHET_REDIS_CACHE_URL" in away("purge", "--all", code=1)
