"""Cut a list of texts into forward passes: sorted by length, each within a budget of tokens, padding included."""

from collections.abc import Sequence


def plan(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of the texts of each pass, longest first.

    ``lengths`` are in tokens.  A pass costs rows times its longest row and stays within ``budget`` tokens, except that
    one text alone always makes a pass.  Longest first, so that a model that does not fit fails at once.
    """
    passes: list[list[int]] = []
    width = 0
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if passes and (len(passes[-1]) + 1) * width <= budget:
            passes[-1].append(position)
        else:
            passes.append([position])
            width = max(1, lengths[position])
    return passes


def clean(text: str) -> str:
    """Without lone surrogates, which no tokenizer takes: JSON may smuggle them in."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
