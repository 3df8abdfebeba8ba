"""The `edgekit` command: one module a sub-command, loaded only when it is called."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

import click

from edgekit import __version__
from edgekit.cli.interrupt import INTERRUPTS
from edgekit.cli.streams import drop
from edgekit.errors import EdgekitError

COMMANDS = {
    "deploy": "From a network to a checked bundle in one go.",
    "export": "PyTorch to ONNX, compared with PyTorch.",
    "quantize": "An ONNX file at another precision.",
    "check": "Which rules of the target a model breaks, and how to mend it.",
    "build-engine": "ONNX to a TensorRT engine.",
    "validate": "Accuracy and latency against a budget.",
    "bench": "Latency of a model or a bundle, stage by stage.",
    "compare": "Whether B is slower or less exact than A, by their reports.",
    "run": "A bundle on real input, samples or a camera.",
    "inspect": "What a model, an engine, a bundle or a report holds.",
    "bundle": "Sign, verify and install a bundle.",
    "plugins": "Build, list, try and measure the CUDA kernels.",
    "doctor": "What this machine can build and run.",
}
# What is said, and the code that a shell gives to a process which the signal ended: 128 and its number.
_INTERRUPTED, _TERMINATED = ("interrupted", 130), ("terminated", 143)
# Which extra brings a package that a command needs and the core does not have.
_EXTRAS = {
    **dict.fromkeys(("onnx", "ml_dtypes", "google"), "build"),
    **dict.fromkeys(("torch", "torchvision", "transformers", "onnxscript", "safetensors"), "export"),
    "tensorrt_rtx": "rtx",
}


class _Interrupted(Exception):
    """Ctrl-C or SIGTERM inside a command."""


class Commands(click.Group):
    """Finds a sub-command in the module of the same name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command's module now."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"edgekit.cli.{name.replace('-', '_')}").command
        return command

    def make_context(self, *given: Any, **extra: Any) -> click.Context:
        """Keep Ctrl-C from click, which would print an empty line of its own."""
        try:
            return super().make_context(*given, **extra)
        except KeyboardInterrupt as error:
            raise _Interrupted from error

    def invoke(self, ctx: click.Context) -> Any:
        """As `make_context`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing one of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgekit")
def root() -> None:
    """Export, quantize, build and run neural networks on NVIDIA desktop and Jetson GPUs."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit: every failure is one line on standard error and the code of its branch."""
    sys.exit(_flushed(_exit_code(sys.argv[1:] if arguments is None else arguments)))


def _exit_code(arguments: list[str]) -> int:
    verbose = bool({"-v", "--verbose"} & set(arguments))
    try:
        with INTERRUPTS.watched():
            result = root.main(arguments, prog_name="edgekit", standalone_mode=False)
            INTERRUPTS.check()
    except Exception as error:
        # An import or a library call that Ctrl-C broke off fails in its own words.
        return _interrupted() if INTERRUPTS.seen else _explained(error, verbose)
    except KeyboardInterrupt:
        return _interrupted()
    return result if isinstance(result, int) else 0


def _flushed(code: int) -> int:
    """The code, or 1 where standard output does not take the rest of its buffer: Python would try again at its end, and
    tell of it in its own words and with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            drop(stream)
            code = code or _explained(error, False)
    return code


def _explained(error: Exception, verbose: bool) -> int:
    """Print the one line that belongs to an error and return its exit code."""
    if isinstance(error, EdgekitError):
        return _fail(str(error), error.exit_code, verbose)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "edgekit"
        return _fail(f"{' '.join(error.format_message().split())}; next: {command} --help", error.exit_code, verbose)
    if isinstance(error, (_Interrupted, click.Abort)):
        return _interrupted()
    if isinstance(error, BrokenPipeError):
        return 1
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get((error.name or "").partition(".")[0])):
        line = f"expected the package {error.name} for this command, found none; next: pip install 'edgekit[{extra}]'"
        return _fail(line, 1, verbose)
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        said = f"expected the system to read and write{where}, found: {error.strerror or error}"
        return _fail(f"{said}; next: again with -v, which says at what", 1, verbose)
    return _fail(f"a fault of edgekit itself: {type(error).__name__}: {error}; next: again with -v", 1, verbose)


def _interrupted() -> int:
    # CPython notes a KeyboardInterrupt that leaves code run from a string, and at its end kills itself
    # by SIGINT instead of using our exit code. Running any string clears the note (pythonrun.c, run_eval_code_obj).
    exec("")
    message, code = _TERMINATED if INTERRUPTS.seen == signal.SIGTERM else _INTERRUPTED
    return _fail(message, code, False)


def _fail(message: str, code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    with contextlib.suppress(OSError):  # nobody hears it; the code still tells
        click.echo(f"edgekit: error: {' '.join(message.split())}", err=True)
    return code
