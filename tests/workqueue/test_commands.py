"""Commands and their files, under workers of ours and under plain ones of the engine."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from shadho import SearchResult, Shadho, Trial, TrialState, spaces
from shadho.errors import BackendError

KINDS = {
    'ours': {'name': 'ours', 'cores': 2},
    'plain': {'plain': ['--cores', '2', '--memory', '1000', '--disk', '2000']},
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(staffed: Any, kind: str) -> Callable[..., SearchResult]:
    """Return a function that runs a command once for each name of `cases`."""

    def run(
        command: str, cases: Sequence[str] = ('only',), inputs: Sequence[Path] = (), outputs: Sequence[str] = (), **options: Any
    ) -> SearchResult:  # fmt: skip
        opt = Shadho(
            'commands', command, {'case': spaces.grid(list(cases))}, 'grid', backend=staffed(KINDS[kind]), storage=None,
            display=False, **options,
        )  # fmt: skip
        for path in inputs:
            opt.add_input_file(path)
        for name in outputs:
            opt.add_output_file(name)
        return opt.run()

    return run


def by_case(result: SearchResult) -> dict[str, Trial]:
    return {trial.params['case']: trial for trial in result}


def script(folder: Path, text: str) -> Path:
    path = folder / 'evaluate.sh'
    path.write_text(text)
    return path


READ = """case=$(sed 's/.*: "\\(.*\\)".*/\\1/' hyperparameters.json)\n"""


def test_a_command_reads_its_parameters_and_leaves_its_loss(run: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'evaluate.py'
    path.write_text(
        'import shadho_worker\n'
        'def objective(params):\n'
        '    print("says", params["case"])\n'
        '    return {"loss": len(params["case"]), "back": params["case"]}\n'
        'shadho_worker.run(objective)\n'
    )
    trials = by_case(run('python3 evaluate.py', ['one', 'three', 'ü ☃ "\\$x'], [path]))
    assert {name: (trial.state, trial.loss, trial.results['back']) for name, trial in trials.items()} == {
        name: (TrialState.DONE, float(len(name)), name) for name in ('one', 'three', 'ü ☃ "\\$x')
    }
    assert {trial.host for trial in trials.values()} == {'ours' if kind == 'ours' else socket.gethostname()}
    assert trials['three'].output == 'says three\n'


def test_what_a_command_does_wrong_is_told(run: Any, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        READ + 'echo about to fail\n'
        'case $case in\n'
        '  exit) exit 3;;\n'
        '  missing) surely-no-such-program;;\n'
        '  signal) kill -SEGV $$;;\n'
        '  silent) ;;\n'
        '  text) echo no number > result.json;;\n'
        '  nan) echo NaN > result.json;;\n'
        'esac\n',
    )
    trials = by_case(run('bash evaluate.sh', ['exit', 'missing', 'signal', 'silent', 'text', 'nan'], [path]))
    assert {trial.state for trial in trials.values()} == {TrialState.FAILED}
    errors = {name: trial.error for name, trial in trials.items() if trial.error is not None}
    assert {name: error.kind for name, error in errors.items()} == {
        'exit': 'exception', 'missing': 'exception', 'signal': 'crash', 'silent': 'result', 'text': 'result', 'nan': 'result',
    }  # fmt: skip
    assert 'exit status 3' in errors['exit'].message
    assert 'exit status 127 (the shell did not find the command)' in errors['missing'].message
    assert 'SIGSEGV' in errors['signal'].message
    assert 'left no result.json' in errors['silent'].message
    assert 'is not JSON' in errors['text'].message
    assert all('about to fail' in trial.output for trial in trials.values())


def test_the_end_of_what_a_command_prints_is_kept(run: Any, tmp_path: Path) -> None:
    (trial,) = run('seq 1 100000; echo last >&2; echo 1 > result.json')
    assert trial.output.endswith('99999\n100000\nlast\n')
    assert len(trial.output) < 21_000
    assert 'bytes before this were dropped' in trial.output.partition('\n')[0]


STEPS = """
import json
import time

