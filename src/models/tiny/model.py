"""The network: a llama (RMSNorm, rotary attention, SwiGLU, tied embeddings), written so that its weights are GGUF weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as functional


@dataclass(frozen=True)
class ModelShape:
    vocabulary_size: int = 1280
    width: int = 192
    layer_count: int = 3
    head_count: int = 3
    head_width: int = 64
    feed_forward_width: int = 512
    context_length: int = 2048
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def attention_width(self) -> int:
        return self.head_count * self.head_width


class RmsNorm(nn.Module):
    def __init__(self, shape: ModelShape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width))
        self.epsilon = shape.norm_epsilon

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(hidden, self.weight.shape, self.weight, self.epsilon)


def rotation_tables(shape: ModelShape, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    half = torch.arange(0, shape.head_width, 2).float() / shape.head_width
    angles = torch.outer(torch.arange(length).float(), shape.rope_base**-half)
    return angles.cos(), angles.sin()


def rotate(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Turns adjacent pairs, which is what llama.cpp does for arch "llama": exported Q and K need no permutation."""
    even, odd = heads[..., 0::2], heads[..., 1::2]
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)
    return turned.flatten(-2)


class Block(nn.Module):
    def __init__(self, shape: ModelShape):
        super().__init__()
        self.shape = shape
        self.attn_norm = RmsNorm(shape)
        self.attn_q = nn.Linear(shape.width, shape.attention_width, bias=False)
        self.attn_k = nn.Linear(shape.width, shape.attention_width, bias=False)
        self.attn_v = nn.Linear(shape.width, shape.attention_width, bias=False)
        self.attn_output = nn.Linear(shape.attention_width, shape.width, bias=False)
        self.ffn_norm = RmsNorm(shape)
        self.ffn_gate = nn.Linear(shape.width, shape.feed_forward_width, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.feed_forward_width, bias=False)
        self.ffn_down = nn.Linear(shape.feed_forward_width, shape.width, bias=False)

    def split_heads(self, flat: torch.Tensor) -> torch.Tensor:
        rows, length, _ = flat.shape
        return flat.view(rows, length, self.shape.head_count, self.shape.head_width).transpose(1, 2)

    def forward(self, hidden: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        normed = self.attn_norm(hidden)
        query = rotate(self.split_heads(self.attn_q(normed)), cosine, sine)
        key = rotate(self.split_heads(self.attn_k(normed)), cosine, sine)
        value = self.split_heads(self.attn_v(normed))
        mixed = functional.scaled_dot_product_attention(
            query.to(value.dtype), key.to(value.dtype), value, is_causal=True
        )
        hidden = hidden + self.attn_output(mixed.transpose(1, 2).flatten(-2))
        normed = self.ffn_norm(hidden)
        return hidden + self.ffn_down(functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


class TinyModel(nn.Module):
    def __init__(self, shape: ModelShape):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary_size, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layer_count))
        self.output_norm = RmsNorm(shape)
        cosine, sine = rotation_tables(shape, shape.context_length)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.05)

    def hidden_states(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        cosine, sine = self.cosine[:length], self.sine[:length]
        hidden = self.token_embd(tokens)
        for block in self.blk:
            hidden = block(hidden, cosine, sine)
        return self.output_norm(hidden)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.hidden_states(tokens), self.token_embd.weight)

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
