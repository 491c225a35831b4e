"""``shadho run``: searches without a script."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SEARCH = """
from shadho import spaces
from aside import centre

space = {'x': spaces.uniform(0, 1)}

def bowl(params):
    return (params['x'] - centre) ** 2

class Bowl:
    def __call__(self, params):
        return bowl(params)

    def deep(self, params):
        return bowl(params) - 1

thing = Bowl()
"""


@pytest.fixture
def shadho(tmp_path):
    """Run the installed command in a folder that holds mine.py, which has a function and a space."""
    (tmp_path / 'aside.py').write_text('centre = 0.25\n')
    (tmp_path / 'mine.py').write_text(SEARCH)

    def run(*arguments):
        command = [str(Path(sys.executable).parent / 'shadho'), 'run', *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    return run


IN_SERIES = ('--space', 'mine.py:space', '--backend', 'inline', '--method', 'random', '--seed', '1')


@pytest.mark.parametrize('place', ['mine.py:bowl', './mine.py:bowl', 'mine:bowl'])
def test_a_function_is_searched_and_the_summary_printed(shadho, tmp_path, place):
    answer = shadho(place, *IN_SERIES, '--max-tasks', '30')
    assert answer.returncode == 0, answer.stderr
    assert 'bowl: 30 trials' in answer.stdout
    assert (tmp_path / 'bowl.db').is_file()


@pytest.mark.parametrize('option', ['--echo', '--no-echo'])
def test_what_commands_print_is_shown_when_it_is_asked_for(shadho, option):
    command = 'echo printed by a trial; echo 1 > result.json'
    answer = shadho(command, *IN_SERIES, '--max-tasks', '2', '--name', 'loud', option)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count('printed by a trial\n') == 2 * (option == '--echo')


@pytest.mark.parametrize('where', ['2>&1', '2> errors.txt'])
def test_whoever_reads_standard_output_reads_the_summary_once(shadho, tmp_path, where):
    command = [str(Path(sys.executable).parent / 'shadho'), 'run', 'mine.py:bowl', *IN_SERIES, '--max-tasks', '3']
    done = subprocess.run(f'{shlex.join(command)} {where}', shell=True, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert done.stdout.count('bowl: 3 trials in') == 1
    assert ('saved in bowl.db' in done.stdout) == (where == '2>&1')


@pytest.mark.parametrize(('place', 'name'), [('mine.py:thing', 'thing'), ('mine:thing.deep', 'deep')])
def test_a_callable_object_and_a_method_are_searched_under_their_names(shadho, place, name):
    answer = shadho(place, *IN_SERIES, '--max-tasks', '2')
    assert f'{name}: 2 trials in' in answer.stdout, answer.stderr
    assert '(2 done, 0 failed)' in answer.stdout


STEPS = """
def objective(params, trial):
    for step in trial.steps():
        trial.report(loss=params['x'] + 1 / step)
"""


def test_options_of_the_fidelity_are_given_by_name(shadho, tmp_path):
    (tmp_path / 'steps.py').write_text(STEPS)
    rungs = ('--max-steps', '8', '--fidelity', 'asha', '--max-tasks', '8')
    answer = shadho('steps.py:objective', *IN_SERIES, *rungs, '--fidelity-options', 'eta=2, min_steps=2')
    assert answer.returncode == 0, answer.stderr
    command = [str(Path(sys.executable).parent / 'shadho'), 'status', 'objective.db']
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    assert 'rungs  2: 8 · 4: 5 · 8: 2\n' in told
    for wrong, message in [('eta', 'name=value'), ('eta=2,eta=3', 'each option once'), ('eta=x', "got 'x'")]:
        answer = shadho('steps.py:objective', *IN_SERIES, *rungs, '--name', 'other', '--fidelity-options', wrong)
        assert (answer.returncode != 0, message in answer.stderr) == (True, True)


def test_it_goes_on_with_a_search_of_the_same_name(shadho):
    assert shadho('mine.py:bowl', *IN_SERIES, '--max-tasks', '5').returncode == 0
    answer = shadho('mine.py:bowl', *IN_SERIES, '--max-tasks', '8', '--json')
    outcome = json.loads(answer.stdout)
    assert (outcome['name'], outcome['trials']) == ('bowl', 8)
    assert outcome['best']['loss'] == pytest.approx((outcome['best']['params']['x'] - 0.25) ** 2)


def test_a_command_is_searched(shadho, tmp_path):
    program = f'{sys.executable} -c "print(1)" > result.json'
    answer = shadho(program, '--name', 'shell', *IN_SERIES, '--max-tasks', '2', '--input', 'aside.py')
    assert answer.returncode == 0, answer.stderr
    assert 'shell: 2 trials' in answer.stdout
    assert 'best loss 1' in answer.stdout


def test_what_an_earlier_search_found_is_learned_from(shadho):
    learning = (*IN_SERIES, '--method', 'auto')
    shadho('mine.py:bowl', *learning, '--max-tasks', '40')
    cold, warm = (
        json.loads(shadho('mine.py:bowl', *learning, '--max-tasks', '3', '--name', name, '--json', *how).stdout)
        for name, how in (('cold', ()), ('warm', ('--warm-start', 'bowl.db')))
    )
    assert warm['trials'] == 3
    assert warm['best']['loss'] < cold['best']['loss'] / 10


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['mine.py:bowl', '--space', 'mine.py:space'], 'the search would never end'),
        (['mine.py:bowl', '--space', 'space'], '--space must be module:NAME or file.py:NAME'),
        (['mine.py:bowl', '--space', 'mine.py:other', '--max-tasks', '1'], "mine.py has no 'other'"),
        (['mine.py:thing.shallow', '--space', 'mine.py:space', '--max-tasks', '1'], "thing has no 'shallow'"),
        (['none.py:bowl', '--space', 'mine.py:space', '--max-tasks', '1'], "there is no file 'none.py'"),
        (['none:bowl', '--space', 'mine.py:space', '--max-tasks', '1'], 'none cannot be imported: ModuleNotFoundError'),
        (['true', '--space', 'mine.py:space', '--max-tasks', '1'], '--name is needed with a command'),
        (['mine.py:bowl', *IN_SERIES, '--max-tasks', '1', '--warm-start', 'none.db'], 'none.db'),
        (['mine.py:bowl', *IN_SERIES, '--max-tasks', '1', '--method', 'tpee'], 'tpee'),
    ],
)
def test_mistakes_are_told_in_one_line(shadho, arguments, message):
    answer = shadho(*arguments)
    assert answer.returncode == 1
    assert message in answer.stderr
    assert 'Traceback' not in answer.stderr


def test_a_broken_module_is_told_of(shadho, tmp_path):
    (tmp_path / 'broken.py').write_text('1 / 0\n')
    answer = shadho('broken.py:bowl', '--space', 'mine.py:space', '--max-tasks', '1')
    assert 'broken.py cannot be imported: ZeroDivisionError' in answer.stderr
