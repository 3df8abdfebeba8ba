"""Has the model become more fragile than its reference? A smoke test: both on the same perturbed pictures.

No gradients and no attack: noise, blur and brightness as any camera has them, on a few samples. It stands in the report
and breaks no promise; a model that changes its answers much more often than its reference is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgekit.data import Array, Batch, Samples, Watched
from edgekit.data.perturb import NONE, PERTURBATIONS, Perturbation, Picture, perturb
from edgekit.errors import UsageError
from edgekit.metrics import Agreement, Sqnr, class_axis
from edgekit.reports import Progress
from edgekit.specs import ImagePreprocess, TensorSpec

SAMPLES = 32
# Of large pictures fewer are kept.
_MOST_BYTES = 64 << 20
_SEED = 0
# More flips than the reference has, as a fraction of the answers.
_MORE_FLIPS = 0.1

Run = Callable[[Batch], Batch]


@dataclass(frozen=True)
class Perturbed:
    """How both models bear one perturbation; the first of a report is `none`, to compare with.

    `strength` as in `Perturbation`. `sqnr_db` is the model's against the reference, both on perturbed samples, of the
    worst output. Of class scores (else None): `agreement` is how often both choose the same, `reference_kept` and
    `found_kept` how often each chooses what it chooses for the clean sample, fractions of all answers.
    """

    kind: str
    strength: float
    sqnr_db: float
    agreement: float | None
    reference_kept: float | None
    found_kept: float | None

    def __str__(self) -> str:
        told = f"{Perturbation(self.kind, self.strength)}: SQNR {self.sqnr_db:.1f} dB"
        if self.agreement is None or self.reference_kept is None or self.found_kept is None:
            return told
        kept = f"answers kept {self.found_kept:.1%}, by the reference {self.reference_kept:.1%}"
        return f"{told}, same class {self.agreement:.1%}; {kept}"


@dataclass(frozen=True)
class Robustness:
    """`inputs` are those that were perturbed, on `samples` samples; `seed` is that of the noise."""

    inputs: tuple[str, ...]
    samples: int
    seed: int
    perturbed: tuple[Perturbed, ...]

    def lines(self) -> Iterator[str]:
        """For a person: a line for each perturbation."""
        yield f"robustness on {self.samples} samples, {', '.join(self.inputs)} perturbed:"
        yield from (f"  {item}" for item in self.perturbed)

    def warnings(self) -> Iterator[str]:
        """A line for each perturbation that the model bears much worse than its reference."""
        for item in self.perturbed:
            if item.found_kept is None or item.reference_kept is None:
                continue
            if item.reference_kept - item.found_kept > _MORE_FLIPS:
                flips, usual = 1 - item.found_kept, 1 - item.reference_kept
                yield (
                    f"more fragile than its reference: {Perturbation(item.kind, item.strength)} changes {flips:.0%} of "
                    f"its answers, and {usual:.0%} of the reference's, on {self.samples} samples"
                )


def picture_inputs(inputs: tuple[TensorSpec, ...], preprocess: ImagePreprocess | None) -> dict[str, int]:
    """The inputs that are pictures, with their axis H: the preprocessing's; without any, float ones of four axes with
    1, 3 or 4 channels at axis 1 or 3. Raises UsageError where there is none.
    """
    found = {}
    for spec in inputs:
        if preprocess is not None and preprocess.input == spec.name:
            found[spec.name] = 2 if preprocess.layout == "NCHW" else 1
        elif preprocess is None and spec.dtype.startswith("float") and len(spec.shape) == 4:
            first, last = (spec.shape[axis] in (1, 3, 4) for axis in (1, 3))
            if first or last:
                found[spec.name] = 2 if first else 1
    if not found:
        names = ", ".join(f"{spec.name}: {spec}" for spec in inputs)
        raise UsageError(f"expected pictures float [N,C,H,W] to perturb, found the inputs {names}", "--no-robustness")
    return found


class Robust:
    """Keeps some of the samples that pass by, a few spread over all of them, and in the end perturbs them."""

    def __init__(self, axes: dict[str, int], total: int) -> None:
        """`axes` as of `picture_inputs`; `total` samples will come, 0 when nobody knows: then it keeps the first."""
        self._axes, self._every = axes, max(1, total // SAMPLES)
        self._seen = self._samples = self._bytes = 0
        self._kept: list[Samples] = []

    def watch(self, samples: Samples) -> None:
        """Whole batches, since a model may fix their size."""
        if self._seen % self._every == 0 and self._samples < SAMPLES and self._bytes < _MOST_BYTES:
            self._kept.append(samples)
            self._samples += len(samples)
            self._bytes += sum(array.nbytes for array in samples.inputs.values())
        self._seen += 1

    def measure(self, reference: Run, model: Run, watched: Watched, classifies: bool, progress: Progress) -> Robustness:
        """Run both on all that was kept; what was `watched` says between which values the inputs are."""
        pictures = {name: Picture(axis, watched.low[name], watched.high[name]) for name, axis in self._axes.items()}
        meters = {how: _Meters(classifies) for how in (NONE, *PERTURBATIONS)}
        for number, samples in enumerate(self._kept):
            clean = reference(samples.inputs), model(samples.inputs)
            for how, meter in meters.items():
                if how is NONE:
                    meter.add(clean, clean)
                    continue
                changed = {
                    name: perturb(array, how, pictures[name], _SEED + number) if name in pictures else array
                    for name, array in samples.inputs.items()
                }
                meter.add(clean, (reference(changed), model(changed)))
            progress("perturbing pictures", number + 1, len(self._kept))
        return Robustness(
            inputs=tuple(pictures),
            samples=self._samples,
            seed=_SEED,
            perturbed=tuple(meter.result(how) for how, meter in meters.items()),
        )


class _Meters:
    """Of one perturbation; outputs come in pairs, the reference's and the model's."""

    def __init__(self, classifies: bool) -> None:
        self._classifies = classifies
        self._sqnr: dict[str, Sqnr] = {}
        self._both, self._reference, self._model = Agreement(), Agreement(), Agreement()

    def add(self, clean: tuple[Batch, Batch], perturbed: tuple[Batch, Batch]) -> None:
        for name, wanted in perturbed[0].items():
            self._sqnr.setdefault(name, Sqnr()).add(wanted, perturbed[1][name])
        scores = next((name for name, array in perturbed[0].items() if self._classifies and _is_scores(array)), None)
        if scores is not None:
            self._both.add(perturbed[0][scores], perturbed[1][scores])
            self._reference.add(clean[0][scores], perturbed[0][scores])
            self._model.add(clean[1][scores], perturbed[1][scores])

    def result(self, how: Perturbation) -> Perturbed:
        fractions = [meter.fraction() if meter.count else None for meter in (self._both, self._reference, self._model)]
        return Perturbed(how.kind, how.strength, min(meter.db() for meter in self._sqnr.values()), *fractions)


def _is_scores(array: Array) -> bool:
    return array.dtype.kind == "f" and class_axis(array.shape) is not None
