"""Ranks that go on without one that was killed: under Open MPI with ``--with-ft ulfm``, where it is run by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import os, time
from pathlib import Path
from shadho import Shadho, spaces

RANK = int(os.environ['OMPI_COMM_WORLD_RANK'])
Path(f'rank-{RANK}').write_text(str(os.getpid()))

def objective(params):
    Path(f'here-{os.getppid()}').touch()
    while not Path('go').exists():
        time.sleep(0.01)
    return params['x']

for key in ('first', 'second'):
    result = Shadho(key, objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=30, seed=1).run()
    print(key, len(result), sorted({own.host.partition(' ')[2] for own in result}))
"""


@pytest.fixture(autouse=True)
def fault_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MPIRUN_FLAGS', f'--with-ft ulfm {os.environ.get("MPIRUN_FLAGS", "")}')
    monkeypatch.setenv('SHADHO_HARDWARE', '{"cores": 1}')


AGAIN = """
from shadho.errors import BackendError

def search(key):
    try:
        Shadho(key, objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=30, seed=1).run()
    except BackendError as error:
        print(key, error)

search('first')
search('second')
"""


def begin(mpirun: Any, wait_until: Any, killed: list[int], script: str = SCRIPT) -> Any:
    """Start a job of three workers, kill ranks while each runs a trial, and let the trials end."""
    job = mpirun.start(4, script)
    wait_until(lambda: len(list(Path.cwd().glob('here-*'))) == 3, 'the trials')
    for rank in killed:
        os.kill(int(Path(f'rank-{rank}').read_text()), signal.SIGKILL)
    if len(killed) < 3:
        wait_until(lambda: job.err.count('the search goes on without it') == len(killed), 'the news')
        Path('go').touch()
    return job


def test_survivors_go_on_when_ranks_are_killed(mpirun: Any, wait_until: Any) -> None:
    job = begin(mpirun, wait_until, [1, 3])
    assert job.wait() == 0, job.err
    job.check_gone()
    assert job.out == "first 30 ['rank 2']\nsecond 30 ['rank 2']\n"


def test_a_job_without_survivors_ends(mpirun: Any, wait_until: Any) -> None:
    job = begin(mpirun, wait_until, [1, 2, 3])
    assert job.wait(20) != 0
    job.check_gone()
    assert 'all ranks that ran trials have failed' in job.err


def test_a_search_after_the_last_survivor_is_refused_with_the_reason(mpirun: Any, wait_until: Any) -> None:
    job = begin(mpirun, wait_until, [1, 2, 3], SCRIPT.partition('for key in')[0] + AGAIN)
    job.wait(20)
    job.check_gone()
    reason = 'all ranks that ran trials have failed; start the job again to go on'
    assert job.out == f'first {reason}\nsecond {reason}\n'


LATE = """
from shadho_mpi.serve import Rank

poll = Rank.poll

def poll_late(self, timeout):
    ended = poll(self, timeout)
    if ended:
        while not Path('over').exists():
            time.sleep(0.01)
        time.sleep(0.5)  # the first rank has only to leave
    return ended

def large(params):
    return {'loss': objective(params), 'much': 'x' * 4_000_000}

Rank.poll = poll_late
result = Shadho('late', large, {'x': spaces.uniform(0, 1)}, timeout=5, seed=1).run()
print('AFTER', result.stopped, len(result), flush=True)
Path('over').touch()
"""


def test_results_of_survivors_that_come_after_the_search_do_not_hold_up_the_end(mpirun: Any, wait_until: Any) -> None:
    """Large ones, which leave their rank only when the first one takes them."""
    job = begin(mpirun, wait_until, [1], SCRIPT.partition('for key in')[0] + LATE)
    assert job.wait(30) == 0, job.err
    job.check_gone()
    assert job.out == 'AFTER timeout 0\n'
