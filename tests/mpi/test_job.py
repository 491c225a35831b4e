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
    given = {'method': 'random', 'max_tasks': 20, 'seed': 1, 'display': False, **options}
    return Shadho(key, objective, {'x': spaces.uniform(0, 1)}, **given).run()
"""

IDLE = 0.1
"""Of a core, that a rank may use while it has nothing to do: under 0.03 at rest, but a crowded machine charges more."""

END = 20.0
"""Seconds in which a job with an error must have ended, most of which are its start."""


@pytest.mark.parametrize('ranks', [2, 4])
def test_what_follows_run_happens_once_and_what_trials_print_is_shown_once(mpirun: Any, ranks: int) -> None:
    script = """
atexit.register(print, 'HANDLER')
result = search('job', lambda params: print('PRINTED') or params['x'], max_tasks=5)
print('AFTER', len(result))
sys.exit(7)
"""
    job = mpirun(ranks, SCRIPT + script)
    assert (job.status, job.out) == (7, 'PRINTED\n' * 5 + 'AFTER 5\nHANDLER\n')


def test_a_script_may_search_several_times_also_without_the_other_ranks(mpirun: Any) -> None:
    script = """
def show(result):
    print(len(result), {trial.results.get('factor') for trial in result}, sorted({trial.host.partition(' ')[2] for trial in result}))

for factor, options in enumerate([{}, {'backend': 'inline'}, {'max_tasks': 40}]):
    show(search(f'number {factor}', lambda params: {'loss': factor * params['x'], 'factor': factor}, **options))
show(search('command', "echo 0.5 > result.json", max_tasks=4))
"""
    job = mpirun(2, SCRIPT + script)
    assert job.status == 0, job.err
    assert job.out == "20 {0} ['rank 1']\n20 {1} ['']\n40 {2} ['rank 1']\n4 {None} ['rank 1']\n"


def test_in_the_background_only_the_first_rank_goes_on(mpirun: Any) -> None:
    script = """
run = Shadho('job', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, 'random', max_tasks=5, display=False).run(background=True)
print('MEANWHILE')
print(len(run.wait()))
"""
    job = mpirun(3, SCRIPT + script)
    assert (job.status, job.out) == (0, 'MEANWHILE\n5\n')


def test_filters_of_warnings_reach_the_ranks(mpirun: Any) -> None:
    script = """
import warnings
warnings.filterwarnings('ignore', 'not this')

def objective(params):
    warnings.warn('not this one')
    return params['x']

search('job', objective, max_tasks=2)
"""
    job = mpirun(2, SCRIPT + script)
    assert (job.status, job.out) == (0, '')


def test_ranks_that_are_told_not_to_work_together_are_warned(mpirun: Any) -> None:
    script = "print('AFTER', len(search('job', lambda params: 1.0, backend='local', storage=None, max_tasks=2)))\n"
    job = mpirun(2, SCRIPT + script)
    assert (job.status, job.out) == (0, 'AFTER 2\n' * 2)
    assert (
        job.err.count("started for the backend 'mpi'; with backend='local' each of them runs a search of its own") == 2
    )


@pytest.mark.parametrize('rank', [0, 1])
def test_an_exception_before_run_ends_the_job(mpirun: Any, rank: int) -> None:
    script = f"if RANK == {rank}: raise RuntimeError('too early')\nsearch('job', lambda params: params['x'])\n"
    job = mpirun(3, SCRIPT + script, timeout=END)
    assert job.status != 0
    assert 'RuntimeError: too early' in job.err


def test_a_rank_that_ends_without_run_ends_the_job(mpirun: Any) -> None:
    script = "if RANK == 2: sys.exit()\nsearch('job', lambda params: params['x'])\n"
    job = mpirun(3, SCRIPT + script, timeout=END)
    assert job.status != 0


def test_ranks_may_be_started_by_scripts_and_come_late(mpirun: Any) -> None:
    script = "if RANK == 1: time.sleep(1.5)\nprint('AFTER', len(search('job', lambda params: params['x'])))\n"
    job = mpirun(1, SCRIPT + script, (2, 'sh', '-c', '"$@"\nexit $?', 'sh'))
    assert (job.status, job.out, job.err) == (0, 'AFTER 20\n', '')


def test_an_exception_after_run_ends_the_job_with_its_results_kept(mpirun: Any) -> None:
    job = mpirun(3, SCRIPT + "search('job', lambda params: params['x'])\nraise RuntimeError('too late')\n", timeout=END)
    assert job.status == 1
    assert job.err.count('RuntimeError: too late') == 1
    assert len(recorded()) == 20


def test_exceptions_in_observers_are_told_and_the_job_goes_on(mpirun: Any) -> None:
    script = """
class Raises:
    @hookimpl
    def shadho_trial_finished(self, trial):
        raise RuntimeError('raised here')

class Exits:
    @hookimpl
    def shadho_trial_finished(self, trial):
        sys.exit('exited here')

