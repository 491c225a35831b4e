"""The local backend: real processes, real crashes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from shadho import ComputeClass, SearchResult, Shadho, Trial, TrialState, spaces
from shadho.errors import BackendError, ConfigurationError
from shadho.hardware.machine import usable_cpus
from shadho.live.lines import PlainDisplay
from shadho.records import Result
from shadho.storage.sqlite import SQLite
from shadho_local import Local

X = {'x': spaces.uniform(0, 1)}


def run(objective: Any, space: Any = X, **options: Any) -> SearchResult:
    given = {'backend': Local(2), 'storage': None, 'seed': 0, 'display': False, **options}
    return Shadho('test', objective, space, **given).run()


def kinds(*names: str) -> dict[str, Any]:
    return {'kind': spaces.grid(list(names))}


def outcomes(result: SearchResult) -> dict[str, Trial]:
    return {trial.params['kind']: trial for trial in result}


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do; fails after a minute."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, 'it did not happen within a minute'
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_auto_takes_the_local_backend_for_functions() -> None:
    opt = Shadho('test', lambda params: params['x'], X, max_tasks=1)
    assert opt._backend.name == 'local'


def test_trials_run_in_processes_of_their_own_and_at_the_same_time() -> None:
    def objective(params: dict[str, float]) -> dict[str, Any]:
        import os
        from pathlib import Path

        Path(f'{os.getpid()}.here').touch()
        while len(list(Path().glob('*.here'))) < 2:
            pass
        return {'loss': params['x'], 'pid': os.getpid()}

    pids = {trial.results['pid'] for trial in run(objective, max_tasks=10, trial_timeout=30)}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_closures_and_classes_of_an_unguarded_script_are_objectives() -> None:
    script = """
from shadho import Shadho, spaces
offset = 10
class Kind:
    def __init__(self, scale): self.scale = scale
    def __call__(self, params): return self.scale * params['x'] + offset + params['f'](0)
kinds = [lambda x: x, abs]
result = Shadho('t', Kind(2), {'x': spaces.uniform(0, 1), 'f': kinds}, 'random', max_tasks=6, storage=None, backend='local', display=False).run()
print(all(10 <= trial.loss <= 12 for trial in result), len(result), [trial.error for trial in result if trial.error])
"""
    Path('script.py').write_text(script)
    assert (
        subprocess.run([sys.executable, 'script.py'], capture_output=True, text=True, check=True).stdout
        == 'True 6 []\n'
    )


def test_modules_beside_the_script_can_be_imported() -> None:
    Path('folder').mkdir()
    Path('folder/mine.py').write_text('def objective(params):\n    return params["x"]\n')
    Path('folder/driver.py').write_text(
        'from shadho import Shadho, spaces\nimport mine\n'
        'result = Shadho("t", mine.objective, {"x": spaces.uniform(0, 1)}, max_tasks=2, storage=None, backend="local", display=False).run()\n'
        'print([trial.state.value for trial in result])\n'
    )
    done = subprocess.run([sys.executable, 'folder/driver.py'], capture_output=True, text=True, check=True)
    assert done.stdout == "['done', 'done']\n"


def hostile(params: dict[str, str]) -> Any:  # noqa: C901
    import ctypes
    import os
    import signal
    import sys
    import time

    kind = params['kind']
    if kind == 'segfault':
        ctypes.string_at(0)
    elif kind == 'exit':
        os._exit(3)
    elif kind == 'exit well':
        os._exit(0)
    elif kind == 'killed':
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == 'sys.exit':
        sys.exit('enough')
    elif kind == 'hang':
        time.sleep(600)
    elif kind == 'raise':
        raise ValueError('no')
    elif kind == 'memory':
        raise MemoryError('10 GiB')
    elif kind == 'deaf':
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass
    elif kind == 'closes output':
        os.close(1)
        sys.stderr.close()
    elif kind == 'goes away':
        os.chdir('/')
    return 1.0


def test_a_trial_that_ends_or_blocks_its_process_fails_alone(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.syspath_prepend(repository)  # so that other processes can import this module, and show its lines
    expected = {
        'segfault': 'crash', 'exit': 'crash', 'exit well': 'crash', 'killed': 'crash', 'sys.exit': 'exception', 'hang': 'timeout',
        'raise': 'exception', 'memory': 'memory', 'deaf': 'timeout', 'closes output': None, 'goes away': None, 'fine': None,
    }  # fmt: skip
    trials = outcomes(run(hostile, kinds(*expected), trial_timeout=1.0, grace=0.2))
    assert {kind: trial.error and trial.error.kind for kind, trial in trials.items()} == expected
    assert 'SIGSEGV' in trials['segfault'].error.message
    assert 'exit status 3; did it call os._exit?' in trials['exit'].error.message
    assert 'string_at' in trials['segfault'].error.traceback
    assert "raise ValueError('no')" in trials['raise'].error.traceback
    assert 'trial_timeout of 1 s' in trials['hang'].error.message
    assert trials['hang'].seconds >= 1.0
    assert trials['deaf'].error.message.endswith('trial_timeout of 1 s; it did not end within 0.2 s of SIGTERM')


STARTS_CHILDREN = """
import os, subprocess
from pathlib import Path

