"""A tiny Falcon, shaped as the 7B is, that says the known sentence of the tiny Llama (tests/vllm/tiny_llama.py).

As in Falcon's 11B, its output layer is not tied to the embeddings, or it could not be taught a sentence this way.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import FalconConfig, FalconForCausalLM

from tests.vllm.tiny_llama import WINDOW, sizes_of, teach, tokenizer_of

_SHAPE: dict[str, Any] = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": WINDOW,
    "multi_query": True,
    "parallel_attn": True,
    "new_decoder_architecture": False,
    "bias": False,
    "alibi": False,
    "tie_word_embeddings": False,
}


def make(folder: Path) -> None:
    """Write model and tokenizer."""
    tokenizer = tokenizer_of()
    torch.manual_seed(7)
    shape = _SHAPE | sizes_of(tokenizer)
    model: Any = FalconForCausalLM(FalconConfig(**shape))
    with torch.no_grad():
        for layer in model.transformer.h:
            layer.self_attention.dense.weight.zero_()
            layer.mlp.dense_4h_to_h.weight.zero_()
        teach(tokenizer, model.transformer.word_embeddings.weight, model.lm_head.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
