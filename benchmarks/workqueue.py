"""What a distributed trial costs: SHADHO over Work Queue beside raw Work Queue, with two one-core workers.

Three rates of one run, on this machine over the loopback::

    python benchmarks/workqueue.py               # about two minutes on two cores
    python benchmarks/workqueue.py --connected 2 50 200 400    # what connected workers cost the manager

* raw: the engine alone runs ``true``, with as many tasks in its queue as SHADHO keeps there;
* warm: a search over a function that does nothing, in the workers' warm processes;
* cold: the same function as a script of its own, for which every trial starts an interpreter.

With ``--connected``, so many real workers of the engine connect, and get ``true`` to run: what a connected worker and a
task cost the manager, in processor time.

Rates count from the first tenth of the trials to the last one, so that starting workers is no part of them.
Needs ``pip install psutil``, shadho-workqueue and its engine (``python3 -m shadho.install.workqueue``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from shadho import Shadho, spaces
from shadho_workqueue import WorkQueue
from shadho_workqueue.driver.engine import Engine
from shadho_workqueue.installation import find_bindings, find_program
from shadho_workqueue.reports import ask

SLOTS = 2
WINDOW = 4
"""Tasks in the queue: one for each slot, and one more that waits beside it."""

RAW = """
import sys, time
try:
    import ndcctools.work_queue as wq
except ImportError:
    import work_queue as wq
queue = wq.WorkQueue(0)
print(queue.port, flush=True)
count, window = int(sys.argv[1]), int(sys.argv[2])
def submit():
    task = wq.Task('true')
    task.specify_cores(1), task.specify_memory(1), task.specify_disk(1), task.specify_gpus(0)
    queue.submit(task)
for _ in range(window):
    submit()
ended, times = 0, []
while ended < count:
    if queue.wait(5) is not None:
        ended += 1
        times.append(time.monotonic())
        if ended + window <= count:
            submit()
queue.shutdown_workers(0)
skipped = count // 10
print((count - skipped) / (times[-1] - times[skipped - 1]))
"""


@contextmanager
def workers(start: Callable[[int], Sequence[str]], count: int = SLOTS) -> Iterator[None]:
    """Run workers meanwhile, quietly."""
    started = [
        subprocess.Popen(start(number), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for number in range(count)
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
            process.wait()


def raw(trials: int) -> float:
    """Return tasks per second of the engine alone."""
    bindings, program = find_bindings(), find_program('work_queue_worker')
    assert bindings is not None
    assert program is not None
    manager = subprocess.Popen(
        [bindings.python, '-c', RAW, str(trials), str(WINDOW)], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert manager.stdout is not None
    port = manager.stdout.readline().strip()
    options = ['--cores', '1', '--memory', '1000', '--disk', '1000', '-t', '60']
    with (
        tempfile.TemporaryDirectory() as folder,
        workers(lambda _: [program, *options, '-s', folder, '127.0.0.1', port]),
    ):
        rate = float(manager.stdout.readline())
    manager.wait()
    return rate


SCRIPT = """
import shadho_worker
shadho_worker.run(lambda params: params['x'])
"""


def searched(objective: Any, trials: int, *files: str) -> float:
    """Return trials per second of a search."""
    key = f'benchmark-{uuid.uuid4().hex[:8]}'
    door = [sys.executable, '-m', 'shadho.workers.workqueue', '-M', key, '--cores', '1']
    opt = Shadho(key, objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=trials, seed=1, storage='search.db',
                 backend=WorkQueue(), display=False)  # fmt: skip
    for file in files:
        opt.add_input_file(file)
    with workers(lambda number: [*door, '--name', str(number)]):
        result = opt.run()
    finished = sorted(trial.finished for trial in result)
    failed = [trial for trial in result if trial.error is not None]
    assert not failed, failed[0].error
    Path('search.db').unlink()
    skipped = trials // 10
    return (trials - skipped) / (finished[-1] - finished[skipped - 1])


def connected(count: int, tasks: int = 1000) -> tuple[float, float, float]:
    """Return the manager's load with idle workers, the seconds of a report on them, and its milliseconds a task."""
    program = find_program('work_queue_worker')
    assert program is not None
    password = Path('password')
    password.write_text('benchmark')
    engine = Engine(port=0, password_file='password', keepalive=(20, 15), catalog=None, name='', debug_log=None)
    process = psutil.Process(engine.pid)
    options = ['-P', 'password', '-s', '.', '--cores', '1', '--memory', '100', '--disk', '1000']
    task = {'command': 'true', 'feature': None, 'cores': 1, 'memory': 1, 'disk': 1, 'gpus': 0, 'files': [],
            'buffers': [('x' * 200, 'request')], 'outputs': []}  # fmt: skip

    def used() -> float:
        return sum(process.cpu_times()[:2])

    def submit(number: int) -> None:
        engine.send(do='submit', attempt=number, group='', asked=task)

    with workers(lambda _: [program, *options, '127.0.0.1', str(engine.port)], count):
        while len(ask(engine.port, 'benchmark')) < count:
            list(engine.wait(0.1))
        before, begun = used(), time.monotonic()
        time.sleep(10)
        load = (used() - before) / (time.monotonic() - begun)
        begun = time.monotonic()
        ask(engine.port, 'benchmark')
        report = time.monotonic() - begun
        before, ended = used(), 0
        for number in range(min(tasks, 2 * count)):
            submit(number)
        while ended < tasks:
            for news in engine.wait(5):
                ended += news['say'] == 'done'
                if ended + 2 * count <= tasks:
                    submit(ended + 2 * count)
        cost = (used() - before) / tasks
    engine.close(shutdown=True)
    return load, report, cost * 1000


def print_connected(counts: Sequence[int]) -> None:
    """Print what connected workers cost the manager."""
    print('workers  manager when idle  report  manager per task')
    for count in counts:
        load, report, cost = connected(count)
        print(f'{count:7}  {load:17.1%}  {report:4.2f} s  {cost:13.2f} ms')


def main() -> None:
    """Measure the three rates, and print them with their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trials', type=int, default=1000, help='of each kind but the cold ones, which are a fifth')
    parser.add_argument('--connected', type=int, nargs='+', metavar='N', help='measure this, with so many workers')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if arguments.connected:
            print_connected(arguments.connected)
            return
        Path('script.py').write_text(SCRIPT)
        rates = {
            'raw: the engine alone runs true': raw(arguments.trials),
            'warm: a function that does nothing': searched(lambda params: params['x'], arguments.trials),
            'cold: a script that does nothing': searched(
                'python3 script.py', max(50, arguments.trials // 5), 'script.py'
            ),
        }
        os.chdir('/')
    base, warm, cold = rates.values()
    print(f'{"":36}  per second')
    for name, rate in rates.items():
        print(f'{name:36}  {rate:10.1f}')
    print(f'warm : raw   {warm / base:5.2f}   (at least 0.25)')
    print(f'warm : cold  {warm / cold:5.2f}   (at least 4)')


if __name__ == '__main__':
    main()
