"""What every backend must do."""

from __future__ import annotations

import math
import os
import shlex
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from shadho.backends import Answer, Backend, Job
from shadho.errors import BackendError, ConfigurationError, ShadhoError
from shadho.execution.objective import Command, Function, Objective
from shadho.records import ComputeClass, Report, Result, Trial, TrialState, Worker
from shadho.shadho import Shadho
from shadho.testing.spaces import SPACES

__all__ = ['BackendSuite', 'ConcurrentBackendSuite', 'IsolatedBackendSuite']


class BackendSuite(ABC):
    """Tests of the contract of `shadho.backends.Backend`.

    Each attempt gives exactly one Result, unless it was stopped. What a trial does wrong is a
    Result that says so, never an exception. A job that `affinity` refuses, `open` refuses too.

    Attributes
    ----------
    patience : float, default 60.0
        Seconds to wait for what should have happened long before.
    """

    patience: ClassVar[float] = 60.0

    @abstractmethod
    def make(self) -> Backend:
        """Return a new backend, not open yet, that needs nobody's help to have at least one slot."""

    def test_every_trial_gives_exactly_one_result(self) -> None:
        with self._open(lambda params: params['x'] * 2.0) as run:
            results = run.all({'x': number} for number in range(12))
            assert [result.trial for result in results] == list(range(12))
            assert [result.loss for result in results] == [number * 2.0 for number in range(12)]
            assert {(result.state, result.attempt) for result in results} == {(TrialState.DONE, 0)}
            assert list(run.backend.poll(0.0)) == []

    def test_parameters_arrive_in_the_shape_of_the_space(self) -> None:
        params = {'a': 1, 'b': [0.5, {'c': (1, 'x')}], 'd': None, 'e': True, 'ü.☃ ': 'text', 'f': 2**70}
        with self._open(lambda params: {'loss': 0.0, 'seen': repr(params)}) as run:
            assert run.one(params).results['seen'] == repr(params)

    def test_parameters_need_not_be_a_dict(self) -> None:
        with self._open(lambda params: params[0] + params[1]) as run:
            assert run.one((1.0, 2.0)).loss == 3.0

    def test_an_objective_cannot_change_the_parameters_of_its_trial(self) -> None:
        def objective(params: Any) -> float:
            params['layers'].clear()
            params.clear()
            return 1.0

        with self._open(objective) as run:
            trial = run.start({'layers': [1, 2]})
            run.collect(1)
            assert trial.params == {'layers': [1, 2]}

    def test_all_that_an_objective_returns_is_brought_back(self) -> None:
        def objective(params: Any) -> Any:
            import numpy as np

            return {'loss': np.float32(0.5), 'array': np.arange(3), 'pair': (1, 2), 'curve': [float('nan')]}

        with self._open(objective) as run:
            result = run.one()
        assert result.loss == 0.5
        assert result.results['array'].dtype == np.arange(3).dtype
        assert result.results['pair'] == (1, 2)
        assert math.isnan(result.results['curve'][0])

    def test_every_number_is_a_loss(self) -> None:
        losses = [math.inf, -math.inf, 0, True, 10**30]
        with self._open(lambda params: losses[params['case']]) as run:
            results = run.all({'case': case} for case in range(len(losses)))
        for loss, result in zip(losses, results, strict=True):
            assert (result.state, result.loss) == (TrialState.DONE, float(loss)), f'after {loss!r}: {result}'

    def test_a_trial_without_a_usable_loss_has_failed(self) -> None:
        returned = [None, 'text', math.nan, {}, {'accuracy': 1}, [1.0], 1j]
        with self._open(lambda params: returned[params['case']]) as run:
            results = run.all({'case': case} for case in range(len(returned)))
        for own, result in zip(returned, results, strict=True):
            self._check_failed(result, 'result', 'the objective returned', own)

    def test_a_trial_that_raises_has_failed(self) -> None:
        raised = [
            ValueError('my "message"'), SystemExit(3), ZeroDivisionError(), GeneratorExit(), RecursionError('deep')
        ]  # fmt: skip

        def objective(params: Any) -> float:
            raise raised[params['case']]

        with self._open(objective) as run:
            results = run.all({'case': case} for case in range(len(raised)))
        for own, result in zip(raised, results, strict=True):
            self._check_failed(result, 'exception', type(own).__name__, own)
            assert result.error is not None
            assert 'in objective' in result.error.traceback, f'after {own!r}: {result}'
            assert str(own) in result.error.message, f'after {own!r}: {result}'

    def test_a_trial_that_runs_out_of_memory_has_failed_of_that(self) -> None:
        def objective(params: Any) -> float:
            raise MemoryError

        with self._open(objective) as run:
            self._check_failed(run.one(), 'memory', 'MemoryError')

    def test_an_exception_that_cannot_be_shown_or_pickled_is_told_nevertheless(self) -> None:
        def objective(params: Any) -> float:
            class OddError(Exception):
                def __str__(self) -> str:
                    raise RuntimeError('no text')

                def __reduce__(self) -> str:
                    raise RuntimeError('no pickle')

            raise OddError(lambda: None)

        with self._open(objective) as run:
            self._check_failed(run.one(), 'exception', 'OddError')

    def test_trials_after_a_failed_one_are_evaluated(self) -> None:
        with self._open(lambda params: 1.0 / params['x']) as run:
            results = run.all({'x': number % 2} for number in range(6))
        assert [result.state for result in results] == [TrialState.FAILED, TrialState.DONE] * 3

    def test_large_parameters_and_results_go_through(self) -> None:
        with self._open(lambda params: {'loss': len(params['text']), 'back': params['text'] * 2}) as run:
            result = run.one({'text': 'ü' * 300_000})
        assert result.loss == 300_000
        assert len(result.results['back']) == 600_000

    def test_a_stopped_trial_gives_no_result_and_frees_its_slot(self, tmp_path: Path) -> None:
        with self._open(lambda params: params['x']) as run:
            run.stop(run.start({'x': 1.0}))
            run.start({'x': 2.0})
            assert [result.loss for result in run.collect(1)] == [2.0]
            assert list(run.backend.poll(0.0)) == []

    def test_a_stopped_trial_can_be_started_again(self) -> None:
        with self._open(lambda params: params['x']) as run:
            trial = run.start({'x': 1.0})
            run.stop(trial)
            run.start_again(trial)
            found = [(result.trial, result.attempt, result.loss) for result in run.collect(1)]
            assert found == [(trial.id, 1, 1.0)]
            assert list(run.backend.poll(0.0)) == []

    def test_polling_without_trials_returns_nothing(self) -> None:
        with self._open(lambda params: 1.0) as run:
            assert list(run.backend.poll(0.0)) == []
            run.one()
            assert list(run.backend.poll(0.05)) == []

    def test_polling_without_a_limit_waits_for_a_result(self) -> None:
        with self._open(lambda params: 1.0) as run:
            trial = run.start()
            assert [result.trial for result in run.backend.poll(None)] == [trial.id]

    def test_classes_have_names_of_their_own_and_slots(self) -> None:
        with self._open(lambda params: 1.0) as run:
            classes = run.backend.discover()
            assert all(isinstance(own, ComputeClass) for own in classes)
            assert len({own.name for own in classes}) == len(classes)
            assert sum(own.slots for own in classes) >= 1
            assert all(own.hardware.cores >= 1 for own in classes)

    def test_workers_that_are_known_have_names_of_their_own_and_a_class(self) -> None:
        with self._open(lambda params: 1.0) as run:
            workers = run.backend.workers()
            assert all(isinstance(own, Worker) for own in workers)
            assert len({own.name for own in workers}) == len(workers)
            assert {own.compute_class for own in workers} <= {own.name for own in run.backend.discover()}

    def test_a_trial_in_every_slot_of_every_class_is_evaluated(self) -> None:
        with self._open(lambda params: params['x']) as run:
            trials = [run.start({'x': number}) for number in range(run.slots)]
            assert {result.trial for result in run.collect(len(trials))} == {trial.id for trial in trials}

    def test_times_are_on_the_clock_of_the_backend(self) -> None:
        with self._open(lambda params: 1.0) as run:
            for _ in range(3):
                before = run.backend.now()
                result = run.one()
                assert before <= result.started <= result.finished <= run.backend.now()
                assert 0.0 <= result.seconds <= result.finished - result.started + 1e-6

    def test_the_clock_does_not_run_backwards(self) -> None:
        with self._open(lambda params: 1.0) as run:
            times = [run.backend.now()]
            for _ in range(3):
                run.one()
                times.append(run.backend.now())
            assert times == sorted(times)

    def test_results_say_where_the_trial_ran(self) -> None:
        with self._open(lambda params: 1.0) as run:
            assert run.one().host != ''

    def test_closing_is_harmless_at_any_time(self) -> None:
        backend = self.make()
        backend.close()
        with self._open(lambda params: 1.0, backend) as run:
            run.start()
        backend.close()
        backend.close()

    def test_it_can_be_opened_again(self) -> None:
        backend = self.make()
        for factor in (2.0, 3.0):
            with self._open(_times(factor), backend) as run:
                assert run.one({'x': 1.0}).loss == factor

    def test_a_search_is_refused_while_another_one_uses_it(self) -> None:
        backend = self.make()
        with self._open(lambda params: params['x'], backend) as run:
            with pytest.raises(BackendError, match='another search'), backend:
                pass
            assert run.one({'x': 1.0}).loss == 1.0

    def test_affinity_is_a_number_and_needs_nothing_opened(self) -> None:
        for job in (self._job(lambda params: 1.0), self._job(Command('true')), self._job(max, trial_timeout=1.0)):
            assert self.make().affinity(job) in (-1, 0, 1, 2, 3)

    def test_functions_can_be_run(self) -> None:
        assert self.make().affinity(self._job(lambda params: 1.0)) >= 0

    def test_a_command_is_run_or_refused(self, tmp_path: Path) -> None:
        script = tmp_path / 'evaluate.py'
        script.write_text(
            'import json, pathlib, sys\n'
            'params = json.loads(pathlib.Path("hyperparameters.json").read_text())\n'
            'print("says", params["x"])\n'
            'if params["x"] == 1: sys.exit(3)\n'
            'if params["x"] == 2: pathlib.Path("made.txt").write_text("made of 2")\n'
            'if params["x"] != 3: pathlib.Path("result.json").write_text(json.dumps({"loss": params["x"]}))\n'
        )
        command = Command(f'{shlex.quote(_python())} evaluate.py', (script,), ('made.txt',), tmp_path / 'back')
        with self._open_or_refused(command) as run:
            if run is None:
                return
            exited, done, silent = run.all({'x': number} for number in (1, 2, 3))
        self._check_failed(exited, 'exception', '3')
        assert (done.state, done.loss) == (TrialState.DONE, 2.0)
        assert (tmp_path / 'back' / '1' / 'made.txt').read_text() == 'made of 2'
        self._check_failed(silent, 'result', 'result.json')
        assert 'says 3' in silent.output

    def test_the_program_of_a_command_pauses_and_goes_on_from_its_folder(self, tmp_path: Path) -> None:
        backend = self.make()
        script = tmp_path / 'steps.py'
        script.write_text(_SCRIPT)
        command = Command(f'{shlex.quote(_python())} steps.py', (script,))
        if not backend.has_folders or backend.affinity(self._job(command)) < 0:
            return  # it runs no such commands
        with self._open(command, backend, folders=tmp_path / 'folders', max_steps=9) as run:
            self._check_rungs(run)

    def test_a_quick_trial_is_done_under_a_time_limit_or_the_limit_refused(self) -> None:
        with self._open_or_refused(Function(lambda params: 1.0), trial_timeout=60.0) as run:
            assert run is None or run.one().state is TrialState.DONE

    def test_a_trial_is_given_its_handle_or_refused(self) -> None:
        def objective(params: Any, trial: Any) -> None:
            facts = {'id': trial.id, 'attempt': trial.attempt, 'class': trial.compute_class, 'cores': trial.resources}
            trial.report(loss=params['x'], first=trial.step, last=trial.max_steps, **facts)

        backend = self.make()
        if not backend.has_folders:
            with pytest.raises(ConfigurationError, match='cannot run an objective that takes its trial'):
                Shadho('suite', objective, {'x': [0.5]}, max_tasks=1, backend=backend, storage=None)
            return
        with self._open(Function(objective, takes_trial=True), backend, max_steps=1) as run:
            trial = run.start({'x': 0.5})
            reports, result = run.hear(trial, lambda report: Answer())
        assert [(report.step, report.attempt, report.results['loss']) for report in reports] == [(1, 0, 0.5)]
        assert (result.state, result.loss, result.step) == (TrialState.DONE, 0.5, 1)
        assert {name: result.results[name] for name in ('id', 'attempt', 'first', 'last', 'class', 'cores')} == {
            'id': trial.id, 'attempt': 0, 'first': 0, 'last': 1, 'class': trial.compute_class, 'cores': dict(trial.resources),
        }  # fmt: skip

    def test_a_trial_pauses_at_its_step_and_goes_on_from_its_folder(self, tmp_path: Path) -> None:
        backend = self.make()
        if not backend.has_folders:
            return  # it refuses such objectives
        options: dict[str, Any] = {'max_steps': 9, 'folders': tmp_path / 'folders'}
        with self._open(Function(_counts_steps, takes_trial=True), backend, **options) as run:
            self._check_rungs(run)

    def _check_rungs(self, run: _Run) -> None:
        """Check that a trial that reports its steps pauses after the first, and goes on from its folder up to the ninth, or the third."""
        trial = run.start({'x': 2.0}, until=1)
        reports, result = run.hear(trial, lambda report: Answer(leave='paused'))
        assert [(report.step, report.results) for report in reports] == [(1, {'loss': 2.0, 'done': [1]})]
        assert (result.state, result.loss, result.step) == (TrialState.PAUSED, 2.0, 1)
        again = attrs.evolve(trial, attempt=1, step=1, until=3)
        run.begin(again)
        reports, result = run.hear(again, lambda report: Answer(9 if report.step < 9 else None))
        assert [report.step for report in reports] == list(range(2, reports[-1].step + 1))
        if result.state is TrialState.PAUSED:  # it could not be answered while the trial ran
            assert result.step == 3
        else:
            assert (result.state, result.step) == (TrialState.DONE, 9)
        assert result.results['done'] == list(range(1, result.step + 1))

    def test_a_trial_that_is_told_to_leave_has_the_loss_of_its_last_report(self, tmp_path: Path) -> None:
        backend = self.make()
        if not backend.has_folders:
            return  # it refuses such objectives
        with self._open(Function(_counts_steps, takes_trial=True), backend, folders=tmp_path, max_steps=9) as run:
            trial = run.start(until=3)
            reports, result = run.hear(trial, lambda report: Answer(leave='stopped') if report.step == 3 else Answer(3))
        assert [report.step for report in reports] == [1, 2, 3]
        assert (result.state, result.step) in ((TrialState.STOPPED, 3), (TrialState.PAUSED, 3))
        assert result.loss in (None, 3.0)

    def test_a_whole_search_pauses_and_promotes_trials_on_it(self) -> None:
        backend = self.make()
        if not backend.has_folders:
            return  # it refuses such objectives
        search = Shadho(
            'suite', _counts_steps, {'x': [*range(20)]}, max_tasks=12, seed=1, backend=backend, storage=None, display=False,
            max_steps=9, fidelity='asha', method='random',
        )  # fmt: skip
        result = search.run()
        trials = list(result)
        assert sorted(trial.id for trial in trials) == list(range(12))
        assert [trial.error for trial in trials if trial.error is not None] == []
        assert {trial.state for trial in trials} <= {TrialState.DONE, TrialState.PAUSED}
        assert len({trial.step for trial in trials}) > 1
        assert all(trial.results['done'] == list(range(1, trial.step + 1)) for trial in trials)

    def test_a_whole_search_runs_on_it(self) -> None:
        def objective(params: Any) -> float:
            if 'poly' in params:
                raise ValueError('no polynomials')
            return float(next(iter(params.values()))['C'])

        search = Shadho(
            'suite', objective, SPACES['unequal trees'], max_tasks=30, seed=1, backend=self.make(), storage=None, display=False
        )  # fmt: skip
        result = search.run()
        trials = list(result)
        assert sorted(trial.id for trial in trials) == list(range(30))
        assert {trial.state for trial in trials} == {TrialState.DONE, TrialState.FAILED}
        assert all((trial.state is TrialState.FAILED) == ('poly' in trial.params) for trial in trials)
        assert all(trial.started <= trial.finished <= result.elapsed for trial in trials)  # type: ignore[operator]

    def _check_failed(self, result: Result, kind: str, text: str, case: object = None) -> None:
        got = f'after {case!r}: {result}'
        assert result.state is TrialState.FAILED, got
        assert result.loss is None, got
        assert result.error is not None, got
        assert result.error.kind == kind, got
        assert text in result.error.message, got

    def _job(self, objective: Objective | Callable[[Any], Any], **options: Any) -> Job:
        own = objective if isinstance(objective, (Command, Function)) else Function(objective)
        return Job('suite', own, **options)

    @contextmanager
    def _open(
        self, objective: Objective | Callable[[Any], Any], backend: Backend | None = None, **options: Any
    ) -> Iterator[_Run]:
        with backend or self.make() as opened:
            opened.open(self._job(objective, **options))
            yield _Run(opened, self.patience)

    @contextmanager
    def _open_or_refused(self, objective: Objective, **options: Any) -> Iterator[_Run | None]:
        """Open a job that the backend can run; None when it cannot, and says so twice."""
        job = self._job(objective, **options)
        backend = self.make()
        if backend.affinity(job) >= 0:
            with self._open(objective, backend, **options) as run:
                yield run
        else:
            with pytest.raises(ShadhoError):
                backend.open(job)
            backend.close()
            yield None


