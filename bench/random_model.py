"""A model of MiniLM's shape with random weights, for machines where the trained ones cannot be had.

As much work a token as all-MiniLM-L6-v2: 6 layers of 384, a vocabulary of 30,522, mean pooling, 256 tokens at most.
Its words are learnt from the texts that are measured, so these fall into about as many tokens.  It is for speeds: its
vectors mean nothing, and how far backends differ on them says little.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
VOCABULARY = 30_522
WINDOW = 256
_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def make(folder: Path, texts: Iterable[str]) -> Path:
    """Write it as sentence-transformers does; the same texts make the same model.  Returns the folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    tokens = {f"{name}_token": token for name, token in _SPECIAL.items()}
    words = word_pieces(texts)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=WINDOW, **tokens)  # type: ignore[no-untyped-call]
    torch.manual_seed(1)
    base = folder.with_name(f"{folder.name}.base")
    shape = AutoConfig.for_model("bert", vocab_size=VOCABULARY, **SHAPE)
    AutoModel.from_config(shape).save_pretrained(base)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(base)
    network = Transformer(str(base), max_seq_length=WINDOW)
    SentenceTransformer(modules=[network, Pooling(SHAPE["hidden_size"]), Normalize()]).save(str(folder))
    return folder


def word_pieces(texts: Iterable[str]) -> Any:
    """BERT's way of cutting words, with the words of these texts."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=_SPECIAL["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=list(_SPECIAL.values()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    around = [(token, tokenizer.token_to_id(token)) for token in (_SPECIAL["sep"], _SPECIAL["cls"])]
    tokenizer.post_processor = processors.BertProcessing(*around)
    return tokenizer
