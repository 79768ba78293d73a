"""bench/gpu: the stage that it drives, and the ratios that it tells."""

import pytest

from bench import corpus, embed_stage, gpu
from bench.embed_stage import Counted
from connectors.memory.encoder import HashingEncoder
from runtime.settings import Settings


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> embed_stage.Made:
    """Of a corpus that is small enough to come round more than once."""
    document = corpus.Document("a", "A", "\n\n".join(f"Paragraph {n} of the only document. " * 20 for n in range(6)))
    monkeypatch.setattr(corpus, "documents", lambda: [document])
    return embed_stage.records(Settings(), 20)


def test_no_text_is_known_from_before(made: embed_stage.Made) -> None:
    """A corpus that comes round again gives other texts: a cache would have made the second time free."""
    assert len(made.texts) >= 20
    assert len(set(made.texts)) == len(made.texts)


async def test_the_stage_encodes_every_text_once(made: embed_stage.Made) -> None:
    """All that lies in the log goes through the encoder, in calls whose sizes are told."""
    encoder = Counted(HashingEncoder())
    assert await embed_stage.run(encoder, made.messages, Settings()) > 0
    assert sum(encoder.calls) == len(made.texts)


def test_ratios_are_taken_within_a_round() -> None:
    """The middle of the rounds' ratios, and not the ratio of the middles; of what was measured alone."""
    rates = {"freshet": [10.0, 40.0, 90.0], "library": [10.0, 10.0, 30.0]}
    assert gpu.ratios(rates) == {"freshet/library": 3.0}
