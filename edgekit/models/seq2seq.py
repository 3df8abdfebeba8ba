"""Translation: an encoder, a decoder and attention between them, untrained until `--weights` is given.

`seq2seq` is the whole with the target given, as it is trained and scored. To translate, `seq2seq_encoder` runs once
a source, `seq2seq_decoder` once a token, from the encoder's state and then from its own. One checkpoint fits all three.

Sources: Cho et al. 2014 (encoder-decoder of GRUs); Luong et al. 2015, Effective Approaches to Attention-based Neural
Machine Translation (global attention, score "general", the attentional state; no input feeding, so that a given target
is computed in one go); Vaswani et al. 2017 (several heads: TensorRT-RTX has no kernel for a single one with a mask).

Shapes: N batch, S source tokens, T target tokens, H hidden, h heads, D head size, V vocabulary. source int64 [N,S];
lengths int64 [N] says how many tokens of each source are real, 1..S; what follows is not seen. memory [N,S,H], state
[layers,N,H].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgekit.models.network import Network, untrained
from edgekit.models.sizes import check_heads, sizes_from_one
from edgekit.specs import Stream


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Which tokens begin, end and pad a text is between the training and who decodes."""

    layers: int = 1
    heads: int = 4
    embedding_size: int = 128
    hidden_size: int = 128
    source_vocabulary: int = 4000
    target_vocabulary: int = 4000

    def __post_init__(self) -> None:
        sizes_from_one(self)
        check_heads(self.heads, self.hidden_size, f"hidden_size {self.hidden_size}")


class Seq2Seq(nn.Module):
    """source [N,S], lengths [N], target [N,T] -> logits [N,T,V] of the token that follows each of the target's.

    It holds all weights; its two parts are subclasses that differ in forward, so that all have the same names.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        hidden, embedded, layers = config.hidden_size, config.embedding_size, config.layers
        self.heads = config.heads
        self.source_embedding = nn.Embedding(config.source_vocabulary, embedded)
        self.encoder = nn.GRU(embedded, hidden, layers, batch_first=True, bidirectional=True)
        self.memory = nn.Linear(2 * hidden, hidden)
        self.bridge = nn.Linear(2 * hidden, hidden)
        self.target_embedding = nn.Embedding(config.target_vocabulary, embedded)
        self.decoder = nn.GRU(embedded, hidden, layers, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.mix = nn.Linear(2 * hidden, hidden)
        self.head = nn.Linear(hidden, config.target_vocabulary)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """-> memory [N,S,H], and the state [layers,N,H] that the decoder starts from."""
        embedded = self.source_embedding(source)
        packed, last = self.encoder(pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False))
        steps, _ = pad_packed_sequence(packed, batch_first=True, total_length=source.shape[1])
        # [layers*2,N,H] -> [layers,N,2H]
        both = last.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)
        return self.memory(steps), self.bridge(both).tanh()

    def decode(self, memory: Tensor, lengths: Tensor, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [N,T] -> logits [N,T,V], and the state after the last of them."""
        steps, state = self.decoder(self.target_embedding(tokens), state)
        real = (torch.arange(memory.shape[1], device=memory.device) < lengths[:, None])[:, None, None]
        query, memory = (self._heads(value) for value in (self.query(steps), memory))
        context = functional.scaled_dot_product_attention(query, memory, memory, real).transpose(1, 2).flatten(2)
        attentional = self.mix(torch.cat([context, steps], -1)).tanh()
        return self.head(attentional), state

    def _heads(self, value: Tensor) -> Tensor:
        """[N,T,H] -> [N,h,T,D]."""
        return value.reshape(*value.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """With teacher forcing: each token of the target is given, whatever the network would have said."""
        memory, state = self.encode(source, lengths)
        return self.decode(memory, lengths, target, state)[0]


class Encoder(Seq2Seq):
    """source [N,S], lengths [N] -> memory [N,S,H], state [layers,N,H]."""

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Once a source."""
        return self.encode(source, lengths)


class Decoder(Seq2Seq):
    """memory [N,S,H], lengths [N], tokens [N,T], state [layers,N,H] -> logits [N,T,V], the next state."""

    def forward(  # type: ignore[override]
        self, memory: Tensor, lengths: Tensor, tokens: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Once a token, or once for a few that are known."""
        return self.decode(memory, lengths, tokens, state)


_SOURCE, _TARGET, _STATE = {0: "batch", 1: "source_time"}, {0: "batch", 1: "target_time"}, {1: "batch"}


def seq2seq(config: Seq2SeqConfig) -> Network:
    """The whole: to score translations, and to fine-tune."""
    examples = {**_source(config), "target": _tokens(config.target_vocabulary, 9)}
    axes = {"source": _SOURCE, "target": _TARGET}
    return untrained(lambda: Seq2Seq(config), examples, ("logits",), axes=axes)


def encoder(config: Seq2SeqConfig) -> Network:
    """The part that reads."""
    return untrained(lambda: Encoder(config), _source(config), ("memory", "state"), axes={"source": _SOURCE})


def decoder(config: Seq2SeqConfig) -> Network:
    """The part that writes."""
    generator = torch.Generator().manual_seed(1)
    examples = {
        "memory": torch.randn(2, 12, config.hidden_size, generator=generator),
        "lengths": torch.tensor([12, 7]),
        "tokens": _tokens(config.target_vocabulary, 3),
        # Where tanh puts it.
        "state": torch.rand(config.layers, 2, config.hidden_size, generator=generator) * 2 - 1,
    }
    axes = {"memory": _SOURCE, "tokens": _TARGET, "state": _STATE}
    # Tuned for one token a call.
    ranges = {"target_time": (1, 1, 36)}
    stream = Stream(("state=state_out",))
    return untrained(
        lambda: Decoder(config), examples, ("logits", "state_out"), axes=axes, ranges=ranges, stream=stream
    )


def _source(config: Seq2SeqConfig) -> dict[str, Tensor]:
    return {"source": _tokens(config.source_vocabulary, 12), "lengths": torch.tensor([12, 7])}


def _tokens(vocabulary: int, length: int) -> Tensor:
    return torch.randint(vocabulary, (2, length), generator=torch.Generator().manual_seed(0))