import shadho_worker


def objective(params, trial):
    weights = trial.folder / 'deep' / 'done.json'
    done = json.loads(weights.read_text()) if trial.step else []
    for step in trial.steps():
        done.append(step)
        trial.report(loss=int(params['case']) + 1 / step, done=done)
    if trial.is_paused:
        weights.parent.mkdir(exist_ok=True)
        weights.write_text(json.dumps(done))
    else:
        open('model', 'w').write(f'{step} steps')


shadho_worker.run(objective)
"""


def test_programs_of_commands_report_and_go_on_from_their_folders(run: Any, tmp_path: Path) -> None:
    for name, text in {'other.txt': 'not read', 'steps.py': STEPS}.items():
        (tmp_path / name).write_text(text)
    inputs = [tmp_path / 'other.txt', tmp_path / 'steps.py']
    options: dict[str, Any] = {'max_steps': 4, 'fidelity': 'asha', 'fidelity_options': {'eta': 2}}
    result = run('python3 steps.py', ['1', '2', '3', '4'], inputs, ['model'], **options)
    assert [trial.error for trial in result if trial.error] == []
    assert {trial.state for trial in result} <= {TrialState.DONE, TrialState.PAUSED}
    assert max(trial.attempt for trial in result) == 2  # paused after steps 1 and 2
    for trial in result:
        steps = list(range(1, trial.step + 1))
        assert trial.results['done'] == steps
        assert [report.step for report in result.reports()[trial.id]] == steps
        model = Path('commands-output') / str(trial.id) / 'model'
        assert model.exists() == (trial.state is TrialState.DONE)
        assert not model.exists() or model.read_text() == '4 steps'


def test_a_program_that_outlives_its_time_or_crashes_has_reported_before(run: Any, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        READ + 'for step in 1 2; do echo "{\\"loss\\": $step}" >> $SHADHO_REPORTS; '
        'until grep -q "^$step " $SHADHO_DECISION; do sleep 0.05; done; done\n'
        '[ $case = crash ] && kill -SEGV $$\n'
        'sleep 1000\n',
    )
    result = run('bash evaluate.sh', ['crash', 'late'], [path], trial_timeout=3.0, max_steps=3)
    trials = by_case(result)
    assert {name: trial.error and trial.error.kind for name, trial in trials.items()} == {
        'crash': 'crash', 'late': 'timeout',
    }  # fmt: skip
    for trial in trials.values():
        curve = result.reports()[trial.id]
        assert [(report.step, report.results) for report in curve] == [(1, {'loss': 1}), (2, {'loss': 2})]
        assert curve[0].time <= curve[1].time
    late = trials['late']
    assert late.finished is not None
    assert late.finished - result.reports()[late.id][1].time > 1.0


def test_a_program_that_outlives_its_time_may_save(run: Any, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        READ + 'trap "[ $case = saves ] && { sleep 0.3; echo all > saved; exit; }" TERM\n'
        'while :; do sleep 0.05; done\n',
    )
    options: dict[str, Any] = {'trial_timeout': 1.0, 'grace': 2.0, 'outputs': ['saved']}
    trials = by_case(run('bash evaluate.sh', ['saves', 'ignores'], [path], **options))
    limit = 'the trial was ended after its trial_timeout of 1 s'
    assert {name: trial.error and trial.error.message for name, trial in trials.items()} == {
        'saves': limit, 'ignores': f'{limit}; it did not end within 2 s of SIGTERM',
    }  # fmt: skip
    assert (Path('commands-output') / str(trials['saves'].id) / 'saved').read_text() == 'all\n'
    assert trials['saves'].seconds < 3.0 <= trials['ignores'].seconds


def test_a_program_may_report_without_max_steps(run: Any) -> None:
    (trial,) = run('echo 0.5 >> $SHADHO_REPORTS; mkdir $SHADHO_FOLDER')
    assert (trial.state, trial.loss, trial.step) == (TrialState.DONE, 0.5, 1)


def test_a_time_limit_ends_a_command_and_all_that_it_started(
    run: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    (trial,) = run(
        f"setsid bash -c 'echo $$ > {tmp_path}/pid; exec sleep 1000' & sleep 1000",
        trial_timeout=1.5,
        grace=0.5,
        outputs=['made'],
    )
    assert (trial.state, trial.error.kind) == (TrialState.FAILED, 'timeout')
    assert '1.5' in trial.error.message
    assert 1.0 < trial.seconds < 1000.0
    child = int((tmp_path / 'pid').read_text())
    wait_until(lambda: not psutil.pid_exists(child), 'the end of the child')


def test_input_files_and_folders_lie_in_the_folder_of_the_trial(run: Any, tmp_path: Path) -> None:
    large, folder, odd = tmp_path / 'large.bin', tmp_path / 'lib', tmp_path / 'my data.txt'
    large.write_bytes(os.urandom(2**20) * 11)
    (folder / 'deep').mkdir(parents=True)
    (folder / 'deep' / 'table.csv').write_text('1,2,3\n')
    tool = folder / 'tool.sh'
    tool.write_text('#!/bin/sh\nexit 0\n')
    tool.chmod(0o755)
    odd.write_text('spaces\n')
    command = (
        f'set -e; cmp large.bin {large}; grep -q 1,2,3 lib/deep/table.csv; ./lib/tool.sh; grep spaces "my data.txt"; '
        'echo 1 > result.json'
    )
    result = run(command, ['one', 'two', 'three'], [large, folder, odd])
    assert [(trial.state, trial.error) for trial in result] == [(TrialState.DONE, None)] * 3


def test_a_trial_finds_nothing_of_other_trials(run: Any, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        'ls -A; [ $(cat data.txt) = original ] || exit 4\necho changed > data.txt\ntouch left\necho 1 > result.json\n',
    )
    data = tmp_path / 'data.txt'
    data.write_text('original\n')
    result = run('bash evaluate.sh', [f'{number}' for number in range(6)], [path, data])
    assert [(trial.state, trial.error) for trial in result] == [(TrialState.DONE, None)] * 6
    assert not any('left' in trial.output for trial in result)
    assert data.read_text() == 'original\n'


def test_output_files_are_brought_back_of_failed_trials_too(run: Any, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        READ + 'mkdir sub; echo made of $case > sub/made.txt; echo log of $case > log.txt\n'
        '[ $case = good ] || exit 3\necho 1 > result.json\n',
    )
    trials = by_case(run('bash evaluate.sh', ['good', 'bad'], [path], ['sub/made.txt', 'log.txt']))
    assert (trials['good'].state, trials['bad'].state) == (TrialState.DONE, TrialState.FAILED)
    for case, trial in trials.items():
        folder = tmp_path / 'commands-output' / str(trial.id)
        assert (folder / 'sub' / 'made.txt').read_text() == f'made of {case}\n'
        assert (folder / 'log.txt').read_text() == f'log of {case}\n'


def test_an_output_file_that_is_missing_is_named_and_the_others_come_back(run: Any, tmp_path: Path) -> None:
    (trial,) = run('echo here > a.txt; echo 1 > result.json', outputs=['a.txt', 'b.txt'])
    assert (trial.state, trial.error.kind) == (TrialState.FAILED, 'result')
    assert trial.error.message == 'the command left no b.txt'
    assert (tmp_path / 'commands-output' / '0' / 'a.txt').read_text() == 'here\n'


def test_a_command_that_failed_is_not_blamed_for_missing_output(run: Any) -> None:
    (trial,) = run('exit 3', outputs=['a.txt'])
    assert 'exit status 3' in trial.error.message


@pytest.mark.parametrize('name', ['modèle ☃.bin', 'a b/100%.bin', 'it\'s "$x".bin'])
def test_files_may_have_any_names(run: Any, tmp_path: Path, name: str) -> None:
    source = tmp_path / Path(name).name
    source.write_text('kept\n')
    (tmp_path / 'copy.sh').write_text('mkdir -p "$(dirname "$2")"; mv "$1" "$2"; echo 1 > result.json\n')
    copy = shlex.join(['bash', 'copy.sh', source.name, f'{name}2'])
    (trial,) = run(copy, inputs=[tmp_path / 'copy.sh', source], outputs=[f'{name}2'])
    assert trial.error is None
    assert (tmp_path / 'commands-output' / '0' / f'{name}2').read_text() == 'kept\n'


def test_output_that_is_no_file_of_the_trial_is_missing(run: Any, tmp_path: Path) -> None:
    (tmp_path / 'secret').write_text('secret')
    command = (
        f'ln -s {tmp_path}/secret out; mkfifo pipe; ln -s loop loop; ln -s {tmp_path} away; '
        'echo kept > epoch-9; ln -s epoch-9 last; echo 1 > result.json'
    )
    (trial,) = run(command, outputs=['out', 'pipe', 'loop', 'away/secret', 'last'])
    assert trial.error.message == '; '.join(
        f'the command left no {name}' for name in ('out', 'pipe', 'loop', 'away/secret')
    )
    folder = tmp_path / 'commands-output'
    assert [path.name for path in folder.rglob('*')] == ['0', 'last']
    assert (folder / '0' / 'last').read_text() == 'kept\n'
    assert not (folder / '0' / 'last').is_symlink()


def test_an_output_folder_comes_with_the_files_of_its_links_whatever_their_names(run: Any, tmp_path: Path) -> None:
    command = (
        'mkdir -p "model/l 1/ü"; echo 9 > "model/l 1/ü/ä b"; ln -s "l 1/ü/ä b" model/last; ln -s /etc model/etc; ln -s .. model/up; '
        'chmod 600 model/last; echo 1 > result.json'
    )
    (trial,) = run(command, outputs=['model'])
    assert trial.error is None
    folder = tmp_path / 'commands-output' / '0' / 'model'
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob('*') if path.is_file()}
    assert files == {'l 1/ü/ä b': '9\n', 'last': '9\n'}
    assert (folder / 'last').stat().st_mode & 0o777 == 0o600
    assert not any(path.is_symlink() for path in folder.rglob('*'))


def test_an_input_folder_with_names_that_the_engine_garbles_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'é').touch()
    opt = Shadho('commands', 'true', {'x': 1.0}, max_tasks=1, backend='workqueue', storage=None, display=False)
    opt.add_input_file('data')
    with pytest.raises(BackendError, match="data'.: Work Queue cannot send the name 'é'.*rename it"):
        opt.run()


def test_a_folder_is_an_output_too(run: Any, tmp_path: Path) -> None:
    run('mkdir -p model/layers; echo 1 > model/layers/0; echo 1 > result.json', outputs=['model'])
    assert (tmp_path / 'commands-output' / '0' / 'model' / 'layers' / '0').read_text() == '1\n'


def test_a_trial_that_could_not_be_sent_and_was_cancelled_gives_no_result() -> None:
    opt = Shadho('commands', 'true', {'x': 1.0}, max_tasks=1, backend='workqueue', storage=None, display=False)
    with opt._backend as backend:
        backend.open(opt._job())
        trial = Trial(0, 0, (), {'x': object()}, 'any', started=0.0)
        backend.start(trial)
        backend.stop(trial)
        assert list(backend.poll(0.0)) == []
        backend.start(trial)
        assert [(result.trial, result.state) for result in backend.poll(0.0)] == [(0, TrialState.FAILED)]
