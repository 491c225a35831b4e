"""Scripts under the launcher: what happens once, what the job ends with, and that it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from shadho.storage.sqlite import SQLite

SCRIPT = """
import atexit, os, sys, time
from pathlib import Path
from shadho import Shadho, hookimpl, spaces

RANK = int(os.environ.get('PMI_RANK') or os.environ.get('OMPI_COMM_WORLD_RANK'))
Path(f'rank-{RANK}').write_text(str(os.getpid()))

def search(key, objective, **options):
    given = {'max_tasks': 20, 'seed': 1, 'display': False, **options}
    return Shadho(key, objective, {'x': spaces.uniform(0, 1)}, **given).run()
"""

END = 20.0
"""Seconds in which a job with an error must have ended, most of which are its start."""


@pytest.mark.parametrize('ranks', [2, 4])
def test_what_follows_run_happens_once(mpirun: Any, ranks: int) -> None:
    job = mpirun(ranks, SCRIPT + "result = search('job', lambda params: params['x'])\nprint('AFTER', len(result))\n")
    assert (job.status, job.out, job.err) == (0, 'AFTER 20\n', '')


def test_exit_handlers_run_once(mpirun: Any) -> None:
    script = "atexit.register(print, 'HANDLER')\nsearch('job', lambda params: params['x'])\n"
    job = mpirun(3, SCRIPT + script)
    assert (job.status, job.out) == (0, 'HANDLER\n')


def test_a_script_may_search_several_times(mpirun: Any) -> None:
    script = """
for factor in (1, 2):
    result = search(f'number {factor}', lambda params: {'loss': factor * params['x'], 'factor': factor, 'rank': RANK})
    print(len(result), {trial.results['factor'] for trial in result})
print(len(search('command', "echo 0.5 > result.json", max_tasks=3)))
"""
    job = mpirun(3, SCRIPT + script)
    assert (job.status, job.out) == (0, '20 {1}\n20 {2}\n3\n')


def test_a_search_without_the_other_ranks_may_come_between(mpirun: Any) -> None:
    script = """
hosts = []
for backend in ('mpi', 'inline', 'mpi'):
    hosts.append({trial.host.partition(' ')[2] for trial in search(backend + str(len(hosts)), lambda params: 1.0, backend=backend)})
print(hosts[0] == hosts[2] <= {'rank 1', 'rank 2'}, hosts[1])
"""
    job = mpirun(3, SCRIPT + script)
    assert (job.status, job.out) == (0, "True {''}\n")


def test_ranks_that_are_told_not_to_work_together_are_warned(mpirun: Any) -> None:
    script = "print('AFTER', len(search('job', lambda params: 1.0, backend='local', storage=None, max_tasks=2)))\n"
    job = mpirun(2, SCRIPT + script)
    assert (job.status, job.out) == (0, 'AFTER 2\n' * 2)
    assert (
        job.err.count("started for the backend 'mpi'; with backend='local' each of them runs a search of its own") == 2
    )


def test_what_trials_print_is_shown_once(mpirun: Any) -> None:
    job = mpirun(2, SCRIPT + "search('job', lambda params: print('PRINTED') or 1.0, max_tasks=5)\n")
    assert (job.status, job.out) == (0, 'PRINTED\n' * 5)


def test_the_exit_status_of_the_script_is_that_of_the_job(mpirun: Any) -> None:
    job = mpirun(3, SCRIPT + "search('job', lambda params: params['x'])\nsys.exit(7)\n")
    assert job.status == 7


@pytest.mark.parametrize('rank', [0, 1])
def test_an_exception_before_run_ends_the_job(mpirun: Any, rank: int) -> None:
    script = f"if RANK == {rank}: raise RuntimeError('too early')\nsearch('job', lambda params: params['x'])\n"
    job = mpirun(4, SCRIPT + script, timeout=END)
    assert job.status != 0
    assert 'RuntimeError: too early' in job.err


def test_a_rank_that_ends_without_run_ends_the_job(mpirun: Any) -> None:
    script = "if RANK == 2: sys.exit()\nsearch('job', lambda params: params['x'])\n"
    job = mpirun(4, SCRIPT + script, timeout=END)
    assert job.status != 0


def test_ranks_may_be_started_by_scripts_and_come_late(mpirun: Any) -> None:
    script = "if RANK == 1: time.sleep(1.5)\nprint('AFTER', len(search('job', lambda params: params['x'])))\n"
    job = mpirun(1, SCRIPT + script, (2, 'sh', '-c', '"$@"\nexit $?', 'sh'))
    assert (job.status, job.out, job.err) == (0, 'AFTER 20\n', '')


def test_an_exception_after_run_ends_the_job_with_its_results_kept(mpirun: Any) -> None:
    job = mpirun(4, SCRIPT + "search('job', lambda params: params['x'])\nraise RuntimeError('too late')\n", timeout=END)
    assert job.status == 1
    assert job.err.count('RuntimeError: too late') == 1
    assert len(recorded()) == 20


@pytest.mark.parametrize('act', ["raise RuntimeError('mine')", "sys.exit('mine')"])
def test_an_exception_in_an_observer_is_told_and_the_job_goes_on(mpirun: Any, act: str) -> None:
    script = f"""
