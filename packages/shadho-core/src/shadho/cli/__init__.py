"""The command line ``shadho``."""

from __future__ import annotations

import json

import attrs
import click

import shadho
from shadho import plugins

__all__ = ['cli']


@click.group(context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(shadho.__version__, prog_name='shadho')
def cli() -> None:
    """SHADHO: hyperparameter search that decides what to run from where a slot is free."""


@cli.command('plugins')
@click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
def list_plugins(as_json: bool) -> None:
    """List plugins, what each registers, and why one is broken."""
    found = plugins.load().plugins
    if as_json:
        click.echo(json.dumps([attrs.asdict(info) for info in found], indent=2))
        return
    for info in found:
        click.echo(f'{info.name}  ({info.distribution} {info.version})')
        for kind, names in info.registers.items():
            click.echo(f'    {kind}: {", ".join(names)}')
        if info.broken:
            click.secho(f'    broken: {info.broken}', fg='red')


def main() -> None:
    """Run the command line with the commands of all plugins."""
    plugins.load().notify('shadho_register_commands', cli=cli)
    cli()
