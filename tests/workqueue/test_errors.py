"""What goes wrong between drivers and workers, and who is told what to do about it."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from shadho import Shadho, TrialState, hookimpl, spaces
from shadho.backends import Job
from shadho.errors import BackendError, ConfigurationError
from shadho.execution.objective import Function
from shadho.records import Hardware
from shadho_workqueue import WorkQueue, installation
from shadho_workqueue.driver import backend, engine
from shadho_workqueue.rendezvous import Rendezvous, read
from shadho_workqueue.reports import ask
from shadho_workqueue.worker import command as commands
from shadho_workqueue.worker import main as worker
from shadho_workqueue.worker_info import WorkerInfo

X = {'x': spaces.uniform(0, 1)}


def constant(params: Any) -> float:
    return 1.0


@pytest.fixture
def driver(caplog: pytest.LogCaptureFixture) -> Iterator[WorkQueue]:
    """Return the backend of a search 'errors' that waits for workers."""
    caplog.set_level(logging.INFO, 'shadho')
    with WorkQueue() as opened:
        opened.open(Job('errors', Function(constant)))
        yield opened


@pytest.fixture
def address(driver: WorkQueue) -> list[str]:
    rendezvous = read('errors')
    assert rendezvous is not None
    return ['127.0.0.1', str(rendezvous.port)]


@pytest.fixture
def wait_for_warning(
    driver: WorkQueue, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> Callable[[str], str]:
    def wait(text: str) -> str:
        def is_there() -> bool:
            assert list(driver.poll(0.02)) == []
            driver.discover()
            return any(text in message for message in caplog.messages)

        wait_until(is_there, f'{text!r}')
        assert list(driver.discover()) == []  # whoever is warned about gets no trial
        return next(record.getMessage() for record in caplog.records if text in record.getMessage())

    return wait


# --- who may join ------------------------------------------------------------------------------


def test_a_wrong_password_is_told_of_on_both_sides(
    crew: Any, address: list[str], tmp_path: Path, wait_for_warning: Callable[[str], str]
) -> None:
    (tmp_path / 'other').write_text('guessed')
    hand = crew.start('--host', ':'.join(address), '--password-file', str(tmp_path / 'other'))
    warning = wait_for_warning('does not know the password of this search')
    assert warning.startswith('a worker on ')
    hand.wait_to_hear(f'the driver at {":".join(address)} has another password')


def test_the_password_is_asked_of_plain_workers_too(
    crew: Any, address: list[str], driver: WorkQueue, wait_until: Callable[..., None]
) -> None:
    hand = crew.run([installation.find_program('work_queue_worker'), *address, '-t', '5', '--single-shot'], 'plain')
    wait_until(lambda: not driver.poll(0.02) and 'requires a password' in hand.said, 'the refusal')
    assert list(driver.discover()) == []


def test_a_worker_of_another_protocol_is_told_of(address: list[str], wait_for_warning: Callable[[str], str]) -> None:
    rendezvous = read('errors')
    assert rendezvous is not None
    with pytest.raises(OSError):
        ask(rendezvous.port, rendezvous.password, 'workqueue 99 machine linux x86_64 99.0.0')
    warning = wait_for_warning('speaks protocol 99')
    assert warning.startswith('a worker on 127.0.0.1 was refused: it speaks protocol 99 of Work Queue, and the driver ')
    assert warning.endswith('install the same release of CCTools on both')


def test_a_worker_of_another_python_gets_no_function(crew: Any, wait_for_warning: Callable[[str], str]) -> None:
    info = WorkerInfo('old', Hardware(2), '3.4')
    crew.start_plain('errors', '-A', info.encode(), '--feature', info.feature)
    warning = wait_for_warning('the worker old runs Python 3.4')
    assert f'this search evaluates a function of Python {sys.version_info.major}.{sys.version_info.minor}' in warning
    assert 'or make the objective a command' in warning


def test_a_plain_worker_gets_no_function(crew: Any, wait_for_warning: Callable[[str], str]) -> None:
    crew.start_plain('errors')
    assert f'the worker {socket.gethostname()} ' in wait_for_warning('is a plain work_queue_worker')


def test_a_driver_without_workers_says_how_to_start_one(
    wait_for_warning: Callable[[str], str], address: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, '_PATIENCE', 0.2)
    warning = wait_for_warning('no worker is connected')
    assert 'python3 -m shadho.workers.workqueue -M errors' in warning
    assert f'--host {socket.gethostname()}:{address[1]}' in warning


# --- where it listens --------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(('', 0)) as other:
        port = other.getsockname()[1]
        with WorkQueue(port=port) as opened, pytest.raises(BackendError, match=f'Is port {port} taken'):
            opened.open(Job('errors', Function(constant)))


def test_a_range_of_ports_is_tried() -> None:
    with socket.create_server(('', 0)) as other:
        port = other.getsockname()[1]
        with WorkQueue(port=(port, min(port + 20, 65535))) as opened:
            opened.open(Job('errors', Function(constant)))
            rendezvous = read('errors')
    assert rendezvous is not None
    assert port < rendezvous.port <= port + 20


def test_a_range_may_be_of_one_port_and_its_ends_are_in_order() -> None:
    with socket.create_server(('', 0)) as other:
        port = other.getsockname()[1]
        with WorkQueue(port=(port, port)) as opened, pytest.raises(BackendError, match=f'Is port {port} taken'):
            opened.open(Job('errors', Function(constant)))
    for wrong in ((9200, 9100), (), (1, 2, 3), (1, None)):
        with pytest.raises(ConfigurationError, match='port must be a number below 65536, the two ends of a range'):
            WorkQueue(port=wrong)


def test_a_range_whose_ports_are_all_taken_is_named() -> None:
    with contextlib.ExitStack() as stack:
        port = _two_ports(stack)
        taken = f'all ports from {port} to {port + 1} are taken'
        with WorkQueue(port=(port, port + 1)) as opened, pytest.raises(BackendError, match=taken):
            opened.open(Job('errors', Function(constant)))


def _two_ports(stack: contextlib.ExitStack) -> int:
    """Take two neighbouring ports; return the first."""
    while True:
        first = stack.enter_context(socket.create_server(('', 0)))
        with contextlib.suppress(OSError, OverflowError):
            stack.enter_context(socket.create_server(('', first.getsockname()[1] + 1)))
            return int(first.getsockname()[1])


def test_a_search_goes_on_elsewhere_when_its_last_port_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(('', 0)) as other:
        port = other.getsockname()[1]
        Rendezvous('errors', socket.gethostname(), port, 'known', pid=2**22 + 1).write()
        with WorkQueue() as opened:
            opened.open(Job('errors', Function(constant)))
            rendezvous = read('errors')
    assert rendezvous is not None
    assert rendezvous.port != port
    assert rendezvous.password == 'known'
    assert f'port {port} of the last run is taken now' in caplog.text


def test_a_second_driver_of_the_same_search_is_refused() -> None:
    script = (
        'from shadho.backends import Job\n'
        'from shadho.execution.objective import Function\n'
        'from shadho_workqueue import WorkQueue\n'
        'with WorkQueue() as backend:\n'
        '    backend.open(Job("errors", Function(abs)))\n'
        '    print("open", flush=True)\n'
        '    input()\n'
    )
    with subprocess.Popen([sys.executable, '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b'open\n'
        with pytest.raises(
            BackendError, match=f'running on this machine already .process {first.pid}.*another exp_key'
        ):
            WorkQueue().open(Job('errors', Function(constant)))
        first.communicate(b'\n')
    with WorkQueue() as second:
        second.open(Job('errors', Function(constant)))


# --- what is not there -------------------------------------------------------------------------


def test_without_the_bindings_no_search_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, 'find_bindings', lambda: None)
    with pytest.raises(BackendError, match='no Python here can load the bindings.*shadho.install.workqueue'):
        Shadho('errors', constant, X, max_tasks=1, backend='workqueue', storage=None, display=False).run()


def test_without_the_engine_auto_runs_commands_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert Shadho('errors', 'true', X, max_tasks=1)._backend.name == 'workqueue'
    monkeypatch.setattr(installation, 'find_program', lambda name: None)
    with caplog.at_level(logging.INFO, 'shadho'):
        assert Shadho('errors', 'true', X, max_tasks=1)._backend.name == 'local'
    assert 'the command is not run by Work Queue, whose engine was not found' in caplog.text


def test_without_the_engine_no_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, 'find_program', lambda name: None)
    done = CliRunner().invoke(commands.worker, ['-M', 'errors'])
    assert done.exit_code == 1
    assert 'the program work_queue_worker was not found' in done.output
    assert 'python3 -m shadho.install.workqueue' in done.output


class Removes:
    """Removes a file when the search has begun."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl
    def shadho_search_started(self, search: Any) -> None:
        self.path.unlink()


