"""Shell commands as objectives."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadho import SearchResult, Shadho, spaces
from shadho.errors import ConfigurationError

SPACE = {'x': spaces.uniform(0, 1), 'pair': (1, ['u', 'v'])}
OBJECTIVE = """
def objective(params):
    return {'loss': params['x'], 'pair': params['pair'], 'data': open('data.txt').read()}

if __name__ == '__main__':
    import shadho_worker
    shadho_worker.run(objective)
"""


def run(command: str, *, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = (), **options: Any) -> SearchResult:
    opt = Shadho(
        'test',
        command,
        SPACE,
        **{'max_tasks': 2, 'seed': 0, 'backend': 'inline', 'storage': None, 'display': False, **options},
    )
    for path in inputs:
        opt.add_input_file(path)
    for path in outputs:
        opt.add_output_file(path)
    return opt.run()


def only_error(result: SearchResult) -> Any:
    errors = {trial.error for trial in result}
    assert len(errors) == 1
    return errors.pop()


def test_the_slides_script_runs_in_a_folder_with_its_input_files() -> None:
    Path('objective.py').write_text(OBJECTIVE)
    Path('evaluate.sh').write_text('#!/usr/bin/env bash\npython3 objective.py\n')
    Path('data.txt').write_text('of the user')
    before = set(Path().iterdir())
    result = run('bash evaluate.sh', inputs=('evaluate.sh', 'objective.py', 'data.txt'))
    for trial in result:
        assert (trial.loss, trial.state.value) == (trial.params['x'], 'done'), trial.error
        assert trial.params['pair'] in {(1, 'u'), (1, 'v')}
        assert trial.results == {'loss': trial.loss, 'pair': list(trial.params['pair']), 'data': 'of the user'}
    assert set(Path().iterdir()) == before


def test_any_program_may_read_and_write_the_json_files() -> None:
    result = run("""grep -q '"x"' hyperparameters.json && echo '{"loss": 0.5, "by": "shell"}' > result.json""")
    assert [trial.results for trial in result] == [{'loss': 0.5, 'by': 'shell'}] * 2
    assert [trial.loss for trial in run('echo 2.5 > result.json')] == [2.5, 2.5]


def test_output_files_come_back_under_the_number_of_the_trial() -> None:
    run('echo 1 > result.json; mkdir sub; cp hyperparameters.json sub/model.bin', outputs=('sub/model.bin',))
    for trial in (0, 1):
        assert 'x' in json.loads(Path(f'test-output/{trial}/sub/model.bin').read_text())


def test_a_missing_output_file_fails_the_trial() -> None:
    assert only_error(run('echo 1 > result.json', outputs=('model.bin',))).message == 'the command left no model.bin'


def test_a_link_out_of_the_folder_is_not_brought_back() -> None:
    Path('secret').write_text('secret')
    command = f'echo 1 > result.json; ln -s {Path("secret").resolve()} model.bin'
    assert only_error(run(command, outputs=('model.bin',))).message == 'the command left no model.bin'
    assert not Path('test-output').exists()


@pytest.mark.parametrize(
    ('command', 'kind', 'message'),
    [
        ('echo first; echo oh no >&2; exit 3', 'exception', 'the command ended with exit status 3: oh no'),
        (
            './hyperparameters.json',
            'exception',
            'exit status 126 (the shell may not run the command: is it executable?)',
        ),
        (
            f"""echo '{{"state":"done","loss":1{400 * '0'},"results":{{}},"error":null}}' > result.json""",
            'result',
            'the result cannot be read',
        ),
        (f"{sys.executable} -c 'print(30000 * chr(91))' > result.json", 'result', 'result.json is not JSON'),
        ('no-such-program', 'exception', 'exit status 127 (the shell did not find the command)'),
        ('true', 'result', 'the command ended well but left no result.json; does the script call shadho_worker.run'),
        ('echo nonsense > result.json', 'result', 'result.json is not JSON'),
        ("echo '{}' > result.json", 'result', "a dict without 'loss'"),
        ('echo null > result.json', 'result', 'the objective returned None'),
        ('kill -SEGV $$', 'crash', 'the command ended with SIGSEGV'),
        ('bash -c "kill -SEGV \\$\\$"; exit $?', 'crash', 'the command ended with SIGSEGV'),
    ],
)
def test_a_command_that_fails_is_a_failed_trial_with_the_reason(command: str, kind: str, message: str) -> None:
    error = only_error(run(command))
    assert error.kind == kind
    assert message in error.message


def test_what_a_failing_command_printed_is_kept() -> None:
    assert only_error(run('echo the reason; exit 1')).traceback == 'the reason\n'
    noisy = only_error(run(f'{sys.executable} -c \'print(10**6 * "x")\'; exit 1', max_tasks=1)).traceback
    assert 'bytes before this were dropped' in noisy
    assert len(noisy) < 30_000


def test_a_result_with_a_failing_exit_status_is_a_failure() -> None:
    assert only_error(run('echo 1 > result.json; exit 1')).kind == 'exception'


def test_a_forged_outcome_is_taken_as_data() -> None:
    forged = '{"state": "done", "loss": "zero", "results": [], "error": null}'
    assert only_error(run(f"echo '{forged}' > result.json")).kind == 'result'


def test_large_inputs_and_folders_are_linked_not_copied() -> None:
    Path('big.bin').write_bytes(b'0' * (11 * 2**20))
    Path('folder').mkdir()
    result = run(
        'test -L big.bin && test -L folder && test ! -L small && echo 1 > result.json',
        inputs=('big.bin', 'folder', 'small_source/small'),
    )
    assert [trial.state.value for trial in result] == ['done', 'done']


@pytest.fixture(autouse=True)
def small_file() -> None:
    Path('small_source').mkdir()
    Path('small_source/small').write_text('')


def test_files_that_cannot_be_sent_are_refused_at_once() -> None:
    opt = Shadho('test', 'true', SPACE, max_tasks=1)
    with pytest.raises(ConfigurationError, match=r"add_input_file\('data.npz'\): no such file or folder in "):
        opt.add_input_file('data.npz')
    for path in ('../up', '/etc/passwd', '.'):
        with pytest.raises(ConfigurationError, match='must be relative to the folder of the trial'):
            opt.add_output_file(path)
    with pytest.raises(ConfigurationError, match='files are for commands, and the objective is a function'):
        Shadho('test', print, SPACE, max_tasks=1).add_input_file('data.npz')


def test_computed_parameters_that_json_lacks_fail_with_a_hint() -> None:
    x = spaces.uniform(0, 1)
    space = {'x': x, 'f': spaces.dependent(x, callback=lambda x: print)}
    opt = Shadho('test', 'true', space, max_tasks=1, backend='inline', storage=None, display=False)
    assert 'cannot be written as JSON for a command; choose between names instead' in only_error(opt.run()).message


def test_another_loss_key_reaches_the_script() -> None:
    Path('objective.py').write_text(OBJECTIVE.replace("'loss'", "'error'"))
    Path('data.txt').write_text('')
    result = run('python3 objective.py', inputs=('objective.py', 'data.txt'), loss_key='error')
    assert all(trial.loss == trial.params['x'] for trial in result)


@pytest.mark.parametrize('loss', ['{"$float": "inf"}', 'Infinity', '{"loss": {"$float": "inf"}}'])
def test_an_infinite_loss_is_written_as_json_has_it_or_as_python_has_it(loss: str) -> None:
    assert run(f"echo '{loss}' > result.json").best.loss == math.inf


def test_a_loss_is_kept_beside_results_that_cannot_be_read() -> None:
    outcome = '{"state":"done","loss":1,"results":{"x":{"$array":{}},"y":{"z":2}},"error":null}'
    best = run(f"echo '{outcome}' > result.json").best
    assert (best.loss, best.results['y']) == (1, {'z': 2})
    assert best.results['x'].startswith('(cannot be read: KeyError')


def test_files_for_programs_in_other_languages_are_valid_json() -> None:
    Path('objective.py').write_text(OBJECTIVE.replace("'loss': params['x']", "'loss': params['clip']"))
    Path('data.txt').write_text('')
    space = {
        'x': spaces.uniform(0, 1),
        'pair': [1, 2],
        'clip': [math.inf],
        'others': [(math.nan, np.array([-math.inf]))],
    }
    opt = Shadho(
        'test', f'{sys.executable} objective.py', space, max_tasks=1, backend='inline', storage=None, display=False
    )
    for name in ('objective.py', 'data.txt'):
        opt.add_input_file(name)
    for name in ('hyperparameters.json', 'result.json'):
        opt.add_output_file(name)
    assert opt.run().best.loss == math.inf
    written = [
        json.loads(Path('test-output', '0', name).read_text(), parse_constant=pytest.fail)
        for name in ('hyperparameters.json', 'result.json')
    ]
    assert written[0]['clip'] == {'$float': 'inf'}
    assert written[0]['others'] == [{'$float': 'nan'}, [{'$float': '-inf'}]]
    assert written[1]['loss'] == {'$float': 'inf'}


def test_a_choice_that_cannot_be_written_for_a_command_is_refused_at_once() -> None:
    for value in ([print], {'a': object()}):
        with pytest.raises(
            ConfigurationError, match=r'the space, at layers\[\*\].act: the parameter .* cannot be written as JSON'
        ):
            Shadho('test', 'true', {'layers': spaces.repeat({'act': ['relu', value]}, 2)}, max_tasks=1)
