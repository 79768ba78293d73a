"""bench/embed: the model it makes where there is none, and what it measures."""

from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from bench import corpus, embed, random_model
from connectors.encoders.sentence_transformer import SentenceTransformerEncoder
from connectors.encoders.tokens import TokenCounter
from connectors.encoders.weights import resolve
from runtime.settings import Encoder as EncoderSettings

TEXTS = ["The committed offset moves only after the write.", "A null value deletes the document."]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model.make(tmp_path_factory.mktemp("models") / "random", TEXTS)


def test_a_random_model_is_one_of_minilms_shape(made: Path) -> None:
    """It loads like any model, has MiniLM's size, tells texts apart, and knows the words it was given."""
    weights = resolve(str(made))
    encoder = SentenceTransformerEncoder(weights, "torch-fp32")
    vectors = encoder.encode_now(TEXTS)
    trained = resolve("all-MiniLM-L6-v2")
    assert vectors.shape == (2, trained.dimension)
    assert float(vectors[0] @ vectors[1]) < 0.999
    assert sum(p.numel() for p in encoder._network.parameters()) == 22_713_216
    assert TokenCounter(made)(TEXTS) == [9, 7], "a token for each word and full stop"


def test_random_weights_stand_in_for_absent_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is not to be had is replaced by a made one, and the result says so; one that is there is taken."""
    monkeypatch.setattr(random_model, "make", lambda folder, texts: folder)
    monkeypatch.setattr(corpus, "documents", list)
    assert embed.model(EncoderSettings(backend="torch-fp32"), tmp_path) == (EncoderSettings(), "trained")
    absent, weights = embed.model(EncoderSettings(model=str(tmp_path / "absent")), tmp_path)
    assert weights == "random"
    assert Path(absent.model).parent == tmp_path


class Known:
    """A backend's process in place of the process: takes a known time and turns vectors by a known angle."""

    def __init__(self, seconds: float, cosine: float) -> None:
        self.seconds, self.cosine = seconds, cosine

    def submit(self, what: Any, texts: list[str]) -> "Future[Any]":
        done: Future[Any] = Future()
        vector = np.array([self.cosine, (1 - self.cosine**2) ** 0.5])
        told = [self.seconds * 1000] * len(texts)
        done.set_result(told if what is embed.ask else (self.seconds, np.tile(vector, (len(texts), 1))))
        return done


def test_what_is_told_is_what_was_measured() -> None:
    """Rates are texts by seconds, questions are in milliseconds, the cosine is that to torch fp32."""
    pools = {"torch-fp32": Known(2.0, 1.0), "fast": Known(0.5, 0.8)}
    found = embed.measure(cast("dict[str, ProcessPoolExecutor]", pools), TEXTS * 5, TEXTS, rounds=3)["backends"]
    assert found["torch-fp32"]["chunks_per_s"] == 5.0
    assert found["fast"]["spread"] == [20.0] * 3
    assert (found["fast"]["query_ms"], found["fast"]["query_ms_p95"]) == (500.0, 500.0)
    assert (found["torch-fp32"]["min_cosine"], found["fast"]["min_cosine"]) == (1.0, 0.8)
