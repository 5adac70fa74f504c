"""Writes the trained weights and the tokeniser into one GGUF file: matrices as Q8_0, norms as F32."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy
import torch
from tokenizers import Tokenizer

from model import ModelShape
from tokenizer import (
    BEGIN_OF_MESSAGE,
    END_OF_MESSAGE,
    END_OF_TEXT,
    PADDING,
    PRE_TOKENIZER_NAME,
    merges_of,
    special_tokens,
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_header(writer: gguf.GGUFWriter, shape: ModelShape) -> None:
    writer.add_name("chairlift-tiny")
    writer.add_author("the chairlift authors")
    writer.add_license("MIT")
    writer.add_description("Small stories, sums and colours; trained from scratch on text made by generate_text.py")
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layer_count)
    writer.add_feed_forward_length(shape.feed_forward_width)
    writer.add_head_count(shape.head_count)
    writer.add_head_count_kv(shape.head_count)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER_NAME)
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in special_tokens() else normal for token in tokens])
    writer.add_token_merges(merges_of(tokenizer))
    writer.add_bos_token_id(vocabulary[BEGIN_OF_MESSAGE])
    writer.add_eos_token_id(vocabulary[END_OF_MESSAGE])
    writer.add_eot_token_id(vocabulary[END_OF_TEXT])
    writer.add_pad_token_id(vocabulary[PADDING])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_weights(writer: gguf.GGUFWriter, weights: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        values = tensor.detach().float().numpy().astype(numpy.float32)
        if values.ndim == 1:
            writer.add_tensor(name, values)
            continue
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def export(path: Path, shape: ModelShape, weights: dict[str, torch.Tensor], tokenizer: Tokenizer) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    write_header(writer, shape)
    write_tokenizer(writer, tokenizer)
    write_weights(writer, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
