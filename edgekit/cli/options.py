"""Options made from a config class, the ones that every command has, and how a report is shown."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import click

from edgekit.cli.streams import drop
from edgekit.configs import Config
from edgekit.errors import one_line, printable

Command = Callable[..., Any]


class _Name(click.Path):
    """A file's or folder's name. An empty one, as of a variable that is not set, would be the folder one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own, for what is not empty."""
        if value == "":
            self.fail("expected a name, found none", param, ctx)
        return super().convert(value, param, ctx)


class _Once(click.Option):
    """Of two, as of two cameras, click would leave out the first without a word."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **{**more, "multiple": True})

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The one value. MissingParameter without, BadParameter for two."""
        values = super().process_value(ctx, value)
        if len(values) > 1:
            raise click.BadParameter(f"expected one, found {len(values)}", ctx, self)
        return values[0]


FILE = _Name(path_type=Path)


def knobs(
    config: type[Config], *, required: tuple[str, ...] = (), once: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """Give a command one option for each field of a config class; it receives `config`, an instance of it.

    Of an option that is given twice the last counts, as scripts have it that add theirs, but for those of `once`.
    """
    hints = get_type_hints(config)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_config(**values: Any) -> Any:
            given = {item.name: values.pop(item.name) for item in fields(config)}
            return command(config=config(**given), **values)

        for item in reversed(fields(config)):
            flag = "--" + item.name.replace("_", "-")
            kind = _click_type(hints[item.name], item.metadata["choices"])
            # click takes a default of None for a value that was given.
            wanted = {"required": True} if item.name in required else {"default": item.default}
            with_config = click.option(
                f"{flag}/--no-{flag[2:]}" if hints[item.name] is bool else flag,
                item.name,
                type=None if hints[item.name] is bool else kind,
                multiple=get_origin(hints[item.name]) is tuple,
                cls=_Once if item.name in once else None,
                show_default=wanted.get("default") not in (None, (), "", False),
                **wanted,
                metavar=item.metadata["metavar"] or None,
                help=item.metadata["help"],
            )(with_config)
        return with_config

    return decorate


def _click_type(hint: Any, choices: tuple[str, ...]) -> Any:
    if choices:
        return click.Choice(choices)
    options = [option for option in get_args(hint) if option is not type(None)] if isinstance(hint, UnionType) else []
    plain = options[0] if options else hint
    if get_origin(plain) is tuple:
        plain = get_args(plain)[0]
    return FILE if plain is Path else plain


@dataclass(frozen=True)
class Output:
    """How much a command says, and in which form."""

    json: bool
    quiet: bool
    verbose: bool

    def say(self, *lines: str) -> None:
        """Lines for a person on standard output. Each stays one, and is shown as it is: much of it is others' text."""
        for line in () if self.json or self.quiet else lines:
            click.echo(printable(line))

    def warn(self, lines: tuple[str, ...]) -> None:
        """Warnings go to standard error, also under --json."""
        for line in () if self.quiet else lines:
            click.echo(f"edgekit: warning: {one_line(line)}", err=True)

    @contextlib.contextmanager
    def not_needed(self, done: str) -> Iterator[None]:
        """Around what tells of what is `done`: that nobody can be told does not undo it, and is a warning."""
        try:
            yield
            if sys.stdout is not None:  # it is None where it was closed before we began
                sys.stdout.flush()
        except OSError as error:
            drop(sys.stdout)
            with contextlib.suppress(OSError):
                self.warn((f"{done}, but that could not be written here: {error.strerror}",))

    def report(self, table: dict[str, Any]) -> None:
        """The report as JSON, when it was asked for."""
        if self.json:
            click.echo(json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False))


def common(command: Command) -> Command:
    """--json, --verbose and --quiet; the command receives `output`."""

    @functools.wraps(command)
    def with_output(**values: Any) -> Any:
        output = Output(values.pop("json"), values.pop("quiet"), values.pop("verbose"))
        return command(output=output, **values)

    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors."),
        click.option("--verbose", "-v", is_flag=True, help="Show tracebacks."),
        click.option("--json", is_flag=True, help="Print the report as JSON, and nothing else, on standard output."),
    ):
        with_output = option(with_output)
    return with_output
