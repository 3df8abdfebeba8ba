"""A recipe is a person's choice for one network: a TOML file that becomes the stages' configs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgekit.configs import BuildConfig, ExportConfig, QuantizeConfig, ValidateConfig
from edgekit.errors import RecipeError, UsageError, nearest
from edgekit.resources import resource
from edgekit.specs import Postprocess, Preprocess, Stream, from_table
from edgekit.texts import check_nesting, read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Family:
    """The architectures that a recipe which comes with edgekit is for, besides the one of its file's own name."""

    architectures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """One config a stage; what a frame becomes, what the output means, what a stream carries. What is missing keeps its
    defaults.

    `recipe` says for which networks these are.
    """

    recipe: Family = Family()
    export: ExportConfig = ExportConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    build: BuildConfig = BuildConfig()
    validate: ValidateConfig = ValidateConfig()
    preprocess: Preprocess | None = None
    postprocess: Postprocess | None = None
    stream: Stream | None = None


_TABLES: dict[str, Any] = {
    "recipe": Family,
    "export": ExportConfig,
    "quantize": QuantizeConfig,
    "build": BuildConfig,
    "validate": ValidateConfig,
    "preprocess": Preprocess,
    "postprocess": Postprocess,
    "stream": Stream,
}
_LARGEST = 1 << 22  # bytes; the names of twenty thousand classes are below a quarter of that
# The fields that name files, or data.
_PATHS = {"weights", "data", "reference", "labels", "scales", "calibration_cache", "tokenizer", "filters"}


def recipe_names() -> list[str]:
    """The recipes that come with edgekit."""
    return list(_shipped())


def recipe_of(architecture: str | None) -> str | None:
    """The recipe that comes with edgekit for an architecture, if there is one."""
    return serving(_shipped()).get(architecture or "")


def serving(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Which of the recipes, by name, is that of an architecture: the one of its name, or the one that names it.

    Raises RecipeError for an architecture that two of them are for.
    """
    found: dict[str, str] = {}
    for name, recipe in recipes.items():
        for architecture in dict.fromkeys((name, *recipe.recipe.architectures)):
            if architecture in found:
                raise RecipeError(
                    f"expected one recipe for {architecture}, found two: {found[architecture]} and {name}",
                    "[recipe] architectures of one of them without it",
                )
            found[architecture] = name
    return found


def load_recipe(name_or_file: str) -> Recipe:
    """The recipe of a name, or of an architecture, that comes with edgekit; or read a .toml file.

    Files that it names stand relative to its own folder. Raises RecipeError for a missing file, malformed TOML, or an
    unknown table or key (the nearest is named).
    """
    if Path(name_or_file).suffix == ".toml":
        return _read(Path(name_or_file))
    known = serving(_shipped())
    if name_or_file not in known:
        raise RecipeError(f"expected a recipe's name or a .toml file, found {name_or_file!r}; "
                          f"{nearest(name_or_file, known)}")  # fmt: skip
    return _shipped()[known[name_or_file]]


@functools.cache
def _shipped() -> dict[str, Recipe]:
    """All recipes that come with edgekit, by name: to find the one for an architecture, each has to be read."""
    return {path.stem: _read(path) for path in sorted((resource("calibration") / "recipes").glob("*.toml"))}


def _read(path: Path) -> Recipe:
    tables = read_toml(path)
    for table in tables:
        if table not in _TABLES:
            raise RecipeError(f"{path}: unknown table [{table}]; {nearest(table, _TABLES)}")
    if not all(isinstance(table, dict) for table in tables.values()):
        raise RecipeError(f"{path}: expected tables such as [quantize], found a key outside of them")
    found = {name: _config(path, name, table) for name, table in tables.items()}
    return Recipe(**{name: _beside(path.parent, config) for name, config in found.items()})


def _config(path: Path, name: str, table: dict[str, Any]) -> Any:
    """A table as its config; what the config itself refuses is said with file and table."""
    try:
        return from_table(_TABLES[name], table, f"{path}: [{name}]")
    except UsageError as error:
        raise RecipeError(f"{path}: [{name}] {error.problem}", error.next_step) from error


def _beside(folder: Path, config: Any) -> Any:
    """The same config with its relative paths taken from `folder`; `package.module:callable` is no path."""
    changed: dict[str, Any] = {}
    for name in _PATHS & {item.name for item in fields(config)}:
        value = getattr(config, name)
        if isinstance(value, Path) or (isinstance(value, str) and value and (":" not in value or ".py:" in value)):
            changed[name] = folder / value if isinstance(value, Path) else str(folder / value)
    return replace(config, **changed)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file, with one line for what can be wrong with it."""
    try:
        tables: dict[str, Any] = tomllib.loads(read_text(path, _LARGEST))
        check_nesting(tables)
    except OSError as error:
        raise RecipeError(f"expected a TOML file at {path}, found: {error.strerror}", "another --recipe") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise RecipeError(f"expected TOML in {path}, found: {error}", "another --recipe") from error
    return tables
