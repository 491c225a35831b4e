"""What a trial costs among MPI ranks: SHADHO beside bare mpi4py and beside libEnsemble.

In one run, on this machine, with the mpirun beside this interpreter::

    python benchmarks/mpi.py                     # about two minutes on two cores

* executor: `mpi4py.futures.MPICommExecutor` alone, its worker ranks evaluating in the same sandbox as SHADHO's;
* shadho: a search over a function that does nothing, with as many ranks;
* libensemble: the same among its workers, without any sandbox, where it is installed (``pip install libensemble``);
* busy: what share of their time 29 worker ranks spend on trials of a second, each rank from its
  first trial to its last one.

Rates count from the first tenth of the trials to the last one, so that starting ranks is no part of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

HARDWARE = {'SHADHO_HARDWARE': '{"cores": 1}'}
"""One slot for each rank, however many cores there are."""

RATE = """
def rate(times):
    times = sorted(times)
    skipped = len(times) // 10
    return (len(times) - skipped) / (times[-1] - times[skipped - 1])
"""

EXECUTOR = (
    RATE
    + """
import os, sys, time
from concurrent.futures import FIRST_COMPLETED, wait
from mpi4py import MPI
from mpi4py.futures import MPICommExecutor
from shadho import ComputeClass
from shadho.execution.objective import Function
from shadho.execution.sandbox import pickle_objective
from shadho.execution.sandbox_pool import SandboxPool

pool = None

def evaluate(number, params):
    global pool
    if pool is None:
        pool = SandboxPool(pickle_objective(Function(lambda params: params['x'])), [ComputeClass('one', 1)])
    pool.start(number, 'one', params, None)
    return pool.poll(None)[0].outcome

count = int(sys.argv[1])
with MPICommExecutor(MPI.COMM_WORLD, root=0, backoff=1e-3) as executor:
    if executor is not None:
        ahead = 2 * executor.num_workers
        running = {executor.submit(evaluate, number, {'x': 0.5}) for number in range(ahead)}
        sent, times = ahead, []
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            times += [time.monotonic()] * len(ended)
            assert all(own.result()['loss'] == 0.5 for own in ended)
            for _ in range(min(len(ended), count - sent)):
                running.add(executor.submit(evaluate, sent, {'x': 0.5}))
                sent += 1
        print(rate(times), flush=True)
if pool is not None:
    pool.close()
"""
)

SEARCH = (
    RATE
    + """
import sys
from shadho import Shadho, spaces

opt = Shadho('benchmark', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, 'random', max_tasks=int(sys.argv[1]), seed=1,
             backend='mpi', display=False)
result = opt.run()
assert len(result) == int(sys.argv[1]) and all(own.error is None for own in result)
print(rate([own.finished for own in result]))
"""
)

BUSY = """
import sys
from shadho import Shadho, spaces

def objective(params):
    import time
    time.sleep(1)
    return params['x']

opt = Shadho('benchmark', objective, {'x': spaces.uniform(0, 1)}, 'random', timeout=float(sys.argv[1]), seed=1, backend='mpi',
             display=False)
result = opt.run()
places = {}
for own in result:
    places.setdefault(own.host, []).append(own)
spans = [max(own.finished for own in trials) - min(own.started for own in trials) for trials in places.values()]
print(sum(own.seconds for own in result) / sum(spans))
"""

LIBENSEMBLE = (
    RATE
    + """
import sys, time
import numpy as np
from libensemble.alloc_funcs.give_sim_work_first import give_sim_work_first
from libensemble.gen_funcs.sampling import latin_hypercube_sample
from libensemble.libE import libE
from mpi4py import MPI

def simulate(H, persis_info, sim_specs, _):
    out = np.zeros(len(H), dtype=sim_specs['out'])
    out['f'] = H['x'][:, 0]
    return out, persis_info

count = int(sys.argv[1])
H, _, _ = libE(
    {'sim_f': simulate, 'in': ['x'], 'out': [('f', float)]},
    {'gen_f': latin_hypercube_sample, 'out': [('x', float, (1,))],
     'user': {'gen_batch_size': count, 'lb': np.zeros(1), 'ub': np.ones(1)}},
    {'sim_max': count}, persis_info={number: {'rand_stream': np.random.default_rng(number)} for number in range(9)},
    libE_specs={'comms': 'mpi', 'mpi_comm': MPI.COMM_WORLD, 'disable_log_files': True, 'gen_on_manager': True},
    alloc_specs={'alloc_f': give_sim_work_first},
)
if MPI.COMM_WORLD.Get_rank() == 0:
    print(rate([own for own in H['sim_ended_time'] if own > 0]))
"""
)


def launch(script: str, ranks: int, argument: Any) -> float:
    """Return the number that a script prints, run by so many ranks."""
    Path('script.py').write_text(script)
    flags = shlex.split(os.environ.get('MPIRUN_FLAGS', ''))
    mpirun = [str(Path(sys.executable).with_name('mpirun')), *flags, '-n', str(ranks)]
    command = [*mpirun, sys.executable, 'script.py', str(argument)]
    ended = subprocess.run(command, env={**os.environ, **HARDWARE}, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(ended.stdout.split()[-1]))


def measure(script: str, ranks: int, argument: Any) -> float:
    """Do so in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return launch(script, ranks, argument)
        finally:
            os.chdir('/')


def main() -> None:
    """Measure, and print rates with their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trials', type=int, default=5000, help='that do nothing')
    parser.add_argument('--rounds', type=int, default=3, help='in which all take turns')
    parser.add_argument('--workers', type=int, default=3, help='ranks that run these')
    parser.add_argument('--ranks', type=int, default=30, help='in all, with trials of a second')
    parser.add_argument('--seconds', type=float, default=15, help='of trials of a second')
    arguments = parser.parse_args()
    scripts = {'executor: bare mpi4py, same sandbox': EXECUTOR, 'shadho: a search': SEARCH}
    if find_spec('libensemble'):
        scripts['libensemble: no sandbox'] = LIBENSEMBLE
    rounds = [
        [measure(script, arguments.workers + 1, arguments.trials) for script in scripts.values()]
        for _ in range(arguments.rounds)
    ]
    print(f'{"":36}  per second, median of {arguments.rounds} rounds')
    for name, rates in zip(scripts, zip(*rounds)):
        print(f'{name:36}  {median(rates):10.1f}   ({min(rates):.0f} to {max(rates):.0f})')
    print(f'shadho : executor     {median(own / bare for bare, own, *_ in rounds):5.2f}   (at least 0.6)')
    if len(scripts) > 2:
        print(f'shadho : libensemble  {median(own / peer for _, own, peer in rounds):5.2f}   (at least 1)')
    if arguments.ranks:
        busy = measure(BUSY, arguments.ranks, arguments.seconds)
        print(f'busy, {arguments.ranks} ranks       {busy:6.1%}   (at least 95 %)')


if __name__ == '__main__':
    main()
