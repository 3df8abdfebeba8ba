"""A recipe is a person's choice for one network: a TOML file that becomes the stages' configs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgekit.configs import BuildConfig, ExportConfig, QuantizeConfig, ValidateConfig
from edgekit.errors import RecipeError, nearest
from edgekit.resources import resource
from edgekit.specs import Postprocess, Preprocess, from_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Recipe:
    """One config a stage, what a frame becomes and what the output means; a missing table keeps its defaults."""

    export: ExportConfig = ExportConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    build: BuildConfig = BuildConfig()
    validate: ValidateConfig = ValidateConfig()
    preprocess: Preprocess | None = None
    postprocess: Postprocess | None = None


_TABLES: dict[str, type[Any]] = {
    "export": ExportConfig,
    "quantize": QuantizeConfig,
    "build": BuildConfig,
    "validate": ValidateConfig,
    "preprocess": Preprocess,
    "postprocess": Postprocess,
}
# The fields that name files, or data.
_PATHS = {"weights", "data", "reference", "labels"}


def recipe_names() -> list[str]:
    """The recipes that come with edgekit."""
    return sorted(path.stem for path in (resource("calibration") / "recipes").glob("*.toml"))


def recipe_of(architecture: str | None) -> str | None:
    """The recipe that comes with edgekit for an architecture, if there is one."""
    return architecture if architecture in recipe_names() else None


def load_recipe(name_or_file: str) -> Recipe:
    """Read a recipe by the name of one that comes with edgekit, or from a .toml file.

    Files that it names stand relative to its own folder. Raises RecipeError for a missing file, malformed TOML, or an
    unknown table or key (the nearest is named).
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        if name_or_file not in recipe_names():
            raise RecipeError(f"expected a recipe's name or a .toml file, found {name_or_file!r}; "
                              f"{nearest(name_or_file, recipe_names())}")  # fmt: skip
        path = resource("calibration") / "recipes" / f"{name_or_file}.toml"
    tables = read_toml(path)
    for table in tables:
        if table not in _TABLES:
            raise RecipeError(f"{path}: unknown table [{table}]; {nearest(table, _TABLES)}")
    if not all(isinstance(table, dict) for table in tables.values()):
        raise RecipeError(f"{path}: expected tables such as [quantize], found a key outside of them")
    found = {name: from_table(_TABLES[name], table, f"{path}: [{name}]") for name, table in tables.items()}
    return Recipe(**{name: _beside(path.parent, config) for name, config in found.items()})


def _beside(folder: Path, config: Any) -> Any:
    """The same config with its relative paths taken from `folder`; `package.module:callable` is no path."""
    changed: dict[str, Any] = {}
    for name in _PATHS & {item.name for item in fields(config)}:
        value = getattr(config, name)
        if isinstance(value, Path) or (isinstance(value, str) and (":" not in value or ".py:" in value)):
            changed[name] = folder / value if isinstance(value, Path) else str(folder / value)
    return replace(config, **changed)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file, with one line for what can be wrong with it."""
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"expected a TOML file at {path}, found: {error.strerror}") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise RecipeError(f"expected TOML in {path}, found: {error}") from error
    return tables
