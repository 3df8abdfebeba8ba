"""The one class that an app embeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import SessionError
from edgekit.runtime import feeds as feeding
from edgekit.runtime.backend import Array
from edgekit.runtime.opening import Opened, open_bundle
from edgekit.runtime.runner import Runner, Ticket, Timing
from edgekit.runtime.sizes import Sizes
from edgekit.specs import Postprocess, Preprocess, Stream, TensorSpec

if TYPE_CHECKING:
    from edgekit.preprocess import Preprocessor, Windows
    from edgekit.preprocess.text import Texts
    from edgekit.runtime.streaming import Streaming


class Session:
    """An open bundle. One session belongs to one thread; use it as a context manager.

    Outputs are views: the next run overwrites them. An array from `input` is good until shapes change or, with
    `on_failure="ort"`, until the backend does; `session.input(name)` for each frame is always right.
    """

    def __init__(self, opened: Opened) -> None:
        bundle, manifest = opened.bundle, opened.bundle.manifest
        self.inputs: dict[str, TensorSpec] = {spec.name: spec for spec in manifest.inputs}
        self.outputs: dict[str, TensorSpec] = {spec.name: spec for spec in manifest.outputs}
        self.reason, self.signed = opened.choice.reason, bundle.signed
        self.preprocessing: Preprocess | None = bundle.table(Preprocess, manifest.preprocess)
        self.postprocessing: Postprocess | None = bundle.table(Postprocess, manifest.postprocess)
        self._assets = {name: bundle.contents[name] for name in manifest.assets}
        stream: Stream | None = bundle.table(Stream, manifest.stream)
        self._runner = Runner(opened.backend, opened.fallback, opened.let_go)
        self._preprocessor: Preprocessor | None = None
        self.carried: tuple[str, ...] = tuple(name for name, _ in stream.pairs()) if stream else ()
        self._streaming: Streaming | None = None
        self._answered = False  # whether the outputs belong to what the inputs hold
        self._sizes = Sizes(self.inputs, self.outputs, manifest.ranges, stream)
        self._runner.bind_to(self._sizes)
        if stream:
            from edgekit.runtime.streaming import Streaming

            self._streaming = Streaming(self._runner, self._sizes, stream)

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        backend: str = "auto",
        on_failure: str = "raise",
        *,
        trusted_keys: str | Path | Sequence[str | Path] | None = None,
        require_signature: bool = False,
    ) -> Session:
        """Verify every byte of the bundle, a folder or an .ekb, then load it and open it at its opt shape.

        `backend` is auto, ort, trt or rtx; `session.reason` says why auto chose as it did. With `on_failure="ort"` a
        backend that fails is replaced by onnxruntime, and `health()` says so; states begin anew then. `trusted_keys`,
        public keys or folders of *.pub, refuse all others' bundles, `require_signature` unsigned ones. Raises
        IntegrityError for these and for a damaged bundle, TargetError when this device cannot run what was asked for.
        """
        opened = open_bundle(Path(bundle), backend, on_failure, trusted_keys, require_signature)
        with opened.closed_on_error():
            return cls(opened)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def backend(self) -> str:
        """Who computes: ort, trt or rtx."""
        return self._runner.name

    @property
    def device(self) -> str:
        """On what it computes."""
        return self._runner.device

    def input(self, name: str) -> Array:
        """The bound buffer of an input: write into it, then `execute`."""
        feeding.known(name, self.inputs)
        if self._streaming is not None:
            self._streaming.leave_for(name)
        return self._runner.mine().input(name)

    def output(self, name: str) -> Array:
        """A view of an output as the last run left it; the next run overwrites it."""
        feeding.known(name, self.outputs)
        if self._streaming is not None:
            self._streaming.check_output(name)
        return self._runner.mine().output(name)

    def submit(self) -> Ticket:
        """Start one inference on the bound buffers."""
        self._end_stream()
        self._answered = True
        return self._runner.submit()

    def wait(self, ticket: Ticket, timeout: float | None = None) -> Timing:
        """Wait until the inference is done; SessionError after `timeout` seconds, and then it can be waited for again.

        onnxruntime computes in `submit`, and is done by then.
        """
        return self._runner.wait(ticket, timeout)

    def execute(self) -> Timing:
        """Run once on the bound buffers: no copies of ours, no allocation."""
        self._end_stream()
        self._answered = True
        return self._runner.execute()

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Check the arrays, run once, and return copies of the outputs by name.

        An open axis follows the arrays' shape. Raises ShapeError for a missing or unknown name, a dtype or a shape.
        """
        import numpy as np  # as the backend does: `import edgekit.runtime` itself needs none

        feeding.check_named(feeds)
        arrays = {name: np.asarray(value) for name, value in feeds.items()}
        self._end_stream()
        bound = self._runner.mine().input
        if arrays.keys() != self.inputs.keys() or not all(
            array.shape == bound(name).shape and array.dtype == bound(name).dtype for name, array in arrays.items()
        ):
            feeding.check_all(self.inputs, arrays)
            self._resize({name: array.shape for name, array in arrays.items()})
        backend = self._runner.mine()
        for name, array in arrays.items():
            backend.input(name)[...] = array
        self.execute()
        read = self._runner.mine().output  # another backend may have taken over
        return {name: read(name).copy() for name in self.outputs}

    def set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Change the shape of an input within the bundle's range; the input is zeros then.

        A stream goes on, but where its states change shape: then it begins anew.
        """
        feeding.known(name, self.inputs)
        self.inputs[name].check(self.inputs[name].dtype, tuple(shape))
        self._resize({name: tuple(shape)})

    def warmup(self, runs: int = 3) -> None:
        """Run on whatever the buffers hold, so that the first frame is like every other."""
        for _ in range(runs):
            self.execute()

    def preprocess(self, item: Any, slot: int = 0) -> None:
        """Write a picture, a sound, texts or a series into the bundle's inputs, as the bundle says.

        A picture is uint8 [H,W,3] RGB and goes into batch position `slot`; what else there is stands in
        `edgekit.specs`. Open axes follow it. Raises DataError for an item that does not fit.
        """
        preprocessor = self._prepared()
        wanted = preprocessor.prepare(item)
        shapes = {
            name: tuple(sizes.get(axis, size) for axis, size in enumerate(self.input(name).shape))
            for name, sizes in wanted.items()
        }
        for name, shape in shapes.items():
            self.inputs[name].check(self.inputs[name].dtype, shape)
        self._resize(shapes)
        preprocessor.write(item, self.input, slot)

    def windows(self) -> Windows:
        """Cuts a sound or a series that comes in chunks of any length into what `step` takes."""
        from edgekit.preprocess import windows

        return windows(self._described(), self._assets)

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, by the bundle's tokenizer."""
        return self._texts().encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return self._texts().decode(ids)

    def decode_each(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of token ids as they come, piece by piece: a letter may be written by several of them."""
        return self._texts().decode_each(ids)

    def postprocess(self, top: int = 1) -> list[Any]:
        """The answer of each batch position, as the bundle says; of a classifier the `top` labels, the best first."""
        from edgekit.postprocess import answers

        if self.postprocessing is None:
            raise SessionError("expected a bundle with labels or another answer, found none", "session.output(name)")
        if not self._answered:
            raise SessionError("expected an inference on what the inputs hold, found none yet", "session.execute()")
        return answers(self.postprocessing, self.output, top)

    def step(self, feeds: Array | Mapping[str, Any] | None = None) -> dict[str, Array]:
        """Run once with the state that the last step left, and return views of the other outputs.

        `feeds` are the inputs that are no states, or the array of the only one; a batch axis of 1 may be left away.
        None is what the inputs hold, as `preprocess` left them. The state stays where it is computed: nothing of it is
        copied, nothing allocated. `reset` begins anew, and so does the first step after anything else ran.
        """
        views = self._streams().step(feeds)
        self._answered = True
        return views

    def state(self) -> dict[str, Array]:
        """Copies of the states, by the names of their inputs, as the next step will see them."""
        return self._streams().states()

    def reset(self, states: Mapping[str, Any] = {}) -> None:
        """Begin a stream anew: states of zero, an empty cache, or those that are given by their inputs' names."""
        self._streams().reset(states)

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        stop: Sequence[int] = (),
        seed: int | None = None,
    ) -> Iterator[int]:
        """Write on behind a prompt, token by token: an iterator of ids, each computed when it is asked for.

        The likeliest at `temperature` 0, else drawn, among the `top_k` likeliest if that is given. It ends behind a
        token of `stop`, or of the bundle's own stop tokens, which is the last one given. Raises ShapeError for a text
        longer than the cache, SessionError for a bundle that is no decoder.
        """
        from edgekit.runtime.sampling import Sampler

        sampler = Sampler(temperature, top_k, seed)
        return self._streams().decoder().generate(prompt_ids, max_new_tokens, sampler, stop)

    def health(self) -> dict[str, Any]:
        """A plain account: who computes, on what, why, in what state, and what happened so far."""
        who = {"backend": self.backend, "device": self.device, "reason": self.reason}
        return {**who, **self._runner.health()}

    def metrics(self) -> dict[str, Any]:
        """Counters, and the histogram of milliseconds an inference took; any thread may ask."""
        return self._runner.counters.snapshot()

    def hand_over(self) -> None:
        """Let the session belong to the next thread that calls it: opened and warmed up beside a loop, used in it."""
        self._runner.hand_over()

    def close(self) -> None:
        """Give back buffers and engine; closing twice does no harm."""
        if self._streaming is not None:
            self._streaming.forget()  # a view that is held keeps memory of the device
        self._runner.close()

    def _end_stream(self) -> None:
        if self._streaming is not None:
            self._streaming.end()

    def _resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        dims = self._sizes.asked(shapes)
        if self._streaming is not None and self._streaming.under_way:
            self._streaming.resize(dims)
        else:
            self._runner.bind_to(self._sizes, dims)
        self._answered = False

    def _prepared(self) -> Preprocessor:
        if self._preprocessor is None:
            from edgekit.preprocess import preprocessor

            self._preprocessor = preprocessor(self._described(), self._assets)
        return self._preprocessor

    def _texts(self) -> Texts:
        from edgekit.preprocess.text import Texts

        found = self._prepared()
        if not isinstance(found, Texts):
            raise SessionError(
                "expected a bundle with a tokenizer, found none", '[preprocess] kind = "text" in the recipe'
            )
        return found

    def _described(self) -> Preprocess:
        if self.preprocessing is None:
            raise SessionError("expected a bundle with preprocessing, found none", "session.input(name)[:] = …")
        return self.preprocessing

    def _streams(self) -> Streaming:
        if self._streaming is None:
            raise SessionError("expected a bundle with states, found none", "[stream] states in the recipe")
        return self._streaming
