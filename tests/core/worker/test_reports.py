"""Reports of a command's program: lines that it appends to a pipe, and the answers that it finds in a file."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import shadho_worker
from shadho_worker.command import run_command
from shadho_worker.handle import TrialHandle
from shadho_worker.package import place_package

FACTS: dict[str, Any] = {
    'id': 7, 'attempt': 1, 'seed': 5, 'compute_class': 'big', 'resources': {'cores': 2}, 'step': 0, 'until': 3, 'max_steps': 9,
    'loss_key': 'loss',
}  # fmt: skip

SHELL = """
step=$SHADHO_STEP
while [ "$step" -lt "${SHADHO_MAX_STEPS:-4}" ]; do
    step=$((step + 1))
    echo "{\\"step\\": $step, \\"loss\\": $((100 - step))}" >> "$SHADHO_REPORTS"
    until answer=$(grep "^$step " "$SHADHO_DECISION"); do sleep 0.01; done
    [ "$answer" = "$step go" ] || break
done
"""

ENTRY = 'import shadho_worker\ntrial = shadho_worker.trial()\n'


class Search:
    """Takes the reports of a trial, and answers as it was told: by the step at which it is to leave."""

    def __init__(self, leave: str = '', at: int = 3) -> None:
        self.leave, self.at = leave, at
        self.heard: list[tuple[int, Any]] = []

    def tell(self, step: int, results: Mapping[str, Any], waits: bool) -> Mapping[str, Any] | None:
        self.heard.append((step, results))
        if not waits and step != self.at:
            return None
        return {'until': None, 'leave': self.leave if step == self.at else ''}

    @property
    def steps(self) -> list[int]:
        return [step for step, _ in self.heard]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return a function that runs a command, or the text of a script by Python, and returns its outcome."""

    def run(command: str, search: Search, script: str = '', **facts: Any) -> Any:
        place_package(tmp_path)
        if script:
            (tmp_path / 'script.py').write_text(script)
            command = f'{shlex.quote(sys.executable)} -S script.py {command}'
        (tmp_path / 'hyperparameters.json').write_text('{"x": 0.5}')
        facts = {**FACTS, 'folder': str(tmp_path / 'kept'), **facts}
        return run_command(command, tmp_path, trial=TrialHandle(facts, search.tell))

    return run


@pytest.mark.parametrize('leave', ['paused', 'stopped'])
def test_a_shell_program_reports_and_leaves_when_the_search_says_so(run: Any, leave: str) -> None:
    search = Search(leave)
    outcome = run(SHELL, search)
    assert search.heard == [(step, {'loss': 100 - step}) for step in (1, 2, 3)]
    assert (outcome['state'], outcome['loss'], outcome['step'], outcome['error']) == (leave, 97.0, 3, None)


def test_a_program_that_reaches_the_last_step_is_done_with_its_last_report(run: Any) -> None:
    search = Search()
    outcome = run(SHELL, search, step=3, until=9)
    assert search.steps == [4, 5, 6, 7, 8, 9]
    assert (outcome['state'], outcome['loss'], outcome['step']) == ('done', 91.0, 9)


def test_without_max_steps_reports_are_recorded_and_nothing_is_stopped(run: Any) -> None:
    search = Search()
    outcome = run(SHELL, search, until=None, max_steps=None)
    assert search.steps == [1, 2, 3, 4]
    assert (outcome['state'], outcome['loss'], outcome['step']) == ('done', 96.0, 4)


