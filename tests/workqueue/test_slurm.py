"""Pools of workers as jobs of a real Slurm, whose unequal nodes are all on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from shadho import Shadho, spaces
from shadho.backends import Job
from shadho.execution.objective import Function
from shadho_workqueue import WorkQueue
from shadho_workqueue.rendezvous import Rendezvous

# --- a Slurm of our own: its daemons in the foreground, on the loopback, with a key of their own ---

PROGRAMS = ('munged', 'mungekey', 'slurmctld', 'slurmd', 'sbatch', 'sinfo')
CPUS = {'big': 16, 'small1': 4, 'small2': 4}

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d-%n.pid
MpiDefault=none
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
"""
NODE = 'NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=4000 Feature={kind}\n'


def missing() -> str:
    """Say why there can be no Slurm here; empty when there can."""
    if os.geteuid() != 0:
        return 'a Slurm of its own needs root'
    lacking = [program for program in PROGRAMS if _find(program) is None]
    return f'Debian has {", ".join(lacking)} in slurmctld, slurmd, slurm-client and munge' if lacking else ''


def _find(program: str) -> str | None:
    return shutil.which(program, path=f'{os.environ["PATH"]}:/usr/sbin:/usr/local/sbin')


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


@contextlib.contextmanager
def virtual_slurm(folder: Path, wait_until: Callable[..., None]) -> Iterator[dict[str, str]]:
    """Run a cluster; yield what the environment of its users holds."""
    host = socket.gethostname().partition('.')[0]
    port, *ports = _free_ports(1 + len(CPUS))
    nodes = [
        NODE.format(name=name, host=host, port=port, cpus=cpus, kind=name.rstrip('0123456789'))
        for port, (name, cpus) in zip(ports, CPUS.items(), strict=True)
    ]
    text = CONFIGURATION.format(host=host, port=port, folder=folder)
    configuration = folder / 'slurm.conf'
    configuration.write_text(text.replace('PartitionName', f'{"".join(nodes)}PartitionName'))
    for name in ('state', *(f'spool-{name}' for name in CPUS)):
        (folder / name).mkdir()
    environment = {'SLURM_CONF': str(configuration)}
    key = folder / 'munge.key'
    subprocess.run([str(_find('mungekey')), '--create', f'--keyfile={key}'], check=True)
    munge = [
        f'--{name}={folder}/munge.{name.partition("-")[0]}'
        for name in ('socket', 'key-file', 'pid-file', 'log-file', 'seed-file')
    ]
    commands = [
        ['munged', '--foreground', '--force', '--num-threads=2', *munge],
        ['slurmctld', '-D', '-f', str(configuration)],
        *(['slurmd', '-D', '-N', name, '-f', str(configuration)] for name in CPUS),
    ]
    with contextlib.ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((folder / f'{command[0]}-{command[-3][-8:]}.out').open('wb'))
            process = subprocess.Popen(
                [str(_find(command[0])), *command[1:]],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(_end, process)
            if command[0] == 'munged':
                wait_until((folder / 'munge.socket').exists, 'the start of munge')

        def idle() -> bool:
            command = ['sinfo', '--noheader', '--states=idle', '--format=%D']
            done = subprocess.run(
                command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
            )
            return sum(map(int, done.stdout.split())) == len(CPUS)

        wait_until(idle, 'the start of Slurm', 120)
        yield environment


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- pools ------------------------------------------------------------------------------------


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope='module')
def slurm(wait_until: Callable[..., None]) -> Iterator[Mapping[str, str]]:
    """Return the environment of the users of a Slurm with a node 'big' and two of kind 'small'."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        virtual_slurm(Path(folder), wait_until) as names,
    ):
        yield names


@pytest.fixture
def jobs(slurm: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Return a function that lists the states of all jobs."""
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)

    def jobs() -> list[str]:
        command = ['squeue', '--noheader', '--states=PENDING,RUNNING', '--format=%t']
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    yield jobs
    subprocess.run(['scancel', '--quiet', f'--user={os.getuid()}'], check=True)


@pytest.fixture
def backend() -> Iterator[WorkQueue]:
    with WorkQueue() as opened:
        opened.open(Job('pool', Function(abs)))
        yield opened


