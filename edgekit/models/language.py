"""BERT and GPT-2 of Hugging Face's transformers, untrained until `--weights` is given, over texts of any length.

`--weights` takes the model.safetensors that `save_pretrained` writes for a model of the same sizes. Sources: Devlin et
al. 2018 (BERT); Turc et al. 2019, Well-Read Students Learn Better (its small sizes); Radford et al. 2019 (GPT-2).
Shapes: N batch, T tokens, P tokens in the cache, h heads, D head size, C classes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError
from edgekit.models.network import Network, untrained
from edgekit.models.sizes import check_heads, sizes_from_one, up_to
from edgekit.quiet import quiet
from edgekit.specs import Stream


@dataclass(frozen=True)
class _Sizes:
    """`positions` is the longest text; `vocabulary` the tokens that there are."""

    layers: int = 4
    heads: int = 4
    hidden_size: int = 256
    positions: int = 512
    vocabulary: int = 30522

    def __post_init__(self) -> None:
        sizes_from_one(self, positions=16)
        check_heads(self.heads, self.hidden_size, f"hidden_size {self.hidden_size}")


@dataclass(frozen=True)
class BertSizes(_Sizes):
    """Those of BERT-mini; BERT-base has layers=12, heads=12, hidden_size=768 and intermediate_size=3072."""

    intermediate_size: int = 1024
    classes: int = 2


@dataclass(frozen=True)
class Gpt2Sizes(_Sizes):
    """As wide as BERT-mini; OpenAI's smallest GPT-2 has layers=12, heads=12 and hidden_size=768."""

    positions: int = 1024
    vocabulary: int = 50257


