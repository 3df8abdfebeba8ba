"""GPT-2 behind a cache writes, a token at a time, what torch writes by the whole text anew for each token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.models.language import cache_names  # noqa: E402
from tests.models.elsewhere import exported, sharpened, text, trained_elsewhere  # noqa: E402
from tests.models.english import CHARS, english_model, written_by_torch  # noqa: E402


def written(session: Any, prompt: Any, count: int, heads: int, size: int) -> list[int]:
    """Greedy: the prompt as one chunk behind an empty cache, then a token at a time."""
    names = [item.name for item in session.get_inputs()[1:]]
    cache = [np.zeros((1, heads, 0, size), np.float32)] * len(names)
    tokens, made = prompt.numpy(), []
    for _ in range(count):
        logits, *cache = session.run(None, {"tokens": tokens, **dict(zip(names, cache, strict=True))})
        made.append(int(logits[0, -1].argmax()))
        tokens = np.array([[made[-1]]])
    assert cache[0].shape == (1, heads, prompt.shape[1] + count - 1, size)
    return made


def test_the_cache_writes_what_torch_writes(tmp_path):
    model = sharpened(trained_elsewhere("gpt2_cached"))
    torch.save(model.state_dict(), tmp_path / "m.pt")
    session, prompt = exported("gpt2_cached", tmp_path / "m.onnx", tmp_path / "m.pt"), text(1, 5)
    made = written(session, prompt, 24, 2, 16)
    assert made == written_by_torch(model, prompt, 24)
    assert len(set(made)) > 2


def test_a_text_in_chunks_is_the_text_at_once(tmp_path):
    model, tokens = sharpened(trained_elsewhere("gpt2_cached")), text(3, 20)
    torch.save(model.state_dict(), tmp_path / "m.pt")
    session = exported("gpt2_cached", tmp_path / "m.onnx", tmp_path / "m.pt")
    cache = {name: np.zeros((3, 2, 0, 16), np.float32) for name in cache_names("past", 2)}
    parts = []
    for chunk in tokens.split([7, 1, 1, 8, 3], 1):
        logits, *states = session.run(None, {"tokens": chunk.numpy(), **cache})
        cache = dict(zip(cache_names("past", 2), states, strict=True))
        parts.append(logits)
    with torch.no_grad():
        wanted = model(tokens).logits.numpy()
    np.testing.assert_allclose(np.concatenate(parts, 1), wanted, atol=1e-5)


@pytest.mark.slow  # trains for some fifteen seconds
def test_a_trained_gpt_writes_the_same_text(english, tmp_path):
    model, chars = english_model(english)
    sizes = {**CHARS, "vocabulary": len(chars)}
    session = exported("gpt2_cached", tmp_path / "m.onnx", english / "model.safetensors", **sizes)
    for prompt in ("The statement is ", "If the object has a method, ", "A class definition "):
        tokens = torch.tensor([[chars.index(letter) for letter in prompt]])
        made = written(session, tokens, 90, 4, 16)
        assert made == written_by_torch(model, tokens, 90)
        said = "".join(chars[index] for index in made)
        assert len(set(said.split())) > 4, said
