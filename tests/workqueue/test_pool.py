"""Pools of workers: as processes of this machine, and as jobs of batch systems whose programs are stand-ins."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shadho import Shadho, hookimpl, spaces
from shadho.backends import Job
from shadho.errors import BackendError
from shadho.execution.objective import Function
from shadho_workqueue import WorkQueue
from shadho_workqueue.pool import factory
from shadho_workqueue.pool.factory import Factory
from shadho_workqueue.pool.jobs import Pool, Setup
from shadho_workqueue.reach import Driver
from shadho_workqueue.rendezvous import Rendezvous
from shadho_workqueue.worker import command as commands
from shadho_workqueue.worker.pooled import become_pooled_worker


@pytest.fixture
def backend() -> Iterator[WorkQueue]:
    with WorkQueue() as opened:
        opened.open(Job('pool', Function(abs)))
        yield opened


def workers(backend: WorkQueue) -> list[Any]:
    assert list(backend.poll(0.05)) == []
    backend.discover()
    return list(backend.workers())


def test_a_pool_grows_with_a_search_and_ends_with_it(
    crew: Any, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    def objective(params: Any) -> dict[str, Any]:
        import os
        import time

        (tmp_path / f'{os.getpid()}.here').touch()
        until = time.monotonic() + 60.0
        while len(list(tmp_path.glob('*.here'))) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        return {'loss': params['x'], 'process': os.getpid()}

    pool = crew.start('-M', 'pool', '--batch', 'local', '--min', '0', '--max', '2', features={'rack': 'east'})
    result = Shadho(
        'pool', objective, {'x': spaces.uniform(0, 1)}, max_tasks=12, backend='workqueue', storage=None, display=False
    ).run()  # fmt: skip
    assert len({trial.results['process'] for trial in result}) == 2
    assert {trial.compute_class for trial in result} == {'1-core 1GiB rack=east'}
    assert {trial.host for trial in result} == {socket.gethostname()}
    assert pool.wait() == 0
    wait_until(lambda: pool.has_left_nothing, 'the end of all that the pool started')


def test_a_pool_that_is_interrupted_ends_with_its_workers(
    crew: Any, backend: WorkQueue, wait_until: Callable[..., None]
) -> None:
    pool = crew.start('-M', 'pool', '--batch', 'local', '--count', '2', cores=3, gpus='V100,V100')
    wait_until(lambda: len(workers(backend)) == 2, 'the coming of two workers')
    assert {(own.hardware.cores, own.hardware.memory, own.hardware.gpus) for own in workers(backend)} == {
        (3, 1000, ('V100', 'V100'))
    }
    pool.send(signal.SIGINT)
    pool.wait()
    wait_until(lambda: pool.has_left_nothing, 'the end of all that the pool started')
    assert 'Traceback' not in pool.said


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> Callable[..., Any]:
    """Return a function that runs the command up to where the pool would start, and tells which."""
    Rendezvous('pool', socket.gethostname(), listener.getsockname()[1], 'known', os.getppid()).write()
    seen: dict[str, Any] = {}

    def run_pool(pool: Pool, find: Callable[[], Any]) -> None:
        seen.update(pool=pool, driver=find())
        raise SystemExit(0)

    def run(*options: str) -> Any:
        done = CliRunner().invoke(commands.worker, ['-M', 'pool', *options])
        assert done.exit_code == 0, done.output
        return seen

    monkeypatch.setattr(commands, 'run_pool', run_pool)
    return run


@pytest.mark.parametrize(
    ('options', 'least', 'most'),
    [
        ([], 1, 1),
        (['--count', '3'], 3, 3),
        (['--min', '2'], 2, 2),
        (['--max', '5'], 1, 5),
        (['--min', '0', '--max', '5'], 0, 5),
    ],
)
def test_a_pool_has_as_many_workers_as_was_said(run: Any, options: list[str], least: int, most: int) -> None:
    pool = run('--batch', 'slurm', *options)['pool']
    assert (pool.least, max(pool.least, pool.most)) == (least, most)


def test_jobs_on_other_machines_get_the_name_of_the_driver(run: Any, listener: socket.socket) -> None:
    port = str(listener.getsockname()[1])
    assert run('--batch', 'local')['driver'].address == ('127.0.0.1', port)
    assert run('--batch', 'slurm')['driver'].address == (socket.gethostname(), port)


# --- the engine's factory ----------------------------------------------------------------------


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def setup(tmp_path: Path, said: list[str]) -> Callable[..., Setup]:
    """Return a function that describes the jobs of a pool; there is no driver."""
    nobody = Driver(('127.0.0.1', '9'), ('-t', '60'))
    return lambda pool, driver=nobody: Setup(pool, driver, tmp_path, said.append)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that puts a shell script in the place of all programs that submit jobs."""

    def stand_in(script: str) -> Path:
        folder = tmp_path / 'bin'
        folder.mkdir()
        for name in ('qsub', 'msub', 'bsub', 'condor_submit'):
            (folder / name).write_text(f'#!/bin/sh\n{script}\n')
            (folder / name).chmod(0o755)
        monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
        return folder

    return stand_in


