"""Trains the tiny model from one seed on the CPU and writes the GGUF.

python train.py --out chairlift-tiny-Q8_0.gguf
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as functional
from tokenizers import Tokenizer

from export_gguf import export
from generate_text import ANSWER_WEIGHT, documents
from model import ModelShape, TinyModel
from tokenizer import train_tokenizer

TOKENIZER_DOCUMENTS = 6000
ROW_TOKENS = 512
LONG_ROW_TOKENS = 2048
LONG_ROW_EVERY_STEPS = 8
VALIDATION_BATCHES = 8


def token_stream(tokenizer: Tokenizer, seed: int) -> Iterator[tuple[list[int], list[float]]]:
    for pieces in documents(seed):
        tokens: list[int] = []
        weights: list[float] = []
        for text, weight in pieces:
            ids = tokenizer.encode(text).ids
            tokens += ids
            weights += [weight] * len(ids)
        yield tokens, weights


def rows(tokenizer: Tokenizer, seed: int) -> Iterator[tuple[list[int], list[float]]]:
    """Documents one after the other; every row starts with the start of a document, the tail of the last one is dropped."""
    stream = token_stream(tokenizer, seed)
    while True:
        length = yield [], []
        tokens: list[int] = []
        weights: list[float] = []
        while len(tokens) <= length:
            more_tokens, more_weights = next(stream)
            tokens += more_tokens
            weights += more_weights
        yield tokens[: length + 1], weights[: length + 1]


class Batches:
    def __init__(self, tokenizer: Tokenizer, seed: int, tokens_per_batch: int):
        self.rows = rows(tokenizer, seed)
        self.tokens_per_batch = tokens_per_batch

    def next(self, row_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        picked = []
        for _ in range(self.tokens_per_batch // row_length):
            next(self.rows)
            picked.append(self.rows.send(row_length))
        tokens = torch.tensor([row for row, _ in picked])
        weights = torch.tensor([weight for _, weight in picked])
        return tokens[:, :-1], tokens[:, 1:], weights[:, 1:]


def weighted_loss(model: TinyModel, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    inputs, targets, weights = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(inputs)
    each = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (each * weights.flatten()).sum() / weights.sum()


@torch.no_grad()
def answer_loss(model: TinyModel, tokenizer: Tokenizer, seed: int) -> float:
    batches = Batches(tokenizer, seed, 16 * ROW_TOKENS)
    losses = []
    for _ in range(VALIDATION_BATCHES):
        inputs, targets, weights = batches.next(ROW_TOKENS)
        losses.append(weighted_loss(model, (inputs, targets, (weights >= ANSWER_WEIGHT).float())).item())
    return sum(losses) / len(losses)


def optimizers_of(model: TinyModel, rate: float) -> list[torch.optim.Optimizer]:
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embd" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim < 2 or "embd" in name]
    muon = torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, momentum=0.95)
    adam = torch.optim.AdamW(others, lr=rate / 3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return [muon, adam]


def rate_factor(step: int, steps: int) -> float:
    warm_up = min(1.0, (step + 1) / 40)
    cool_down = min(1.0, (steps - step) / (0.5 * steps))
    return warm_up * max(cool_down, 0.01)


def train(model: TinyModel, tokenizer: Tokenizer, options: argparse.Namespace) -> None:
    optimizers = optimizers_of(model, options.rate)
    base_rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    batches = Batches(tokenizer, options.seed, options.batch_tokens)
    compiled_loss = torch.compile(weighted_loss, dynamic=False)
    started = time.time()
    for step in range(options.steps):
        factor = rate_factor(step, options.steps)
        for group, base in zip((group for optimizer in optimizers for group in optimizer.param_groups), base_rates):
            group["lr"] = base * factor
        long = step % LONG_ROW_EVERY_STEPS == LONG_ROW_EVERY_STEPS - 1
        loss = compiled_loss(model, batches.next(LONG_ROW_TOKENS if long else ROW_TOKENS))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step % 25 == 0:
            print(f"step {step} loss {loss.item():.4f} seconds {time.time() - started:.0f}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=Path("chairlift-tiny-Q8_0.gguf"))
    arguments.add_argument("--tokenizer-out", type=Path, help="also write the tokeniser as JSON, to compare token ids")
    arguments.add_argument("--seed", type=int, default=20260)
    arguments.add_argument("--steps", type=int, default=1200)
    arguments.add_argument("--batch-tokens", type=int, default=8192)
    arguments.add_argument("--rate", type=float, default=0.02)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    started = time.time()
    shape = ModelShape()
    texts = (
        "".join(text for text, _ in pieces)
        for pieces in itertools.islice(documents(options.seed + 1), TOKENIZER_DOCUMENTS)
    )
    tokenizer = train_tokenizer(texts, shape.vocabulary_size)
    if options.tokenizer_out:
        tokenizer.save(str(options.tokenizer_out))
    model = TinyModel(shape)
    train(model, tokenizer, options)
    export(options.out, shape, model.state_dict(), tokenizer)
    final = {
        "parameters": model.parameter_count(),
        "answerLoss": answer_loss(model, tokenizer, options.seed + 2),
        "trainingSeconds": round(time.time() - started),
        "fileBytes": options.out.stat().st_size,
        "seed": options.seed,
        "steps": options.steps,
        "batchTokens": options.batch_tokens,
    }
    print(json.dumps(final))


if __name__ == "__main__":
    main()
