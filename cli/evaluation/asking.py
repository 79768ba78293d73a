"""Ask every question in every mode through the gateway, so many at once; what failed is kept with its reason."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import msgspec

from cli.door import TIMEOUT, DoorError, address_of, headers_of
from cli.evaluation.questions import Case
from cli.evaluation.scores import rank
from runtime.settings import Settings

MODES: Mapping[str, Mapping[str, Any]] = {
    "keyword": {"search": "keyword", "rerank": False},
    "vector": {"search": "vector", "rerank": False},
    "hybrid": {"search": "hybrid", "rerank": False},
    "reranked": {"search": "hybrid", "rerank": True},
    "default": {},  # what a question gets that says nothing
}
USUAL = ("keyword", "vector", "hybrid", "reranked")
RERANK_STEP = "rerank"  # the timing that says that passages were re-ranked
PATIENCE = 60.0  # seconds that one question is asked again while the gateway is busy
WAIT = 60  # seconds for an answer


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one question got in one mode.  ``ranked`` are documents, best first; ``cited`` one for each citation."""

    ranked: list[str] = []
    text: str | None = None
    cited: list[str] = []
    timings: dict[str, float] = {}
    degraded: list[str] = []
    generation: str = ""
    model: str = ""
    failed: str | None = None


class Asker:
    """A client of the gateway.  Use as an asynchronous context manager."""

    def __init__(
        self,
        settings: Settings,
        tenant: str | None,
        passages: int,
        cache: bool,
        answers: bool,
        model: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.address = address_of(settings)
        self._body: dict[str, Any] = {} if cache else {"cache": False}
        self._passages, self._answers, self._model = passages, answers, {"model": model} if model else {}
        self._http = httpx.AsyncClient(
            base_url=self.address, headers=headers_of(settings, tenant), timeout=TIMEOUT, transport=transport
        )

    async def __aenter__(self) -> "Asker":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, case: Case, mode: str) -> Outcome:
        """One question in one mode.  A ranking that was had stays, when only the answer failed."""
        body = {"question": case.question, **self._body, **MODES[mode]}
        outcome = Outcome()
        try:
            found = await self._post("/v1/retrieve", body | {"k": self._passages})
            outcome.ranked = rank([passage["doc_id"] for passage in found["passages"]])
            outcome.timings, outcome.degraded = found["timings"], found["degraded"]
            outcome.generation = found["generation"]
            if self._answers:
                job = await self._post("/v1/queries", body | self._model, {"Prefer": f"wait={WAIT}"})
                if not job.get("answer"):
                    raise DoorError(f"no answer: {job.get('error') or job['state']}")
                answer = job["answer"]
                outcome.text, outcome.model = answer["text"], answer["model"]
                if self._model and outcome.model != self._model["model"]:
                    raise DoorError(f"{outcome.model} answered: {', '.join(answer.get('degraded', []))}")
                outcome.cited = [citation["doc_id"] for citation in answer.get("citations", [])]
                outcome.degraded += [each for each in answer.get("degraded", []) if each not in outcome.degraded]
                outcome.timings["generate"] = answer["timings"]["generate"]
        except (DoorError, httpx.HTTPError, TimeoutError) as error:
            outcome.failed = str(error) or repr(error)
        return outcome

    async def all(
        self, cases: Sequence[Case], modes: Sequence[str], at_once: int, done: Callable[[], None]
    ) -> dict[str, dict[str, Outcome]]:
        """Outcomes by id and mode; a question's modes follow each other, so that drift touches all alike."""
        permits = asyncio.Semaphore(at_once)
        found: dict[str, dict[str, Outcome]] = {}

        async def one(case: Case) -> None:
            async with permits:
                outcomes = found[case.id] = {}
                for mode in modes:
                    outcomes[mode] = await self.ask(case, mode)
                    done()

        async with asyncio.TaskGroup() as group:
            for case in cases:
                group.create_task(one(case))
        return {case.id: found[case.id] for case in cases}

    async def usable(self, case: Case, modes: Sequence[str]) -> list[str]:
        """Those that can be measured, all but re-ranking where none is configured.

        Raises :class:`DoorError` where the gateway is away, or does not take us or a mode.
        """
        found = []
        for mode in modes:
            try:
                body = {"question": case.question, **self._body, **MODES[mode], "k": self._passages}
                timings = (await self._post("/v1/retrieve", body))["timings"]
            except httpx.HTTPError as error:
                raise DoorError(f"gateway at {self.address}: {error} (is the stack up? `make up`)") from None
            except DoorError as error:
                if error.status is not None and error.status < 500:
                    raise DoorError(f"{mode}: {error}", error.status) from None
                timings = {RERANK_STEP: 0.0}  # a question that fails is counted like any other
            if mode != "reranked" or RERANK_STEP in timings:
                found.append(mode)
        return found

    async def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        async with asyncio.timeout(PATIENCE + WAIT):
            until = asyncio.get_running_loop().time() + PATIENCE
            while True:
                response = await self._http.post(path, json=body, headers=headers)
                wait = response.headers.get("retry-after")
                if response.status_code not in (429, 503) or not wait or asyncio.get_running_loop().time() > until:
                    break
                await asyncio.sleep(min(float(wait), 5.0))
        try:
            found = response.json()
        except ValueError:
            found = {"title": response.text[:200]}
        if response.is_error:
            places = "; ".join(f"{e.get('pointer', '')} {e.get('detail', '')}" for e in found.get("errors", []))
            said = f"{response.status_code} {found.get('title', '')}: {found.get('detail') or places}"
            raise DoorError(said, response.status_code)
        return found
