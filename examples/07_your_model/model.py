"""Your own module, as you have it: a small CNN that names the ground; and the one function that edgekit calls."""

import torch

CLASSES = ("brick", "grass", "gravel")
SIDE = 32  # pixels


class GroundNet(torch.nn.Module):
    """image float32 [N,1,32,32] -> logits [N,3]."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Conv2d(channels, wider, 3, padding=1, bias=False), torch.nn.BatchNorm2d(wider), torch.nn.ReLU()
            )
            for channels, wider in ((1, 16), (16, 32), (32, 64))
        )
        self.head = torch.nn.Linear(64, len(CLASSES))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        for stage in self.stages:
            image = torch.nn.functional.max_pool2d(stage(image), 2)
        return {"logits": self.head(image.mean((2, 3)))}


def make_model() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The network and example inputs by forward's argument names; `--weights` brings what train.py learnt."""
    return GroundNet(), {"image": torch.linspace(-2, 2, 2 * SIDE * SIDE).reshape(2, 1, SIDE, SIDE)}
