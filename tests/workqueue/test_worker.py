"""The command that starts a worker: its options, what it finds out about its machine, and what it says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result

from shadho import Shadho, spaces
from shadho.backends import Job
from shadho.execution.objective import Function
from shadho.records import Hardware
from shadho_workqueue import WorkQueue
from shadho_workqueue.reach import Driver
from shadho_workqueue.rendezvous import Rendezvous
from shadho_workqueue.worker import command as commands
from shadho_workqueue.worker.command import worker
from shadho_workqueue.worker.main import detect
from shadho_workqueue.worker.output import rephrase

X = {'x': spaces.uniform(0, 1)}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs the command up to where the process would become a worker, and what it would become."""
    seen: dict[str, Any] = {}

    def become(driver: Driver, hardware: Hardware, name: str, find: Any) -> None:
        arguments = [*driver.address, *driver.options]
        seen.update(arguments=arguments, hardware=hardware, name=name, password=driver.password)

    def run(*options: str) -> Any:
        seen.clear()
        done = CliRunner().invoke(worker, options)
        return seen or done

    monkeypatch.setattr(commands, 'become_worker', become)
    return run


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    (tmp_path / 'password').write_text('known\n')
    return str(tmp_path / 'password')


# --- where the driver is -----------------------------------------------------------------------


def test_the_name_of_the_search_is_enough_where_its_file_is(run: Any, listener: socket.socket) -> None:
    Rendezvous('key', socket.gethostname(), listener.getsockname()[1], 'known', os.getppid()).write()
    seen = run('-M', 'key')
    assert seen['arguments'][:2] == ['127.0.0.1', str(listener.getsockname()[1])]
    assert (seen['name'], seen['password']) == (socket.gethostname(), 'known')
    assert '--ssl' not in seen['arguments']


def test_a_driver_that_speaks_through_ssl_says_so(run: Any, listener: socket.socket) -> None:
    Rendezvous('key', socket.gethostname(), listener.getsockname()[1], 'known', os.getppid(), ssl=True).write()
    assert '--ssl' in run('-M', 'key')['arguments']


@pytest.mark.usefixtures('run')
def test_a_driver_of_another_release_is_told_of(listener: socket.socket) -> None:
    Rendezvous('key', socket.gethostname(), listener.getsockname()[1], 'known', os.getppid(), version='0.1.2').write()
    done = CliRunner().invoke(worker, ['-M', 'key'])
    assert "the driver's machine has Work Queue 0.1.2, and this one" in done.output
    assert 'install the same release on both' in done.output


def test_a_driver_elsewhere_is_reached_by_host_and_password(run: Any, password_file: str) -> None:
    seen = run(
        '--host', 'login.example.org:9123', '--password-file', password_file, '--name', 'a', '--idle-timeout', '60'
    )
    assert seen['arguments'][:4] == ['login.example.org', '9123', '-t', '60']
    assert (seen['name'], seen['password']) == ('a', 'known')


def test_a_catalog_finds_the_driver_by_name(run: Any, password_file: str) -> None:
    seen = run('-M', 'key', '--catalog', 'catalog.example.org:9097', '--password-file', password_file)
    assert seen['arguments'][:4] == ['-C', 'catalog.example.org:9097', '-M', 'key']


def test_a_search_that_does_not_start_is_told_of(run: Any) -> None:
    done = run('-M', 'key', '--wait', '0.1')
    assert done.exit_code == 1
    assert "Error: no search 'key' was found within 0.1 s" in done.output


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ([], 'give -M KEY, the name of the search, or --host HOST:PORT'),
        (['--host', 'here:9000'], '--host needs --password-file too'),
        (['--host', 'here', '--password-file', 'PASSWORD'], "--host must be HOST:PORT, as the driver says; got 'here'"),
        (['--host', 'here:99999', '--password-file', 'PASSWORD'], '--host must be HOST:PORT'),
        (['--catalog', 'here:9000', '--host', 'here:1'], '--catalog finds a search by its name'),
        (['-M', 'key', '--count', '3'], '--count, --min, --max and --batch-options are for --batch'),
        (['-M', 'key', '--batch', 'cloud'], "'cloud' is not one of 'local'"),
        (['-M', 'key', '--cores', '0'], '0 is not in the range'),
        (['-M', 'key', '--password-file', 'nowhere'], "the password file 'nowhere' cannot be read"),
        (['--host', 'here:9000', '--password-file', 'PASSWORD', '--feature', 'rack'], '--feature must be NAME=VALUE'),
    ],
)
def test_options_that_make_no_sense_are_refused(run: Any, password_file: str, options: list[str], message: str) -> None:
    done = run(*[password_file if option == 'PASSWORD' else option for option in options])
    assert isinstance(done, Result)
    assert done.exit_code in (1, 2)
    assert message in ' '.join(done.output.split())


@pytest.mark.parametrize('key', ['key', 'ü☃ a/b'])
def test_the_doors_are_the_same_command(key: str) -> None:
    script = Path(sys.executable).with_name('shadho')
    doors = ([str(script), 'worker', 'workqueue'], [sys.executable, '-m', 'shadho.workers.workqueue'])
    said = [
        subprocess.run([*door, '-M', key, '--wait', '0'], capture_output=True, text=True, check=False).stderr
        for door in doors
    ]
    assert said[0] == said[1]
    assert f'no search {key!r} was found' in said[0]


# --- what it has -------------------------------------------------------------------------------