class _Pretrained(nn.Module):
    """A network of transformers behind a forward with named tensors."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As transformers reads a checkpoint: weights that are tied are saved once, and old names are known.

        The names are transformers' own, with or without the `network.` of this module. Raises RuntimeError unless
        every weight is there, with its shape, and no other. Returns what was found missing, unexpected, mismatched.
        """
        with quiet():
            loaded, found = type(self.network).from_pretrained(
                None,
                config=self.network.config,
                state_dict={name.removeprefix("network."): value for name, value in state_dict.items()},
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        wrong = {kind.removesuffix("_keys"): sorted(map(_said, found[kind])) for kind in found if found[kind]}
        if wrong and strict:
            raise RuntimeError("; ".join(f"{kind}: {', '.join(names[:3])}" for kind, names in wrong.items()))
        self.network = loaded
        return found


class BertClassifier(_Pretrained):
    """tokens int64 [N,T], mask int64 [N,T] with 0 where a text is padded -> logits [N,C]."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The class of a text, from what stands at its first token."""
        real = mask[:, None, None] > 0
        return self.network(input_ids=tokens, attention_mask=real).logits  # type: ignore[no-any-return]


class Gpt2(_Pretrained):
    """tokens int64 [N,T] -> logits [N,T,V] of the token that follows each."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Next token at every position."""
        seen = _seen(tokens.shape[1], 0)
        return self.network(input_ids=tokens, attention_mask=seen, use_cache=False).logits  # type: ignore[no-any-return]


class Gpt2Cached(_Pretrained):
    """tokens int64 [N,T] behind P tokens whose keys and values [N,h,P,D] are in the cache -> logits [N,T,V], cache.

    The cache that comes out is [N,h,P+T,D], and goes in with the next tokens; P is 0 at the start of a text.
    """

    def forward(self, tokens: Tensor, *past: Tensor, **named: Tensor) -> tuple[Tensor, ...]:
        """`past` is a key and a value for each layer, by position or as past_key_0, past_value_0, past_key_1, …"""
        from transformers import DynamicCache

        given = named | dict(zip(cache_names("past", self.network.config.n_layer), past, strict=False))
        cache: Any = DynamicCache()
        for layer in range(self.network.config.n_layer):
            cache.update(given[f"past_key_{layer}"], given[f"past_value_{layer}"], layer)
        steps, before = tokens.shape[1], given["past_key_0"].shape[2]
        positions = (torch.arange(steps) + before)[None]
        # By position, since releases of transformers have two names for the cache.
        made = self.network(tokens, cache, attention_mask=_seen(steps, before), position_ids=positions, use_cache=True)
        states = (state for layer in made.past_key_values.layers for state in (layer.keys, layer.values))
        return made.logits, *states


def bert_classifier(config: BertSizes) -> Network:
    """BERT under a linear head: what a text is about, or how it is meant."""

    def make(transformers: Any) -> nn.Module:
        return transformers.BertForSequenceClassification(  # type: ignore[no-any-return]
            transformers.BertConfig(
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                max_position_embeddings=config.positions,
                vocab_size=config.vocabulary,
                num_labels=config.classes,
                attn_implementation="sdpa",
            )
        )

    mask = (torch.arange(16) < torch.tensor([[16], [11]])).to(torch.int64)
    examples = {"tokens": _tokens(config, 16), "mask": mask}
    return untrained(
        lambda: BertClassifier(_made(make)), examples, ("logits",), ranges={"time": up_to(config.positions)}
    )


def gpt2(config: Gpt2Sizes) -> Network:
    """GPT-2 over a whole text at once: to score a text, or as the oracle of `gpt2_cached`."""
    examples = {"tokens": _tokens(config, 16)}
    return untrained(lambda: Gpt2(_gpt2(config)), examples, ("logits",), ranges={"time": up_to(config.positions)})


def gpt2_cached(config: Gpt2Sizes) -> Network:
    """GPT-2 that writes: one token, or a chunk of them, a call."""
    shape = (2, config.heads, 5, config.hidden_size // config.heads)
    generator = torch.Generator().manual_seed(0)
    names, presents = (cache_names(kind, config.layers) for kind in ("past", "present"))
    return untrained(
        lambda: Gpt2Cached(_gpt2(config)),
        {"tokens": _tokens(config, 3)} | {name: torch.randn(shape, generator=generator) for name in names},
        ("logits", *presents),
        axes={name: {0: "batch", 2: "past"} for name in names},
        ranges={"time": (1, 1, config.positions), "past": (0, *up_to(config.positions - 1)[1:])},
        stream=Stream(tuple(map("=".join, zip(names, presents, strict=True))), "tokens", "logits"),
    )


def cache_names(kind: str, layers: int) -> tuple[str, ...]:
    """The ONNX names of the cache: past_key_0, past_value_0, past_key_1, …"""
    return tuple(f"{kind}_{what}_{layer}" for layer in range(layers) for what in ("key", "value"))


def _seen(steps: int, before: int) -> Tensor:
    """Which tokens [1,1,T,P+T] each of T tokens sees: those before it and itself.

    transformers makes the same mask when it gets none, by way of a search for texts that are packed into one row.
    """
    return (torch.arange(before + steps) <= (torch.arange(steps) + before)[:, None])[None, None]


def _gpt2(config: Gpt2Sizes) -> Any:
    def make(transformers: Any) -> nn.Module:
        return transformers.GPT2LMHeadModel(  # type: ignore[no-any-return]
            transformers.GPT2Config(
                n_layer=config.layers,
                n_head=config.heads,
                n_embd=config.hidden_size,
                n_positions=config.positions,
                vocab_size=config.vocabulary,
                attn_implementation="sdpa",
            )
        )

    return _made(make)


def _said(key: Any) -> str:
    """The name of a weight, or, as transformers tells of a mismatch, its name with the found and the expected shape."""
    return key if isinstance(key, str) else f"{key[0]} {list(key[1])} for {list(key[2])}"


def _made(make: Callable[[Any], nn.Module]) -> nn.Module:
    """What `make` builds with transformers; ModelError without the package."""
    with quiet():
        try:
            import transformers
        except ImportError as error:
            raise ModelError(
                f"expected the package transformers, found none: {error}", "pip install 'edgekit[export]'"
            ) from error
        return make(transformers)


def _tokens(config: _Sizes, length: int) -> Tensor:
    return torch.randint(config.vocabulary, (2, length), generator=torch.Generator().manual_seed(0))