class Observer:
    @hookimpl
    def shadho_trial_finished(self, trial):
        {act}

print('AFTER', len(search('job', lambda params: params['x'], plugins=[Observer()])))
"""
    job = mpirun(3, SCRIPT + script)
    assert (job.status, job.out) == (0, 'AFTER 20\n')
    assert 'mine' in job.err


def test_an_exception_in_run_ends_the_job(mpirun: Any) -> None:
    job = mpirun(3, SCRIPT + "search('job', lambda params: params['x'], storage='nowhere/job.db')\n", timeout=END)
    assert job.status == 1
    assert 'StorageError' in job.err


def test_results_that_come_after_the_search_do_not_hold_up_the_end(mpirun: Any) -> None:
    """Large ones, which leave their rank only when the first one takes them."""
    script = """
from shadho_mpi.serve import Rank

poll = Rank.poll

def poll_late(self, timeout):
    ended = poll(self, timeout)
    if ended:
        while not Path('over').exists():
            time.sleep(0.01)
        time.sleep(0.5)  # the first rank has only to leave
    return ended

Rank.poll = poll_late
result = search('job', lambda params: {'loss': 1.0, 'much': 'x' * 4_000_000}, timeout=1.0)
print('AFTER', result.stopped, len(result), flush=True)
Path('over').touch()
"""
    job = mpirun(3, SCRIPT + script, timeout=END)
    assert (job.status, job.out) == (0, 'AFTER timeout 0\n')


LOADING = pytest.mark.parametrize('load', ['', 'from mpi4py import MPI\n'])
"""Scripts may load MPI themselves."""


@LOADING
def test_a_rank_that_does_not_come_ends_the_job_with_the_reason(mpirun: Any, load: str) -> None:
    script = """
from shadho_mpi import launcher

launcher._GATHERING = 1.0
if RANK == 1:
    time.sleep(1000)
search('job', lambda params: params['x'])
"""
    job = mpirun(3, SCRIPT + load + script, timeout=END)
    assert job.status != 0
    assert 'some of the 3 ranks have not reached run() within 1 s of this one' in job.err


@LOADING
@pytest.mark.parametrize('rank', [0, 2])
def test_bad_facts_of_a_rank_end_the_job_with_the_reason(mpirun: Any, rank: int, load: str) -> None:
    """The first rank runs no trials, and its facts do not matter."""
    script = f"if RANK == {rank}: os.environ['SHADHO_HARDWARE'] = 'four'\nsearch('job', lambda params: params['x'])\n"
    job = mpirun(3, SCRIPT + load + script, timeout=END)
    assert (job.status == 0) == (rank == 0)
    assert ('SHADHO_HARDWARE is not JSON' in job.err) == (rank == 2)


def test_a_job_that_cannot_be_configured_says_so_and_ends(mpirun: Any) -> None:
    job = mpirun(3, SCRIPT + "search('job', lambda params: params['x'], resources={'gpus': 1})\n", timeout=END)
    assert job.status == 1
    assert 'no trial fits on a rank' in job.err


def test_an_objective_that_cannot_travel_ends_the_job_with_the_reason(mpirun: Any) -> None:
    script = "import threading\nlock = threading.Lock()\nsearch('job', lambda params: lock.acquire() and 1.0)\n"
    job = mpirun(3, SCRIPT + script, timeout=END)
    assert job.status == 1
    assert 'the objective cannot be sent' in job.err


def test_parameters_that_cannot_travel_end_the_job_with_the_reason(mpirun: Any) -> None:
    script = (
        "import threading\nShadho('job', print, spaces.choice([threading.Lock()]), max_tasks=1, storage=None).run()\n"
    )
    job = mpirun(3, SCRIPT + script, timeout=END)
    assert job.status == 1
    assert 'ConfigurationError: the parameters <unlocked _thread.lock object' in job.err


def test_a_single_rank_says_so_and_runs_trials_here(mpirun: Any) -> None:
    job = mpirun(1, SCRIPT + "print(len(search('job', lambda params: params['x'], backend='mpi')))\n")
    assert (job.status, job.out) == (0, '20\n')
    assert 'a single process, not a job of several ranks' in job.err


def test_idle_ranks_leave_the_processor_alone(mpirun: Any, wait_until: Any) -> None:
    script = """
