"""Re-ranking by a cross-encoder, on a tiny one with random weights: what it says is arbitrary, and always the same."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from connectors.encoders.weights import resolve
from connectors.errors import Permanent
from connectors.rerankers.cross_encoder import CrossEncoderReranker
from streams.queries.rerank import SKIPPED, UNAVAILABLE, Rerank
from streams.queries.search import Search
from tests.flow.searching import Worker, worker

TEXTS = ("The red pump moves water.", "A pump needs oil twice a year.", "The pump in Oslo is red.", "Water is blue.")


def make(folder: Path, labels: int) -> Path:
    """A cross-encoder of one layer."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(7)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model("bert", vocab_size=30522, num_labels=labels, initializer_range=0.5, **shape)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    AutoTokenizer.from_pretrained(resolve("all-MiniLM-L6-v2").folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("cross-encoder"), 1)


@contextlib.asynccontextmanager
async def loaded(reranker: CrossEncoderReranker) -> AsyncIterator[None]:
    task = asyncio.create_task(reranker.load())
    async with asyncio.timeout(60):
        while reranker._network is None:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await reranker.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path / "keywords") as found:
        for n, text in enumerate(TEXTS):
            await found.lanes.put(f"d{n}", f'{{"text": "{text}"}}'.encode())
        await found.sync()
        yield found


def with_rerank(rig: Worker, rerank: Rerank) -> None:
    lanes = rig.lanes
    settings = lanes.settings
    lanes.retrieve._search = Search(settings.queries, settings.documents.stale_after, rig.legs, lanes.clock, rerank)


async def test_passages_stand_in_the_order_of_the_reranker(rig: Worker, model: Path) -> None:
    """The same scores as the library gives, the best first; where a question wants none, the order of the fusion."""
    reranker = CrossEncoderReranker(str(model))
    async with loaded(reranker):
        with_rerank(rig, Rerank(reranker, 20))
        found = await rig.retrieve("red pump", explain=True)
        scores = await reranker.score("red pump", [p.text for p in found.passages])
        assert len(found.passages) > 2 and scores == sorted(scores, reverse=True) and len(set(scores)) == len(scores)
        assert [p.scores["rerank"] for p in found.passages] == pytest.approx(scores, abs=1e-3)
        assert found.degraded == [] and "rerank" in found.timings
        plain = await rig.retrieve("red pump", rerank=False, explain=True)
        assert "rerank" not in plain.timings and all("rerank" not in p.scores for p in plain.passages)
        assert {p.doc_id for p in plain.passages} == {p.doc_id for p in found.passages}


async def test_without_time_or_model_the_fusion_stands(rig: Worker, model: Path) -> None:
    """A re-ranker that is loading, or would take too long, costs nothing but a label."""
    reranker = CrossEncoderReranker(str(model))
    rerank = Rerank(reranker, 20)
    with_rerank(rig, rerank)
    plain = await rig.retrieve("red pump", rerank=False)
    found = await rig.retrieve("red pump")
    assert found.degraded == [UNAVAILABLE] and found.passages == plain.passages
    async with loaded(reranker):
        rerank._pair_seconds = 100.0
        found = await rig.retrieve("red pump")
        assert found.degraded == [SKIPPED] and found.passages == plain.passages


async def test_a_model_that_is_no_reranker_is_told(tmp_path: Path) -> None:
    """A folder that is not there, and a model with three classes, name the setting and what is wrong."""
    with pytest.raises(Permanent, match=r"FRESHET_RERANK_MODEL=.*cannot be loaded"):
        await CrossEncoderReranker(str(tmp_path / "nowhere")).load()
    with pytest.raises(Permanent, match="gives 3 scores a pair"):
        await CrossEncoderReranker(str(make(tmp_path / "three", 3))).load()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name that is not a folder must not be looked for on the network by a test."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    yield
