"""``shadho doctor``: what works here, and what to install for the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterator

import attrs
import click

from shadho.cli.common import as_json, echo_json
from shadho.errors import ConfigurationError, PluginError, ShadhoError
from shadho.options import working_folder
from shadho.plugins import Registry, install_command
from shadho.plugins.packages import BACKENDS

__all__ = ['Finding', 'doctor', 'examine']

_OPTIONAL = {
    'pictures (report)': ('matplotlib', 'plotly', 'scikit-learn'),
    'dashboard': ('plotly', 'starlette', 'uvicorn'),
    'tables (pandas)': ('pandas',),
    'tables (parquet)': ('pandas', 'pyarrow'),
    'Optuna studies (optuna)': ('optuna',),
    'method hyperopt': ('hyperopt',),
    'method rf, scikit-learn': ('scikit-learn',),
    'MLflow': ('alembic', 'mlflow-skinny', 'sqlalchemy'),
    'TensorBoard': ('tensorboardX',),
    'GPU discovery': ('nvidia-ml-py',),
}
"""Distributions that something optional needs."""

_MARKS = {'ok': ('✓', 'green'), 'missing': ('-', 'yellow'), 'broken': ('✗', 'red')}


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
    state : str
        'ok', 'missing' (nothing is wrong, something could be added) or 'broken'.
    detail : str
        What was found, or what to do.
    """

    what: str
    state: str
    detail: str


@click.command('doctor')
@as_json
def doctor(as_json: bool) -> None:
    """Say what works on this machine: backends and their engines, hardware, plugins, and what to install for the rest.

    Ends with status 1 when something that is installed does not work.
    """
    found = list(examine())
    if as_json:
        echo_json([attrs.asdict(finding) for finding in found])
    else:
        width = max(len(finding.what) for finding in found)
        for finding in found:
            mark, colour = _MARKS[finding.state]
            first, *rest = finding.detail.splitlines() or ['']
            click.echo(f'{click.style(mark, fg=colour)} {finding.what:{width}}  {first}')
            for line in rest:
                click.echo(f'  {"":{width}}  {line}')
    if any(finding.state == 'broken' for finding in found):
        raise click.exceptions.Exit(1)


def examine() -> Iterator[Finding]:
    """Yield what was found, from the interpreter to what is optional; looks at one thing after the other."""
    yield Finding('Python', 'ok', f'{platform.python_version()} ({sys.executable}), {platform.platform()}')
    yield Finding('shadho', 'ok', ', '.join(f'{name} {own}' for name in _OURS if (own := _version(name))))
    yield from _plugins()
    yield _guarded('hardware', _hardware)
    yield _folder()
    for what, distributions in _OPTIONAL.items():
        missing = [name for name in distributions if _version(name) is None]
        if missing:
            yield Finding(what, 'missing', f'pip install {" ".join(missing)}')
        else:
            yield Finding(what, 'ok', ', '.join(f'{name} {_version(name)}' for name in distributions))


_OURS = ('shadho-core', *BACKENDS.values())


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plugins() -> Iterator[Finding]:
    from shadho import plugins

    try:
        registry = plugins.load()
    except PluginError as error:
        yield Finding('plugins', 'broken', str(error))
        return
    for plugin in registry.plugins:
        if plugin.broken:
            yield Finding(f'plugin {plugin.owner}', 'broken', plugin.broken)
    yield from _backends(registry)


def _backends(registry: Registry) -> Iterator[Finding]:
    classes = registry.classes('backend')
    for name, cls in classes.items():
        yield _guarded(f'backend {name}', cls.check)
    for name, package in BACKENDS.items():
        if name not in classes:
            yield Finding(f'backend {name}', 'missing', install_command(package))


def _guarded(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, 'ok', look())
    except ShadhoError as error:
        return Finding(what, 'broken', str(error))
    except Exception as error:  # of a plugin
        return Finding(what, 'broken', f'{type(error).__name__}: {error}')


def _hardware() -> str:
    from shadho.hardware.machine import probe

    return str(probe())


def _folder() -> Finding:
    try:
        here = working_folder()
    except ConfigurationError as error:
        return Finding('folder', 'broken', str(error))
    writable = os.access(here, os.W_OK)
    detail = (
        here
        if writable
        else f'{here} cannot be written to; a search keeps its file there unless storage= names another'
    )
    return Finding('folder', 'ok' if writable else 'broken', detail)