print('AFTER', len(search('job', lambda params: params['x'], plugins=[Raises(), Exits()])))
"""
    job = mpirun(3, SCRIPT + script)
    assert (job.status, job.out) == (0, 'AFTER 20\n')
    assert 'raised here' in job.err
    assert 'exited here' in job.err


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


LOADS = 'from mpi4py import MPI\n'
"""Scripts may load MPI themselves."""


@pytest.mark.parametrize('load', ['', LOADS])
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


@pytest.mark.parametrize(('rank', 'load'), [(0, ''), (2, ''), (2, LOADS)])
def test_bad_facts_of_a_rank_end_the_job_with_the_reason(mpirun: Any, rank: int, load: str) -> None:
    """The first rank runs no trials, and its facts do not matter."""
    script = f"if RANK == {rank}: os.environ['SHADHO_HARDWARE'] = 'four'\nsearch('job', lambda params: params['x'])\n"
    job = mpirun(3, SCRIPT + load + script, timeout=END)
    assert (job.status == 0) == (rank == 0)
    assert ('SHADHO_HARDWARE is not JSON' in job.err) == (rank == 2)


def test_what_cannot_run_is_told_with_the_reason(mpirun: Any) -> None:
    """To the script, which may go on, else as the end of the job."""
    script = """
import threading
from shadho.errors import ShadhoError

lock = threading.Lock()
for key, objective, options in [
    ('asks too much', lambda params: params['x'], {'resources': {'gpus': 1}}),
    ('objective', lambda params: lock.acquire() and 1.0, {}),
]:
    try:
        search(key, objective, **options)
    except ShadhoError as error:
        print(error)
print('AFTER', len(search('job', lambda params: params['x'])), flush=True)
Shadho('parameters', print, spaces.choice([lock]), 'random', max_tasks=1, storage=None, display=False).run()
"""
    job = mpirun(3, SCRIPT + script, timeout=END)
    assert job.status == 1
    no_fit, not_sent, after = job.out.splitlines()[:3]
    assert 'no trial fits on a rank' in no_fit
    assert 'the objective cannot be sent' in not_sent
    assert after == 'AFTER 20'
    assert 'ConfigurationError: the parameters <unlocked _thread.lock object' in job.err


def test_a_single_rank_says_so_and_runs_trials_here(mpirun: Any) -> None:
    script = """
print(len(search('named', lambda params: params['x'], backend='mpi')))
print(len(search('auto', lambda params: params['x'])))
"""
    job = mpirun(1, SCRIPT + script)
    assert (job.status, job.out) == (0, '20\n20\n')
    assert job.err.count('this is a single process, not a job of several ranks') == 1
    assert job.err.count("a launcher of MPI started a single rank, so the backend is 'local'") == 1


def test_idle_ranks_leave_the_processor_alone(mpirun: Any, wait_until: Any) -> None:
    """While they wait for others, where the script has loaded MPI, so that this waiting is ours; and in a search."""
    script = """
from mpi4py import MPI

def wait(params):
    Path('started').touch()
    while not Path('go').exists():
        time.sleep(0.05)
    return 1.0

Path(f'loaded-{RANK}').touch()
while RANK == 1 and not Path('come').exists():
    time.sleep(0.05)
print('AFTER', len(search('job', wait, max_tasks=1)))
"""
    job = mpirun.start(4, SCRIPT + script)
    wait_until(lambda: len(list(Path.cwd().glob('loaded-*'))) == 4, 'the loading of MPI')
    check_idle([0, 2, 3])
    Path('come').touch()
    wait_until(Path('started').exists, 'the trial', 60.0)
    check_idle(range(4))
    Path('go').touch()
    assert (job.wait(), job.out) == (0, 'AFTER 1\n')


def check_idle(ranks: Iterable[int]) -> None:
    """Ranks must come to rest, and use no more than `IDLE` then, for a second."""
    processes = [psutil.Process(int(Path(f'rank-{number}').read_text())) for number in ranks]
    until = time.monotonic() + 20
    while True:
        before, begun = [sum(rank.cpu_times()[:2]) for rank in processes], time.monotonic()
        time.sleep(1)
        seconds = time.monotonic() - begun
        shares = [(sum(rank.cpu_times()[:2]) - earlier) / seconds for rank, earlier in zip(processes, before)]
        if max(shares) <= IDLE:
            return
        assert time.monotonic() < until, shares


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


WITHIN = """
from shadho import Shadho, hookimpl, spaces
from shadho.errors import BackendError

def search(**options):
    return Shadho('within', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, max_tasks=2, storage=None, **options).run()

class Nested:
    @hookimpl
    def shadho_search_started(self, search):
        try:
            globals()['search'](backend='mpi')
        except BackendError as error:
            print(error)

print(len(search(plugins=[Nested()])), len(search()))
"""


def test_a_search_is_refused_while_the_ranks_run_another_one(mpirun: Any) -> None:
    job = mpirun(2, WITHIN)
    refused = 'the ranks of this job run another search already; run one search after the other'
    assert (job.status, job.out) == (0, f'{refused}\n2 2\n'), job.err


def recorded() -> list[Any]:
    """Return the trials that have a result in the storage."""
    from shadho.records import Result, TrialState

    records = [record for _, record in SQLite('job.db').read()]
    return [own.trial for own in records if isinstance(own, Result) and own.state is TrialState.DONE]
