"""Models as a user has them, made by transformers alone, and the same ones exported by edgekit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import torch
import transformers

from edgekit.configs import ExportConfig
from edgekit.export import export

SIZES = {"layers": 2, "heads": 2, "hidden_size": 32, "positions": 64, "vocabulary": 11}
NAMES = ("bert_classifier", "gpt2", "gpt2_cached")


def settings(name: str, **sizes: int) -> tuple[str, ...]:
    more = {"intermediate_size": 48, "classes": 3} if name == "bert_classifier" else {}
    return tuple(f"{key}={value}" for key, value in {**SIZES, **more, **sizes}.items())


def exported(name: str, out: Path, weights: Path | None = None, **sizes: int) -> Any:
    path = export(name, out, ExportConfig(set=settings(name, **sizes), weights=weights)).path
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def trained_elsewhere(name: str, **sizes: int) -> Any:
    """A model as a user has it, made by transformers alone; its weights are other ones than those of our seed."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        if name == "bert_classifier":
            return transformers.BertForSequenceClassification(
                transformers.BertConfig(
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    hidden_size=32,
                    intermediate_size=48,
                    max_position_embeddings=64,
                    vocab_size=11,
                    num_labels=3,
                )
            ).eval()
        known = {**SIZES, **sizes}
        config = transformers.GPT2Config(
            n_layer=known["layers"],
            n_head=known["heads"],
            n_embd=known["hidden_size"],
            n_positions=known["positions"],
            vocab_size=known["vocabulary"],
        )
        return transformers.GPT2LMHeadModel(config).eval()


def sharpened(model: Any) -> Any:
    """Fresh weights are so small that each token hardly sees the others, and a text repeats one token."""
    with torch.no_grad():
        for value in model.parameters():
            value *= 4 if value.dim() > 1 else 1
    return model


def text(*shape: int, seed: int = 0) -> Any:
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(seed))