def start_children(name):
    plain = subprocess.Popen(['sleep', '1000'])
    detached = subprocess.Popen(['sleep', '1000'], start_new_session=True)
    orphan = subprocess.run('setsid sleep 1000 > /dev/null 2>&1 & echo $!', shell=True, capture_output=True, text=True)
    Path(name + '.part').write_text(f'{plain.pid} {detached.pid} {orphan.stdout}')
    os.replace(name + '.part', name)
"""


@pytest.mark.parametrize(
    ('end', 'kind'), [('time.sleep(1000)', 'timeout'), ('os.abort()', 'crash'), ('os._exit(0)', 'crash')]
)
def test_nothing_that_a_trial_started_outlives_its_end(end: str, kind: str) -> None:
    Path('mine.py').write_text(STARTS_CHILDREN)
    code = f'def objective(params):\n    import os, time, mine\n    mine.start_children("pids")\n    {end}\n'
    namespace: dict[str, Any] = {'__name__': '__main__'}
    exec(code, namespace)
    sys.path.insert(0, str(Path.cwd()))
    try:
        (trial,) = run(namespace['objective'], max_tasks=1, trial_timeout=2.0)
    finally:
        sys.path.remove(str(Path.cwd()))
    assert trial.error.kind == kind
    pids = Path('pids').read_text().split()
    assert len(pids) == 3
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(int(pid)))


def test_memory_that_an_objective_keeps_fails_no_trial_after_the_first_without_any() -> None:
    kept: list[bytearray] = []

    def objective(params: Any) -> float:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.RLIM_INFINITY))
        kept.append(bytearray(300 * 2**20))
        return params['x']

    result = sorted(run(objective, max_tasks=9, backend=Local(1), method='random'), key=lambda trial: trial.id)
    assert [trial.error and trial.error.kind for trial in result].count('memory') in (1, 2)
    assert result[-1].error is None or result[-2].error is None


def test_a_process_without_the_memory_to_report_its_trial_fails_that_trial_alone() -> None:
    def objective(params: dict[str, str]) -> Any:
        import sys

        if params['kind'] == 'unreported':
            sys.modules['shadho.execution.child'].__dict__['_encode'] = _raise_memory_error
        return 1.0

    def _raise_memory_error(outcome: Any) -> str:
        raise MemoryError

    trials = outcomes(run(objective, kinds('unreported', 'fine', 'fine too'), backend=Local(1)))
    assert {kind: trial.error and trial.error.kind for kind, trial in trials.items()} == {
        'unreported': 'memory',
        'fine': None,
        'fine too': None,
    }
    assert 'had no memory left' in trials['unreported'].error.message


@pytest.mark.parametrize('queued', [False, True])
def test_max_tasks_per_child_counts_the_trials_of_each_process(queued: bool) -> None:
    def objective(params: dict[str, float]) -> dict[str, Any]:
        import os
        import time

        time.sleep(0.0 if queued else 0.02)
        return {'loss': params['x'], 'pid': os.getpid()}

    result = run(objective, max_tasks=7, max_tasks_per_child=3, backend=Local(1))
    pids = [trial.results['pid'] for trial in sorted(result, key=lambda trial: trial.id)]
    assert [len(list(trials)) for _, trials in itertools.groupby(pids)] == [3, 3, 1]


@pytest.mark.parametrize('harm', ['close', 'replace', 'streams'])
def test_input_and_output_that_a_trial_closed_are_mended_before_the_next_one(harm: str) -> None:
    def objective(params: dict[str, int]) -> float:
        import os
        import sys

        print('trial', params['turn'])
        if params['turn'] == 0:
            if harm == 'streams':
                sys.stdin.close()
                sys.stdout.close()
            else:
                os.closerange(0, 3)
            if harm == 'replace':
                for _ in range(3):
                    os.open('/', os.O_RDONLY)
            return 0.0
        os.system('echo from a child')
        return float(input() or 0)

    first, second = run(objective, {'turn': spaces.grid([0, 1])}, method='grid', backend=Local(1))
    assert first.loss == 0.0
    assert second.error.kind == 'exception'
    assert 'EOFError' in second.error.message
    assert second.output.split('\n')[:2] == ['trial 1', 'from a child']


def test_temporary_files_go_with_the_process_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    Path('temporary').mkdir()
    monkeypatch.setenv('TMPDIR', str(Path('temporary').absolute()))
    monkeypatch.setattr('tempfile.tempdir', None)
    result = run('sleep 1000', max_tasks=1, trial_timeout=0.5)
    assert [trial.error.kind for trial in result] == ['timeout']
    assert list(Path('temporary').iterdir()) == []


def test_an_objective_that_is_never_loaded_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('shadho.execution.sandbox.LOADING_SECONDS', 1.0)

    class Endless:
        def __reduce__(self) -> Any:
            return (time.sleep, (1000,))

        def __call__(self, params: Any) -> float:
            return 1.0

    (trial,) = run(Endless(), max_tasks=1, trial_timeout=0.5)
    assert (trial.error.kind, 'not loaded in time' in trial.error.message) == ('timeout', True)


def test_a_module_that_searches_when_it_is_imported_is_told_so() -> None:
    Path('mine.py').write_text(
        'from shadho import Shadho, spaces\n'
        'def objective(params):\n    return params["x"]\n'
        'result = Shadho("t", objective, {"x": spaces.uniform(0, 1)}, max_tasks=2, storage=None, backend="local").run()\n'
    )
    code = 'import mine; print({trial.error.message.partition(";")[0] for trial in mine.result})'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert 'the module of the objective runs a search when it is imported' in done.stdout


def test_files_in_the_working_folder_do_not_hide_standard_modules() -> None:
    Path('json.py').write_text('raise RuntimeError("the wrong one")')
    Path('scripts').mkdir()
    Path('scripts/driver.py').write_text(
        'from shadho import Shadho, spaces\n'
        'result = Shadho("t", lambda params: params["x"], {"x": spaces.uniform(0, 1)}, max_tasks=2, storage=None, backend="local").run()\n'
        'print([trial.state.value for trial in result])\n'
    )
    done = subprocess.run([sys.executable, 'scripts/driver.py'], capture_output=True, text=True, check=True)
    assert done.stdout == "['done', 'done']\n"


def test_the_time_of_a_trial_counts_from_when_its_process_is_ready() -> None:
    Path('slow_import.py').write_text('import time\ntime.sleep(1.5)\ndef objective(params):\n    return 1.0\n')
    sys.path.insert(0, str(Path.cwd()))
    try:
        import slow_import

        result = run(slow_import.objective, max_tasks=2, trial_timeout=1.0)
    finally:
        sys.path.remove(str(Path.cwd()))
    assert [trial.state for trial in result] == [TrialState.DONE] * 2
    assert all(trial.finished - trial.started < 1.0 for trial in result)


def test_what_a_trial_prints_is_shown_whole_and_failures_keep_it(capsys: pytest.CaptureFixture[str]) -> None:
    def objective(params: dict[str, str]) -> float:
        import os

        print('printed by', params['kind'])
        os.system('echo and by its child')
        if params['kind'] == 'dies':
            os.abort()
        return 1.0

    trials = outcomes(run(objective, kinds('lives', 'dies')))
    assert capsys.readouterr().out == 'printed by lives\nand by its child\n'
    assert trials['lives'].output == 'printed by lives\nand by its child\n'
    assert 'and by its child' in trials['dies'].error.traceback


@pytest.mark.parametrize(
    ('objective', 'echo', 'shown'),
    [(print, None, True), (print, False, False), ('echo {}', None, False), ('echo {}', True, True)],
)
def test_what_trials_print_is_shown_where_it_is_wanted_and_kept(
    objective: Any, echo: bool | None, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(objective, max_tasks=2, echo=echo)
    assert bool(capsys.readouterr().out) == shown
    assert all(trial.output or trial.error.traceback for trial in result)


def test_a_panel_leaves_lines_of_trials_out_and_says_how_many_and_where_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlainDisplay, 'LINES', 2)
    kept = 'all of a trial: shadho trials test.db <its number>'
    for storage, where in (('test.db', kept), (None, "the result's trials have them as trial.output")):
        run(lambda params: print('a\nb\nc'), max_tasks=1, storage=storage, display=True)
        told = capsys.readouterr()
        assert told.out == '[... 1 more]\nb\nc\n'
        assert told.err.endswith(f'1 line that trials printed was not shown\n{where}\n')


def test_filters_of_warnings_hold_in_trials_before_those_of_libraries_that_are_loaded_there() -> None:
    Path('library.py').write_text(
        "import warnings\nwarnings.filterwarnings('always', category=UserWarning)\n"
        'class Odd(UserWarning):\n    pass\n'
        "warnings.warn('while it loads', Odd)\n"
        'def objective(params):\n'
        "    warnings.warn('not this', Odd)\n"
        "    warnings.warn('but this')\n"
        "    warnings.warn('and this is an error', RuntimeWarning)\n"
    )
    script = """