def wait(params):
    Path('started').touch()
    while not Path('go').exists():
        time.sleep(0.05)
    return 1.0

search('job', wait, max_tasks=1)
"""
    job = mpirun.start(4, SCRIPT + script)
    wait_until(Path('started').exists, 'the trial')
    shares = used(range(4))
    Path('go').touch()
    assert job.wait() == 0
    assert max(shares) <= 0.1, shares


def test_ranks_that_wait_for_others_leave_the_processor_alone(mpirun: Any, wait_until: Any) -> None:
    """Where the script has loaded MPI, so that this waiting is ours."""
    script = """
from mpi4py import MPI

Path(f'loaded-{RANK}').touch()
while RANK == 1 and not Path('go').exists():
    time.sleep(0.05)
print('AFTER', len(search('job', lambda params: params['x'])))
"""
    job = mpirun.start(3, SCRIPT + script)
    wait_until(lambda: len(list(Path.cwd().glob('loaded-*'))) == 3, 'the loading of MPI')
    shares = used([0, 2])
    Path('go').touch()
    assert (job.wait(), job.out) == (0, 'AFTER 20\n')
    assert max(shares) <= 0.1, shares


def used(ranks: Iterable[int]) -> list[float]:
    """Return what share of a core each rank uses, seen for three seconds."""
    processes = [psutil.Process(int(Path(f'rank-{number}').read_text())) for number in ranks]
    before, begun = [sum(rank.cpu_times()[:2]) for rank in processes], time.monotonic()
    time.sleep(3)
    seconds = time.monotonic() - begun
    return [(sum(rank.cpu_times()[:2]) - earlier) / seconds for rank, earlier in zip(processes, before)]


LOST = """
from mpi4py import MPI
from shadho_mpi.backend import _Job

class Communicator:
    def iprobe(self, source):
        return source == 1

    def recv(self, source):
        calls.append(f'receive from {source}')
        raise MPI.Exception(MPI.ERR_PROC_FAILED)

    def isend(self, message, dest):
        calls.append(f'send to {dest}')
        raise MPI.Exception(MPI.ERR_PROC_FAILED)

calls = []
job = _Job()
job.communicator, job.serving = Communicator(), [1, 2]
print(job.receive(), job.serving)
for number in (1, 2, 2):
    job.send(number, 'close')
print(calls, job.serving)
MPI.Finalize()
"""


def test_a_rank_that_is_lost_while_it_sends_is_not_asked_again(mpirun: Any) -> None:
    """As under Open MPI with ``--with-ft ulfm``, at a moment that no test could choose."""
    job = mpirun(1, LOST)
    assert (job.status, job.out) == (0, "[] [2]\n['receive from 1', 'send to 2'] []\n"), job.err


def recorded() -> list[Any]:
    """Return the trials that have a result in the storage."""
    from shadho.records import Result, TrialState

    records = [record for _, record in SQLite('job.db').read()]
    return [own.trial for own in records if isinstance(own, Result) and own.state is TrialState.DONE]
