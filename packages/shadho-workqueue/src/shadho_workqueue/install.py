"""Finding the engine, and installing it where it is missing: ``shadho install workqueue``."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from shadho.errors import BackendError, ShadhoError
from shadho_workqueue.driver.engine import Engine
from shadho_workqueue.installation import Bindings, find_bindings, find_program, forget, release_of, version_of
from shadho_workqueue.rendezvous import keep_private, new_password

__all__ = ['Found', 'install', 'look', 'round_trip']

PROGRAMS = {
    'work_queue_worker': '',
    'work_queue_factory': 'needed for --batch only',
    'work_queue_status': 'not needed',
}
"""What of the engine is of use, and for what if not for everything."""

ROUND_TRIP = 30.0
"""Seconds within which a manager and a worker of one machine have to run a task."""

_LEFT_OUT = ('makeflow', 'chirp', 'grow', 'poncho', 'ftp-lite', 'parrot', 'doc')
"""Parts of CCTools that Work Queue does not need."""

_TASK: dict[str, Any] = {
    'command': 'true', 'feature': None, 'cores': 1, 'memory': 1, 'disk': 1, 'gpus': 0,
    'files': [], 'files_once': [], 'buffers': [], 'outputs': [],
}  # fmt: skip

_ROUTES = """\
Install CCTools in one of these ways, then run this command again with --check:

  conda, in an environment of your own (no administrator needed):
    conda install -y -c conda-forge ndcctools

  Debian or Ubuntu, as an administrator (both packages: the first holds the manager, the second the worker):
    apt-get install -y python3-workqueue coop-computing-tools

  from source, with gcc, make, Python's headers and swig (pip install swig): get a release of CCTools from
  https://github.com/cooperative-computing-lab/cctools/releases, then
    python3 -m shadho.install.workqueue --source cctools-VERSION.tar.gz

All machines of a search need the same release."""


@attrs.frozen
class Found:
    """What there is of the engine.

    Attributes
    ----------
    bindings : Bindings or None
    release : str
        Of the bindings; empty without.
    programs : dict
        Path and version of each program that was found.
    """

    bindings: Bindings | None
    release: str
    programs: dict[str, tuple[str, str]]

    @property
    def problem(self) -> str:
        """Say what keeps a search from running; empty when nothing does."""
        missing = [name for name in PROGRAMS if not PROGRAMS[name] and name not in self.programs]
        if self.bindings is None:
            missing.insert(0, 'the Python bindings of the manager')
        if missing:
            return f'missing: {", ".join(missing)}'
        worker = self.programs['work_queue_worker'][1]
        if worker != self.release and 'unknown' not in (worker, self.release):
            return (
                f'the manager is of release {self.release} and the worker of release {worker}; releases that speak '
                'different protocols never run a trial together: install both from one place'
            )
        return ''

    def to_table(self) -> str:
        """Tell of each part in a line."""
        rows = [('bindings', '', 'not found')]
        if self.bindings is not None:
            own = self.bindings
            rows = [('bindings', self.release, f'{own.module} in {own.path}, for {own.python}')]
        for name, use in PROGRAMS.items():
            path, version = self.programs.get(name, ('not found' + (use and f' ({use})'), ''))
            rows.append((name, version, path))
        width = max(len(version) for _, version, _ in rows)
        return '\n'.join(f'{name:18}  {version:{width}}  {place}' for name, version, place in rows)


def look() -> Found:
    """Return what there is of the engine on this machine."""
    forget()
    bindings = find_bindings()
    paths = {name: find_program(name) for name in PROGRAMS}
    programs = {name: (path, version_of(path)) for name, path in paths.items() if path is not None}
    return Found(bindings, release_of(bindings) if bindings is not None else '', programs)


def round_trip(worker: str, timeout: float) -> float:
    """Let a manager and a worker on this machine run the command ``true`` together.

    Parameters
    ----------
    worker : str
        Path of the engine's worker.
    timeout : float
        Seconds that it may take.

    Returns
    -------
    float
        Seconds that it took.

    Raises
    ------
    BackendError
        When no result came back, with the reason as far as it is known.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='shadho-install-', ignore_cleanup_errors=True) as folder:
        password = Path(folder) / 'password'
        keep_private(password, new_password())
        engine = Engine(
            port=0, password_file=str(password), keepalive=(20, 15), catalog=None, name='', debug_log=None
        )  # fmt: skip
        arguments = [
            '127.0.0.1', str(engine.port), '-P', str(password), '-s', folder, '--cores', '1', '-t', '15', '-i', '1', '-b', '2',
            *(['--ssl'] if engine.ssl else []),
        ]  # fmt: skip
        process = None
        try:
            process = subprocess.Popen(
                [worker, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
            )  # fmt: skip
            engine.send(do='submit', attempt=0, group='', asked=_TASK)
            problem = _wait_for_result(engine, begun + timeout)
        except OSError as error:
            raise BackendError(f'{worker} cannot be run: {error}') from None
        finally:
            if process is not None:
                process.kill()
                process.wait()
            engine.close(shutdown=False)
    if problem:
        raise BackendError(f'a manager and a worker on this machine did not run a task together: {problem}')
    return time.monotonic() - begun


def _wait_for_result(engine: Engine, until: float) -> str:
    """Return why no result came; empty when one did."""
    said = ''
    while (left := until - time.monotonic()) > 0:
        for message in engine.wait(min(left, 0.5)):
            if message['say'] == 'done' and message['result'] == 0:
                return ''
        said = '\n'.join([*filter(None, [said]), *engine.notices()])
        protocols = re.search(r'using work queue protocol (\d+), but I am using protocol (\d+)', said)
        if protocols:
            return (
                f'the worker speaks protocol {protocols[1]} of Work Queue, and the manager {protocols[2]}, which never run '
                'a trial together; install both from one release'
            )
    return said or 'the worker did not connect, and the manager said nothing'


@click.command('workqueue', context_settings={'help_option_names': ['-h', '--help']})
@click.option('--check', is_flag=True, help='Only say what there is, and whether it works.')
@click.option('--source', type=click.Path(exists=True, dir_okay=False), metavar='TARBALL',
              help='Build this source release of CCTools.')  # fmt: skip
@click.option('--prefix', type=click.Path(file_okay=False), metavar='DIR',
              help='Where to install it, with --source; by default the environment that this command runs in.')  # fmt: skip
def install(check: bool, source: str | None, prefix: str | None) -> None:
    """Find CCTools Work Queue, or install it, and see whether it works.

    Nothing is installed where a manager and a worker of the same release are found. Otherwise it is installed with
    conda where an environment is active, with apt-get for the administrator of Debian or Ubuntu, or from a
    source release; where none of these can be, you are told what to do. Every command is shown before it runs.
    """
    if check and source is not None:
        raise click.UsageError('--check installs nothing, so it takes no --source')
    if prefix is not None and source is None:
        raise click.UsageError('--prefix is where a --source goes')
    found = look()
    if source is not None or (found.problem and not check):
        if found.problem:
            click.echo(found.problem)
        if source is not None:
            _build(Path(source).resolve(), Path(prefix or _own_prefix()).resolve())
        else:
            _install_package()
        found = look()
    click.echo(found.to_table())
    if found.problem:
        click.echo(f'\n{_ROUTES}\n')
        raise click.ClickException(found.problem)
    try:
        seconds = round_trip(found.programs['work_queue_worker'][0], ROUND_TRIP)
    except ShadhoError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f'Work Queue is ready: a manager and a worker here ran a task together, in {seconds:.1f} s.')


