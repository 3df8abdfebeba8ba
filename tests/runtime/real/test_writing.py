"""A GPT that learned a little English writes from a bundle, a character a step; the oracle is torch without a cache."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from edgekit.configs import DeployConfig  # noqa: E402
from edgekit.deploy import deploy  # noqa: E402
from edgekit.runtime import Session  # noqa: E402
from tests.models.elsewhere import settings  # noqa: E402
from tests.models.english import CHARS, english_model, written_by_torch  # noqa: E402

pytestmark = pytest.mark.slow  # trains for some fifteen seconds

PROMPTS = ("The statement is ", "If the object has a method, ", "A class definition ")
RECIPE = """
[export]
set = SETTINGS

[preprocess]
kind = "text"
input = "tokens"
tokenizer = "tokenizer.json"
"""


def english_bundle(shared, english: Path) -> Path:
    """`gpt2_cached` with the trained weights and a tokenizer of single characters."""

    def make(made: Path) -> None:
        _, chars = english_model(english)
        vocabulary = {char: index for index, char in enumerate(chars)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=" "))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = tokenizers.decoders.Fuse()
        tokenizer.save(str(made / "tokenizer.json"))
        known = list(settings("gpt2_cached", **CHARS, vocabulary=len(chars)))
        recipe = made / "recipe.toml"
        recipe.write_text(RECIPE.replace("SETTINGS", str(known)))
        weights = english / "model.safetensors"
        deploy("gpt2_cached", made / "out", DeployConfig("cpu", precision="fp32", recipe=str(recipe), weights=weights))

    return shared("bundle-english", make) / "out/bundle"


@pytest.fixture(scope="module")
def bundle(shared, english) -> Path:
    return english_bundle(shared, english)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_it_writes_what_torch_writes(bundle, english, prompt):
    model, chars = english_model(english)
    ids = [chars.index(letter) for letter in prompt]
    with Session.open(bundle) as session:
        assert session.encode(prompt) == ids
        made = list(session.generate(ids, 90))
        assert made == written_by_torch(model, torch.tensor([ids]), 90)
        said = session.decode(made)
    assert said == "".join(chars[index] for index in made)
    assert len(set(said.split())) > 4, said


def test_it_ends_behind_a_full_stop_and_draws_other_texts(bundle):
    with Session.open(bundle) as session:
        ids = session.encode(PROMPTS[0])
        (stop,) = session.encode(".")
        texts = {
            session.decode(list(session.generate(ids, 100, temperature=0.8, top_k=8, stop=[stop], seed=seed)))
            for seed in range(6)
        }
    assert len(texts) > 1
    assert sum(text.endswith(".") for text in texts) >= 1
    assert all("." not in text[:-1] for text in texts)
