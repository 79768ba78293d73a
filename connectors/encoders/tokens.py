"""Token counts as the encoder's own tokenizer gives them (``tokenizers``; no torch)."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

_BATCH = 20_000  # texts at a time: bounds the memory that their encodings take


class TokenCounter:
    """Counts tokens without the special ones that a model puts around each text.  Safe to call from a thread."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds the model's ``tokenizer.json``."""
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()  # models ship with both switched on: counts would stop at the window
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            counts += map(len, self._tokenizer.encode_batch_fast(batch, add_special_tokens=False))
        return counts
