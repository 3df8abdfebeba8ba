"""What a bundle says of its model beside the tensors: what a frame becomes, what an answer means, what is carried.

All of it comes from the recipe, else from what edgekit's export left in the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit.bundle import Contents
from edgekit.deploy.fitting import check_postprocess, check_preprocess
from edgekit.deploy.plan import Plan
from edgekit.errors import RecipeError, ShapeError, nearest
from edgekit.files import json_bytes
from edgekit.recipe import Recipe
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx
from edgekit.specs import Classify, Postprocess, Preprocess, Stream, from_table, to_table

# The fields of specs that name inputs or outputs.
_TENSORS = ("input", "mask", "types", "output", "boxes", "scores")


@dataclass(frozen=True)
class Described:
    """The specs as the bundle holds them; `assets` are the files that they name, by their names in the bundle."""

    preprocess: Preprocess | None
    postprocess: Postprocess | None
    stream: Stream | None
    assets: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, model: Any) -> Described:
        """`model` is the ONNX proto. Raises RecipeError for a stream in the file that is none."""
        labels = tuple(metadata(model, "labels") or ())
        classes = Classify("classify", graph_outputs(model)[0].name, labels) if labels else None
        known = metadata(model, "stream")
        stream = recipe.stream or (from_table(Stream, known, "edgekit.stream") if isinstance(known, dict) else None)
        assets: dict[str, Path] = {}
        preprocess = _with_assets(recipe.preprocess, assets)
        return cls(preprocess, _with_assets(recipe.postprocess or classes, assets), stream, assets)

    def names(self) -> dict[str, Any]:
        """What the manifest calls the file of each spec; empty where there is none."""
        return {name: f"{name}.json" if spec else "" for name, spec in self._specs().items()}

    def put_into(self, contents: Contents) -> None:
        """Add the specs and their files."""
        contents.made.update(
            {f"{name}.json": json_bytes(to_table(spec)) for name, spec in self._specs().items() if spec}
        )
        contents.copies.update(self.assets)

    def _specs(self) -> dict[str, Any]:
        return {"preprocess": self.preprocess, "postprocess": self.postprocess, "stream": self.stream}


def check_recipe(model: Path, plan: Plan) -> None:
    """Raise RecipeError for what the recipe says of inputs, outputs or files that are not there, or do not fit."""
    recipe = plan.recipe
    if not (recipe.preprocess or recipe.postprocess or recipe.stream):
        return  # half a gigabyte of a VGG need not be read for that
    proto = read_onnx(model)
    inputs, outputs = ({spec.name: spec for spec in specs} for specs in (graph_inputs(proto), graph_outputs(proto)))
    for table, specs, spec in (("preprocess", inputs, recipe.preprocess), ("postprocess", outputs, recipe.postprocess)):
        for key in _TENSORS:
            name = getattr(spec, key, "")
            if name and name not in specs:
                known = nearest(name, specs)
                raise RecipeError(f"[{table}] {key}: expected one of {', '.join(specs)}, found {name!r}; {known}")
    described = Described.of(recipe, proto)
    for file in described.assets.values():
        if not file.is_file():
            raise RecipeError(f"expected the file {file} that the recipe names, found none")
    if described.preprocess is not None:
        assets = {name: file.read_bytes() for name, file in described.assets.items()}
        check_preprocess(described.preprocess, inputs, assets)
    if recipe.postprocess is not None:
        check_postprocess(recipe.postprocess, outputs)
    if recipe.stream is not None:
        try:
            recipe.stream.growth(inputs, outputs)
        except ShapeError as error:
            raise RecipeError(f"[stream]: {error.problem}") from error


def _with_assets(spec: Any, assets: dict[str, Path]) -> Any:
    """The spec with its files called as in the bundle; they are added to `assets`."""
    for key in getattr(spec, "ASSETS", ()):
        file = Path(getattr(spec, key))
        if getattr(spec, key):
            name = f"assets/{key}{file.suffix}"
            assets[name] = file
            spec = replace(spec, **{key: name})
    return spec
