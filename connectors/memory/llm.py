"""What is told about versions of the language model, in dicts.  Same contract as Redis; nothing is forgotten."""

from collections.abc import Mapping

from connectors.llm_ports import WorkerVersions


class MemoryLlmBoard:
    """:class:`connectors.llm_ports.LlmBoard`."""

    def __init__(self) -> None:
        self._workers: dict[str, WorkerVersions] = {}
        self._figures: dict[int, dict[str, dict[str, float]]] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def tell(self, worker: str, versions: WorkerVersions) -> None:
        self._workers[worker] = versions

    async def workers(self) -> dict[str, WorkerVersions]:
        return dict(self._workers)

    async def count(self, since: int, version: str, figures: Mapping[str, float]) -> None:
        kept = self._figures.setdefault(since, {}).setdefault(version, {})
        for name, amount in figures.items():
            kept[name] = kept.get(name, 0.0) + amount

    async def figures(self, since: int) -> dict[str, dict[str, float]]:
        return {version: dict(kept) for version, kept in self._figures.get(since, {}).items()}
