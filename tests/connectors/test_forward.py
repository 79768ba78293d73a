"""Texts through a network the short way: what sentence-transformers gives, whatever the slices, passes and shapes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from connectors.encoders import forward as forwards
from connectors.encoders import verify
from connectors.encoders.captured import WIDEST, rounded, row_count
from connectors.encoders.forward import Forward, forward, padded
from connectors.encoders.sentence_transformer import SentenceTransformerEncoder, load_network
from connectors.encoders.weights import resolve

TEXTS = verify.samples()[::2]
BUDGET = 2048


@pytest.fixture(scope="module")
def network() -> Any:
    return load_network(resolve("all-MiniLM-L6-v2"), "cpu").eval()


@pytest.fixture(scope="module")
def theirs(network: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = network.encode(TEXTS, show_progress_bar=False)
    return found


@pytest.mark.parametrize("ahead", [1, 5, 1024])
def test_vectors_are_those_of_the_library(
    network: Any, theirs: NDArray[np.float32], ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each text's own, in order: tokenised one by one, in slices, at once; empty, long and foreign ones among them."""
    monkeypatch.setattr(forwards, "AHEAD", ahead)
    short = forward(network, BUDGET)
    assert short is not None
    np.testing.assert_allclose(short(TEXTS), theirs, atol=1e-5)


class Replayed:
    """Stands for recorded passes where there is no CUDA: runs what it is given, and notes the shapes."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, both: NDArray[np.int64]) -> Any:
        import torch

        self.shapes.append((both.shape[1], both.shape[2]))
        ids, mask = torch.from_numpy(both)
        return self._network({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]


def test_rounding_a_pass_up_changes_no_vector(network: Any, theirs: NDArray[np.float32]) -> None:
    """Rows and tokens that only fill a recorded shape leave the vectors as they are, and the shapes are few."""
    short, replayed = Forward(network, BUDGET), Replayed(network)
    short._captured = replayed  # type: ignore[assignment]
    np.testing.assert_allclose(short(TEXTS), theirs, atol=1e-5)
    np.testing.assert_allclose(short(TEXTS[:1]), theirs[:1], atol=1e-5)
    assert all(width % 16 == 0 for _, width in replayed.shapes)
    assert {rows for rows, width in replayed.shapes} <= {1, 4, 16, 64} | {BUDGET // w for _, w in replayed.shapes}


def test_a_model_that_wants_more_than_ids_keeps_the_librarys_way(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prompt in front of every text the short way gives other vectors: that is seen, and it is not taken."""
    monkeypatch.setattr(network, "prompts", {"document": "passage of a manual about the sea: "})
    monkeypatch.setattr(network, "default_prompt_name", "document")
    assert forward(network, BUDGET) is None


def test_the_librarys_way_gives_the_same(network: Any, theirs: NDArray[np.float32], monkeypatch: Any) -> None:
    """An encoder that was refused the short way encodes all the same."""
    monkeypatch.setattr("connectors.encoders.sentence_transformer.forward", lambda *_: None)
    encoder = SentenceTransformerEncoder(resolve("all-MiniLM-L6-v2"), "torch-fp32", batch_tokens=BUDGET)
    np.testing.assert_allclose(encoder.encode_now(TEXTS), theirs, atol=1e-5)


@given(st.integers(1, 700), st.integers(16, 700))
def test_widths_are_few_and_never_past_the_window(width: int, window: int) -> None:
    """A row keeps all of its tokens, and no position that the network does not know is asked for."""
    found = rounded(width, window)
    assert found >= width
    assert found <= max(width, window)
    assert len({rounded(w, WIDEST) for w in range(1, WIDEST + 1)}) == 18


@given(st.integers(1, 500), st.integers(1, 512), st.integers(256, 65_536))
def test_a_recorded_pass_stays_within_the_budget(rows: int, width: int, budget: int) -> None:
    """It has room for every row, and no more tokens than the budget where the pass itself had not."""
    found = row_count(rows, width, budget)
    assert found >= rows
    assert found * width <= max(budget, rows * width)


def test_rows_that_fill_a_pass_have_one_token() -> None:
    """A row of nothing would have no mean, and a vector that is not a number."""
    ids, mask = padded([np.array([5, 6, 7]), np.array([8])], (4, 4), 9)
    assert ids.tolist() == [[5, 6, 7, 9], [8, 9, 9, 9], [9, 9, 9, 9], [9, 9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
