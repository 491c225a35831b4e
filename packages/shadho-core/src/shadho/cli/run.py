"""``shadho run`` and ``shadho resume``: a search without a script of its own, or from where it ended."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import click

from shadho.cli.common import as_json, echo_json, reporting_errors, storage, suggests
from shadho.errors import ConfigurationError
from shadho.options import is_file, working_folder
from shadho.result import SearchResult
from shadho.shadho import Shadho
from shadho.streams import go_together
from shadho.words import printable, shorten
from shadho_worker import jsonable

__all__ = ['found_at', 'resume', 'run']

_REST = {'ignore_unknown_options': True, 'help_option_names': ['-h', '--help']}
"""Of commands whose last arguments are another program's."""


def _by_name(_: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    """Read options such as ``eta=4,min_steps=3``: numbers and other JSON as such, anything else as text."""
    if text is None:
        return None
    found: dict[str, Any] = {}
    for part in text.split(','):
        name, equals, value = (piece.strip() for piece in part.partition('='))
        if not (equals and name.isidentifier() and value) or name in found:
            raise click.BadParameter(f'give each option once, as name=value,name=value; got {text!r}', param=option)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


@click.command('run', context_settings=_REST)
@click.argument('objective')
@click.argument('arguments', nargs=-1, type=click.UNPROCESSED, metavar='[ARGUMENT]...')
@click.option('--space', help='Where the search space is: module:NAME, or file.py:NAME.')
@click.option('--name', help='Of the search and its file NAME.db; by default the name of the function.')
@click.option(
    '--method', default='auto', show_default=True, shell_complete=suggests('sampler'),
    help='How settings are suggested; shadho plugins lists methods.',
)  # fmt: skip
@click.option(
    '--policy', default='market', show_default=True, shell_complete=suggests('policy'), help='What runs where.'
)
@click.option('--max-tasks', type=int, help='Trials of the whole search, those of earlier runs included.')
@click.option('--timeout', type=float, help='Seconds of this run.')
@click.option('--trial-timeout', type=float, help='Seconds after which a trial is ended.')
@click.option(
    '--grace',
    type=float,
    default=10.0,
    show_default=True,
    help='Seconds between SIGTERM and SIGKILL for a trial that is ended.',
)
@click.option('--max-steps', type=int, help='Steps of a trial that runs to its end, such as epochs.')
@click.option(
    '--fidelity', default='full', show_default=True, shell_complete=suggests('fidelity'),
    help='How far each trial is run: full, asha, hyperband, median.',
)  # fmt: skip
@click.option(
    '--fidelity-options', metavar='NAME=VALUE,...', callback=_by_name, help='Its options, such as eta=4,min_steps=3.'
)
@click.option('--folders', metavar='SIZE', help="Bound on the folders of paused trials, such as '10 GB'.")
@click.option(
    '--keep-folders/--no-keep-folders',
    default=True,
    help='Keep the folders of paused trials at the end, to go on later.',
)
@click.option(
    '--cost-aware/--no-cost-aware',
    default=False,
    help='Prefer settings that take few seconds, ever less as the search goes on.',
)
@click.option('--seed', type=int, help='Fixes every random choice.')
@click.option('--direction', default='minimize', show_default=True, help='minimize or maximize.')
@click.option(
    '--backend', default='auto', show_default=True, shell_complete=suggests('backend'), help='Where trials run.'
)
@click.option('--storage', default='auto', show_default=True, help='A file that ends in .db or .json.')
@click.option('--warm-start', metavar='STORAGE', help='The file of an earlier search to learn from.')
@click.option('--echo/--no-echo', default=None, help='Print what trials print; by default for functions.')
@click.option('--input', 'inputs', multiple=True, help='A file for the folder of every trial of a command; repeatable.')
@as_json
def run(
    objective: str, arguments: tuple[str, ...], space: str | None, name: str | None, inputs: tuple[str, ...], as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Search for good settings of OBJECTIVE, and go on with a search of the same name.

    OBJECTIVE is a function or another callable, as module:FUNCTION, file.py:FUNCTION or file.py:OBJECT.METHOD, or a command
    in quotes, such as 'python3 train.py'; --space says what varies. At least one of --max-tasks and --timeout says when the search ends.

    A script that runs a search itself, such as driver.py, is run with its own ARGUMENTs and no --space.
    """
    if space is None:
        _run_script(objective, arguments)
    if arguments:
        raise click.UsageError(f'{shlex.join(arguments)}: a single OBJECTIVE is needed; put a command in quotes')
    with reporting_errors():
        working_folder()
        target = found_at('OBJECTIVE', objective) if _is_place(objective) else objective
        key = name or (None if isinstance(target, str) else objective.rpartition(':')[2].rpartition('.')[2])
        if key is None:
            raise ConfigurationError('--name is needed with a command: it names the search and its file')
        search = Shadho(key, target, found_at('--space', str(space)), **options)
        for path in inputs:
            search.add_input_file(path)
        result = search.run()
    if as_json:
        echo_json(_facts(result))
    elif not go_together(sys.stdout, sys.stderr):  # where the display has just said it
        click.echo(result.summary())
    if result.stopped == 'interrupted':
        sys.exit(128 + signal.SIGINT)  # the status that shells give such an end


def _run_script(script: str, arguments: tuple[str, ...]) -> None:
    """Become the script."""
    if not script.endswith('.py'):
        raise click.UsageError(
            '--space is needed: module:NAME or file.py:NAME of the search space (only a script, such as driver.py, has its own)'
        )
    if not is_file(script):
        raise click.UsageError(f'there is no file {script!r} in {os.getcwd()}')
    given = click.get_current_context()
    ours = [name for name in given.params if given.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    odd = [name for name in ours if name not in ('objective', 'arguments')]
    if odd:
        raise click.UsageError(
            f'{script} runs a search of its own, whose options are set in it; leave out --{odd[0].replace("_", "-")}, or say '
            'what varies by --space'
        )
    _become([sys.executable, script, *arguments])


def _become(command: list[str]) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os.execv(command[0], command)


@click.command('resume', context_settings=_REST)
@storage
@click.argument('arguments', nargs=-1, type=click.UNPROCESSED, metavar='[ARGUMENT]...')
@click.option('--yes', is_flag=True, help='Do not ask; STORAGE is your own.')
def resume(storage: str, arguments: tuple[str, ...], yes: bool) -> None:
    """Go on with a search, by the command that started it.

    STORAGE is its file, such as svm.db, which holds that command; it is shown before it runs, as the file may be anybody's.
    ARGUMENTs are added to the command: shadho resume svm.db --max-tasks 200.
    """
    from shadho.report.recorded import open_recorded
    from shadho.resume import identity_of

    with reporting_errors():
        found = open_recorded(storage)
        known, writer = identity_of(found), found.writer()
        command: Any = known.get('command')
        folder: Any = known.get('folder')
        if writer is not None:
            raise ConfigurationError(f'{storage} is being searched already, by {writer}')
        if not (isinstance(command, list) and command and all(map(_is_path, [*command, folder]))):
            raise ConfigurationError(f'{storage} does not say how its search was started; start it as you did')
        if 'ipykernel_launcher' in command or len(command) == 1 or command[1] == '-c':
            raise ConfigurationError(
                f'the search in {storage} was started in a notebook or by hand; call run() there again, or load it by '
                f'shadho.load_result({storage!r})'
            )
        if not (os.access(command[0], os.X_OK) and folder and os.access(f'{folder}/', os.X_OK)):
            raise ConfigurationError(
                f'{storage} was started by {_shown(command[0])} in {_shown(folder)}, which is not there; start it as you did'
            )
    command = [*command, *arguments]
    click.echo(f'in {printable(folder)}: {printable(shlex.join(command))}', err=True)
    if not yes:
        click.confirm('run this?', abort=True, err=True)
    os.chdir(folder)
    _become(command)


def _shown(path: str) -> str:
    return shorten(printable(path), 200)


def _is_path(text: object) -> bool:
    try:
        return isinstance(text, str) and b'\0' not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _is_place(text: str) -> bool:
    """Whether a text is module:NAME or file.py:NAME, also with dots in NAME, rather than a command."""
    place, colon, name = text.rpartition(':')
    is_name = all(part.isidentifier() for part in name.split('.'))
    return bool(colon) and is_name and not any(letter.isspace() for letter in place)


def found_at(argument: str, text: str) -> Any:
    """Return what module:NAME or file.py:NAME means; what is beside it can be imported, as in a script."""
    place, _, name = text.rpartition(':')
    if not _is_place(text) or not place:
        raise ConfigurationError(
            f'{argument} must be module:NAME or file.py:NAME, such as search.py:space; got {text!r}'
        )
    path = Path(place)
    if path.suffix == '.py':
        if not is_file(path):
            raise ConfigurationError(f'{argument} {text!r}: there is no file {place!r} in {os.getcwd()}')
        folder, module = str(path.parent.resolve()), path.stem
    else:
        folder, module = os.getcwd(), place
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise ConfigurationError(
            f'{argument} {text!r}: {place} cannot be imported: {type(error).__name__}: {error}'
        ) from error
    if path.suffix == '.py' and Path(found.__file__ or '').resolve() != path.resolve():
        raise ConfigurationError(
            f'{argument} {text!r}: a module {module!r} is loaded already, from {found.__file__}; give the file another name'
        )
    owner = place
    for part in name.split('.'):
        if not hasattr(found, part):
            raise ConfigurationError(f'{argument} {text!r}: {owner} has no {part!r}')
        found, owner = getattr(found, part), part
    return found


def _facts(result: SearchResult) -> dict[str, Any]:
    best = result.best
    facts: dict[str, Any] = jsonable({
        'name': result.exp_key,
        'trials': len(result),
        'seconds': result.elapsed,
        'stopped': result.stopped,
        'best': None if best is None else {'trial': best.id, 'loss': best.loss, 'params': best.params},
    })  # fmt: skip
    return facts
