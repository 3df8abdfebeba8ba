"""A progress bar on standard error, and none where that is not a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from edgekit.cli.interrupt import INTERRUPTS
from edgekit.cli.options import Output
from edgekit.reports import Progress


@contextlib.contextmanager
def progress_bar(output: Output) -> Iterator[Progress]:
    """Yield a callback for the stages; rich is imported only when a person is watching.

    Each call is also where a Ctrl-C that a library swallowed comes back.
    """
    # What a user's own code prints must not get between the JSON of a report.
    with contextlib.redirect_stdout(sys.stderr):
        yield from _progress(output)


def _progress(output: Output) -> Iterator[Progress]:
    if output.quiet or not sys.stderr.isatty():
        yield lambda what, done, total: INTERRUPTS.check()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            INTERRUPTS.check()
            bar.update(task, description=what, completed=done, total=total or None)

        yield show
