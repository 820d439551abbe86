"""Tiny sentence-transformers models with random weights: every way to pool, prompt and project.

torch is imported where a model is made: importing it costs every process that collects tests
seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from sentence_transformers.base.modules import Transformer

TEXT = """
    the a cat dog runs sleeps eats query passage find note rain sun walks to home from work and or
    not when where who red blue old new book cup table lamp river hill : . , ? !
"""
WORDS = TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
WIDTH = 32
LONGEST = 48  # tokens


def tokenizer(lowercase: bool = True) -> Tokenizer:
    """Return a WordPiece tokenizer that knows some words and can spell all others."""
    pieces = dict.fromkeys([*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = BertPreTokenizer()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return made


def transformer(folder: Path) -> Transformer:
    """Save a two-layer BERT with its tokenizer and return it as a sentence-transformers module."""
    import torch
    from sentence_transformers.base.modules import Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(7)
    # Weights 25 times the usual ones: otherwise all texts get almost the same vector.
    config = BertConfig(
        vocab_size=tokenizer().get_vocab_size(),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=LONGEST,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer(lowercase=False), **dict(zip(names, SPECIAL, strict=True))
    ).save_pretrained(folder)
    made: Transformer = Transformer(str(folder), max_seq_length=LONGEST, do_lower_case=True)
    return made


def save(folder: Path, *modules: torch.nn.Module, prompts: dict[str, str] | None = None) -> Path:
    """Save modules as one model and return its folder."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(modules=list(modules), device="cpu", prompts=prompts)
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


def pooled(folder: Path, mode: str) -> Path:
    """Return a model that pools in this mode ("mean", "cls", "max", "lasttoken"…)."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    return save(folder, transformer(folder / "bert"), Pooling(WIDTH, pooling_mode=mode))


def prompted(folder: Path, include_prompt: bool = True) -> Path:
    """Return a model with a prompt for queries and another for passages."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    pooling = Pooling(WIDTH, pooling_mode="mean", include_prompt=include_prompt)
    prompts = {"query": "query: ", "passage": "passage: "}
    return save(folder, transformer(folder / "bert"), pooling, prompts=prompts)


def projected(folder: Path) -> Path:
    """Return a model with a dense layer to 24 dimensions and a normalisation."""
    import torch
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(8)
    dense = Dense(WIDTH, 24, activation_function=torch.nn.Tanh())
    pooling = Pooling(WIDTH, pooling_mode="mean")
    return save(folder, transformer(folder / "bert"), pooling, dense, Normalize())


def static(folder: Path) -> Path:
    """Return a model without a transformer: a table of word vectors."""
    import torch
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    torch.manual_seed(9)
    return save(folder, StaticEmbedding(tokenizer(), embedding_dim=WIDTH))
