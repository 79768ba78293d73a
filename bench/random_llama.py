"""A model with random weights, as wide as SmolLM-135M and a quarter as deep: `bench stream --model FOLDER`.

It says nothing, as fast as a trained one would: `python -m bench.random_llama FOLDER` writes it.
"""

import sys
from pathlib import Path
from typing import Any

from bench import corpus
from bench.random_model import word_pieces

SHAPE: dict[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
WINDOW = 4096
_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def make(folder: Path) -> None:
    """Write model and tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    words = word_pieces(document.text for document in corpus.documents())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=WINDOW, **tokens)  # type: ignore[no-untyped-call]
    tokenizer.chat_template = _TEMPLATE
    torch.manual_seed(1)
    ids: dict[str, Any] = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(tokens[f"{name}_token"]) for name in ("bos", "eos", "pad")
    }
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "max_position_embeddings": WINDOW}
    shape = LlamaConfig(**SHAPE, **ids, **sizes)
    LlamaForCausalLM(shape).save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
