"""What fits into a model's context window.

Token counts are estimates, made without the model's tokenizer and on the safe side: an endpoint that gets too long a
prompt refuses it, or clips the answer without a word.  Passages come best first, so the last are dropped first.
"""

import re
from collections.abc import Sequence

from connectors.models.prompt import prompt
from topics.queries import Passage

BYTES_PER_TOKEN = 3  # English has about 4.3, code and tables about 3, most other scripts 3 to 6
PER_MESSAGE = 16  # tokens that a chat template adds around a message
_TOLD = re.compile(r"maximum context length is (\d+)|max_model_len=(\d+)|n_ctx\D{1,4}(\d+)|tokens > (\d+) maximum")


def estimate(question: str, passages: Sequence[Passage]) -> int:
    """Tokens of the whole prompt, rather too many than too few."""
    return sum(PER_MESSAGE + len(part.encode()) // BYTES_PER_TOKEN for part in prompt(question, passages))


def room_for_answer(window: int, max_tokens: int) -> int:
    """Tokens kept free for the answer: what is asked for, and never more than half the window."""
    return min(max_tokens, window // 2)


def fitting(question: str, passages: Sequence[Passage], tokens: int) -> int:
    """How many of the passages, from the first on, fit into so many tokens."""
    count = len(passages)
    while count and estimate(question, passages[:count]) > tokens:
        count -= 1
    return count


def window_told(message: str) -> int | None:
    """The window that a refusal names, as vLLM, OpenAI, llama.cpp and Anthropic word it."""
    found = _TOLD.search(message)
    return int(next(group for group in found.groups() if group)) if found else None


def is_overflow(message: str) -> bool:
    """Whether a refused request was too long."""
    return window_told(message) is not None or "context_length_exceeded" in message
