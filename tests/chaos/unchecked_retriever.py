"""A retrieve worker that shows every hit, whatever the manifests say: the run that must fail."""

from collections.abc import Sequence

from connectors.ports import Visible
from connectors.state.redis_manifests import RedisManifests
from runtime.settings import Settings
from streams.worker import run
from topics.documents import DocumentHead
from topics.identity import DocumentRef


class Unchecked(RedisManifests):
    """Manifests that let everything through."""

    async def visible(self, hits: Sequence[tuple[DocumentRef, str]]) -> list[Visible | None]:
        manifests = await self.read([ref for ref, _ in hits])
        nothing = DocumentHead(published_at=0)
        return [Visible(m.version or "", m.head or nothing, None, 1e9) for m in manifests]


if __name__ == "__main__":
    RedisManifests.visible = Unchecked.visible  # type: ignore[assignment, method-assign]
    run("retrieve", Settings.from_env())
