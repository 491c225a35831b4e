"""What the launcher says of a job, and what is wrong when MPI says otherwise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from shadho import Shadho, spaces
from shadho.backends import Job
from shadho.execution.objective import Command, Function
from shadho_local import Local
from shadho_mpi import MPI
from shadho_mpi.launcher import launched_ranks

VARIABLES = (
    'OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'PMI_RANK', 'PMIX_RANK', 'MV2_COMM_WORLD_SIZE', 'MPI_LOCALNRANKS',
    'SLURM_NTASKS', 'SLURM_STEP_NUM_TASKS',
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the launcher of these tests, if there is one."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def pretend(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ('variables', 'ranks'),
    [
        ({'PMI_SIZE': '4', 'PMI_RANK': '3', 'MPI_LOCALNRANKS': '2'}, 4),  # MPICH, Intel MPI
        ({'OMPI_COMM_WORLD_SIZE': '3', 'PMIX_RANK': '0'}, 3),  # Open MPI
        ({'MV2_COMM_WORLD_SIZE': '6'}, 6),  # MVAPICH
        ({'PMIX_RANK': '0', 'SLURM_STEP_NUM_TASKS': '5', 'SLURM_NTASKS': '8'}, 5),  # srun --mpi=pmix
        ({'PMIX_RANK': '0', 'SLURM_NTASKS': '8'}, 8),
        ({'PMI_RANK': '1', 'SLURM_NTASKS': '8'}, 8),  # srun --mpi=pmi2
        ({'PMI_SIZE': '1', 'PMI_RANK': '0'}, 1),
    ],
)
def test_launchers_say_how_many_ranks_there_are(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], ranks: int
) -> None:
    pretend(monkeypatch, variables)
    assert launched_ranks() == ranks


@pytest.mark.parametrize('variables', [{}, {'SLURM_NTASKS': '8'}, {'SLURM_STEP_NUM_TASKS': '8', 'SLURM_PROCID': '0'}])
def test_without_a_launcher_of_mpi_there_is_one_rank(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> None:
    """As in an sbatch script, or in one that plain srun starts several times."""
    pretend(monkeypatch, variables)
    assert launched_ranks() == 1


JOBS = [Job('job', Function(abs)), Job('job', Command('true')), Job('job', Function(abs), trial_timeout=1.0)]


@pytest.mark.parametrize('job', JOBS)
def test_a_launcher_makes_this_backend_the_first_choice(monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    assert MPI.affinity(job) == 0
    monkeypatch.setenv('PMI_SIZE', '2')
    assert MPI.affinity(job) == 3


@pytest.mark.parametrize('objective', [abs, 'true'])
def test_auto_is_mpi_under_a_launcher(monkeypatch: pytest.MonkeyPatch, objective: Any) -> None:
    monkeypatch.setenv('PMI_SIZE', '2')
    assert isinstance(search(objective)._backend, MPI)


def test_auto_is_local_without_a_launcher() -> None:
    assert isinstance(search(abs)._backend, Local)


def test_auto_is_local_for_a_single_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {'PMI_SIZE': '1', 'PMI_RANK': '0'})
    assert isinstance(search(abs)._backend, Local)


def search(objective: Any) -> Shadho:
    return Shadho('job', objective, {'x': spaces.uniform(0, 1)}, max_tasks=1)


SCRIPT = """
import sys
from shadho import Shadho, spaces
PREPARE
Shadho('job', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, 'random', max_tasks=1, BACKEND display=False).run()
print('AFTER', 'mpi4py' in sys.modules)
"""


def run(prepare: str = '', backend: str = '') -> subprocess.CompletedProcess[str]:
    script = SCRIPT.replace('PREPARE', prepare).replace('BACKEND', backend)
    return subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize('variable', ['OMPI_COMM_WORLD_SIZE', 'MV2_COMM_WORLD_SIZE'])
def test_the_launcher_of_another_mpi_is_told_of(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Each of its ranks would be alone, and search by itself."""
    monkeypatch.setenv(variable, '4')
    ended = run()
    assert ended.returncode == 1
    assert ended.stdout == ''
    assert 'BackendError: the launcher started 4 ranks, but each of them is alone' in ended.stderr
    assert 'Use the launcher of that MPI' in ended.stderr


def test_what_brings_mpi_is_told_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PMI_SIZE', '2')
    ended = run("sys.modules['mpi4py'] = None")
    assert ended.returncode == 1
    assert 'BackendError: MPI cannot be loaded' in ended.stderr
    assert 'pip install mpi4py mpich' in ended.stderr


HELPER = """
import atexit
from shadho_mpi import launcher
atexit.register(print, 'HANDLER')
launcher._watch = WATCH
with launcher._watched():
    print('WATCHED', flush=True)
"""


@pytest.mark.parametrize('watch', ['lambda rank, over: 1 / 0', 'lambda rank, over: None'])
def test_the_helper_of_a_rank_never_runs_its_script(watch: str) -> None:
    command = [sys.executable, '-c', HELPER.replace('WATCH', watch, 1)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, 'WATCHED\nHANDLER\n')


@pytest.mark.parametrize('backend', ['', "backend='mpi',"])
def test_mpi_is_not_loaded_without_a_launcher(backend: str) -> None:
    ended = run(backend=backend)
    assert (ended.returncode, ended.stdout) == (0, 'AFTER False\n')
    assert ('a single process, not a job of several ranks' in ended.stderr) == bool(backend)
