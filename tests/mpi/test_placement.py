"""Ranks of several kinds and hosts: where trials really run, and what they find there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from shadho.hardware.machine import usable_cpus

START = """
import json, os, time
from pathlib import Path
from shadho import Shadho, spaces

RANK = int(os.environ.get('PMI_RANK') or os.environ.get('OMPI_COMM_WORLD_RANK'))
Path(f'rank-{RANK}').write_text(str(os.getpid()))
X = {'x': spaces.uniform(0, 1)}
"""

MEET = """
def objective(params):
    place = os.getppid()
    Path(f'{place}.here').touch()
    until = time.monotonic() + 20
    while len(list(Path.cwd().glob('*.here'))) < NUMBER and time.monotonic() < until:
        time.sleep(0.01)
    return {'loss': params['x'], 'place': place, 'cpus': sorted(os.sched_getaffinity(0))}

opt = Shadho('job', objective, X, 'random', max_tasks=40, seed=1, storage=None, display=False, policy='fcfs')
DECLARE
result = opt.run()
print(json.dumps([[own.compute_class, own.host.partition(' ')[2], own.results] for own in result]))
"""


def meet(number: int, declare: str = '') -> str:
    """Return a script whose trials say where they run, and last until some have begun on `number` ranks."""
    return START + MEET.replace('NUMBER', str(number)).replace('DECLARE', declare)


def placed(job: Any) -> dict[str, set[int]]:
    """Return the ranks on which trials of each class ran, as the processes there say, not only the driver."""
    assert job.status == 0, job.err
    ranks = {int(path.read_text()): int(path.name.partition('-')[2]) for path in Path.cwd().glob('rank-*')}
    places: dict[str, set[int]] = {}
    for compute_class, host, results in json.loads(job.out):
        rank = ranks[results['place']]
        assert host == f'rank {rank}'
        places.setdefault(compute_class, set()).add(rank)
    return places


def having(**facts: Any) -> tuple[str, ...]:
    return ('env', f'SHADHO_HARDWARE={json.dumps(facts)}')


def test_ranks_of_a_kind_form_a_class(mpirun: Any) -> None:
    job = mpirun(
        1, meet(4),
        (2, *having(cores=4, memory=8192)),
        (1, *having(cores=1, memory=4096, gpus=['V100'])),
        (1, *having(cores=2, memory=4096, rack='east')),
    )  # fmt: skip
    assert placed(job) == {'4-core 8GiB': {1, 2}, '1-core 4GiB 1xV100': {3}, '2-core 4GiB rack=east': {4}}


def test_declared_classes_take_the_ranks_that_satisfy_them(mpirun: Any) -> None:
    declare = "opt.add_compute_class('large', 'cores', 4)\nopt.add_compute_class('volta', 'gpu_model', 'V100')"
    job = mpirun(
        1, meet(4, declare),
        (1, *having(cores=5, memory=8192)),
        (1, *having(cores=4, memory=4096)),
        (1, *having(cores=1, memory=4096, gpus=['V100'])),
        (1, *having(cores=1, memory=4096)),
    )  # fmt: skip
    assert placed(job) == {'large': {1, 2}, 'volta': {3}, '1-core 4GiB': {4}}


STRAGGLING = """
def objective(params):
    is_slow = os.getppid() == int(Path('rank-2').read_text())
    time.sleep(120.0 if is_slow else 0.02 + 0.2 * params['x'])
    return {'loss': params['x'], 'place': os.getppid()}

result = Shadho('job', objective, X, 'random', max_tasks=15, seed=1, storage=None, display=False).run()
assert sorted(own.id for own in result) == list(range(15))
print(json.dumps([[own.compute_class, own.host.partition(' ')[2], own.results] for own in result]))
"""


def test_an_idle_rank_takes_over_a_trial_that_would_go_on_for_long_on_another(mpirun: Any) -> None:
    job = mpirun(1, START + STRAGGLING, (1, *having(cores=4, memory=8192)), (1, *having(cores=1, memory=4096)))
    assert placed(job) == {'4-core 8GiB': {1}}


def test_trials_stay_on_the_cores_of_their_rank(mpirun: Any) -> None:
    first, last = usable_cpus()[0], usable_cpus()[-1]
    job = mpirun(1, meet(2), (1, 'taskset', '-c', str(first)), (1, 'taskset', '-c', str(last)))
    assert set().union(*placed(job).values()) == {1, 2}
    assert {(host, *results['cpus']) for _, host, results in json.loads(job.out)} == {
        ('rank 1', first),
        ('rank 2', last),
    }


# On a host of its own, as far as its ranks can tell.
AWAY = (
    'unshare', *(() if os.geteuid() == 0 else ('--map-root-user',)), '--uts',
    'sh', '-c', 'hostname elsewhere && exec "$@"', 'sh',
)  # fmt: skip

COMMAND = """
opt = Shadho('job', COMMAND, X, 'random', max_tasks=12, seed=1, storage=None, display=False, policy='fcfs')
for name in ('evaluate.py', 'data'):
    opt.add_input_file(name)
