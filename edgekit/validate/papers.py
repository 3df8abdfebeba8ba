"""What a verdict is also written as, beside its report: a page, a summary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.configs import ValidateConfig
from edgekit.validate.markdown import validate_markdown
from edgekit.validate.page import validate_page

if TYPE_CHECKING:
    from edgekit.validate import ValidateReport

Writer = Callable[["ValidateReport"], str]


def papers(config: ValidateConfig) -> list[tuple[Path, Writer]]:
    """Where to write what, as `config` asks."""
    asked: tuple[tuple[Path | None, Writer], ...] = (
        (config.html, validate_page),
        (config.markdown, lambda report: validate_markdown(report, config)),
    )
    return [(path, writer) for path, writer in asked if path is not None]
