"""``shadho dashboard``: the report of a search, live; and those of several."""

from __future__ import annotations

import html
import tempfile
from pathlib import Path

import click

from shadho.cli.common import reporting_errors, storages

__all__ = ['dashboard']


@click.command('dashboard')
@storages
@click.option('--host', default='127.0.0.1', show_default=True, help='Address to listen at.')
@click.option('--port', type=click.IntRange(0, 65535), default=0, help='By default any that is free.')
@click.option(
    '--token/--no-token', default=None,
    help='Whether a token is needed to open the page; by default when other machines can connect.',
)  # fmt: skip
@click.option('--open/--no-open', 'opens', default=False, help='Open the page in a browser.')
def dashboard(storages: tuple[str, ...], host: str, port: int, token: bool | None, opens: bool) -> None:
    """Show a search on a web page, as it goes on; until Ctrl-C.

    STORAGE is the file of a search that is running, or has run, such as svm.db, which is only read. Of several files, or of
    a folder, there is a list, from which searches are opened and compared. Only this machine can
    connect, unless --host says otherwise; on a machine with other users, --token keeps them out.
    """
    from shadho.dashboard import serve

    with reporting_errors(), tempfile.TemporaryDirectory(prefix='shadho-') as folder:

        def ready(address: str) -> None:
            shown = f'{storages[0]} is' if len(storages) == 1 else f'{len(storages)} searches are'
            click.echo(f'{shown} shown at {address}  (Ctrl-C ends this)')
            if opens:
                click.launch(_doorway(Path(folder), address))

        serve(storages, host, port, token=token, ready=ready)


def _doorway(folder: Path, address: str) -> str:
    """Return a page that leads to an address: a token among the arguments of a browser could be read by all users here."""
    page = folder / 'open.html'
    page.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(address)}">', encoding='utf-8')
    return str(page)
