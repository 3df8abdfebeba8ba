"""The emulated attention kernels inside a trained character GPT: prefill, then one character at a time over the cache.

Real: the weights, trained on the help topics of Python's documentation, and prompts of its last tenth, which the
training has not seen. Torch's forward over the whole text, in FP32, at each step is what each text is compared with.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")  # what trains the networks imports its digits

from edgekit import reference  # noqa: E402
from edgekit.plugins.attention import TYPES, How, attention  # noqa: E402
from edgekit.plugins.emulator import Emulator  # noqa: E402
from edgekit.reference import Attention, AttentionOutputs  # noqa: E402
from tests.bench.quantize import train  # noqa: E402
from tests.bench.quantize.networks import Block, CharGpt  # noqa: E402
from tests.plugins.node_cases import emulated  # noqa: E402

pytestmark = pytest.mark.slow  # trains a network

PROMPT, LAYERS, HEADS, SIZE = 24, 3, 4, 32
PLACES = train.SPAN  # as many as the network knows
Run = Callable[[Attention], AttentionOutputs]


@pytest.fixture(scope="module")
def gpt(shared) -> CharGpt:
    made = shared("char-gpt", lambda folder: torch.save(train.char_gpt(300).state_dict(), folder / "weights.pt"))
    network = CharGpt().eval()
    network.load_state_dict(torch.load(made / "weights.pt"))
    return network


def prompts() -> np.ndarray:
    """Four beginnings [4,PROMPT] of words only, from the four quarters of the text that was held out."""
    quarters = np.array_split(train.text()[1], 4)
    words = (re.finditer("[a-z]+(?: [a-z]+)+", as_text(quarter[None])[0]) for quarter in quarters)
    starts = [next(match.start() for match in found if len(match[0]) >= PROMPT) for found in words]
    return np.stack([quarter[start : start + PROMPT] for quarter, start in zip(quarters, starts, strict=True)])


def as_text(codes: np.ndarray) -> list[str]:
    return ["".join(chr(code + 32) for code in row) for row in codes]


def whole(gpt: CharGpt) -> np.ndarray:
    """What torch goes on with, greedily, each time from the first character: [4,PLACES]."""
    characters = torch.from_numpy(prompts())
    with torch.no_grad():
        while characters.shape[1] < PLACES:
            characters = torch.cat([characters, gpt(characters)[:, -1:].argmax(-1)], 1)
    return characters.numpy()


class Cached:
    """The same network, whose attention someone else computes: it is given new characters only, and keeps K and V."""

    def __init__(self, gpt: CharGpt, run: Run) -> None:
        self._gpt, self._run = gpt, run
        empty = np.zeros((4, HEADS, 0, SIZE), np.float32)
        self.caches = [(empty, empty)] * LAYERS

    def next(self, characters: np.ndarray) -> np.ndarray:
        """characters [4,S] that follow those so far -> the character [4,1] that follows them."""
        past = self.caches[0][0].shape[2]
        with torch.no_grad():
            x = self._gpt.tokens(torch.from_numpy(characters))
            x = x + self._gpt.places(torch.arange(past, past + characters.shape[1]))
            for layer, block in enumerate(self._gpt.blocks):
                x = self._through(layer, block, x)
            logits = self._gpt.head(self._gpt.norm(x[:, -1:]))
        return logits.argmax(-1).numpy()

    def _through(self, layer: int, block: Block, x: torch.Tensor) -> torch.Tensor:
        n, s, c = x.shape
        qkv = block.qkv(block.norms[0](x)).reshape(n, s, 3 * HEADS, SIZE).transpose(1, 2).numpy()
        k, v = self.caches[layer]
        q, new_k, new_v = np.split(qkv, 3, axis=1)
        o, k, v = self._run(Attention(q, new_k, new_v, past_k=k, past_v=v, causal=True))
        self.caches[layer] = tuple(rows[:, :, : self.caches[layer][0].shape[2] + s] for rows in (k, v))
        mixed = torch.from_numpy(o.astype(np.float32))
        x = x + block.out(mixed.transpose(1, 2).reshape(n, s, c))
        return x + block.down(torch.nn.functional.gelu(block.up(block.norms[1](x))))

    def text(self) -> np.ndarray:
        """The prompts at once, then character by character: [4,PLACES]."""
        characters = prompts()
        following = self.next(characters)
        while characters.shape[1] < PLACES - 1:
            characters = np.concatenate([characters, following], 1)
            following = self.next(following)
        return np.concatenate([characters, following], 1)


def test_the_network_writes_something(gpt):
    """English-like words, one text a prompt, so that equal texts say something."""
    texts = as_text(whole(gpt))
    assert len({text[PROMPT:] for text in texts}) == 4
    assert all(text[PROMPT:].count(" ") > 3 and len(set(text[PROMPT:])) > 6 for text in texts), texts


def test_the_definition_with_a_cache_is_the_whole(gpt):
    assert as_text(Cached(gpt, reference.attention).text()) == as_text(whole(gpt))


@pytest.mark.parametrize("capacity", [0, PLACES], ids=["copies", "in place"])
@pytest.mark.parametrize("kind", TYPES)
def test_prefill_and_decode_write_what_torch_writes(gpt, emulator: Emulator, kind: str, capacity: int):
    """4 texts, 40 characters each, greedily: a step that another rounding turned would be another text from there."""
    found = Cached(gpt, lambda op: attention(emulator, op, How(kind, capacity=capacity))).text()
    assert as_text(found) == as_text(whole(gpt))


def test_turing_writes_the_same(gpt, emulator: Emulator):
    with emulated(emulator, 75, 40):
        found = Cached(gpt, lambda op: attention(emulator, op, How("FP16"))).text()
    assert as_text(found) == as_text(whole(gpt))


def test_the_text_needs_its_cache(gpt):
    """Else the tests above would say nothing about it: here the heads of V in the cache change places."""

    def confused(op: Attention) -> AttentionOutputs:
        made = reference.attention(op)
        return made._replace(present_v=np.roll(made.present_v, 1, axis=1))

    assert as_text(Cached(gpt, confused).text()) != as_text(whole(gpt))