class ConcurrentBackendSuite(BackendSuite):
    """Tests of a backend whose trials run beside the search; besides all of `BackendSuite`.

    `poll` returns when its time is over, whatever trials do, and as many run at once as there are
    slots, never more. Trials and tests must see the same files.
    """

    def test_polling_waits_no_longer_than_it_was_told(self, tmp_path: Path) -> None:
        with self._open(_wait_for(tmp_path / 'go')) as run:
            run.start()
            for timeout in (0.0, 0.1):
                begun = time.monotonic()
                assert list(run.backend.poll(timeout)) == []
                assert time.monotonic() - begun < 10.0
            (tmp_path / 'go').touch()
            assert run.collect(1)[0].state is TrialState.DONE

    def test_trials_in_all_slots_run_at_the_same_time(self, tmp_path: Path) -> None:
        with self._open(_meet(tmp_path)) as run:
            number = run.slots
            for index in range(number):
                run.start({'index': index, 'number': number})
            assert [result.loss for result in run.collect(number)] == [float(number)] * number

    def test_never_more_trials_run_than_there_are_slots(self, tmp_path: Path) -> None:
        with self._open(_count(tmp_path)) as run:
            ahead = run.slots * (2 if run.backend.queues_ahead else 1)
            for _ in range(3):
                for _ in range(ahead):
                    run.start()
                assert max(result.results['loss'] for result in run.collect(ahead)) <= run.slots

    def test_a_trial_that_waits_behind_another_can_be_stopped(self, tmp_path: Path) -> None:
        with self._open(_wait_for(tmp_path / 'go')) as run:
            first = [run.start() for _ in range(run.slots)]
            if run.backend.queues_ahead:
                behind = [run.start() for _ in range(run.slots)]
                for trial in behind:
                    run.stop(trial)
            (tmp_path / 'go').touch()
            assert {result.trial for result in run.collect(len(first))} == {trial.id for trial in first}
            assert list(run.backend.poll(0.1)) == []

    def test_a_result_comes_while_other_trials_run(self, tmp_path: Path) -> None:
        wait = _wait_for(tmp_path / 'go')

        def objective(params: Any) -> float:
            return wait(params) if params['slow'] else 1.0

        with self._open(objective) as run:
            slow = [run.start({'slow': True}) for _ in range(run.slots - 1)]
            quick = [run.one({'slow': False}) for _ in range(3)]
            (tmp_path / 'go').touch()
            assert [result.loss for result in quick] == [1.0] * 3
            assert {result.trial for result in run.collect(len(slow))} == {trial.id for trial in slow}

    def test_a_running_trial_can_be_stopped(self, tmp_path: Path) -> None:
        with self._open(_wait_for(tmp_path / 'go', tmp_path / 'started')) as run:
            trial = run.start()
            run.wait_until((tmp_path / 'started').exists)
            run.stop(trial)
            after = run.start()
            (tmp_path / 'go').touch()
            assert [result.trial for result in run.collect(1)] == [after.id]
            assert list(run.backend.poll(0.1)) == []

    def test_stopping_one_trial_leaves_the_others_alone(self, tmp_path: Path) -> None:
        with self._open(_wait_for(tmp_path / 'go')) as run:
            stopped, *others = [run.start() for _ in range(run.slots)]
            run.stop(stopped)
            (tmp_path / 'go').touch()
            assert {result.trial for result in run.collect(len(others))} == {trial.id for trial in others}

    @pytest.mark.parametrize('anew', [False, True])
    def test_a_trial_that_has_ended_unnoticed_can_be_stopped_and_started_again(
        self, tmp_path: Path, anew: bool
    ) -> None:
        with self._open(_wait_for(tmp_path / 'go', tmp_path / 'started')) as run:
            trial = run.start()
            run.wait_until((tmp_path / 'started').exists)
            (tmp_path / 'go').touch()
            time.sleep(0.2)  # for the trial to end; were it still running, the outcome must be the same
            run.stop(trial)
            if anew:
                run.start_again(trial)
            else:
                trial = run.start()
            assert [result.trial for result in run.collect(1)] == [trial.id]
            assert run.one().state is TrialState.DONE
            assert list(run.backend.poll(0.1)) == []

    def test_a_running_trial_that_is_stopped_and_started_again_gives_one_result(self, tmp_path: Path) -> None:
        with self._open(_wait_for(tmp_path / 'go', tmp_path / 'started')) as run:
            trial = run.start()
            run.wait_until((tmp_path / 'started').exists)
            run.stop(trial)
            run.start_again(trial)
            (tmp_path / 'go').touch()
            assert [result.trial for result in run.collect(1)] == [trial.id]
            assert list(run.backend.poll(0.1)) == []

    def test_a_trial_that_outlives_its_time_limit_has_failed_or_the_limit_was_refused(self, tmp_path: Path) -> None:
        with self._open_or_refused(Function(_wait_for(tmp_path / 'go')), trial_timeout=0.3) as run:
            if run is None:
                return
            self._check_failed(run.one(), 'timeout', '0.3')
            (tmp_path / 'go').touch()
            assert run.one().state in (TrialState.DONE, TrialState.FAILED)


