"""What a search does now: ``shadho status``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shadho import Shadho, spaces
from shadho.cli import cli
from shadho.errors import StorageError
from shadho.records import Attempt, RunBegan, Trial, TrialState
from shadho.records import Result as TrialResult
from shadho.report.status import Status, look_at
from shadho.storage import Storage
from shadho.storage.jsonl import JSONLines
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite

SPACE = {'exclusive': True, 'rbf': {'x': spaces.uniform(0, 1)}, 'linear': {'x': spaces.uniform(0, 1)}}

# A search in a process of its own. Its objective says 'held' and waits from the fourth trial on;
# its backend has two workers, of which the second runs the trial, and a clock by which trials are long.
DRIVER = """
import sys, time
from shadho import Shadho, spaces
from shadho.backends.inline import Inline
from shadho.records import ComputeClass, Hardware, Worker

class Staffed(Inline):
    jumped = 0.0

    def discover(self):
        return [ComputeClass('inline', 1, {'cores': 4, 'gpus': ['V100']}), ComputeClass('idle', 3, {'cores': 16})]

    def workers(self):
        running = [trial.id for trial in self._waiting]
        return [Worker('w1', 'node1', 'idle', Hardware(16), 3), Worker('w2', 'node2', 'inline', Hardware(4), 1, running)]

    def start(self, trial):
        if trial.compute_class == 'inline':
            super().start(trial)

    def now(self):
        return time.monotonic() + self.jumped

def objective(params):
    backend.jumped += 10
    count.append(1)
    if len(count) > 3:
        print('held', flush=True)
        sys.stdin.readline()
    if len(count) == 2:
        raise ValueError('no')
    return next(iter(params.values()))['x']

count = []
backend = Staffed()
space = {'exclusive': True, 'rbf': {'x': spaces.uniform(0, 1)}, 'linear': {'x': spaces.uniform(0, 1)}}
Shadho('held', objective, space, max_tasks=8, timeout=1000, seed=0, policy='fcfs', backend=backend,
       storage=sys.argv[1], display=False).run()