opt.add_output_file('made/of.txt')
result = opt.run()
print(json.dumps([[own.id, own.host, own.results, own.params['x']] for own in result]))
"""

EVALUATE = """
import os, pathlib, socket, time, shadho_worker

def objective(params):
    host = socket.gethostname()
    pathlib.Path(MEETING, host).touch()
    until = time.monotonic() + 20
    while len(os.listdir(MEETING)) < HOSTS and time.monotonic() < until:
        time.sleep(0.01)
    pathlib.Path('made').mkdir()
    pathlib.Path('made/of.txt').write_text(repr(params['x']))
    offset = float(pathlib.Path('data/offset.txt').read_text())
    return {'loss': params['x'] + offset, 'host': host, 'data': os.path.realpath('data')}

shadho_worker.run(objective)
"""


def command(hosts: int) -> str:
    """Write the files of a command whose trials last until some have begun on so many hosts; return the script."""
    Path('meeting').mkdir()
    Path('evaluate.py').write_text(
        EVALUATE.replace('MEETING', repr(str(Path('meeting').absolute()))).replace('HOSTS', str(hosts))
    )
    Path('data').mkdir()
    Path('data', 'offset.txt').write_text('10')
    return START + COMMAND.replace('COMMAND', repr('python3 evaluate.py'), 1)


def check_trials(trials: list[Any]) -> None:
    assert len(trials) == 12
    for number, host, results, x in trials:
        assert results['loss'] == x + 10
        assert host.partition(' ')[::2] in {(results['host'], f'rank {rank}') for rank in (1, 2, 3)}
        assert Path('job-output', str(number), 'made', 'of.txt').read_text() == repr(x)


def test_files_of_commands_are_used_in_place_or_travel_to_other_hosts_and_back(mpirun: Any) -> None:
    job = mpirun(2, command(2), (2, *AWAY))
    assert job.status == 0, job.err
    trials = json.loads(job.out)
    check_trials(trials)
    here = {results['data'] for _, host, results, _ in trials if not host.startswith('elsewhere ')}
    there = {results['data'] for _, host, results, _ in trials if host.startswith('elsewhere ')}
    assert here == {str(Path('data').absolute())}
    assert there
    assert all(place.startswith(f'{job.folder}/') and place.endswith('/inputs/data') for place in there)


LINKS = """
opt = Shadho('job', 'cat linked.txt data/linked.txt > result.json', X, 'random', max_tasks=3, storage=None, display=False)
for name in ('linked.txt', 'data'):
    opt.add_input_file(name)
print({(own.host.partition(' ')[0], own.loss) for own in opt.run()})
"""


def test_linked_input_files_travel_as_files(mpirun: Any) -> None:
    Path('far').mkdir()
    Path('far', 'first.txt').write_text('1')
    Path('far', 'second.txt').write_text('2.5')
    Path('linked.txt').symlink_to(Path('far', 'first.txt').absolute())
    Path('real-data').mkdir()
    Path('real-data', 'linked.txt').symlink_to('../far/second.txt')
    Path('data').symlink_to('real-data')
    job = mpirun(1, START + LINKS, (1, *AWAY), timeout=60)
    assert (job.status, job.out) == (0, "{('elsewhere', 12.5)}\n"), job.err


def test_input_files_that_cannot_be_read_end_the_job_with_the_reason(mpirun: Any) -> None:
    Path('data').mkdir()
    Path('data', 'gone').symlink_to('nowhere')
    Path('linked.txt').touch()
    job = mpirun(1, START + LINKS, (1, *AWAY), timeout=60)
    assert job.status == 1
    assert 'the input files cannot be sent to the ranks on other machines' in job.err


def test_what_leads_out_of_a_folder_of_output_files_stays_behind(mpirun: Any) -> None:
    command = 'mkdir -p made; echo 1 > made/file; ln -s /etc/hostname made/link; mkfifo made/pipe; echo 1 > result.json'
    script = (
        START
        + f"""
opt = Shadho('job', {command!r}, X, 'random', max_tasks=3, storage=None, seed=1, display=False)
opt.add_output_file('made')
print(json.dumps([own.error for own in opt.run()]))
"""
    )
    job = mpirun(1, script, (2, *AWAY), timeout=60)
    assert (job.status, job.out) == (0, '[null, null, null]\n'), job.err
    assert {path.name for path in Path('job-output').glob('*/made/*')} == {'file'}


def test_ranks_divide_the_cores_of_their_own_host(mpirun: Any) -> None:
    script = START + (
        "result = Shadho('job', lambda params: params['x'], X, 'random', max_tasks=5, storage=None, display=False).run()\n"
        'print(json.dumps([(own.compute_class.hardware.cores, own.compute_class.slots) for own in result.classes]))\n'
    )
    job = mpirun(3, script, (1, *AWAY))
    whole = len(usable_cpus())
    half = max(1, whole // 2)
    assert sorted(json.loads(job.out)) == sorted([[half, 2 * half], [whole, whole]])  # two ranks here, and one there