class IsolatedBackendSuite(ConcurrentBackendSuite):
    """Tests of a backend whose trials run in processes of their own; besides all of `ConcurrentBackendSuite`.

    A trial may end its process in any way without harm to others, and no process outlives what it
    was started for. Trials must run on this machine.
    """

    def test_a_trial_that_ends_its_process_has_crashed_alone(self, tmp_path: Path) -> None:
        wait = _wait_for(tmp_path / 'go')

        def objective(params: Any) -> float:
            import os
            import signal

            if params['end'] == 'exit':
                os._exit(3)
            if params['end']:
                os.kill(os.getpid(), getattr(signal, params['end']))
            return wait(params) if params['waits'] else 1.0

        with self._open(objective) as run:
            beside = [run.start({'end': '', 'waits': True}) for _ in range(run.slots - 1)]
            for end in ('exit', 'SIGKILL', 'SIGSEGV', 'SIGABRT'):
                self._check_failed(run.one({'end': end, 'waits': False}), 'crash', '3' if end == 'exit' else 'SIG', end)
                after = run.one({'end': '', 'waits': False})
                assert after.state is TrialState.DONE, f'after {end}: {after}'
            (tmp_path / 'go').touch()
            results = run.collect(len(beside))
        assert {result.trial for result in results} == {trial.id for trial in beside}
        assert {result.state for result in results} <= {TrialState.DONE}

    def test_a_trial_that_ran_out_of_memory_leaves_a_new_process_to_the_next(self, tmp_path: Path) -> None:
        def objective(params: Any) -> float:
            import os

            with (tmp_path / 'pids').open('a') as file:
                file.write(f'{os.getpid()}\n')
            if params['fails']:
                raise MemoryError
            return 1.0

        with self._open(objective) as run:
            self._check_failed(run.one({'fails': True}), 'memory', 'MemoryError')
            results = run.all([{'fails': False}] * (2 * run.slots))
        assert {result.state for result in results} == {TrialState.DONE}
        failed, *others = (tmp_path / 'pids').read_text().split()
        assert failed not in others

    def test_a_process_runs_no_more_trials_than_max_tasks_per_child(self) -> None:
        def objective(params: Any) -> dict[str, Any]:
            import os

            return {'loss': 1.0, 'pid': os.getpid()}

        with self._open(objective, max_tasks_per_child=2) as run:
            results = run.all([{}] * (4 * run.slots + 1))
        assert {result.state for result in results} == {TrialState.DONE}
        assert set(Counter(result.results['pid'] for result in results).values()) <= {1, 2}

    def test_what_a_trial_does_to_its_process_does_not_reach_the_search(self) -> None:
        def objective(params: Any) -> float:
            import os
            import sys

            os.environ['SHADHO_SUITE'] = 'changed'
            os.chdir('/')
            os.close(1)
            sys.stdout = None
            return 1.0

        folder = Path.cwd()
        with self._open(objective) as run:
            assert [result.state for result in run.all([{}] * 4)] == [TrialState.DONE] * 4
        assert Path.cwd() == folder
        assert 'SHADHO_SUITE' not in os.environ

    def test_the_process_of_a_trial_ends_with_the_trial(self, tmp_path: Path) -> None:
        with self._open(_note_process(tmp_path)) as run:
            trial = run.start()
            run.wait_until((tmp_path / 'ready').exists)
            run.stop(trial)
            run.wait_until(lambda: not _is_alive(tmp_path))
            (tmp_path / 'ready').unlink()
            run.start()  # ended by closing
            run.wait_until((tmp_path / 'ready').exists)
        run.wait_until(lambda: not _is_alive(tmp_path), polling=False)

    def test_the_process_of_a_trial_ends_with_its_time_limit(self, tmp_path: Path) -> None:
        with self._open(_note_process(tmp_path), trial_timeout=1.5) as run:
            self._check_failed(run.one(), 'timeout', '1.5')
            assert (tmp_path / 'ready').exists()
            run.wait_until(lambda: not _is_alive(tmp_path))