def _install_package() -> None:
    """Install the engine by the package manager that is meant for it here."""
    conda = next(filter(None, map(shutil.which, ('conda', 'mamba', 'micromamba'))), None) or os.environ.get('CONDA_EXE')
    if os.environ.get('CONDA_PREFIX') and conda:
        _run([conda, 'install', '-y', '-c', 'conda-forge', 'ndcctools'])
    elif os.geteuid() == 0 and shutil.which('apt-get'):
        unasked = {'DEBIAN_FRONTEND': 'noninteractive'}
        _run(['apt-get', 'update'], environment=unasked)
        _run(['apt-get', 'install', '-y', 'python3-workqueue', 'coop-computing-tools'], environment=unasked)
    else:
        click.echo(f'There is no conda environment here, and no apt-get for an administrator. {_ROUTES}')
        raise click.exceptions.Exit(1)


def _own_prefix() -> str:
    """Return where this Python finds what is installed, without an administrator."""
    isolated = sys.prefix != sys.base_prefix or os.environ.get('CONDA_PREFIX') == sys.prefix
    return sys.prefix if isolated else site.getuserbase()


def _build(tarball: Path, prefix: Path) -> None:
    """Build and install a source release."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', os.defpath)])
    missing = [tool for tool in ('gcc', 'g++', 'make', 'swig', 'tar') if shutil.which(tool, path=tools) is None]
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        missing.append('Python.h')
    if missing:
        raise click.ClickException(
            f'a build needs {", ".join(missing)}, not found here. swig: pip install swig; Python.h and the others: '
            'apt-get install -y gcc g++ make python3-dev zlib1g-dev, or their like'
        )
    environment = {'PATH': tools, 'PYTHON3': sys.executable, 'PYTHON': sys.executable}
    with tempfile.TemporaryDirectory(prefix='shadho-build-') as folder:
        _run(['tar', '-xf', str(tarball), '-C', folder, '--strip-components=1'])
        without = [f'--without-system-{part}' for part in _LEFT_OUT]
        _run(['./configure', '--prefix', str(prefix), *without], folder, environment)
        _run(['make', '-j', str(os.cpu_count() or 1)], folder, environment)
        _run(['make', 'install'], folder, environment)
    _find_in(prefix)


def _find_in(prefix: Path) -> None:
    """Look for the engine in a folder from now on, and say how to make that last."""
    packages = prefix / 'lib' / f'python{sys.version_info.major}.{sys.version_info.minor}' / 'site-packages'
    wanted = {'PATH': str(prefix / 'bin'), 'PYTHONPATH': str(packages)}
    if str(packages) in sys.path:
        del wanted['PYTHONPATH']
    if find_program('work_queue_worker') == str(prefix / 'bin' / 'work_queue_worker'):
        del wanted['PATH']
    for name, place in wanted.items():
        os.environ[name] = os.pathsep.join(filter(None, [place, os.environ.get(name, '')]))
        click.echo(f'add this to your shell\'s start-up file: export {name}="{place}${{{name}:+:${name}}}"')


def _run(command: Sequence[str], folder: str | None = None, environment: dict[str, str] | None = None) -> None:
    """Show a command and run it."""
    click.echo(f'$ {shlex.join(command)}')
    try:
        done = subprocess.run(command, cwd=folder, env={**os.environ, **(environment or {})}, check=False)
    except OSError as error:
        raise click.ClickException(f'{command[0]} cannot be run: {error}') from None
    if done.returncode:
        raise click.ClickException(f'{command[0]} ended with exit status {done.returncode}; see above. {_ROUTES}')
