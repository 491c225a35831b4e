"""``shadho run``: a search without a script of its own."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from shadho.driver import Shadho
from shadho.errors import ConfigurationError, ShadhoError
from shadho.result import SearchResult

__all__ = ['run']


@click.command('run')
@click.argument('objective')
@click.option('--space', required=True, help='Where the search space is: module:NAME, or file.py:NAME.')
@click.option('--name', help='Of the search and its file NAME.db; by default the name of the function.')
@click.option(
    '--method', default='tpe', show_default=True, help='How settings are suggested; shadho plugins lists methods.'
)
@click.option('--policy', default='market', show_default=True, help='What runs where.')
@click.option('--max-tasks', type=int, help='Trials of the whole search, those of earlier runs included.')
@click.option('--timeout', type=float, help='Seconds of this run.')
@click.option('--trial-timeout', type=float, help='Seconds after which a trial is ended.')
@click.option('--seed', type=int, help='Fixes every random choice.')
@click.option('--direction', default='minimize', show_default=True, help='minimize or maximize.')
@click.option('--backend', default='auto', show_default=True, help='Where trials run.')
@click.option('--storage', default='auto', show_default=True, help='A file that ends in .db or .json.')
@click.option('--warm-start', metavar='STORAGE', help='The file of an earlier search to learn from.')
@click.option('--input', 'inputs', multiple=True, help='A file for the folder of every trial of a command; repeatable.')
@click.option('--json', 'as_json', is_flag=True, help='Print the outcome as JSON.')
def run(objective: str, space: str, name: str | None, inputs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Search for good settings of OBJECTIVE, and go on with a search of the same name.

    OBJECTIVE is a function, as module:FUNCTION or file.py:FUNCTION, or a command in quotes, such as
    'python3 train.py'. At least one of --max-tasks and --timeout says when the search ends.
    """
    try:
        target = _found('OBJECTIVE', objective) if _is_place(objective) else objective
        key = name or getattr(target, '__name__', None)
        if key is None:
            raise ConfigurationError('--name is needed with a command: it names the search and its file')
        search = Shadho(key, target, _found('--space', space), **options)
        for path in inputs:
            search.add_input_file(path)
        result = search.run()
    except ShadhoError as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(_as_dict(result), indent=2, default=repr) if as_json else result.summary())


def _is_place(text: str) -> bool:
    """Whether a text is module:NAME or file.py:NAME rather than a command."""
    place, colon, name = text.rpartition(':')
    return bool(colon) and name.isidentifier() and not any(letter.isspace() for letter in place)


def _found(argument: str, text: str) -> Any:
    """Return what module:NAME or file.py:NAME means; what is beside it can be imported, as in a script."""
    place, _, name = text.rpartition(':')
    if not _is_place(text) or not place:
        raise ConfigurationError(
            f'{argument} must be module:NAME or file.py:NAME, such as search.py:space; got {text!r}'
        )
    path = Path(place)
    if path.suffix == '.py':
        if not path.is_file():
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
    if not hasattr(found, name):
        raise ConfigurationError(f'{argument} {text!r}: {place} has no {name!r}')
    return getattr(found, name)


def _as_dict(result: SearchResult) -> dict[str, Any]:
    best = result.best
    return {
        'name': result.exp_key,
        'trials': len(result),
        'seconds': result.elapsed,
        'stopped': result.stopped,
        'best': None if best is None else {'trial': best.id, 'loss': best.loss, 'params': best.params},
    }
