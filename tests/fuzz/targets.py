"""Every parser that is fuzzed, by name. Seeds are in corpus/<name>, inputs that once broke it in crashes/<name>."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import DataError, IntegrityError, ModelError, RecipeError, ShapeError, UsageError
from tests.fuzz import arrays, bundles, models, texts
from tests.fuzz.target import Target

HERE = Path(__file__).parent
_DAMAGED = (IntegrityError,)

TARGETS = {
    "manifest": Target(bundles.manifest, _DAMAGED),
    "archive": Target(bundles.whole_archive, _DAMAGED, longest=8192, trials=1000),
    "contents": Target(bundles.contents, _DAMAGED, trials=200),
    "signatures": Target(bundles.signatures, _DAMAGED),
    "strict_json": Target(bundles.strict_json, _DAMAGED),
    "spec": Target(bundles.spec, _DAMAGED, trials=1000),
    "engine": Target(bundles.engine, (ModelError, IntegrityError)),
    "onnx_bounds": Target(models.onnx_bounds, _DAMAGED, longest=32768, trials=1000),
    "golden": Target(arrays.golden, (DataError,), trials=1000),
    "samples": Target(arrays.samples, (DataError,), trials=1000),
    "budget": Target(texts.budget, (RecipeError,)),
    "recipe": Target(texts.recipe, (RecipeError,), trials=500),
    "tegrastats": Target(texts.tegrastats, ()),
    "shape": Target(texts.shape, (ShapeError,)),
    "company": Target(texts.company, (UsageError,)),
}


def inputs(kind: str, name: str) -> list[Path]:
    """The files of a target in corpus/ or crashes/, by name."""
    return sorted(path for path in (HERE / kind / name).glob("*") if path.is_file())
