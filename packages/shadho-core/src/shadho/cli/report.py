"""``shadho report``: a recorded search as a page, or as pictures."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from shadho.cli.common import as_json, echo_json, reporting_errors, storages
from shadho.errors import ConfigurationError
from shadho.options import is_file

__all__ = ['report']


@click.command('report')
@storages
@click.option('--output', metavar='FILE', help='Where to write the page; by default beside STORAGE, as svm.html.')
@click.option('--png', is_flag=True, help='Write pictures instead: svm-history.png, svm-trees.png and so on.')
@as_json
def report(storages: tuple[str, ...], output: str | None, png: bool, as_json: bool) -> None:
    """Write a page that shows a search: interactive figures and a table of all trials.

    STORAGE is the file of a search that has run, or is running, such as svm.db. The page is one
    file, svm.html, which opens in any browser, offline too. Several files are compared on one page, comparison.html.
    """
    from shadho.report.recorded import look_up

    with reporting_errors(), _without_collecting():
        target = _target(storages, output)
        results = [look_up(storage) for storage in storages]
        if png:
            from shadho.report.files import write_pictures

            if len(results) > 1:
                raise ConfigurationError('--png is for one search; several are compared as a page')
            written = [str(path) for path in write_pictures(results[0], target)]
            found: dict[str, object] = {'pictures': written}
        else:
            from shadho.report.files import write_page

            written = [str(write_page(target, *results))]
            found = {'report': written[0]}
    if as_json:
        echo_json(found)
    else:
        click.echo('\n'.join(written))


def _target(storages: Sequence[str], output: str | None) -> Path:
    """Return where the page goes, which is not over a search.

    Raises
    ------
    ConfigurationError
        When it would be.
    """
    first = Path(storages[0])
    name = f'{first.stem}.html' if len(storages) == 1 else 'comparison.html'
    target = first.parent / name if output is None else Path(output)
    for own in map(Path, storages):
        if is_file(target) and is_file(own) and target.samefile(own):
            raise ConfigurationError(f'--output {str(target)!r} is the file of the search itself; give another name')
    return target


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Look for no garbage among the many records of a search, which all stay: that would take a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
