"""BERT and GPT-2: the checkpoints of transformers load unchanged, and what is padded is not seen."""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from edgekit.errors import ModelError, RecipeError, UsageError  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402
from tests.models.elsewhere import NAMES, exported, settings, sharpened, text, trained_elsewhere  # noqa: E402


def logits_of(session: Any, tokens: Any) -> Any:
    """The session's logits for texts without padding, from an empty cache where it has one."""
    feeds = {"tokens": tokens.numpy()}
    for item in session.get_inputs()[1:]:
        if item.name == "mask":
            feeds["mask"] = np.ones(tokens.shape, np.int64)
        else:
            feeds[item.name] = np.zeros((len(tokens), item.shape[1], 0, item.shape[3]), np.float32)
    return session.run(["logits"], feeds)[0]


# Checkpoints


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_transformers_loads_unchanged(name, tmp_path):
    model, tokens = trained_elsewhere(name), text(3, 9)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = model(tokens).logits.numpy()
        seeded = load_network(name, None, settings(name)).module.network(tokens).logits.numpy()
    assert np.abs(seeded - wanted).max() > 0.01
    found = logits_of(exported(name, tmp_path / "m.onnx", tmp_path / "model.safetensors"), tokens)
    np.testing.assert_allclose(found, wanted, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_of_transformers_loads_unchanged(name, tmp_path):
    model = trained_elsewhere(name)
    torch.save(model.state_dict(), tmp_path / "m.pt")
    loaded = load_network(name, tmp_path / "m.pt", settings(name)).module.network
    with torch.no_grad():
        assert torch.equal(loaded(text(3, 9)).logits, model(text(3, 9)).logits)


def test_a_checkpoint_as_openai_s_gpt2_is_named(tmp_path):
    """Without `transformer.` before each name, and with the triangles of old releases."""
    model = trained_elsewhere("gpt2")
    state = {name.removeprefix("transformer."): value for name, value in model.state_dict().items()}
    state["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
    del state["lm_head.weight"]
    torch.save(state, tmp_path / "old.pt")
    network = load_network("gpt2", tmp_path / "old.pt", settings("gpt2"))
    assert network.trained
    with torch.no_grad():
        assert torch.equal(network.module(text(2, 9)), model(text(2, 9)).logits)


@pytest.mark.parametrize("name", NAMES)
def test_our_own_state_dict_loads(name, tmp_path):
    network = load_network(name, None, settings(name))
    with torch.no_grad():
        for value in network.module.parameters():
            value += 0.01
    torch.save(network.module.state_dict(), tmp_path / "own.pt")
    again = load_network(name, tmp_path / "own.pt", settings(name)).module
    for (key, value), other in zip(network.module.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(value, other), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state, key: state.pop(key), "missing: {key}"),
        (lambda state, key: state.update(extra=torch.ones(1)), "unexpected: extra"),
        (lambda state, key: state.update({key: torch.ones(5)}), r"mismatched: {key} \[5\] for \[32\]"),
    ],
)
def test_a_checkpoint_that_does_not_fit(name, change, says, tmp_path):
    state = dict(trained_elsewhere(name).state_dict())
    key = next(key for key in state if key.endswith("weight") and state[key].shape == (32,))
    change(state, key)
    torch.save(state, tmp_path / "wrong.pt")
    with pytest.raises(ModelError, match=says.format(key=key)):
        load_network(name, tmp_path / "wrong.pt", settings(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_silent_and_leaves_logging_as_it_was(name, tmp_path, capfd):
    trained_elsewhere(name).save_pretrained(tmp_path)
    logger = logging.getLogger("transformers")
    before = logging.root.manager.disable, logger.level, list(logger.handlers)
    capfd.readouterr()
    load_network(name, tmp_path / "model.safetensors", settings(name))
    assert capfd.readouterr() == ("", "")
    assert (logging.root.manager.disable, logger.level, list(logger.handlers)) == before


# BERT


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """(session, the model that it was)"""
    folder, model = tmp_path_factory.mktemp("bert"), sharpened(trained_elsewhere("bert_classifier"))
    model.save_pretrained(folder)
    return exported("bert_classifier", folder / "m.onnx", folder / "model.safetensors"), model


def test_padding_does_not_change_the_logits(bert):
    session, _ = bert
    short, padded = text(1, 7), text(3, 12, seed=1)
    padded[:, :7] = short  # three ways to fill the rest
    mask = (torch.arange(12) < 7).to(torch.int64).expand(3, 12)
    wanted = logits_of(session, short)
    found = session.run(None, {"tokens": padded.numpy(), "mask": mask.numpy()})[0]
    np.testing.assert_allclose(found, np.repeat(wanted, 3, 0), atol=1e-5)
    assert np.abs(logits_of(session, padded) - wanted).min() > 1e-3, "the rest would be seen without the mask"


@pytest.mark.parametrize("real", [[12, 12], [7, 12], [1, 5]])
def test_the_mask_is_that_of_transformers(bert, real):
    session, model = bert
    tokens, mask = text(2, 12), (torch.arange(12) < torch.tensor(real)[:, None]).to(torch.int64)
    with torch.no_grad():
        wanted = model(input_ids=tokens, attention_mask=mask).logits.numpy()
    found = session.run(None, {"tokens": tokens.numpy(), "mask": mask.numpy()})[0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


# What is refused


@pytest.mark.parametrize(
    ("name", "setting", "error", "says"),
    [
        ("bert_classifier", "heads=3", UsageError, "heads: expected a divisor of hidden_size 256, found 3"),
        ("bert_classifier", "classes=0", UsageError, "classes: expected 1 or more, found 0"),
        ("bert_classifier", "intermediate_size=0", UsageError, "intermediate_size: expected 1 or more"),
        ("bert_classifier", "vocabulary=-1", UsageError, "vocabulary: expected 1 or more"),
        ("gpt2", "positions=15", UsageError, "positions: expected 16 or more, found 15"),
        ("gpt2", "heads=0", UsageError, "heads: expected 1 or more"),
        ("gpt2_cached", "layers=0", UsageError, "layers: expected 1 or more"),
        ("gpt2", "classes=2", RecipeError, "unknown key 'classes'"),
    ],
)
def test_sizes_that_cannot_be(name, setting, error, says):
    with pytest.raises(error, match=says):
        load_network(name, None, (setting,))


@pytest.mark.slow
@pytest.mark.parametrize("positions", [16, 20])
def test_the_shortest_texts_still_export(positions, tmp_path):
    for name in NAMES:
        exported(name, tmp_path / f"{name}.onnx", positions=positions)


@pytest.mark.parametrize("name", NAMES)
def test_without_transformers(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"expected the package transformers.*pip install 'edgekit\[export\]'"):
        load_network(name, None, settings(name))