_SCRIPT = """
import json, shadho_worker

def objective(params, trial):
    file = trial.folder / 'done.json'
    done = json.loads(file.read_text()) if trial.step else []
    for step in trial.steps():
        done.append(step)
        trial.report(loss=params['x'] * step, done=done)
    if trial.is_paused:
        file.write_text(json.dumps(done))

shadho_worker.run(objective)
"""


def _counts_steps(params: Any, trial: Any) -> None:
    """Note in the folder of the trial which steps were done, and report them all."""
    import json

    file = trial.folder / 'done.json'
    done = json.loads(file.read_text()) if trial.step else []
    for step in trial.steps():
        done.append(step)
        file.write_text(json.dumps(done))
        trial.report(loss=float(params.get('x', step)), done=done)


class _Run:
    """An open backend, with the slots that are taken."""

    def __init__(self, backend: Backend, patience: float) -> None:
        self.backend = backend
        self.patience = patience
        self.wait_until(lambda: self.slots > 0)
        self._next = 0
        self._running: dict[int, Trial] = {}

    @property
    def slots(self) -> int:
        return sum(own.slots for own in self.backend.discover())

    def start(self, params: Any = None, until: int | None = None) -> Trial:
        """Start a trial in the first free slot, or hand it out ahead where the backend allows it."""
        busy = [trial.compute_class for trial in self._running.values()]
        ahead = 2 if self.backend.queues_ahead else 1
        own = min(
            (own for own in self.backend.discover() if busy.count(own.name) < own.slots * ahead),
            key=lambda own: busy.count(own.name) >= own.slots,
        )
        params = {} if params is None else params
        trial = Trial(self._next, 0, (), params, own.name, own.resources, started=self.backend.now(), until=until)
        self._next += 1
        self.begin(trial)
        return trial

    def begin(self, trial: Trial) -> None:
        """Start an attempt at a trial."""
        self._running[trial.id] = trial
        self.backend.start(trial)

    def start_again(self, trial: Trial) -> None:
        """Start another attempt at a trial that was stopped."""
        self.begin(attrs.evolve(trial, attempt=trial.attempt + 1))

    def stop(self, trial: Trial) -> None:
        self.backend.stop(trial)
        del self._running[trial.id]

    def hear(self, trial: Trial, decide: Callable[[Report], Answer]) -> tuple[list[Report], Result]:
        """Answer the reports of a trial until its result comes; nothing else may come first."""
        reports: list[Report] = []

        def hear(report: Report) -> Answer:
            assert (report.trial, report.attempt) == (trial.id, trial.attempt)
            reports.append(report)
            return attrs.evolve(decide(report), step=report.step)

        self.backend.hear = hear
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            for each in self.backend.poll(1.0):
                if isinstance(each, Result):
                    assert self._running.pop(each.trial).attempt == each.attempt
                    return reports, each
                self.backend.answer(trial, hear(each))
        raise AssertionError(f'the result of {trial} did not come')

    def collect(self, number: int) -> list[Result]:
        """Poll until so many results have come; they must be of trials that run."""
        results: list[Result] = []
        until = time.monotonic() + self.patience
        while len(results) < number:
            for result in self.backend.poll(1.0):
                trial = self._running.pop(result.trial, None)
                assert trial is not None, f'unexpected {result}'
                assert result.attempt == trial.attempt, f'{result} is of another attempt than {trial}'
                assert isinstance(result, Result)
                results.append(result)
            assert time.monotonic() < until, f'{number - len(results)} of {number} results did not come'
        return results

    def one(self, params: Any = None) -> Result:
        """Run a trial; no other result may come first."""
        trial = self.start(params)
        (result,) = self.collect(1)
        assert result.trial == trial.id
        return result

    def all(self, settings: Iterator[Any] | Sequence[Any]) -> list[Result]:
        """Run many trials, in as many slots as there are; return the results by trial."""
        results = []
        for params in settings:
            if len(self._running) >= self.slots:
                results += self.collect(1)
            self.start(params)
        results += self.collect(len(self._running))
        return sorted(results, key=lambda result: result.trial)

    def wait_until(self, condition: Callable[[], bool], *, polling: bool = True) -> None:
        """Wait for something that must happen; no result may come meanwhile."""
        until = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < until, 'waited in vain'
            if polling:
                assert list(self.backend.poll(0.02)) == []
            else:
                time.sleep(0.02)


