"""Pools of workers: the engine's factory starts them, here as processes of this machine."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shadho import Shadho, spaces
from shadho.backends import Job
from shadho.execution.objective import Function
from shadho_workqueue import WorkQueue, commands, factory
from shadho_workqueue.factory import Pool
from shadho_workqueue.meeting import Meeting


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
def restore_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> Callable[..., Any]:
    """Return a function that runs the command up to where the pool would start, and tells which."""
    Meeting('pool', socket.gethostname(), listener.getsockname()[1], 'known', os.getppid()).write()
    seen: dict[str, Any] = {}

    def run_pool(pool: Pool, address: list[str], options: list[str], password: str | None, is_over: Any) -> None:
        seen.update(pool=pool, address=address, options=options, password=password)
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
    assert run('--batch', 'local')['address'] == ['127.0.0.1', port]
    assert run('--batch', 'slurm')['address'] == [socket.gethostname(), port]


@pytest.mark.usefixtures('restore_signals')
def test_the_batch_system_is_asked_for_what_a_worker_offers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = tmp_path / 'work_queue_factory'
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\nexit 7\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr(factory, 'find_program', lambda name: str(tmp_path / name))
    pool = Pool(
        'slurm', 2, 4, '--partition=gpu --time=1:00:00', cores=16, memory=64_000, gpus=['V100'], features={'a': 1}
    )
    with pytest.raises(SystemExit, match='7'):
        factory.run_pool(pool, ['login.invalid', '9000'], ['-t', '60'], 'known', lambda: False)
    arguments = (tmp_path / 'arguments').read_text().splitlines()
    assert arguments[-2] == '127.0.0.1'  # what answers for the manager, whose password the factory cannot say
    given = dict(itertools.pairwise(arguments))
    assert given['-T'] == 'slurm'
    assert (given['-w'], given['-W']) == ('2', '4')
    assert (given['--cores'], given['--memory'], given['--gpus']) == ('16', '64000', '1')
    assert given['-B'] == '--partition=gpu --time=1:00:00'
    assert given['--extra-options'].startswith('-t 60')
    assert 'known' not in arguments
    assert not Path(given['-P']).exists()
    assert Path(given['-P']).parent.parent == Path.cwd()  # which the nodes share, more likely than its temporary files


def test_without_the_factory_no_pool_starts(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    Meeting('pool', socket.gethostname(), listener.getsockname()[1], 'known', os.getppid()).write()
    monkeypatch.setattr(factory, 'find_program', lambda name: None)
    done = CliRunner().invoke(commands.worker, ['-M', 'pool', '--batch', 'local'])
    assert done.exit_code == 1
    assert 'the program work_queue_factory was not found; python3 -m shadho.install.workqueue' in done.output


def test_a_job_of_a_pool_offers_what_the_factory_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr('shadho_workqueue.worker.become_worker', lambda *given: seen.update(given=given))
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
    job = {'gpus': None, 'features': {'rack': 'east'}, 'address': ['login', '9000']}
    factory.become_pooled_worker(json.dumps(job), arguments)
    others, hardware, name, password = seen['given']
    assert others == ['login', '9000', '-t', '60']  # not the public catalog that the factory names
    assert (hardware.cores, hardware.memory, hardware.gpus) == (16, 64_000, ('gpu',))
    assert hardware.features == {'rack': 'east'}
    assert (name, password) == (socket.gethostname(), None)