@pytest.mark.usefixtures('jobs')
def test_pools_of_unequal_nodes_are_classes_that_run_the_trials_of_a_search(
    crew: Any, tmp_path: Path, wait_until: Callable[..., None], jobs: Callable[[], list[str]]
) -> None:
    pools = [
        crew.start_pool(
            '--batch', 'slurm', '--count', '2', '--cores', '3', '--memory', '768', '--batch-options', '-C small'
        ),
        crew.start_pool('--batch', 'slurm', '--batch-options', '--constraint=big --cpus-per-task=6 --mem=1024'),
    ]

    def objective(params: Any) -> dict[str, Any]:
        import os
        import time
        from pathlib import Path

        (tmp_path / f'job-{os.environ["SLURM_JOB_ID"]}').touch()
        until = time.monotonic() + 120.0
        while len(list(tmp_path.glob('job-*'))) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        return {'loss': params['x'], 'job': os.environ['SLURM_JOB_ID'], 'folder': str(Path.cwd())}

    result = Shadho(
        'pool', objective, {'x': spaces.uniform(0, 1)}, max_tasks=40, backend='workqueue', storage=None, display=False
    ).run()  # fmt: skip
    assert len({trial.results['job'] for trial in result}) == 3
    assert {trial.compute_class for trial in result} == {'3-core 0.75GiB', '6-core 1GiB'}
    assert [pool.wait() for pool in pools] == [0, 0]
    wait_until(lambda: jobs() == [], 'the end of all jobs')
    assert not list(tmp_path.glob('.shadho-pool-*'))


@pytest.mark.usefixtures('jobs', 'backend')
@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (['--batch-options=--partition=nowhere'], 'invalid partition specified: nowhere'),
        (['--memory', '900000'], 'Memory specification can not be satisfied'),
        (['--gpus', '1'], 'Invalid generic resource'),
        (['--batch-options=--surely-no-such-option'], 'unrecognized option'),
    ],
)
def test_a_pool_whose_jobs_are_refused_ends_with_the_reason(crew: Any, options: list[str], reason: str) -> None:
    pool = crew.start_pool('--batch', 'slurm', *options)
    assert pool.wait() == 1
    assert 'Error: slurm refused the job: sbatch: ' in pool.said
    assert reason in pool.said
    assert 'The command was: sbatch' in pool.said


@pytest.mark.usefixtures('backend')
def test_a_pool_says_why_jobs_wait_and_takes_them_back_when_it_is_interrupted(
    crew: Any, jobs: Callable[[], list[str]], wait_until: Callable[..., None]
) -> None:
    pool = crew.start_pool('--batch', 'slurm', '--cores', '16', '--count', '2')
    wait_until(lambda: sorted(jobs()) == ['PD', 'R'], 'the start of a job')
    wait_until(lambda: 'slurm: 1 jobs run, 1 wait (Resources)' in pool.said, 'news of the jobs', 60)
    for _ in range(2):
        pool.send(signal.SIGINT)
    pool.wait()
    wait_until(lambda: jobs() == [], 'the end of all jobs')
    assert 'Traceback' not in pool.said


@pytest.mark.usefixtures('backend')
def test_a_job_that_ends_is_replaced(
    crew: Any, backend: WorkQueue, jobs: Callable[[], list[str]], wait_until: Callable[..., None], monkeypatch: Any
) -> None:
    monkeypatch.setenv('SHADHO_HARDWARE', '{"memory": 500}')
    crew.start_pool('--batch', 'slurm', '--cores', '1')

    def workers() -> set[str]:
        assert list(backend.poll(0.05)) == []
        return {worker.address for worker in backend._workers} if backend.discover() is not None else set()

    wait_until(workers, 'the coming of a worker', 60)
    first = workers()
    subprocess.run(['scancel', f'--user={os.getuid()}', '--state=RUNNING'], check=True)
    wait_until(lambda: workers() - first, 'the coming of another one', 60)


@pytest.mark.usefixtures('jobs', 'backend')
def test_a_job_whose_worker_cannot_start_is_told_of(crew: Any, tmp_path: Path, wait_until: Callable[..., None]) -> None:
    pool = crew.start_pool('--batch', 'slurm', environment={'SHADHO_HARDWARE': 'broken'})
    wait_until(lambda: 'has not reached the driver: ' in pool.said, 'news of the job', 60)
    assert 'the environment variable SHADHO_HARDWARE is not JSON' in pool.said


def test_without_slurm_no_pool_starts(monkeypatch: pytest.MonkeyPatch, crew: Any, listener: Any) -> None:
    Rendezvous('pool', os.uname().nodename, listener.getsockname()[1], 'known', os.getppid()).write()
    pool = crew.start_pool('--batch', 'slurm', environment={'PATH': str(Path(sys.executable).parent)})
    assert pool.wait() == 1
    assert 'the program sbatch was not found: start the pool where you submit jobs to Slurm' in pool.said
