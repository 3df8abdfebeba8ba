"""Translation in two files: the encoder once, the decoder once a token, equal to the whole in torch."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402

TINY = ("layers=2", "embedding_size=7", "hidden_size=12", "source_vocabulary=13", "target_vocabulary=11")
BEGIN, STEPS = 1, 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network that learned to write a source backwards, and its checkpoint."""
    torch.manual_seed(0)
    module = load_network("seq2seq", None, TINY).module
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    source = torch.randint(2, 11, (64, 5), generator=torch.Generator().manual_seed(0))
    lengths, backwards = torch.full((64,), 5), source.flip(1)
    target = torch.cat([torch.full((64, 1), BEGIN), backwards[:, :-1]], 1)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(module(source, lengths, target).flatten(0, 1), backwards.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1.9, "of the 2.4 that a guess has"
    path = tmp_path_factory.mktemp("seq2seq") / "w.pt"
    torch.save(module.state_dict(), path)
    return module.requires_grad_(False), path


def test_greedy_decoding_through_two_files_is_that_of_torch(trained, tmp_path):
    """One checkpoint loads into both; sources of different length are translated in one batch."""
    module, weights = trained
    sessions = {}
    for part in ("encoder", "decoder"):
        path = export(f"seq2seq_{part}", tmp_path / f"{part}.onnx", ExportConfig(set=TINY, weights=weights)).path
        sessions[part] = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    source = torch.randint(2, 11, (3, 8), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([8, 3, 5])
    wanted = torch.full((3, 1), BEGIN)
    for _ in range(STEPS):  # the whole again for each token: slow, and without a state that could be wrong
        following = module(source, lengths, wanted)[:, -1].argmax(-1)
        wanted = torch.cat([wanted, following[:, None]], 1)
    memory, state = sessions["encoder"].run(None, {"source": source.numpy(), "lengths": lengths.numpy()})
    tokens, made = np.full((3, 1), BEGIN), []
    for _ in range(STEPS):
        feeds = {"memory": memory, "lengths": lengths.numpy(), "tokens": tokens, "state": state}
        logits, state = sessions["decoder"].run(None, feeds)
        tokens = logits[:, -1].argmax(-1)[:, None]
        made.append(tokens)
    np.testing.assert_array_equal(np.concatenate(made, 1), wanted[:, 1:].numpy())
    assert len(np.unique(wanted)) > 3


@torch.no_grad()
def test_what_pads_a_source_changes_nothing(trained):
    module, _ = trained
    source, target = (
        torch.randint(2, 11, (2, 9), generator=torch.Generator().manual_seed(2)),
        torch.tensor([[1, 5, 3]] * 2),
    )
    alone = module(source[:1, :4], torch.tensor([4]), target[:1])
    padded = source.clone()
    padded[0, 4:] = 12
    for other in (source, padded):
        torch.testing.assert_close(module(other, torch.tensor([4, 9]), target)[:1], alone, atol=1e-5, rtol=0)
