"""``shadho report``: a recorded search as a page, or as pictures."""

from __future__ import annotations

from pathlib import Path

import click

from shadho.cli.common import as_json, echo_json, reporting_errors, storage
from shadho.errors import ConfigurationError
from shadho.options import is_file

__all__ = ['report']


@click.command('report')
@storage
@click.option('--output', metavar='FILE', help='Where to write the page; by default beside STORAGE, as svm.html.')
@click.option('--png', is_flag=True, help='Write pictures instead: svm-history.png, svm-trees.png and so on.')
@as_json
def report(storage: str, output: str | None, png: bool, as_json: bool) -> None:
    """Write a page that shows a search: interactive figures and a table of all trials.

    STORAGE is the file of a search that has run, or is running, such as svm.db. The page is one
    file, svm.html, which opens in any browser, offline too.
    """
    from shadho.report.recorded import look_up

    with reporting_errors():
        target = _target(storage, output)
        result = look_up(storage)
        if png:
            from shadho.report.files import write_pictures

            written = [str(path) for path in write_pictures(result, target)]
            found: dict[str, object] = {'pictures': written}
        else:
            from shadho.report.files import write_page

            written = [str(write_page(result, target))]
            found = {'report': written[0]}
    if as_json:
        echo_json(found)
    else:
        click.echo('\n'.join(written))


def _target(storage: str, output: str | None) -> Path:
    """Return where the page goes, which is not over the search.

    Raises
    ------
    ConfigurationError
        When it would be.
    """
    own = Path(storage)
    target = own.parent / f'{own.stem}.html' if output is None else Path(output)
    if is_file(target) and is_file(own) and target.samefile(own):
        raise ConfigurationError(f'--output {str(target)!r} is the file of the search itself; give another name')
    return target
