"""The byte-level BPE vocabulary. Its pre-tokenisation is what llama.cpp calls "smollm": single digits, then GPT-2's split."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PRE_TOKENIZER_NAME = "smollm"
END_OF_TEXT = "<|endoftext|>"
BEGIN_OF_MESSAGE = "<|im_start|>"
END_OF_MESSAGE = "<|im_end|>"
PADDING = "<|pad|>"


def special_tokens() -> list[str]:
    return [END_OF_TEXT, BEGIN_OF_MESSAGE, END_OF_MESSAGE, PADDING]


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special_tokens(),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocabulary_size:
        raise ValueError(f"the text gives only {tokenizer.get_vocab_size()} tokens of {vocabulary_size}")
    return tokenizer


def merges_of(tokenizer: Tokenizer) -> list[str]:
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