import warnings
warnings.filterwarnings('ignore', 'while it loads')
from library import Odd, objective
warnings.filterwarnings('ignore', category=Odd)
warnings.filterwarnings('error', category=RuntimeWarning)
from shadho import Shadho, spaces
(trial,) = Shadho('odd', objective, {'x': spaces.grid([1])}, backend='local', storage=None, display=False).run()
assert trial.error.message == 'RuntimeWarning: and this is an error', trial.error
assert [line.partition('Warning: ')[2] for line in trial.output.splitlines() if 'Warning: ' in line][:1] == ['but this'], trial.output
"""
    Path('script.py').write_text(script)
    subprocess.run([sys.executable, 'script.py'], check=True, timeout=120)


def test_each_trial_of_a_slot_keeps_what_it_printed_and_no_more() -> None:
    def objective(params: dict[str, float]) -> float:
        print(params['x'])
        return params['x']

    for trial in run(objective, max_tasks=10, backend=Local(1)):
        assert trial.output == f'{trial.params["x"]}\n'


def test_an_interrupt_that_an_objective_raises_fails_its_trial() -> None:
    def objective(params: Any) -> None:
        raise KeyboardInterrupt('mine')

    assert [trial.error.message for trial in run(objective, max_tasks=2)] == ['KeyboardInterrupt: mine'] * 2


def test_an_objective_that_cannot_be_pickled_is_refused_before_anything_runs() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(ConfigurationError, match='the objective cannot be sent to another process .*lock'):
        run(lambda params: lock.locked(), max_tasks=1, storage='test.db')


def test_an_objective_that_cannot_be_loaded_fails_its_trials_with_the_reason() -> None:
    class Unloadable:
        def __reduce__(self) -> Any:
            return (int, ('not a number',))

        def __call__(self, params: Any) -> float:
            return 1.0

    (trial,) = run(Unloadable(), max_tasks=1)
    assert trial.error.message.startswith('the objective could not be loaded in the process that runs it: ValueError')


def test_numerical_libraries_use_as_many_threads_as_a_trial_has_cores() -> None:
    def objective(params: Any) -> dict[str, Any]:
        import numpy
        import threadpoolctl

        numpy.ones((4, 4)) @ numpy.ones((4, 4))
        return {'loss': 0, 'threads': [pool['num_threads'] for pool in threadpoolctl.threadpool_info()]}

    for trial in run(objective, max_tasks=2):
        assert trial.results['threads']
        assert set(trial.results['threads']) == {1}


def test_slots_that_fill_the_machine_are_pinned_to_cpus_of_their_own() -> None:
    def objective(params: Any) -> dict[str, Any]:
        import os

        return {'loss': 0, 'cpus': sorted(os.sched_getaffinity(0)), 'pid': os.getpid()}

    cpus = usable_cpus()
    result = run(objective, max_tasks=20 * len(cpus), backend=Local(len(cpus)))
    assert all(len(trial.results['cpus']) == 1 for trial in result)
    (trial,) = run(objective, max_tasks=1, backend=Local(1, pin=True))
    assert trial.results['cpus'] == cpus[:1]
    (trial,) = run(objective, max_tasks=1, backend=Local(1, pin=False))
    assert trial.results['cpus'] == cpus


def test_unequal_slots_can_be_declared_on_one_machine() -> None:
    classes = [ComputeClass('big', 1, {'cores': 8}, {'cores': 2}), ComputeClass('small', 2, {'cores': 1})]
    result = run(lambda params: params['x'], backend=Local(classes=classes), max_tasks=30)
    assert {trial.compute_class for trial in result} == {'big', 'small'}
    assert {trial.compute_class: dict(trial.resources) for trial in result} == {
        'big': {'cores': 2},
        'small': {'cores': 1},
    }


def test_an_idle_slot_takes_over_a_trial_that_would_go_on_for_long_in_another_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)

    def objective(params: Any) -> float:
        is_slow = os.environ['OMP_NUM_THREADS'] == '1'
        time.sleep(120.0 if is_slow else 0.02 + 0.2 * params['x'])
        return float(is_slow)

    classes = [ComputeClass('fast', 1, resources={'cores': 2}), ComputeClass('slow', 1, resources={'cores': 1})]
    result = run(objective, backend=Local(classes=classes), max_tasks=15, method='random')
    assert sorted(trial.id for trial in result) == list(range(15))
    assert {(trial.compute_class, trial.loss) for trial in result} == {('fast', 0.0)}


def test_slots_come_from_the_hardware_and_what_a_trial_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SHADHO_HARDWARE', '{"cores": 3, "memory": 1000}')
    for resources, slots in [({}, 3), ({'cores': 2}, 1), ({'memory': 500}, 2)]:
        result = run(lambda params: params['x'], backend='local', resources=resources, max_tasks=12)
        assert len({trial.host for trial in result}) == 1
        opt = Shadho('test', lambda params: 0.0, X, backend='local', resources=resources, max_tasks=1, storage=None)
        with opt._backend as backend:
            backend.open(opt._job())
            assert [own.slots for own in backend.discover()] == [slots]


def test_a_request_that_never_fits_is_an_error_before_anything_runs() -> None:
    with pytest.raises(BackendError, match='no trial fits on this machine'):
        run(lambda params: 0.0, backend='local', resources={'cores': 10_000}, max_tasks=1)


def test_every_slot_sees_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import shadho.execution.sandbox_pool as module

    def objective(params: Any) -> dict[str, Any]:
        import os

        return {'loss': 0, 'gpu': os.environ['CUDA_VISIBLE_DEVICES'], 'pid': os.getpid()}

    monkeypatch.setattr(
        module, 'visible_gpus', lambda: [('0', 'V100'), ('1', 'V100')]
    )  # no GPU is needed to see which is given
    result = run(objective, max_tasks=40)
    assert {trial.results['gpu'] for trial in result} == {'0', '1'}
    assert len({(trial.results['pid'], trial.results['gpu']) for trial in result}) == 2


def test_a_slot_whose_trials_ask_for_no_gpu_sees_none() -> None:
    def objective(params: Any) -> dict[str, Any]:
        import os

        return {'loss': 0, 'gpu': os.environ.get('CUDA_VISIBLE_DEVICES')}

    (trial,) = run(objective, max_tasks=1, resources={'gpus': 0})
    assert trial.results['gpu'] == ''


THREE = {
    'exclusive': True,
    'a': {'x': spaces.uniform(0, 1)},
    'b': {'k': ['u', 'v']},
    'c': {'g': spaces.grid([1, 2, 3])},
}


def test_with_the_market_each_tree_of_a_parallel_run_has_the_same_trials_in_the_same_order() -> None:
    for method in ('random', 'sobol', 'grid'):
        options = {'method': method, 'grid_points': 7 if method == 'grid' else None, 'max_tasks': 12, 'seed': 5}
        serial, parallel = (
            _by_tree(run(lambda params: 1.0, THREE, backend=own, **options)) for own in ('inline', Local(3))
        )
        for tree in serial.keys() & parallel.keys():
            both = min(len(serial[tree]), len(parallel[tree]))
            assert serial[tree][:both] == parallel[tree][:both]


def _by_tree(result: Any) -> dict[int, list[str]]:
    trees: dict[int, list[str]] = {}
    for trial in sorted(result, key=lambda own: own.id):
        trees.setdefault(trial.tree, []).append(repr(trial.params))
    return trees


def test_results_of_many_megabytes_come_back_whole() -> None:
    trials = list(run(lambda params: {'loss': 0.0, 'blob': 'x' * 30_000_000}, max_tasks=3))
    assert [len(trial.results['blob']) for trial in trials] == [30_000_000] * 3


def test_a_process_that_sends_without_end_cannot_fill_the_memory_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('shadho.execution.sandbox._LONGEST', 2**20)

    def is_socket(number: int) -> bool:
        import os
        import stat

        try:
            return stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            return False

    def objective(params: dict[str, Any]) -> float:
        import os

        if params['kind'] == 'endless':
            [number] = [own for own in range(3, 100) if is_socket(own)]
            while True:
                os.write(number, b'x' * 2**16)
        return 0.0

    result = outcomes(run(objective, kinds('endless', 'harmless')))
    error = result['endless'].error
    assert error is not None
    assert (error.kind, 'far more than a result may be' in error.message) == ('result', True)
    assert result['harmless'].loss == 0.0


def test_short_trials_wait_beside_the_running_one_and_each_is_told_apart() -> None:
    def objective(params: dict[str, float]) -> float:
        import os

        if params['x'] < 0.02:
            os._exit(1)
        return params['x']

    result = run(objective, max_tasks=500, method='random')
    for trial in result:
        assert (trial.error is None) == (trial.params['x'] >= 0.02)
        assert trial.loss == (trial.params['x'] if trial.error is None else None)
    assert len(result) == 500


def test_an_objective_that_forks_gives_one_result() -> None:
    def objective(params: dict[str, float]) -> dict[str, Any]:
        import os

        return {'loss': params['x'], 'is child': os.fork() == 0}

    trials = list(run(objective, max_tasks=40))
    assert sorted(trial.id for trial in trials) == list(range(40))
    assert all(trial.loss == trial.params['x'] and not trial.results['is child'] for trial in trials)


def test_bad_arguments_are_refused() -> None:
    for arguments, message in [
        ({'workers': 0}, 'workers must be an integer of 1 or more; got 0'),
        ({'workers': 2, 'classes': [ComputeClass()]}, 'give workers or classes, not both'),
        ({'classes': []}, 'a list of at least one class'),
        ({'classes': [ComputeClass(), ComputeClass()]}, 'with different names'),
        ({'classes': ['a']}, r"each of classes must be a ComputeClass, such as .*got 'a' \(str\)"),
        ({'classes': 5}, r'classes must be a list of ComputeClass; got 5 \(int\)'),
        ({'classes': 'a'}, "classes must be a list of ComputeClass; got 'a'"),
        ({'classes': ComputeClass()}, 'A single one needs brackets too'),
        ({'workers': 2.5}, 'workers must be an integer of 1 or more; got 2.5'),
        ({'workers': True}, 'workers must be an integer of 1 or more; got True'),
        ({'pin': 'x'}, "pin must be True, False or None; got 'x'"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            Local(**arguments)


def test_closing_ends_every_process() -> None:
    before = set(psutil.Process().children(recursive=True))
    run(lambda params: params['x'], max_tasks=4)
    assert set(psutil.Process().children(recursive=True)) <= before


DRIVER = """
import os, subprocess, sys, time
from pathlib import Path
from shadho import Shadho, spaces

