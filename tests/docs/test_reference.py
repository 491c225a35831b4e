"""The reference pages name all that there is."""

from __future__ import annotations

import inspect
import re
import shlex
import sqlite3
from pathlib import Path

import click
import pytest

import shadho
import shadho.errors
import shadho.testing
import shadho_worker
from shadho import Shadho, TrialState, spaces
from shadho.cli.run import run
from shadho_workqueue.install import install
from shadho_workqueue.rendezvous import Rendezvous
from shadho_workqueue.worker.command import worker

REFERENCE = Path(__file__).parents[2] / 'docs' / 'reference'


def _page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding='utf-8')


@pytest.mark.parametrize('name', sorted(spaces.__all__))
def test_every_constructor_of_spaces_has_a_row(name: str) -> None:
    assert f'| `{name}(' in _page('spaces.md') or f', `{name}(' in _page('spaces.md')


@pytest.mark.parametrize('name', list(inspect.signature(Shadho).parameters))
def test_every_option_of_a_search_has_a_row(name: str) -> None:
    assert f'| `{name}` |' in _page('options.md')


def test_the_defaults_of_options_are_as_the_table_says() -> None:
    rows = [line.split('|') for line in _page('options.md').splitlines() if line.startswith('| `')]
    table = {row[1].strip(' `'): row[2].strip(' `') for row in rows if len(row) > 4}
    options = inspect.signature(Shadho).parameters
    told = {
        name: table[name]
        for name, option in options.items()
        if option.default not in (inspect.Parameter.empty, None, ())
    }
    assert told == {name: repr(options[name].default) for name in told}


@pytest.mark.parametrize('state', list(TrialState))
def test_every_state_of_a_trial_has_a_row(state: TrialState) -> None:
    assert f'| `{state}` |' in _page('trials.md')


@pytest.mark.parametrize('name', sorted(set(shadho.__all__) - {'ShadhoError', 'hookimpl', 'spaces'}))
def test_every_public_name_is_described(name: str) -> None:
    described = re.compile(rf'^\.\. auto(class|function):: shadho\.{name}$', re.MULTILINE)
    assert any(described.search(page.read_text(encoding='utf-8')) for page in REFERENCE.glob('*.md'))


@pytest.mark.parametrize('name', sorted(shadho.testing.__all__))
def test_every_suite_is_described(name: str) -> None:
    assert f':: shadho.testing.{name}\n' in _page('testing.md')


@pytest.mark.parametrize(
    'name', sorted(name for name in shadho.errors.__all__ if name.endswith('Error') and name != 'ShadhoError')
)
def test_every_error_is_explained(name: str) -> None:
    page = REFERENCE.parent / 'how-to' / 'errors.md'
    assert f'| `{name}` |' in page.read_text(encoding='utf-8')


def test_every_column_and_key_of_the_storage_is_described(tmp_path: Path) -> None:
    path = tmp_path / 'search.db'
    Shadho('columns', abs, spaces.uniform(-1, 1), max_tasks=1, backend='inline', storage=path, display=False).run()
    with sqlite3.connect(path) as db:
        names = {row[1] for table in ('trials', 'results') for row in db.execute(f'PRAGMA table_info({table})')}
        names |= {key for (key,) in db.execute('SELECT key FROM metadata')}
    db.close()
    page = _page('storage.md')
    assert {name for name in names if f'`{name}`' not in page} == set()


@pytest.mark.parametrize('value', [(1, 2), float('inf'), 1j, b'\0', {1: 2}, object()])
def test_every_tag_of_a_value_is_described(value: object) -> None:
    (tag,) = shadho_worker.jsonable(value)
    assert f'`{{"{tag}": ' in _page('storage.md')


@pytest.mark.parametrize(
    'option', [option for command in (worker, install) for own in command.params for option in own.opts]
)
def test_every_option_of_workers_and_of_their_installer_is_described(option: str) -> None:
    assert f'`{option}' in _page('work-queue.md') or f', `{option}' in _page('work-queue.md')


@pytest.mark.parametrize('option', [option for own in run.params for option in own.opts if option.startswith('--')])
def test_every_option_of_a_search_by_command_is_described(option: str) -> None:
    section = _page('command-line.md').partition('## shadho run')[2].partition('\n## ')[0]
    assert f'`{option}`' in section


def test_every_key_of_a_rendezvous_is_described() -> None:
    table = _page('work-queue.md')
    assert [own.name for own in Rendezvous.__attrs_attrs__ if f'`{own.name}`' not in table] == []


def test_commands_for_workers_on_the_pages_have_options_that_exist() -> None:
    root = REFERENCE.parents[1]
    pages = [
        root / 'README.md',
        *root.glob('packages/*/README.md'),
        *root.glob('examples/*/README.md'),
        *REFERENCE.parent.rglob('*.md'),
    ]
    told = 0
    for page in pages:
        text = page.read_text(encoding='utf-8').replace('\\\n', ' ')
        for name, command in (('workers', worker), ('install', install)):
            for line in re.findall(rf'^(?:\$ )?python3 -m shadho\.{name}\.workqueue\b([^&|>#\n]*)', text, re.MULTILINE):
                arguments = shlex.split(line.removesuffix(' 2'))
                command.make_parser(click.Context(command)).parse_args([*arguments])
                told += 1
    assert told > 10


def test_the_rooms_of_the_core_are_listed_in_their_order() -> None:
    layers = (REFERENCE.parents[1] / 'tests' / 'core' / 'test_layers.py').read_text(encoding='utf-8')
    rooms = re.findall(r"'(\w+)'", layers.partition('LAYERS = [')[2].partition(']')[0])
    page = (REFERENCE.parent / 'explanation' / 'architecture.md').read_text(encoding='utf-8')
    table = page.partition('| room |')[2].partition('\n\n')[0]
    assert re.findall(r'`(\w+)`', ''.join(row.split('|')[1] for row in table.splitlines()[2:])) == rooms