def test_a_worker_offers_what_its_machine_has(run: Any, password_file: str) -> None:
    hardware = run('--host', 'here:9000', '--password-file', password_file)['hardware']
    assert hardware == detect()
    assert hardware.cores == len(os.sched_getaffinity(0))
    assert 0 < hardware.memory <= psutil.virtual_memory().total // 2**20
    assert hardware.cpu


def test_a_worker_offers_no_more_cores_than_it_may_use(password_file: str) -> None:
    code = (
        'import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n'
        'from shadho_workqueue.worker.main import detect; print(detect().cores)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '1\n'


def test_options_replace_what_was_found(run: Any, password_file: str) -> None:
    options = ['--cores', '16', '--memory', '64000', '--gpus', 'RTX 3090, V100', '--feature', 'rack=east', '--feature', 'tier=2',
               '--feature', 'speed=1.5', '--feature', 'fast=true', '--feature', 'note=[1]']  # fmt: skip
    hardware = run('--host', 'here:9000', '--password-file', password_file, *options)['hardware']
    assert (hardware.cores, hardware.memory, hardware.gpus) == (16, 64_000, ('RTX 3090', 'V100'))
    assert hardware.features == {'rack': 'east', 'tier': 2, 'speed': 1.5, 'fast': True, 'note': '[1]'}
    assert hardware.cpu == detect().cpu


@pytest.mark.parametrize(('given', 'gpus'), [('0', ()), ('2', ('gpu', 'gpu')), ('V100', ('V100',))])
def test_gpus_are_a_number_or_models(run: Any, password_file: str, given: str, gpus: tuple[str, ...]) -> None:
    assert run('--host', 'here:9000', '--password-file', password_file, '--gpus', given)['hardware'].gpus == gpus


def test_the_environment_replaces_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SHADHO_HARDWARE', json.dumps({'cores': 64, 'gpus': ['V100'], 'rack': 'west'}))
    hardware = detect(memory=500, features={'tier': 1})
    assert (hardware.cores, hardware.memory, hardware.gpus) == (64, 500, ('V100',))
    assert hardware.features == {'rack': 'west', 'tier': 1}


# --- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('connected to manager 127.0.0.1:9000 via local address 10.0.0.7:4000',
         'connected to the driver at 127.0.0.1:9000; Ctrl-C ends this worker'),
        ('disconnected from manager 127.0.0.1:9000', 'the driver at 127.0.0.1:9000 has gone, or let this worker go'),
        ('work_queue_worker: creating workspace /tmp/worker-0-1', ''),
        ('work_queue_worker: using 2 cores, 1000 MB memory', ''),
        ('2026/01/01 some other news', '2026/01/01 some other news'),
        ('', ''),
    ],
)  # fmt: skip
def test_what_the_engine_says_is_said_in_words_that_help(line: str, said: str) -> None:
    assert rephrase(line) == said


@pytest.fixture
def hand(crew: Any, wait_until: Callable[..., None]) -> Iterator[Any]:
    """Return a worker that is connected to a driver which has no trials."""
    with WorkQueue() as backend:
        backend.open(Job('idle', Function(abs)))
        started = crew.start('-M', 'idle')
        wait_until(lambda: not backend.poll(0.02) and backend.discover(), 'the coming of the worker')
        yield started


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_told_to_end_says_so(hand: Any, number: int, wait_until: Callable[..., None]) -> None:
    hand.send(number)
    hand.wait()
    wait_until(lambda: hand.has_left_nothing, 'the end of all that the worker started')
    assert 'this worker ends' in hand.said
    assert '0 trials were run here' in hand.said


def test_a_worker_can_be_ended_while_it_looks_for_its_driver(crew: Any) -> None:
    hand = crew.start('-M', 'nobody')
    hand.wait_to_hear('looking for the driver of the search nobody')
    hand.send(signal.SIGINT)
    hand.wait()
    assert 'Traceback' not in hand.said


def test_workers_end_with_the_search(crew: Any, wait_until: Callable[..., None]) -> None:
    hands = [crew.start('-M', 'ends', name=name) for name in ('a', 'b')]
    result = Shadho(
        'ends', lambda params: params['x'], X, max_tasks=10, backend='workqueue', storage=None, display=False
    ).run()
    assert len(result) == 10
    for hand in hands:
        hand.wait()
        wait_until(lambda hand=hand: hand.has_left_nothing, 'the end of all that the worker started')


def test_a_worker_serves_one_search_after_another(crew: Any, wait_until: Callable[..., None]) -> None:
    hand = crew.start('-M', 'several', name='steady')
    for factor, keep in ((2.0, True), (3.0, False)):
        result = Shadho(
            'several', lambda params, factor=factor: factor, X, max_tasks=3, backend=WorkQueue(keep_workers=keep),
            storage=None, display=False,
        ).run()  # fmt: skip
        assert {(trial.loss, trial.host) for trial in result} == {(factor, 'steady')}
    hand.wait()
    wait_until(lambda: hand.has_left_nothing, 'the end of all that the worker started')
    assert '6 trials were run here' in hand.said


def test_the_process_of_a_slot_is_kept_from_trial_to_trial(staffed: Any) -> None:
    def objective(params: Any) -> dict[str, Any]:
        import os

        return {'loss': params['x'], 'process': os.getpid()}

    result = Shadho(
        'warm', objective, X, max_tasks=20, backend=staffed({'cores': 2}), storage=None, display=False
    ).run()  # fmt: skip
    assert len({trial.results['process'] for trial in result}) <= 2
