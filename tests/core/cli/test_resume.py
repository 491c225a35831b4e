"""``shadho resume``, and ``shadho run`` with a script: real processes, as both become another program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shadho import Shadho, load_result, spaces

MINE = """
from shadho import spaces

space = {'x': spaces.uniform(0, 1)}

def bowl(params):
    return (params['x'] - 0.25) ** 2
"""
DRIVER = """
import sys
from mine import bowl, space
from shadho import Shadho

Shadho('driver', bowl, space, 'random', max_tasks=int(sys.argv[1]), seed=0, backend='inline', display=False).run()
print('ran with', sys.argv[1:])
"""


@pytest.fixture
def shadho(tmp_path: Path) -> Any:
    """Run the installed command in a folder with a function, a space and a script."""
    (tmp_path / 'mine.py').write_text(MINE)
    (tmp_path / 'driver.py').write_text(DRIVER)

    def run(*arguments: object, answer: str = '', folder: Path = tmp_path) -> Any:
        command = [str(Path(sys.executable).parent / 'shadho'), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, input=answer)

    return run


def test_a_script_is_run_with_its_own_arguments(shadho: Any, tmp_path: Path) -> None:
    done = shadho('run', 'driver.py', '5', '--verbose')
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ran with ['5', '--verbose']\n"
    assert len(load_result(tmp_path / 'driver.db')) == 5


def test_a_search_goes_on_by_the_command_that_started_it_wherever_one_is(
    shadho: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = ('--space', 'mine.py:space', '--max-tasks', 5, '--backend', 'inline', '--method', 'random')
    shadho('run', 'mine.py:bowl', *options)
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    done = shadho('resume', tmp_path / 'bowl.db', '--yes', '--max-tasks', 8, folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f'in {tmp_path}: ')
    assert len(load_result(tmp_path / 'bowl.db')) == 8


def test_a_script_goes_on_with_what_is_added_to_its_arguments(shadho: Any, tmp_path: Path) -> None:
    shadho('run', 'driver.py', '3')
    done = shadho('resume', 'driver.db', '--yes', 'more')
    assert done.stdout == "ran with ['3', 'more']\n"


@pytest.mark.parametrize(('answer', 'runs'), [('n\n', False), ('', False), ('y\n', True)])
def test_the_command_is_shown_and_only_runs_when_that_is_wanted(shadho: Any, answer: str, runs: bool) -> None:
    shadho('run', 'driver.py', '3')
    done = shadho('resume', 'driver.db', answer=answer)
    assert 'driver.py 3\nrun this?' in done.stderr
    assert ('ran with' in done.stdout) == runs == (done.returncode == 0)


def test_a_search_that_runs_is_not_started_again(shadho: Any, tmp_path: Path) -> None:
    shadho('run', 'driver.py', '3')
    with load_result(tmp_path / 'driver.db').storage:
        done = shadho('resume', 'driver.db', '--yes')
    assert done.returncode == 1
    assert 'is being searched already, by process' in done.stderr


@pytest.mark.parametrize(
    ('noted', 'message'),
    [
        ({'command': None}, 'does not say how its search was started'),
        ({'command': 'rm -rf /'}, 'does not say how its search was started'),
        ({'command': [sys.executable, '-m', 'ipykernel_launcher', '-f', 'x.json']}, 'started in a notebook'),
        ({'command': [sys.executable, '-c', 'print(1)']}, 'started in a notebook or by hand'),
        ({'command': [sys.executable, 'x.py'], 'folder': '/no/such/folder'}, 'which is not there'),
        ({'command': [sys.executable, 'x.py'], 'folder': 'x' * 300}, 'which is not there'),
        ({'command': [sys.executable, 'x.py'], 'folder': ''}, 'which is not there'),
        ({'command': [sys.executable, 'x.py'], 'folder': '\ud800'}, 'does not say how its search was started'),
    ],
)
def test_what_cannot_be_started_again_is_told_of(
    shadho: Any, tmp_path: Path, noted: dict[str, Any], message: str
) -> None:
    path = tmp_path / 'a.db'
    Shadho('a', abs, spaces.uniform(0, 1), max_tasks=1, backend='inline', storage=path, display=False).run()
    storage = load_result(path).storage
    with storage:
        storage.update(**noted)
    done = shadho('resume', 'a.db', '--yes')
    assert done.returncode == 1
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('mine.py:bowl',), '--space is needed'),
        (('none.py',), "there is no file 'none.py'"),
        (('driver.py', '--max-tasks', '3'), 'leave out --max-tasks'),
        (('mine.py:bowl', 'extra', '--space', 'mine.py:space'), 'extra: a single OBJECTIVE is needed'),
    ],
)
def test_a_slip_is_told_of(shadho: Any, arguments: tuple[str, ...], message: str) -> None:
    done = shadho('run', *arguments)
    assert done.returncode == 2
    assert message in done.stderr
