"""``shadho folders``: the folders of trials that a search keeps."""

from __future__ import annotations

from pathlib import Path

import click

from shadho.cli.common import as_json, echo_json, print_table, reporting_errors, storage

__all__ = ['folders']


@click.command('folders')
@storage
@click.option(
    '--copy', 'to', type=click.Path(file_okay=False, path_type=Path), metavar='TO', help='Copy them to TO/<trial>.'
)
@click.option(
    '--trial', 'trials', type=click.IntRange(0), multiple=True, help='Only the folder of this trial; repeatable.'
)
@as_json
def folders(storage: str, to: Path | None, trials: tuple[int, ...], as_json: bool) -> None:
    """List the folders that trials have saved in: those of paused trials, and that of the best.

    STORAGE is the file of a search that is running, or has run, such as svm.db. The folder of a trial that runs may be half-written.
    """
    from shadho.report.folders import copied, kept_folders, part_means
    from shadho.words import format_loss, format_size

    with reporting_errors():
        found = kept_folders(storage, trials)
        if to is not None:
            found = [copied(folder, to) for folder in found]
    if as_json:
        echo_json([folder.to_dict() for folder in found])
        return
    rows = [
        [
            str(folder.trial), folder.state, '-' if folder.step is None else str(folder.step), format_loss(folder.loss),
            format_size(folder.size), str(folder.path),
        ]
        for folder in found
    ]  # fmt: skip
    print_table(['trial', 'state', 'step', 'loss', 'size', 'path'], rows, left={1, 5})
    means = [f'{seconds:.3g} s to {part}' for part, seconds in part_means(found).items()]
    if means:
        click.echo(f'\ntheir last attempts took on average {", ".join(means)}')