# Objectives are made by functions, so that they travel to other processes by value.


def _wait_for(signal_file: Path, started: Path | None = None) -> Callable[[Any], float]:
    """Return an objective that lasts until a file appears, and may leave one when it begins."""

    def objective(params: Any) -> float:
        import time

        if started is not None:
            started.touch()
        until = time.monotonic() + 60.0
        while not signal_file.exists() and time.monotonic() < until:
            time.sleep(0.01)
        return float(signal_file.exists())

    return objective


def _times(factor: float) -> Callable[[Any], float]:
    def objective(params: Any) -> float:
        return float(params['x'] * factor)

    return objective


def _meet(folder: Path) -> Callable[[Any], float]:
    """Return an objective that lasts until all trials have begun; its loss is how many have."""

    def objective(params: Any) -> float:
        import time

        (folder / f'here-{params["index"]}').touch()
        until = time.monotonic() + 60.0
        while len(list(folder.glob('here-*'))) < params['number'] and time.monotonic() < until:
            time.sleep(0.01)
        return len(list(folder.glob('here-*')))

    return objective


def _count(folder: Path) -> Callable[[Any], float]:
    """Return an objective whose loss is the number of trials that run meanwhile, itself included."""

    def objective(params: Any) -> float:
        import os
        import threading
        import time

        mine = folder / f'running-{os.getpid()}-{threading.get_ident()}'
        mine.touch()
        time.sleep(0.01)
        number = len(list(folder.glob('running-*')))
        mine.unlink()
        return float(number)

    return objective


def _note_process(folder: Path) -> Callable[[Any], float]:
    """Return an objective that leaves the number of its process, and never ends by itself."""

    def objective(params: Any) -> float:
        import os
        import time

        (folder / 'pid').write_text(str(os.getpid()))
        (folder / 'ready').touch()
        while True:
            time.sleep(1.0)

    return objective


def _is_alive(folder: Path) -> bool:
    try:
        os.kill(int((folder / 'pid').read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def _python() -> str:
    import sys

    return sys.executable
