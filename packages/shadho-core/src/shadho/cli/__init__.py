"""The command line ``shadho``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

import shadho
from shadho import plugins
from shadho.cli.completion import completion
from shadho.cli.dashboard import dashboard
from shadho.cli.doctor import doctor
from shadho.cli.export import export
from shadho.cli.folders import folders
from shadho.cli.look import best, plan, status, trials
from shadho.cli.report import report
from shadho.cli.run import resume, run
from shadho.cli.space import space
from shadho.errors import PluginError
from shadho.plugins import Plugin
from shadho.streams import usable_streams

__all__ = ['cli', 'main']


@click.group(context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(shadho.__version__, prog_name='shadho')
def cli() -> None:
    """SHADHO: hyperparameter search that decides what to run from where a slot is free."""


for _command in (
    run,
    resume,
    status,
    best,
    trials,
    folders,
    export,
    report,
    dashboard,
    plan,
    space,
    doctor,
    completion,
):
    cli.add_command(_command)


@cli.command('plugins')
@click.option('--json', 'as_json', is_flag=True, help='Print JSON.')
def list_plugins(as_json: bool) -> None:
    """List plugins, what each registers, and why one is broken.

    Ends with status 1 when two plugins claim one name, as no search can begin then.
    """
    found, clash = _plugins()
    click.echo(json.dumps([_as_dict(plugin) for plugin in found], indent=2) if as_json else _table(found))
    if clash is not None:
        raise click.ClickException(str(clash))


def _plugins() -> tuple[Sequence[Plugin], PluginError | None]:
    """Return the installed plugins, and why no search can begin with them."""
    try:
        return plugins.load().plugins, None
    except PluginError as error:
        return plugins.installed(), error


class _Doors(click.Group):
    """A group whose commands are brought by plugins: says which one to install where there is none."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in _ENGINES and args[0] not in self.commands:
            raise click.ClickException(
                f'{ctx.command_path} {args[0]} comes with a package that is not installed: {_fix(args[0])}{_broken()}'
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        if not self.commands:
            with formatter.section('Commands'):
                formatter.write_text(f'None is installed; {" or ".join(map(_fix, _ENGINES))} brings one{_broken()}.')


_ENGINES = ('workqueue',)
"""Plugins that bring workers and an installer."""


def _fix(engine: str) -> str:
    return plugins.install_command(f'shadho-{engine}')


def _broken() -> str:
    """Say which plugins are broken: the missing one may be among them."""
    return ''.join(f'; the plugin {own.owner} is broken: {own.broken}' for own in _plugins()[0] if own.broken)


@cli.group('worker', cls=_Doors)
def worker() -> None:
    """Serve the trials of a search on this machine."""


@cli.group('install', cls=_Doors)
def install() -> None:
    """Find or install the engine of a backend."""


def _as_dict(plugin: Plugin) -> dict[str, object]:
    return {
        'name': plugin.name,
        'distribution': plugin.distribution,
        'version': plugin.version,
        'registers': plugin.registers,
        'hooks': [hook for hook, functions in plugin.hooks.items() if functions],
        'broken': plugin.broken,
    }


def _table(found: Sequence[Plugin]) -> str:
    rows = [('PLUGIN', 'DISTRIBUTION', 'BRINGS')]
    rows += [(plugin.name, f'{plugin.distribution} {plugin.version}', _brings(plugin)) for plugin in found]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return '\n'.join(f'{name:{widths[0]}}  {dist:{widths[1]}}  {brings}' for name, dist, brings in rows)


def _brings(plugin: Plugin) -> str:
    if plugin.broken:
        return click.style(f'broken: {plugin.broken}', fg='red')
    registered = [f'{kind}: {", ".join(names)}' for kind, names in plugin.registers.items()]
    return '; '.join([*registered, *[hook for hook, functions in plugin.hooks.items() if functions]])


def main(*command: str) -> None:
    """Run the command line with the commands of all plugins.

    Parameters
    ----------
    *command : str
        Comes before the arguments of the process, as in ``main('worker', 'workqueue')``.
    """
    with usable_streams():
        try:
            plugins.load().notify('shadho_register_commands', cli=cli)
        except PluginError as error:
            click.echo(f'Warning: commands of plugins are left out: {error}', err=True)
        cli([*command, *sys.argv[1:]], prog_name='shadho')
