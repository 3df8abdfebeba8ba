"""An input with the answer that is known to be right: what a network has to give before a loop listens to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgekit.errors import DataError, SessionError, first_line
from edgekit.files import written_aside
from edgekit.runtime.backend import Array
from edgekit.specs import described

if TYPE_CHECKING:
    from edgekit.runtime.session import Session


_INPUTS, _OUTPUTS = "inputs/", "outputs/"  # before the names in a file
_NEXT = "Golden.of(session, inputs).save(path)"


@dataclass(frozen=True)
class Golden:
    """Arrays by the names of inputs and outputs; each output has to come within `sqnr_db` of its own.

    Signal to noise of 20 dB is a tenth of the values' size: enough to tell another network or a broken engine, and
    within what FP16 and INT8 cost. Outputs that are not named may be anything finite.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    sqnr_db: float = 20.0

    @classmethod
    def of(cls, session: Session, inputs: Mapping[str, Any], sqnr_db: float = 20.0) -> Golden:
        """What a session that is trusted gives now."""
        return cls(dict(inputs), session.run(inputs), sqnr_db)

    @classmethod
    def load(cls, path: str | Path, sqnr_db: float = 20.0) -> Golden:
        """Read what `save` wrote. Raises DataError for another file."""
        try:
            with Path(path).open("rb") as file:
                return cls.read(file, str(path), sqnr_db)
        except OSError as error:
            raise DataError(f"expected arrays at {path}, found: {first_line(error)}", _NEXT) from error

    @classmethod
    def read(cls, file: BinaryIO, path: str, sqnr_db: float = 20.0) -> Golden:
        """The same of a file that is open, or of bytes; errors call it `path`."""
        from edgekit.data.arrays import check_unpacked, read_npz

        try:
            check_unpacked(file)
            arrays = read_npz(file)
        except Exception as error:  # whatever a damaged archive makes NumPy raise
            raise DataError(f"expected arrays at {path}, found: {first_line(error)}", _NEXT) from error
        inputs, outputs = (
            {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
            for part in (_INPUTS, _OUTPUTS)
        )
        if not inputs or not outputs:
            found = ", ".join(arrays) or "none"
            raise DataError(f"{path}: expected arrays of {_INPUTS}… and of {_OUTPUTS}…, found {found}", _NEXT)
        return cls(inputs, outputs, sqnr_db)

    def save(self, path: str | Path) -> None:
        """Write inputs and outputs into one .npz, whole or not at all."""
        from edgekit.data.arrays import write_npz

        inputs = {_INPUTS + name: array for name, array in self.inputs.items()}
        with written_aside(Path(path)) as partial:
            write_npz(partial, {**inputs, **{_OUTPUTS + name: array for name, array in self.outputs.items()}})

    def __call__(self, session: Session) -> None:
        """Run it once. Raises SessionError where an output is not what it should be."""
        from edgekit.metrics import Sqnr

        found = session.run(self.inputs)
        for name, wanted in self.outputs.items():
            if name not in found or found[name].shape != wanted.shape:
                now = described(found[name]) if name in found else "none of this name"
                raise SessionError(f"golden input: expected {name} as {described(wanted)}, found {now}")
            meter = Sqnr()
            meter.add(wanted, found[name])
            if not meter.db() >= self.sqnr_db:
                raise SessionError(
                    f"golden input: expected {name} within {self.sqnr_db:g} dB of what it should be, "
                    f"found {meter.db():.1f} dB"
                )
