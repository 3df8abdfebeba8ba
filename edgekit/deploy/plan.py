"""What was asked for, with the recipe's values where nothing was given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.budget import LABELLED, USUAL_BUDGET, Limit, parse_budget
from edgekit.build import check_buildable
from edgekit.build.carried import runs_from_a_package
from edgekit.build.flavour import AbsentTensorRT
from edgekit.configs import CALIBRATED, BuildConfig, DeployConfig, ExportConfig, QuantizeConfig, ValidateConfig
from edgekit.data import check_there
from edgekit.errors import DataError, UsageError
from edgekit.latency.doubts import check_allowed
from edgekit.quantize import fitting
from edgekit.recipe import Recipe, load_recipe, recipe_of
from edgekit.rewrite.reading import metadata, read_onnx
from edgekit.validate import check_budget, check_slices


@dataclass(frozen=True)
class Plan:
    """The configs of all stages follow from the command line first, then the recipe, then the defaults.

    `absent` says why this machine cannot build for the target, where another can: then there is a package for that.
    """

    config: DeployConfig
    recipe: Recipe
    recipe_name: str | None
    stages: Path
    absent: AbsentTensorRT | None = None

    @property
    def precision(self) -> str:
        """What to compute in."""
        return self.config.precision or self.recipe.quantize.precision

    @property
    def data(self) -> str | None:
        """What to judge on; None is the module's own examples."""
        return self.config.data or self.recipe.validate.data

    @property
    def calibration_data(self) -> str | None:
        """INT8 without inputs of its own is calibrated on those that judge it."""
        return self.config.calibrate_on or self.recipe.quantize.data or self.data

    @property
    def budget(self) -> str:
        """What must hold."""
        return self.config.budget or self.recipe.validate.budget or USUAL_BUDGET

    @property
    def fps(self) -> float | None:
        """The rate that deadlines come from."""
        return self.config.fps or self.recipe.validate.fps

    def export_config(self) -> ExportConfig:
        """The recipe's, for the asked target and precision; the examples are kept, to judge where there is no data."""
        weights = self.config.weights or self.recipe.export.weights
        return replace(
            self.recipe.export,
            weights=weights,
            target=self.config.target,
            precision=self.precision,
            save_examples=True,
        )

    def quantize_config(self) -> QuantizeConfig:
        """The recipe's, for the asked precision and data, as far as it belongs to that precision."""
        asked = replace(
            self.recipe.quantize, precision=self.precision, data=self.calibration_data, recipe=self.recipe_name
        )
        return fitting(asked)

    def build_config(self) -> BuildConfig:
        """For the asked target."""
        recipe, config = self.recipe.build, self.config
        return replace(
            recipe,
            target=config.target,
            compute_capability=config.compute_capability or recipe.compute_capability,
            shape=config.shape or recipe.shape,
        )

    def validate_config(self, reference: Path, data: str) -> ValidateConfig:
        """Against the exported FP32, unless the recipe names another reference."""
        recipe, config = self.recipe.validate, self.config
        return replace(
            recipe,
            reference=recipe.reference or reference,
            data=data,
            budget=self.budget,
            recipe=self.recipe_name,
            # The labels of the recipe, and their columns, belong to the data of the recipe.
            labels=config.labels or (None if config.data else recipe.labels),
            slices=config.slices or (None if config.data else recipe.slices),
            fps=self.fps,
            allow=config.allow or recipe.allow,
            backend="ort",
        )


def make_plan(model: str, out: Path, config: DeployConfig) -> Plan:
    """Find the recipe, and refuse now what would be refused after minutes of exporting."""
    name = config.recipe or recipe_of(model)
    if name is None and model.endswith(".onnx"):
        name = recipe_of(metadata(read_onnx(Path(model)), "architecture"))
    plan = Plan(config, load_recipe(name) if name else Recipe(), name, out / "stages")
    try:
        check_buildable(plan.build_config())
    except AbsentTensorRT as absent:
        if runs_from_a_package():
            raise  # what was packed is not packed again
        plan = replace(plan, absent=absent)
    limits = parse_budget(plan.budget)
    check_budget(limits, plan.fps)
    check_allowed(config.allow or plan.recipe.validate.allow)
    for source in (plan.data, plan.calibration_data):
        if source is not None:
            check_there(source)
    if model.endswith(".onnx") and plan.data is None:
        raise UsageError("expected data to judge an ONNX file on, since it carries no examples", "--data D")
    if model.endswith(".onnx") and config.weights is not None:
        raise UsageError(
            f"expected no --weights for an ONNX file, which has its own, found {config.weights}",
            "the command without --weights",
        )
    if config.embed_samples and plan.data is None:
        raise UsageError("expected data of which a sample is to be embedded, found none", "--data D")
    _check_int8(plan)
    _check_labels(plan, limits)
    return plan


def _check_int8(plan: Plan) -> None:
    """INT8 needs data to calibrate on, and such data are of no use to anything else."""
    if plan.precision in CALIBRATED and plan.calibration_data is None:
        raise UsageError(f"expected real inputs to calibrate {plan.precision} on, found none", "--calibrate-on D")
    if plan.config.calibrate_on and plan.precision in ("fp32", "bf16"):
        raise UsageError(
            f"expected a precision that is calibrated for --calibrate-on, found {plan.precision}",
            "--precision int8+fp16",
        )


def _check_labels(plan: Plan, limits: tuple[Limit, ...]) -> None:
    """Labels are given, or are the folders of pictures."""
    config = plan.validate_config(Path(), "")
    check_slices(config)
    given = config.labels
    if given is not None and not given.exists():
        raise DataError(f"expected labels at {given}, found nothing there", "--labels")
    asked = [limit.key for limit in limits if limit.key in LABELLED] + (["slices"] if config.slices else [])
    folder = plan.data is not None and Path(plan.data).is_dir()
    if asked and given is None and not folder:
        raise UsageError(f"expected labels to judge {', '.join(asked)} by, found none", "--labels L")
