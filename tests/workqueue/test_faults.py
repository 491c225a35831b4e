"""Workers and drivers that are killed or hang, and what is left of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from shadho import Shadho, TrialState, hookimpl, spaces
from shadho.backends import Job
from shadho.errors import BackendError
from shadho.execution.objective import Command, Function
from shadho.records import Result, Trial
from shadho.storage.sqlite import SQLite
from shadho_workqueue import WorkQueue
from shadho_workqueue.driver import backend
from shadho_workqueue.rendezvous import read
from shadho_workqueue.shell import VARIABLE, shell_command

TRIALS = 200
X = {'x': spaces.uniform(0, 1)}

DRIVER = """
import time
from shadho import Shadho, spaces
from shadho_workqueue import (WorkQueue)

def objective(params):
    with open('FOLDER/evaluated.txt', 'a') as file:
        file.write(f'{params["x"]!r}\\n')
    time.sleep(0.3)
    return params['x']

Shadho('faults', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=MAX, seed=1, trial_timeout=60, backend=WorkQueue(), display=False).run()
"""


class Killer:
    """Keeps four workers; every few seconds one of them is killed, and a new one takes its place."""

    def __init__(self, crew: Any) -> None:
        self.crew = crew
        self.killed: list[Any] = []
        self._numbers = itertools.count()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.hands = [self._hire() for _ in range(4)]

    def _hire(self) -> Any:
        return self.crew.start('-M', 'faults', name=f'w{next(self._numbers)}')

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        """Kill all but the last worker in turns."""
        for place in itertools.cycle(range(3)):
            if self._ended.wait(4.0):
                return
            self.hands[place].kill()
            self.killed.append(self.hands[place])
            self.hands[place] = self._hire()


@contextmanager
def driver(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = folder / 'driver.py'
    script.write_text(DRIVER.replace('FOLDER', str(folder)).replace('MAX', str(TRIALS)))
    with subprocess.Popen([sys.executable, str(script)]) as process:
        try:
            yield process
        finally:
            process.kill()


def recorded() -> list[Result]:
    return [record for _, record in SQLite('faults.db').read() if isinstance(record, Result)]


def finished() -> list[int]:
    return [result.trial for result in recorded() if result.state is TrialState.DONE]


def evaluated(folder: Path) -> list[str]:
    return (folder / 'evaluated.txt').read_text().splitlines()


def test_no_trial_is_lost_or_recorded_twice_whatever_is_killed(
    crew: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with Killer(crew) as killer:
        with driver(tmp_path) as process:
            wait_until((tmp_path / 'evaluated.txt').exists, 'the first trial', 180)
            wait_until(lambda: len(finished()) >= 60 or process.poll() is not None, '60 trials', 180)
            process.kill()
        known = {
            trial.id: repr(trial.params['x']) for _, trial in SQLite('faults.db').read() if isinstance(trial, Trial)
        }
        done, before = [known[number] for number in finished()], len(evaluated(tmp_path))
        assert 60 <= len(done) < TRIALS
        with driver(tmp_path) as process:
            wait_until(lambda: len(finished()) >= 120 or process.poll() is not None, '120 trials', 180)
            killer.hands[3].engine.suspend()  # for good
            assert process.wait(180) == 0

    assert sorted(finished()) == list(range(TRIALS))
    reasons = {(result.state, result.reason) for result in recorded()}
    assert reasons == {(TrialState.DONE, ''), (TrialState.LOST, ''), (TrialState.CANCELLED, 'ended')}
    assert len(killer.killed) >= 4
    uses = Counter(evaluated(tmp_path))
    assert len(uses) == TRIALS
    assert not set(done) & set(evaluated(tmp_path)[before:])
    assert sum(uses.values()) <= TRIALS + len(killer.killed) + 1 + 4  # what ran on killed, hung and orphaned workers
    for hand in killer.killed:
        wait_until(lambda hand=hand: hand.has_left_nothing, 'the end of all that a killed worker started')


def test_a_trial_that_takes_its_worker_down_each_time_has_failed_as_lost(staffed: Any, tmp_path: Path) -> None:
    def objective(params: Any) -> float:
        import time

        import psutil

        if params['bad']:
            with open(tmp_path / 'attempts', 'a') as file:
                file.write('x')
            psutil.Process().parent().kill()
            time.sleep(60.0)
        return 1.0

    backend = staffed({'name': 'a'}, {'name': 'b'}, {'name': 'c'}, {'name': 'd'})
    result = Shadho(
        'lost', objective, {'bad': spaces.grid([False, True, False])}, 'grid', backend=backend, max_retries=2,
        storage=None, display=False,
    ).run()  # fmt: skip
    states = {trial.id: trial.state for trial in result}
    assert sorted(states.values()) == [TrialState.DONE, TrialState.DONE, TrialState.FAILED]
    (bad,) = [trial for trial in result if trial.state is TrialState.FAILED]
    assert bad.error is not None
    assert (bad.error.kind, bad.error.message) == ('lost', 'its worker vanished 3 times; see max_retries')
    assert (tmp_path / 'attempts').read_text() == 'xxx'


# --- drivers that end before their search ----------------------------------------------------


CUT_OFF = """
from shadho import Shadho, spaces
from shadho_workqueue import (WorkQueue)