"""


@pytest.fixture
def held() -> Callable[[str], AbstractContextManager[subprocess.Popen[str]]]:
    """A search that is held in its fourth trial of the class 'inline'."""

    @contextmanager
    def held(storage: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, '-c', DRIVER, storage]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == 'held\n'
            try:
                yield process
            finally:
                process.kill()

    return held


def status(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ['status', *arguments])


@pytest.mark.parametrize('storage', ['held.db', 'held.json'])
def test_a_running_search_tells_its_trials_classes_and_workers(held: Any, storage: str) -> None:
    with held(storage) as process:
        data = json.loads(status(storage, '--json').output)
    assert data['exp_key'] == 'held'
    assert data['writer'].startswith(f'process {process.pid} on ')
    assert (data['finished'], data['failed'], data['running'], data['waiting']) == (3, 1, 4, 0)
    assert [(own['name'], own['slots'], own['running']) for own in data['classes']] == [
        ('inline', 1, 1),
        ('idle', 3, 3),
    ]
    assert data['classes'][0]['hardware']['gpus'] == ['V100']
    assert [(own['name'], own['host'], own['compute_class'], own['slots']) for own in data['workers']] == [
        ('w1', 'node1', 'idle', 3), ('w2', 'node2', 'inline', 1),
    ]  # fmt: skip
    (now,) = [trial for trial in data['trials'] if trial['compute_class'] == 'inline']
    assert data['workers'][1]['running'] == [now['trial']]
    assert now['worker'] == 'w2'
    assert {trial['tree'] for trial in data['trials']} <= {'rbf', 'linear'}
    assert data['trials'][0]['seconds'] >= 20  # handed out before two others of the class were evaluated


def test_a_running_search_is_shown_in_tables(held: Any) -> None:
    with held('held.db') as process:
        lines = status('held.db').output.splitlines()
    assert lines[0].startswith(f'held: running (process {process.pid} on ')
    assert lines[1] == '3 trials, 1 failed, 4 running'
    assert lines[2].startswith('best loss 0.')
    busy = [line[31:35].strip() for line in lines[5:7]]
    assert lines[4:7] == [
        'compute class  slots  running  busy  hardware',
        f'inline             1        1  {busy[0]:>4}  4 cores, 1 x V100',
        f'idle               3        3  {busy[1]:>4}  16 cores',
    ]
    assert lines[8:11] == [
        'worker  host   compute class  slots  runs trials',
        'w1      node1  idle               3',
        f'w2      node2  inline             1  {lines[-1].split()[0]}',
    ]
    assert lines[12].split() == ['trial', 'tree', 'compute', 'class', 'worker', 'for']
    assert lines[-1].split()[2:4] == ['inline', 'w2']
    assert len(lines) == 17


def test_slots_are_as_busy_as_trials_ran_on_them_in_the_run_that_goes_on() -> None:
    with known(SQLite('busy.db')) as storage:
        storage.update(
            classes=[{'name': 'a', 'slots': 2}, {'name': 'b', 'slots': 1}],
            clock={'began': 1000.0, 'time': time.time() + 1e6, 'seconds': 1100.0},
        )
        for trial, started in enumerate((900.0, 1000.0)):  # the first is of an earlier run
            storage.append(Trial(trial, 0, (0.5,), {}, 'a', started=started))
            storage.append(
                TrialResult(trial, TrialState.DONE, 0.5, started=started, finished=started + 60, seconds=30.0)
            )
        storage.append(Trial(2, 0, (0.5,), {}, 'a', started=1080.0))
        found = look_at(storage)
    assert [(own['running'], own['busy']) for own in found.to_dict()['classes']] == [(1, 0.25), (0, None)]


def test_a_search_that_was_killed_is_not_running_and_its_trials_wait(held: Any) -> None:
    with held('held.db'):
        pass
    found = look_at(SQLite('held.db'))
    assert (found.writer, found.running, found.workers) == (None, [], [])
    assert (found.finished, len(found.waiting), len(found.classes)) == (3, 4, 2)
    lines = found.to_table().splitlines()
    assert lines[0].startswith('held: not running, ')
    assert lines[3] == '4 trials did not finish, and will run again first when the search goes on'
    assert lines[5] == 'compute class  slots  busy  hardware'


def test_trials_of_a_run_that_was_killed_wait_until_they_are_handed_out_again(held: Any) -> None:
    with held('held.db'):
        pass
    storage = SQLite('held.db')
    with storage:
        before = look_at(storage)
        storage.update(clock={'began': before.seconds, 'time': time.time(), 'seconds': before.seconds})
        again = before.running[1]
        for trial in before.running:
            storage.append(TrialResult(trial.id, TrialState.CANCELLED, finished=before.seconds, reason='ended'))
        storage.append(RunBegan(before.seconds))
        storage.append(Attempt(again.id, again.attempt + 1, 'idle', {}, before.seconds + 1))
        found = look_at(storage)
    assert [trial.id for trial in found.running] == [again.id]
    assert len(found.waiting) == 3
    assert '3 trials did not finish, and will run again as soon as there is a slot' in found.to_table()


def test_a_finished_search_tells_what_came_of_it() -> None:
    result = recorded(SQLite('done.db'), max_tasks=5)
    found = look_at(SQLite('done.db'))
    assert (found.finished, found.failed, found.running, found.waiting) == (5, 0, [], [])
    assert found.best == result.best
    assert found.seconds == result.elapsed > 0
    assert [own.name for own in found.classes] == ['inline']
    data = found.to_dict()
    assert (data['writer'], data['best']['trial'], data['trials']) == (None, result.best.id, [])


@pytest.mark.parametrize('make', [SQLite, JSONLines])
def test_a_search_with_rungs_tells_how_many_trials_have_reached_each(make: Callable[[str], Storage]) -> None:
    def objective(params: Any, trial: Any) -> float | None:
        if trial.id == 0:
            return 1.0  # it ends early, of its own accord
        for step in trial.steps():
            trial.report(loss=params['x'] + 1 / step)
            if trial.id == 5 and step == 2:
                raise ValueError('no')
        return None

    options = {'max_steps': 9, 'fidelity': 'asha', 'seed': 3, 'backend': 'inline', 'display': False}
    storage = make('rungs.db' if make is SQLite else 'rungs.json')
    result = Shadho('rungs', objective, {'x': spaces.uniform(0, 1)}, storage=storage, max_tasks=20, **options).run()
    last = {trial: reports[-1].step for trial, reports in result.reports().items()}
    counts = {step: sum(own >= step for own in last.values()) + 1 for step in (1, 3, 9)}
    found = look_at(make(storage.path))
    assert found.rungs == counts
    assert counts[1] == 20 > counts[3] > counts[9]
    assert f'rungs  1: 20 · 3: {counts[3]} · 9: {counts[9]}' in found.to_table().splitlines()
    assert found.to_dict()['rungs'] == [{'step': step, 'trials': count} for step, count in counts.items()]


def test_a_class_is_as_busy_as_its_attempts_made_it_also_where_trials_went_on_elsewhere() -> None:
    with known(SQLite('moved.db')) as storage:
        storage.update(
            classes=[{'name': 'a', 'slots': 1}, {'name': 'b', 'slots': 1}],
            clock={'began': 0.0, 'time': time.time() + 1e6, 'seconds': 100.0},
        )
        storage.append(Trial(0, 0, (0.5,), {}, 'a', started=0.0))
        storage.append(TrialResult(0, TrialState.PAUSED, 0.5, started=0.0, finished=30.0, seconds=25.0, step=1))
        storage.append(Attempt(0, 1, 'b', started=40.0))
        storage.append(TrialResult(0, TrialState.DONE, 0.5, started=40.0, finished=90.0, seconds=50.0, step=9))
        found = look_at(storage)
    assert [own['busy'] for own in found.to_dict()['classes']] == [0.25, 0.5]


def test_the_best_loss_is_the_highest_where_that_is_sought() -> None:
    result = recorded(SQLite('most.db'), max_tasks=9, direction='maximize')
    assert look_at(SQLite('most.db')).best == result.best
    assert result.best.loss > 0.5


def test_a_search_without_a_result_has_a_status() -> None:
    recorded(SQLite('none.db'), timeout=1e-9)
    run = status('none.db')
    assert (run.exit_code, run.output.splitlines()[1:3]) == (
        0,
        ['0 trials, 0 failed, 0 running', 'no trial is done yet'],
    )


def test_lost_and_cancelled_trials_are_not_running() -> None:
    with known(SQLite('lost.db')) as storage:
        for trial, state in enumerate((TrialState.LOST, TrialState.CANCELLED, None)):
            storage.append(Trial(trial, 0, (0.5,), {}, 'a', started=1.0))
            if state is not None:
                storage.append(TrialResult(trial, state, started=1.0, finished=2.0))
        found = look_at(storage)
    assert ([own.id for own in found.running], [own.id for own in found.waiting]) == ([2], [0, 1])


def test_how_long_a_trial_runs_goes_on_while_nothing_is_written() -> None:
    with known(SQLite('long.db')) as storage:
        storage.append(Trial(0, 0, (0.5,), {}, 'a', started=1100.0))
        storage.update(clock={'began': 0.0, 'time': time.time() - 4000, 'seconds': 700.0})
        found = look_at(storage)
    assert found.seconds == pytest.approx(4700, abs=300)
    assert found.to_dict()['trials'][0]['seconds'] == pytest.approx(3600, abs=300)
    assert found.to_table().splitlines()[-1].startswith('    0  rbf   a              1 h 0')


def test_of_many_rows_some_are_shown() -> None:
    with known(SQLite('many.db')) as storage:
        storage.update(classes=[{'name': f'c{number}', 'slots': 1} for number in range(30)])
        for trial in range(60):
            storage.append(Trial(trial, trial % 2, (0.5,), {}, 'c0', started=1.0))
        lines = look_at(storage).to_table(limit=20).splitlines()
    assert lines[3:5] == ['', 'compute class  slots  running  busy  hardware']
    assert lines[25] == '... and 10 more'
    assert lines[-1] == '... and 40 more'
    assert len(lines) == 49


def test_a_search_that_waits_for_workers_says_so() -> None:
    with known(SQLite('empty.db')) as storage:
        assert 'no workers yet' in look_at(storage).to_table()
    assert 'no workers yet' not in look_at(storage).to_table()


def test_an_infinite_loss_is_written_as_json_can() -> None:
    Shadho('inf', lambda params: float('inf'), SPACE, max_tasks=1, seed=0, backend='inline', storage='inf.json',
           display=False).run()  # fmt: skip
    assert json.loads(status('inf.json', '--json').output)['best']['loss'] == {'$float': 'inf'}


@pytest.mark.parametrize('make', [lambda: SQLite('odd.db'), lambda: JSONLines('odd.json')])
def test_what_could_steer_a_terminal_is_not_printed(make: Callable[[], Storage]) -> None:
    storage = make()
    recorded(storage, max_tasks=2)
    with storage:
        storage.update(exp_key='\x1b[31mred', classes=[{'name': '\x1b[0m', 'slots': 1}])
        storage.update(
            workers=[{'name': '\a', 'host': '\n', 'compute_class': 'a', 'hardware': {'cores': 1}, 'slots': 1}]
        )
        table = look_at(storage).to_table()
    assert all(line.isprintable() for line in table.split('\n'))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: None, "there is no file 'given.db'"),
        (lambda: Path('given.db').write_text('text'), 'this is not an SQLite file'),
        (lambda: SQLite('given.db').__enter__().close(), 'holds no search'),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(make: Callable[[], Any], message: str) -> None:
    make()
    run = status('given.db')
    assert run.exit_code == 1
    assert run.output.startswith('Error: ') and message in run.output and len(run.output.splitlines()) == 1


def test_a_storage_in_memory_can_be_looked_at_too() -> None:
    storage = Memory()
    recorded(storage, max_tasks=2)
    found = look_at(storage)
    assert isinstance(found, Status)
    assert found.finished == 2


def test_notes_that_somebody_has_changed_are_an_error() -> None:
    with known(SQLite('bad.db')) as storage:
        storage.update(classes='none of them')
        with pytest.raises(StorageError, match='the notes about the cluster cannot be read'):
            look_at(storage)


def recorded(storage: Storage, **options: Any) -> Any:
    return Shadho('done', lambda params: next(iter(params.values()))['x'], SPACE, seed=0, backend='inline', policy='fcfs',
                  storage=storage, display=False, **options).run()  # fmt: skip


def known(storage: Storage) -> Storage:
    """Return the storage of a search that has not begun."""
    recorded(storage, timeout=1e-9)
    with storage:
        storage.update(classes=[], clock={'began': 0.0, 'time': time.time(), 'seconds': 0.0})
    return storage
