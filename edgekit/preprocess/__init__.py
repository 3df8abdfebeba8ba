"""What a camera, a microphone, a keyboard or a sensor gives becomes the input tensors, as the bundle says.

In NumPy alone. A Preprocessor is made once from the bundle's spec and writes straight into the bound buffers: a frame
is read once and written once. Windows does the same for what comes in pieces, sample by sample or chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from edgekit.errors import DataError
from edgekit.specs import AudioPreprocess, ImagePreprocess, Preprocess, SeriesPreprocess

if TYPE_CHECKING:
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"
Sizes: TypeAlias = Mapping[str, Mapping[int, int]]  # input -> axis -> size
Inputs: TypeAlias = "Callable[[str], Array]"  # the bound buffer of an input


class Preprocessor(Protocol):
    """One of them for each kind of spec."""

    def prepare(self, item: Any) -> Sizes:
        """Look at an item; return the sizes that axes of the inputs must have. Raises DataError for a wrong one."""

    def write(self, item: Any, inputs: Inputs, slot: int) -> None:
        """Write the item that was prepared last into batch position `slot`, or into all where it fills the batch."""


class Windows(Protocol):
    """Cuts what arrives in chunks of any length into what the network takes."""

    def push(self, samples: Any) -> Iterator[Array]:
        """Take the next samples; give each window that they complete, as one batch position of the input.

        A window is a float32 view of a buffer that is used again: it is valid until the next is asked for. Go through
        all of them before the next push. Raises DataError for samples that do not fit.
        """

    def reset(self) -> None:
        """Begin anew, as if nothing had been pushed."""


def preprocessor(spec: Preprocess, assets: Mapping[str, bytes]) -> Preprocessor:
    """Make what applies `spec`; `assets` are the files that it names, such as a tokenizer.

    Raises IntegrityError for such a file that is missing or malformed.
    """
    if isinstance(spec, ImagePreprocess):
        from edgekit.preprocess.image import Pictures

        return Pictures(spec)
    if isinstance(spec, AudioPreprocess):
        from edgekit.preprocess.audio import Sounds

        return Sounds(spec, assets)
    if isinstance(spec, SeriesPreprocess):
        from edgekit.preprocess.series import Series

        return Series(spec)
    from edgekit.preprocess.text import Texts

    return Texts(spec, assets)


def windows(spec: Preprocess, assets: Mapping[str, bytes]) -> Windows:
    """Make what cuts a stream as `spec` says. Raises DataError for a kind that has no windows."""
    if isinstance(spec, AudioPreprocess):
        from edgekit.preprocess.listening import sound_windows

        return sound_windows(spec, assets)
    if isinstance(spec, SeriesPreprocess):
        from edgekit.preprocess.series import series_windows

        return series_windows(spec)
    raise DataError(
        f"expected preprocessing of a sound or a series for windows, found {spec.kind}", "session.preprocess"
    )