def objective(params):
    import os, time
    while not os.path.exists('FOLDER/again') and len(os.listdir('FOLDER/begun')) > 2:
        time.sleep(0.02)
    open(f'FOLDER/begun/{params["x"]}', 'w').close()
    return params['x']

Shadho('cut', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=8, seed=1, backend=WorkQueue(OPTIONS), display=False).run()
"""


class Driven:
    """A script that drives a search, whose trials wait after the third until the script is started again."""

    def __init__(self, folder: Path, options: str = '') -> None:
        self.folder = folder
        (folder / 'begun').mkdir()
        self.script = folder / 'driver.py'
        self.script.write_text(CUT_OFF.replace('FOLDER', str(folder)).replace('OPTIONS', options))

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen([sys.executable, str(self.script)], stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()  # if it has not ended

    def end_in_the_middle(self, number: int, wait_until: Callable[..., None]) -> None:
        with self.running() as process:
            wait_until(lambda: len(list((self.folder / 'begun').iterdir())) > 2, 'the third trial', 120)
            process.send_signal(number)
            status = process.wait(60)
        assert status == {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 0}.get(number, -number)

    def finish(self) -> dict[int, str]:
        """Run the script to its end; return the hosts of all trials."""
        (self.folder / 'again').touch()
        with self.running() as process:
            _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        records = [record for _, record in SQLite('cut.db').read() if isinstance(record, Result)]
        return {result.trial: result.host for result in records if result.state is TrialState.DONE}


@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name)
def test_workers_wait_for_the_driver_to_come_back_whatever_has_ended_it(
    crew: Any, tmp_path: Path, wait_until: Callable[..., None], number: int
) -> None:
    hand = crew.start('-M', 'cut', name='patient')
    driven = Driven(tmp_path)
    driven.end_in_the_middle(number, wait_until)
    assert hand.is_running
    assert driven.finish() == dict.fromkeys(range(8), 'patient')
    assert hand.wait() == 0
    wait_until(lambda: hand.has_left_nothing, 'the end of all that the worker started')


def test_workers_follow_a_driver_whose_port_was_taken_meanwhile(
    crew: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    hand = crew.start('-M', 'cut', name='patient')
    driven = Driven(tmp_path)
    driven.end_in_the_middle(signal.SIGTERM, wait_until)
    rendezvous = read('cut')
    assert rendezvous is not None
    with ExitStack() as taken:
        with suppress(OSError):  # somebody was quicker, such as the driver of a test beside this one: it is taken then
            taken.enter_context(socket.create_server(('', rendezvous.port)))
        assert driven.finish() == dict.fromkeys(range(8), 'patient')
    assert hand.wait() == 0


class Signals:
    """Sends a signal to this process once two trials are done."""

    def __init__(self, number: int) -> None:
        self.number = number

    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        if trial.id == 1:
            os.kill(os.getpid(), self.number)


class Fails(WorkQueue):
    """Fails once there is a result."""

    def poll(self, timeout: float | None) -> Sequence[Result]:
        if super().poll(timeout):
            raise BackendError('broken')
        return []


TERMINATED: Any = (WorkQueue, [Signals(signal.SIGTERM)], pytest.raises(SystemExit, match='143'))
INTERRUPTED: Any = (WorkQueue, [Signals(signal.SIGINT)], contextlib.nullcontext())
FAILED: Any = (Fails, [], pytest.raises(BackendError, match='broken'))


@pytest.mark.parametrize(
    ('end', 'keep', 'wait'),
    [
        (TERMINATED, None, True),
        (TERMINATED, False, False),
        (FAILED, None, True),
        (FAILED, False, False),
        (INTERRUPTED, None, False),
        (INTERRUPTED, True, True),
    ],
    ids=['terminated', 'terminated-not-kept', 'failed', 'failed-not-kept', 'interrupted', 'interrupted-kept'],
)
def test_workers_wait_for_a_search_that_was_cut_off_unless_told_otherwise(
    crew: Any, end: Any, keep: bool | None, wait: bool
) -> None:
    kind, plugins, outcome = end
    hand = crew.start('-M', 'cut', name='patient')

    def search(backend: Any, max_tasks: int, **options: Any) -> Shadho:
        return Shadho('cut', lambda params: 1.0, X, max_tasks=max_tasks, backend=backend, display=False, **options)

    with outcome:
        search(kind(keep_workers=keep), 6, plugins=plugins).run()
    if wait:
        assert {trial.host for trial in search('workqueue', 12).run()} == {'patient'}
    assert hand.wait() == 0


# --- processes ---------------------------------------------------------------------------------


def breeding_function(folder: Path) -> Function:
    """Return an objective that starts another process, in a session of its own, and lasts for ever."""

    def objective(params: Any) -> float:
        import subprocess
        import tempfile
        import time

        tempfile.mkdtemp()
        child = subprocess.Popen(['sleep', '1000'], start_new_session=True)
        (folder / 'pid.part').write_text(str(child.pid))
        (folder / 'pid.part').rename(folder / 'pid')
        time.sleep(1000.0)
        return 1.0

    return Function(objective)


def breeding_command(folder: Path) -> Command:
    inner = f'echo $$ > {folder}/pid.part; mv {folder}/pid.part {folder}/pid; exec sleep 1000'
    return Command(f"touch made; mktemp -d; setsid bash -c '{inner}' & sleep 1000", (), ())


BREEDING = pytest.mark.parametrize('breed', [breeding_function, breeding_command], ids=['function', 'command'])


class Breeding:
    """A trial that runs, and the process that it has started."""

    def __init__(
        self, backend: Any, objective: Any, folder: Path, wait: Callable[..., None], timeout: float | None
    ) -> None:
        backend.open(Job('breeding', objective, trial_timeout=timeout))
        (own,) = backend.discover()
        self.trial = Trial(0, 0, (), {}, own.name, own.resources, started=backend.now())
        self.backend = backend
        backend.start(self.trial)
        wait(lambda: self.polled() == [] and (folder / 'pid').exists(), 'the start of the trial')
        self.child = int((folder / 'pid').read_text())

    def polled(self) -> list[Result]:
        return list(self.backend.poll(0.05))

    @property
    def host(self) -> str:
        assert self.polled() == []
        self.backend.discover()
        return next((worker.name for worker in self.backend.workers() if self.trial.id in worker.running), '')

    @property
    def is_alive(self) -> bool:
        return psutil.pid_exists(self.child) and psutil.Process(self.child).status() != psutil.STATUS_ZOMBIE


@BREEDING
def test_a_time_limit_ends_all_that_a_trial_has_started(
    staffed: Any, tmp_path: Path, wait_until: Callable[..., None], breed: Any
) -> None:
    with staffed({'cores': 1}) as backend:
        breeding = Breeding(backend, breed(tmp_path), tmp_path, wait_until, timeout=1.5)
        assert breeding.is_alive
        (result,) = backend.poll(30.0)
        assert (result.state, result.error.kind) == (TrialState.FAILED, 'timeout')
        wait_until(lambda: not breeding.is_alive, 'the end of the child')


def test_a_trial_that_its_worker_fails_to_end_in_time_is_given_up(
    staffed: Any, crew: Any, tmp_path: Path, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, '_SLACK', 0.0)
    monkeypatch.setattr(backend, 'LOADING_SECONDS', 0.0)
    with staffed({'name': 'numb'}) as opened:
        breeding = Breeding(opened, breeding_command(tmp_path), tmp_path, wait_until, timeout=1.0)
        (hand,) = crew.hands
        hand.send(signal.SIGSTOP)
        results: list[Result] = []

        def is_over() -> bool:
            opened.discover()
            results.extend(breeding.polled())
            return bool(results)

        wait_until(is_over, 'the end of the trial')
        assert [(result.state, result.host, result.error.kind) for result in results if result.error] == [
            (TrialState.FAILED, 'numb', 'timeout')
        ]
        hand.send(signal.SIGCONT)


@BREEDING
def test_cancelling_a_trial_ends_all_that_it_has_started(
    staffed: Any, tmp_path: Path, wait_until: Callable[..., None], breed: Any
) -> None:
    with staffed({'cores': 1}) as backend:
        breeding = Breeding(backend, breed(tmp_path), tmp_path, wait_until, timeout=None)
        assert breeding.is_alive
        backend.stop(breeding.trial)
        wait_until(lambda: breeding.polled() == [] and not breeding.is_alive, 'the end of the child')


@BREEDING
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_ended_leaves_nothing_and_its_trial_is_lost(
    staffed: Any, crew: Any, tmp_path: Path, wait_until: Callable[..., None], breed: Any, number: int
) -> None:
    with staffed({'name': 'mortal'}) as backend:
        breeding = Breeding(backend, breed(tmp_path), tmp_path, wait_until, timeout=None)
        (hand,) = crew.hands
        assert len(hand.processes()) >= 4  # the worker, the engine's beside it, the trial, its child
        wait_until(lambda: breeding.host == 'mortal', 'news of where the trial runs')
        hand.send(number)
        results: list[Result] = []
        wait_until(lambda: results.extend(breeding.polled()) or results, 'the loss of the trial')
        assert [(result.trial, result.state, result.host) for result in results] == [(0, TrialState.LOST, 'mortal')]
        hand.wait()
        wait_until(lambda: hand.has_left_nothing, 'the end of all that the worker started')
        assert not breeding.is_alive


@pytest.mark.parametrize('leads', [True, False])
def test_the_shell_of_a_trial_leads_a_group_whether_or_not_the_engine_has_made_one(
    tmp_path: Path, listener: socket.socket, leads: bool
) -> None:
    here = {**os.environ, VARIABLE: f'{listener.getsockname()[1]}:token'}
    command = ['sh', '-c', shell_command('TRIAL=1')]
    with subprocess.Popen(command, env=here, cwd=tmp_path, start_new_session=leads) as shell:
        listener.settimeout(30)
        link, _ = listener.accept()
        with link:
            assert os.getpgid(shell.pid) == shell.pid
            os.killpg(shell.pid, signal.SIGKILL)  # as the engine's worker does, to wait for its end then
            assert shell.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_worker_ends_soon_though_its_manager_hangs(
    crew: Any, tmp_path: Path, listener: socket.socket, wait_until: Callable[..., None], number: int
) -> None:
    (tmp_path / 'password').write_text('known')
    hand = crew.start(
        '--host', f'127.0.0.1:{listener.getsockname()[1]}', '--password-file', str(tmp_path / 'password')
    )  # fmt: skip
    listener.settimeout(30)
    link, _ = listener.accept()
    with link:
        assert link.recv(4) == b'auth'  # the engine's worker waits for the answer, and for nothing else
        hand.send(number)
        hand.wait()
        wait_until(lambda: hand.has_left_nothing, 'the end of all that the worker started')


def test_a_worker_ends_with_that_of_the_engine(staffed: Any, crew: Any, wait_until: Callable[..., None]) -> None:
    with staffed({'cores': 1}) as backend:
        backend.open(Job('beside', Function(lambda params: 1.0)))
        (hand,) = crew.hands
        hand.engine.kill()
        wait_until(lambda: not backend.poll(0.05) and not backend.discover(), 'the going of the worker')
        hand.wait()
        wait_until(lambda: hand.has_left_nothing, 'the end of all that the worker started')


def test_trials_that_wait_for_a_worker_that_leaves_come_back_as_not_begun(
    staffed: Any, crew: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with staffed({'cores': 1}) as backend:
        breeding = Breeding(backend, breeding_function(tmp_path), tmp_path, wait_until, timeout=None)
        for number in (1, 2):  # the engine has the first of them, the backend the second
            backend.start(attrs.evolve(breeding.trial, id=number))
        assert breeding.polled() == []
        crew.hands[0].kill()
        results: dict[int, TrialState] = {}

        def polled() -> bool:
            backend.discover()
            results.update({result.trial: result.state for result in breeding.polled()})
            return len(results) == 3

        wait_until(polled, 'the return of all trials')
        assert results == {0: TrialState.LOST, 1: TrialState.CANCELLED, 2: TrialState.CANCELLED}


def test_an_objective_is_ended_by_sigterm_as_anywhere(staffed: Any) -> None:
    def objective(params: Any) -> float:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    opt = Shadho('terminated', objective, X, backend=staffed({'cores': 1}), storage=None, max_tasks=2, display=False)
    assert [(trial.state, trial.error.kind) for trial in opt.run()] == [(TrialState.FAILED, 'crash')] * 2


def test_idle_connections_keep_no_trial_from_its_slot(staffed: Any, crew: Any) -> None:
    backend = staffed({'cores': 1})
    with contextlib.ExitStack() as stack:

        class Crowded(type(backend)):  # type: ignore[misc]
            def open(self, job: Job) -> None:
                super().open(job)
                port = crew.hands[0].engine.environ()['SHADHO_WORKER'].partition(':')[0]
                for _ in range(80):
                    stack.enter_context(socket.create_connection(('127.0.0.1', int(port))))

        backend.__class__ = Crowded
        opt = Shadho('crowded', lambda params: 1.0, X, backend=backend, storage=None, max_tasks=2, display=False)
        assert [trial.loss for trial in opt.run()] == [1.0, 1.0]