def test_the_facts_are_in_the_environment_and_those_that_do_not_apply_are_missing(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('SHADHO_MAX_STEPS', '3')  # of a trial in which this search runs
    outcome = run('env | grep ^SHADHO_ | sort; echo 1 > result.json', Search(), until=None, max_steps=None)
    variables = dict(line.split('=', 1) for line in outcome['output'].splitlines())
    assert variables == {
        'SHADHO_ATTEMPT': '1', 'SHADHO_COMPUTE_CLASS': 'big', 'SHADHO_FOLDER': str(tmp_path / 'kept'),
        'SHADHO_LOSS_KEY': 'loss', 'SHADHO_RESOURCES': '{"cores": 2}', 'SHADHO_SEED': '5', 'SHADHO_STEP': '0', 'SHADHO_TRIAL': '7',
        'SHADHO_REPORTS': variables['SHADHO_REPORTS'], 'SHADHO_DECISION': variables['SHADHO_DECISION'],
    }  # fmt: skip


def test_a_program_that_reports_nothing_is_as_without_a_trial(run: Any) -> None:
    outcome = run('echo 0.5 > result.json', Search())
    assert (outcome['state'], outcome['loss'], outcome['results'], outcome['step']) == ('done', 0.5, {'loss': 0.5}, 0)
    (Path(run.__closure__[0].cell_contents) / 'result.json').unlink()
    outcome = run('true', Search())
    assert (outcome['error']['kind'], 'left no result.json' in outcome['error']['message']) == ('result', True)


def test_a_result_counts_before_the_reports_but_not_before_the_decision(run: Any) -> None:
    report = 'echo \'{"step": 3, "loss": 2}\' >> "$SHADHO_REPORTS"; echo 1 > result.json'
    assert run(report, Search())['loss'] == 1.0
    outcome = run(report, Search('stopped'))
    assert (outcome['state'], outcome['loss'], outcome['step']) == ('stopped', 2.0, 3)


def test_a_program_that_fails_has_failed_whatever_it_reported(run: Any) -> None:
    outcome = run('echo \'{"step": 3, "loss": 2}\' >> "$SHADHO_REPORTS"; exit 4', Search('paused'))
    assert (outcome['state'], outcome['error']['kind']) == ('failed', 'exception')


def test_a_program_cannot_say_itself_that_it_is_paused(run: Any) -> None:
    outcome = run('echo \'{"state": "paused", "loss": 1, "results": {}, "error": null}\' > result.json', Search())
    assert (outcome['state'], outcome['loss']) == ('done', 1.0)


@pytest.mark.parametrize(
    ('line', 'heard', 'answer'),
    [
        ('{"loss": 1}', [(1, {'loss': 1})], '1 go'),
        ('0.5', [(1, {'loss': 0.5})], '1 go'),
        ('{"step": 2.0, "loss": NaN}', [2], '2 go'),
        ('{"step": 2, "loss": nan}', [], '2 go'),
        ('{"step": "two", "loss": 1}', [], '1 go'),
        ('{"step": [' * 100, [], '1 go'),
        ('no JSON', [], '1 go'),
        ('\\377', [], '1 go'),
    ],
)
def test_a_line_is_answered_even_if_it_is_dropped(run: Any, line: str, heard: list[Any], answer: str) -> None:
    search = Search()
    outcome = run(
        f"printf '{line}\\n\\n' >> $SHADHO_REPORTS; until grep . $SHADHO_DECISION; do sleep 0.01; done; echo 1 > result.json",
        search,
    )
    assert (outcome['state'], outcome['output']) == ('done', f'{answer}\n')
    assert (search.steps if heard == [2] else search.heard) == heard


def test_steps_that_were_done_before_are_dropped_and_answered(run: Any) -> None:
    search = Search('paused', at=4)
    outcome = run(f'SHADHO_STEP=0; {SHELL}', search, step=2, until=4)
    assert (search.steps, outcome['state']) == ([3, 4], 'paused')


def test_a_script_of_python_gets_the_handle(run: Any, tmp_path: Path) -> None:
    script = ENTRY + (
        'import json\n'
        'names = ("id", "attempt", "seed", "compute_class", "resources", "step", "max_steps", "should_stop", "is_paused")\n'
        'facts = {name: getattr(trial, name) for name in names}\n'
        'for step in trial.steps():\n'
        '    trial.report(loss=float("inf"), step=step)\n'
        'facts |= {"left": step, "folder": str(trial.folder), "paused": trial.is_paused}\n'
        'print(json.dumps([facts, shadho_worker.trial() is trial]))\n'
    )
    search = Search('paused')
    outcome = run('', search, script, step=1)
    facts, is_same = json.loads(outcome['output'])
    assert facts == {
        'id': 7, 'attempt': 1, 'seed': 5, 'compute_class': 'big', 'resources': {'cores': 2}, 'step': 1, 'max_steps': 9,
        'should_stop': False, 'is_paused': False, 'left': 3, 'folder': str(tmp_path / 'kept'), 'paused': True,
    }  # fmt: skip
    assert is_same
    assert (search.steps, outcome['state'], outcome['loss']) == ([2, 3], 'paused', float('inf'))
    assert (tmp_path / 'kept').is_dir()


def test_an_objective_of_a_script_with_a_second_parameter_gets_the_handle(run: Any) -> None:
    script = (
        'import shadho_worker\n'
        'def objective(params, trial):\n'
        '    for step in trial.steps():\n'
        '        trial.report(loss=params["x"] * step, more="é")\n'
        'shadho_worker.run(objective)\n'
    )
    search = Search('paused')
    outcome = run('', search, script)
    assert (outcome['state'], outcome['loss'], outcome['results']['more']) == ('paused', 1.5, 'é')
    outcome = run('', Search(), script)
    assert (outcome['state'], outcome['loss'], outcome['step']) == ('done', 4.5, 9)


def test_a_report_larger_than_a_pipe_arrives_whole(run: Any) -> None:
    search = Search()
    run('', search, ENTRY + 'trial.report(loss=1, text="x" * 10**6)\n')
    assert search.heard == [(1, {'loss': 1, 'text': 'x' * 10**6})]


TOGETHER = ENTRY + (
    'import os, sys\n'
    'for step in trial.steps():\n'
    '    trial.report(loss=float(os.environ.get("RANK", 5)))\n'
    'os.write(1, f"left {step} {trial.is_paused}\\n".encode())\n'
)
SEVERAL = 'import os, subprocess, sys; sys.exit(sum([process.wait() for process in [{start} for rank in range(3)]]))'
START = 'subprocess.Popen([sys.executable, "-S", "script.py"], env={**os.environ%s})'


@pytest.mark.parametrize(
    ('variables', 'outside', 'loss'),
    [('', None, 5.0), (', "RANK": str(rank)', None, 0.0), ('', '1', 1.0)],
    ids=['without ranks', 'with ranks', 'with the rank of the process of the trial'],
)
def test_of_several_processes_one_reports_and_all_leave_at_the_same_step(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: str, outside: str | None, loss: float
) -> None:
    if outside is None:
        monkeypatch.delenv('RANK', raising=False)
    else:
        monkeypatch.setenv('RANK', outside)
    (tmp_path / 'script.py').write_text(TOGETHER)
    (tmp_path / 'launch.py').write_text(SEVERAL.format(start=START % variables))
    search = Search('paused')
    outcome = run(f'{shlex.quote(sys.executable)} launch.py', search)
    assert search.heard == [(step, {'loss': loss}) for step in (1, 2, 3)]
    assert outcome['output'] == 'left 3 True\n' * 3
    assert (outcome['state'], outcome['loss']) == ('paused', loss)


def test_processes_that_a_script_forks_report_through_its_handle(run: Any) -> None:
    script = ENTRY + (
        'import multiprocessing, os\n'
        'def work(rank):\n'
        '    for step in trial.steps():\n'
        '        trial.report(loss=step)\n'
        '    os.write(1, b"%d\\n" % step)\n'
        'context = multiprocessing.get_context("fork")\n'
        'processes = [context.Process(target=work, args=(rank,)) for rank in range(3)]\n'
        'for process in processes: process.start()\n'
        'for process in processes: process.join()\n'
    )
    search = Search('stopped')
    outcome = run('', search, script)
    assert (search.steps, outcome['output'], outcome['state']) == ([1, 2, 3], '3\n3\n3\n', 'stopped')


def test_only_the_first_process_writes_the_result_of_a_script(run: Any, tmp_path: Path) -> None:
    script = (
        'import os, shadho_worker\n'
        'def objective(params, trial):\n'
        '    trial.report(loss=1)\n'
        '    return float(os.environ["RANK"]) + 10\n'
        'shadho_worker.run(objective)\n'
    )
    (tmp_path / 'script.py').write_text(script)
    (tmp_path / 'launch.py').write_text(SEVERAL.format(start=START % ', "RANK": str(rank)'))
    outcome = run(f'{shlex.quote(sys.executable)} launch.py', Search())
    assert (outcome['state'], outcome['loss'], outcome['output']) == ('done', 10.0, '')


def test_the_last_report_may_hold_what_json_lacks() -> None:
    trial = TrialHandle({**FACTS, 'folder': None, 'until': None})
    trial.report(loss=float('inf'), shape=(2, 3))
    expected = {
        'loss': float('inf'),
        'results': {'loss': {'$float': 'inf'}, 'shape': {'$tuple': [2, 3]}},
        'state': 'done',
    }
    found = trial.outcome(None, 'loss')
    assert {name: found[name] for name in expected} == expected


def test_by_hand_reports_go_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ.keys() & set(shadho_worker.reports.VARIABLES):
        monkeypatch.delenv(name)
    monkeypatch.setenv('SHADHO_MAX_STEPS', '3')
    trial = shadho_worker.trial.__wrapped__()
    assert [step for step in trial.steps() if trial.report(loss=1.0) or True] == [1, 2, 3]
    assert (trial.id, trial.seed, trial.step, trial.is_paused) == (0, 0, 0, False)


def test_a_report_when_nobody_listens_any_more_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('SHADHO_REPORTS', str(tmp_path / 'pipe'))
    monkeypatch.setenv('SHADHO_DECISION', str(tmp_path / 'gone'))
    os.mkfifo(tmp_path / 'pipe')
    assert shadho_worker.trial.__wrapped__().report(loss=1.0)
    assert 'the report is dropped' in capsys.readouterr().err


def test_where_there_are_no_pipes_reports_go_through_a_file(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError

    monkeypatch.setattr(os, 'mkfifo', refuse)
    search = Search('paused')
    assert run(SHELL, search)['state'] == 'paused'
    assert search.steps == [1, 2, 3]


def test_where_the_end_of_a_process_cannot_be_polled_it_is_looked_for(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, 'pidfd_open', raising=False)
    search = Search('paused')
    assert run(SHELL, search)['state'] == 'paused'
    assert search.steps == [1, 2, 3]
