"""``shadho export``: a recorded search for other programs."""

from __future__ import annotations

import click

from shadho.cli.common import as_json, echo_json, reporting_errors, storage
from shadho.words import counted

__all__ = ['export']


@click.command('export')
@storage
@click.argument('destination')
@click.option('--name', help='Of the Optuna study; by default that of the search.')
@click.option('--reports', is_flag=True, help='What trials reported on the way instead: a row for each report.')
@as_json
def export(storage: str, destination: str, name: str | None, reports: bool, as_json: bool) -> None:
    """Write the trials of a search to DESTINATION, for other programs.

    STORAGE is the file of a search that is running, or has run, such as svm.db. DESTINATION is a file that ends in .csv,
    .json or .parquet, or the storage of an Optuna study: sqlite:///study.db, another address of a database, or a
    journal file that ends in .log. `optuna-dashboard sqlite:///study.db` shows it.
    """
    from shadho.report.export import export as write
    from shadho.report.recorded import load_result

    with reporting_errors():
        result = load_result(storage)
        write(result, destination, name=name, reports=reports)
    count = sum(map(len, result.reports().values())) if reports else len(result)
    kind = 'report' if reports else 'trial'
    if as_json:
        echo_json({'destination': destination, f'{kind}s': count})
    else:
        click.echo(f'{counted(count, kind)} written to {destination}')