def tend_until(jobs: Factory, is_over: Callable[[], Any], wait_until: Callable[..., None]) -> None:
    def look() -> bool:
        jobs.tend(True)
        return bool(is_over())

    wait_until(look, 'what the factory does')


SYSTEMS = ['sge', 'pbs', 'torque', 'lsf', 'moab', 'condor']


@pytest.mark.parametrize('batch', SYSTEMS)
def test_a_pool_whose_jobs_are_refused_ends_with_the_reason(
    setup: Any, programs: Any, batch: str, wait_until: Callable[..., None]
) -> None:
    programs('echo "error: no queue of that name" >&2; exit 1')
    with (
        contextlib.closing(Factory(setup(Pool(batch, 1, 1)))) as jobs,
        pytest.raises(BackendError, match=f'{batch} refused the job: .*error: no queue of that name.*--batch-options'),
    ):
        tend_until(jobs, lambda: False, wait_until)


def test_without_the_programs_of_a_batch_system_its_pool_ends(setup: Any, wait_until: Callable[..., None]) -> None:
    with (
        contextlib.closing(Factory(setup(Pool('lsf', 1, 1)))) as jobs,
        pytest.raises(BackendError, match='lsf refused the job: .*bsub: not found'),
    ):
        tend_until(jobs, lambda: False, wait_until)


@pytest.mark.parametrize(
    ('batch', 'asked'),
    [
        ('sge', ['-pe smp 4', '-l h_vmem=500M']),
        ('pbs', ['-l nodes=1:ppn=4 ', '-l mem=2000mb']),
        ('torque', ['-l nodes=1:ppn=4 ', '-l mem=2000mb']),
        ('lsf', ['-n 4 ', '-M 2000MB']),
    ],
)
def test_the_batch_system_is_asked_for_what_a_worker_offers(
    setup: Any, programs: Any, tmp_path: Path, wait_until: Callable[..., None], batch: str, asked: list[str]
) -> None:
    programs(f'printf "%s " "$@" > {tmp_path}/asked; echo "error: enough" >&2; exit 1')
    pool = Pool(batch, 1, 1, '-q long', cores=4, memory=2000)
    with contextlib.closing(Factory(setup(pool))) as jobs, pytest.raises(BackendError):
        tend_until(jobs, lambda: False, wait_until)
    line = (tmp_path / 'asked').read_text()
    assert all(text in line for text in (*asked, ' -q long '))
    assert line.split()[-1] == f'./{batch}.wrapper'