def test_an_input_file_that_was_removed_is_named(staffed: Any, tmp_path: Path) -> None:
    data = tmp_path / 'data.csv'
    data.touch()
    opt = Shadho(
        'errors', 'echo 1 > result.json', X, max_tasks=2, backend=staffed({'cores': 1}), storage=None, display=False,
        plugins=[Removes(data)],
    )  # fmt: skip
    opt.add_input_file(data)
    for trial in opt.run():
        assert trial.state is TrialState.FAILED
        assert trial.error is not None
        assert trial.error.message == f'{data} could not be sent to the worker: was it removed?'


def test_a_module_that_the_worker_lacks_is_named(staffed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / 'installed'
    place.mkdir()
    (place / 'lacking.py').write_text('def objective(params):\n    return 1.0\n')
    monkeypatch.setattr(sys, 'path', [*sys.path, str(place)])
    import lacking

    def objective(params: Any) -> float:
        import lacking

        return float(lacking.objective(params))

    for own in (lacking.objective, objective):
        result = Shadho('errors', own, X, max_tasks=1, backend=staffed({'cores': 1}), storage=None, display=False).run()
        (trial,) = result
        assert trial.state is TrialState.FAILED
        assert trial.error is not None
        assert "No module named 'lacking'" in trial.error.message
    del sys.modules['lacking']


# --- the manager ends --------------------------------------------------------------------------


class EndsManager:
    """Kills the manager when some trials are done."""

    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        if trial.id == 5:
            (manager,) = [own for own in psutil.Process().children() if 'manager.py' in ' '.join(own.cmdline())]
            manager.kill()


def test_the_end_of_the_manager_is_a_clear_error_and_the_search_goes_on_with_its_workers(crew: Any) -> None:
    hand = crew.start('-M', 'errors', name='faithful')

    def search(**options: Any) -> Shadho:
        return Shadho('errors', constant, X, max_tasks=20, backend=WorkQueue(), display=False, **options)

    with pytest.raises(BackendError, match=r'manager ended unexpectedly \(SIGKILL.*run the script again'):
        search(plugins=[EndsManager()]).run()
    result = search().run()
    assert sorted(trial.id for trial in result) == list(range(20))
    assert {trial.host for trial in result} == {'faithful'}
    assert hand.wait() == 0


def test_a_damaged_meeting_file_is_named(state_folder: Path) -> None:
    state_folder.mkdir(parents=True)
    (state_folder / 'errors.json').write_text('{"exp_key": ')
    with pytest.raises(BackendError, match='errors.json is damaged.*remove it'):
        WorkQueue().open(Job('errors', Function(constant)))
