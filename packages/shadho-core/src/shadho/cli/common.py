"""What commands have in common: a storage to look at, JSON, tables, and errors without tracebacks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import click

from shadho.errors import ShadhoError
from shadho.streams import is_terminal
from shadho_worker import write_json

__all__ = ['as_json', 'echo_json', 'print_table', 'reporting_errors', 'storage', 'storages', 'suggests']

_Function = TypeVar('_Function', bound=Callable[..., Any])


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn errors that are meant for users into one line and exit status 1."""
    try:
        yield
    except ShadhoError as error:
        from shadho.words import printable

        # It may quote the file of a search, which may be anybody's.
        raise click.ClickException('\n'.join(map(printable, str(error).splitlines()))) from None


def storage(function: _Function) -> _Function:
    """Give a command the argument STORAGE: the file of a search."""
    return click.argument('storage', type=_StorageFile())(function)


def storages(function: _Function) -> _Function:
    """Give a command one or more of the argument STORAGE, as `storages`."""
    return click.argument('storages', metavar='STORAGE...', type=_StorageFile(), nargs=-1, required=True)(function)


def as_json(function: _Function) -> _Function:
    """Give a command the option ``--json``, as the argument `as_json`."""
    return click.option('--json', 'as_json', is_flag=True, help='Print JSON.')(function)


def echo_json(data: Any) -> None:
    """Print plain data as JSON, which has no floats that are not finite (see `shadho_worker.write_json`)."""
    click.echo(write_json(data, indent=2))


class _StorageFile(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.3
    """The path of a storage, which a shell completes to files of searches."""

    name = 'file'

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type='file')]


def suggests(kind: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes an option to the names that plugins register of a kind, such as 'sampler'."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        from shadho import plugins

        with contextlib.suppress(ShadhoError):
            return [name for name in plugins.load().classes(kind) if name.startswith(incomplete)]
        return []

    return complete


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> None:
    """Print rows below their titles: as wide as the terminal; in full where something else reads them.

    Parameters
    ----------
    titles : sequence of str
    rows : sequence of sequences of str
    left : collection of int
        Columns that are set to the left, the others to the right.
    """
    from shadho.report.recorded import columns
    from shadho.words import printable

    rows = [[printable(text) for text in row] for row in rows]
    if not is_terminal(sys.stdout):
        click.echo('\n'.join(columns(titles, rows, left)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style='bold')
    for place, title in enumerate(titles):
        table.add_column(title, justify='left' if place in left else 'right', overflow='ellipsis', no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