def test_a_factory_that_ends_is_an_error_with_its_last_words(
    setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    stand_in = tmp_path / 'work_queue_factory'
    stand_in.write_text('#!/bin/sh\necho "a strange problem"\nexit 7\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr(factory, 'find_program', lambda name: str(tmp_path / name))
    with (
        contextlib.closing(Factory(setup(Pool('pbs', 2, 4)))) as jobs,
        pytest.raises(BackendError, match=r'work_queue_factory ended \(exit status 7\): a strange problem'),
    ):
        tend_until(jobs, lambda: False, wait_until)


def test_jobs_learn_of_a_driver_that_has_moved_from_the_folder_of_their_pool(setup: Any, tmp_path: Path) -> None:
    jobs = setup(Pool('pbs', 1, 1), Driver(('login', '9000'), ('-t', '60'), 'known'))
    jobs.script(keeps_log=False)
    (path,) = tmp_path.glob('*.json')
    assert Driver.read(path) == jobs.driver
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    moved = Driver(('node7', '9001'), ('-t', '60'), 'other')
    assert jobs.move(moved)
    assert Driver.read(path) == moved
    assert not setup(Pool('condor', 1, 1)).move(moved)  # shares no folder with its jobs


def test_without_the_factory_no_pool_starts(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    Rendezvous('pool', socket.gethostname(), listener.getsockname()[1], 'known', os.getppid()).write()
    monkeypatch.setattr(factory, 'find_program', lambda name: None)
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    done = CliRunner().invoke(commands.worker, ['-M', 'pool', '--batch', 'local'])
    for number, handler in before:
        signal.signal(number, handler)
    assert done.exit_code == 1
    assert 'the program work_queue_factory was not found; python3 -m shadho.install.workqueue' in done.output


# --- jobs --------------------------------------------------------------------------------------


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs a job up to where it would become a worker, and returns which."""
    seen: list[Any] = []
    monkeypatch.setattr('shadho_workqueue.worker.pooled.become_worker', lambda *given: seen.append(given))

    def become(arguments: list[str], **job: Any) -> Any:
        known = {'cores': None, 'memory': None, 'gpus': None, 'features': {}, 'driver': None, 'address': None, **job}
        become_pooled_worker(json.dumps(known), arguments)
        return seen.pop()

    return become


def test_a_job_without_a_shared_folder_takes_what_the_factory_says(become: Any) -> None:
    arguments = [
        '127.0.0.1',
        '1024',
        '-C',
        'catalog.invalid',
        '-t',
        '60',
        '--cores=16.000',
        '--memory',
        '64000',
        '--gpus',
        '1',
    ]
    driver, hardware, name, find, _ = become(arguments, features={'rack': 'east'}, address=['login', '9000'])
    assert driver == Driver(('login', '9000'), ('-t', '60'))  # neither the proxy, nor the public catalog that it names
    assert (hardware.cores, hardware.memory, hardware.gpus) == (16, 64_000, ('gpu',))
    assert hardware.features == {'rack': 'east'}
    assert (name, find) == (socket.gethostname(), None)


def test_a_job_of_a_catalog_keeps_the_catalog(become: Any) -> None:
    catalog = ['-C', 'catalog.invalid', '-M', 'key']
    driver, *_ = become(['-M', 'key', '-t', '60', '-C', 'catalog.invalid'], address=catalog)
    assert driver == Driver(tuple(catalog), ('-t', '60'))


def test_a_job_offers_what_slurm_has_given_it(become: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('SLURM_CPUS_ON_NODE', '7')
    monkeypatch.setenv('SLURM_MEM_PER_NODE', '900')
    known = Driver(('login', '9000'), ('-t', '60'), 'known')
    known.write(tmp_path / 'driver.json')
    driver, hardware, _, find, ends_with_parent = become(['--parent-death'], driver=str(tmp_path / 'driver.json'))
    assert ends_with_parent
    assert (hardware.cores, hardware.memory) == (7, 900)
    assert driver == find() == known
    _, hardware, *_ = become([], driver=str(tmp_path / 'driver.json'), cores=2, memory=100)
    assert (hardware.cores, hardware.memory) == (2, 100)


# --- drivers that go and come back -------------------------------------------------------------


def test_a_pool_waits_for_a_driver_that_was_terminated(crew: Any, wait_until: Callable[..., None]) -> None:
    pool = crew.start_pool('--batch', 'local', '--cores', '1')

    def objective(params: Any) -> dict[str, Any]:
        import os

        return {'loss': params['x'], 'process': os.getppid()}

    def search(**options: Any) -> Shadho:
        return Shadho('pool', objective, {'x': spaces.uniform(0, 1)}, backend='workqueue', display=False, **options)

    with pytest.raises(SystemExit, match='143'):
        search(max_tasks=8, plugins=[Terminates()]).run()
    assert pool.is_running
    result = search(max_tasks=16).run()
    assert len({trial.results['process'] for trial in result}) == 1  # the same worker
    assert pool.wait() == 0
    wait_until(lambda: pool.has_left_nothing, 'the end of all that the pool started')


class Terminates:
    """Does what a batch system does when the time of a job is up."""

    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        if trial.id == 2:
            os.kill(os.getpid(), signal.SIGTERM)