def objective(params):
    if params['x'] > 0.8:
        plain = subprocess.Popen(['sleep', '1000'])
        detached = subprocess.Popen(['sleep', '1000'], start_new_session=True)
        with open('pids', 'a') as file:
            file.write(f'{os.getpid()} {plain.pid} {detached.pid}\\n')
        time.sleep(1000)
    return params['x']

result = Shadho('test', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=200, seed=3, backend='local').run()
print('after', result.stopped, len(result), flush=True)
"""


def start_driver() -> tuple[subprocess.Popen[str], list[int]]:
    """Start a driver and wait until both of its slots hang, each with a child of its own."""
    Path('driver.py').write_text(DRIVER)
    environment = {**os.environ, 'SHADHO_HARDWARE': json.dumps({'cores': 2})}
    driver = subprocess.Popen(
        [sys.executable, 'driver.py'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    wait_until(lambda: Path('pids').exists() and len(Path('pids').read_text().split()) == 6)
    return driver, [int(pid) for pid in Path('pids').read_text().split()]


def recorded() -> list[int]:
    return [
        record.trial
        for _, record in SQLite('test.db').read()
        if isinstance(record, Result) and record.state is TrialState.DONE
    ]


def test_one_ctrl_c_ends_everything_cleanly() -> None:
    driver, pids = start_driver()
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=20)
    assert out == f'after interrupted {len(recorded())}\n'
    assert (driver.returncode, 'Traceback' in err) == (0, False)
    assert all(map(is_gone, pids))


def test_a_killed_driver_leaves_no_processes_and_loses_no_result() -> None:
    driver, pids = start_driver()
    driver.kill()
    driver.communicate()
    for pid in pids:
        wait_until(lambda pid=pid: is_gone(pid))
    before = recorded()
    assert len(before) > 0
    result = Shadho(
        'test',
        lambda params: params['x'],
        {'x': spaces.uniform(0, 1)},
        'random',
        max_tasks=200,
        backend=Local(2),
        display=False,
    ).run()
    assert sorted(trial.id for trial in result) == list(range(200))
    assert recorded()[: len(before)] == before
