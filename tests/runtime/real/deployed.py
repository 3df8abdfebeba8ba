"""A bundle of a real network, as a user makes one: its module, a recipe, and `deploy`."""

from __future__ import annotations

from pathlib import Path

from edgekit.configs import DeployConfig
from edgekit.deploy import deploy


def deployed(folder: Path, module: str, recipe: str) -> Path:
    """Write the source of a module with `make()`, and its recipe, and deploy them for the cpu in FP32."""
    (folder / "net.py").write_text(module)
    (folder / "recipe.toml").write_text(recipe)
    config = DeployConfig(target="cpu", precision="fp32", recipe=str(folder / "recipe.toml"))
    report = deploy(f"{folder / 'net.py'}:make", folder / "out", config)
    assert report.exit_code == 0, report.verdict
    return report.path
