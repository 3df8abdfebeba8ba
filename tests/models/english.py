"""A GPT-2 that learns a little English from Python's own help, character by character."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.models.elsewhere import sharpened, trained_elsewhere

CHARS = {"layers": 2, "heads": 4, "hidden_size": 64, "positions": 128}


def train_english(folder: Path) -> None:
    """Write the checkpoint as transformers does, and chars.json: the character of each token."""
    from pydoc_data.topics import topics

    letters = "\n".join(topics.values())
    chars = sorted(set(letters))
    data = torch.tensor([chars.index(letter) for letter in letters])
    model, threads = trained_elsewhere("gpt2", **CHARS, vocabulary=len(chars)), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert _train(model, data, steps=800) < 2.2, "of 4.6 that a fresh one has, and 3.2 of each letter's share"
    finally:
        torch.set_num_threads(threads)
    model.save_pretrained(folder)
    (folder / "chars.json").write_text(json.dumps(chars))


def english_model(folder: Path) -> tuple[Any, list[str]]:
    """The model and its characters."""
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    return model, json.loads((folder / "chars.json").read_text())


def written_by_torch(model: Any, prompt: Any, count: int) -> list[int]:
    """Greedy, by the whole text anew for each token."""
    tokens = prompt
    with torch.no_grad():
        for _ in range(count):
            following = model(tokens).logits[:, -1:].argmax(-1)
            tokens = torch.cat([tokens, following], 1)
    return tokens[0, prompt.shape[1] :].tolist()


def _train(model: Any, data: Any, steps: int) -> float:
    """Next character, without dropout: the model stays in eval mode."""
    sharpened(model)  # learns twice as fast
    generator, optimizer = torch.Generator().manual_seed(0), torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        batch = data[torch.randint(len(data) - 128, (8, 1), generator=generator) + torch.arange(128)]
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float(loss.detach())
