"""A simulated cluster: workers, trials and a clock that exist in this process only."""

from __future__ import annotations

import heapq
import math
import numbers
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import attrs

from shadho.backends.base import Answer, Backend, Job
from shadho.checks import as_integer, as_list
from shadho.errors import BackendError, ConfigurationError, nearest
from shadho.hardware.classes import check_classes, form_classes, slots
from shadho.records import ComputeClass, Report, Result, Trial, TrialError, TrialState
from shadho_worker.handle import TrialHandle
from shadho_worker.outcomes import Outcome

__all__ = ['Simulated']

KINDS = ('exception', 'result', 'crash', 'timeout', 'memory', 'lost')
"""Ways in which a trial may fail (see `shadho.records.TrialError`)."""

_SHORTEST = 1e-9
"""Seconds that a trial takes at least, where handing it out takes none."""

Seconds = Callable[[Any, ComputeClass], Any]
"""From the parameters of a trial and the class of its slot to how long it takes there."""


class Simulated(Backend):
    """A cluster that exists in this process only, with a clock of its own: hours pass in seconds.

    The objective is really evaluated, here, when its trial would have finished; how long that
    takes has nothing to do with the clock, which jumps from one event of the cluster to the next.
    So the very search that is to run on a real cluster can be tried out beforehand, with real
    losses and assumed or recorded durations. Equal calls give equal results.

    Parameters
    ----------
    classes : sequence of ComputeClass
        Each slot is a worker with the class's hardware, named ``<class>-<number>``, from 0.
    seconds : callable
        ``seconds(params, compute_class)`` returns how long a trial takes there: a number of 0 or
        more, infinite only under a `trial_timeout`. It must leave the parameters as they are. With `max_steps`, it is the time
        of all steps, of which each takes the same.
    overhead : float, default 0.0
        Seconds between handing out a trial and its start; its slot is taken meanwhile.
    memory : callable, optional
        ``memory(params)`` returns the MiB that a trial needs. Where its slot has less (what the
        class's resources say, else its hardware; 0 is no limit), it fails after half of its seconds.
    failures : callable or float, optional
        ``failures(params, compute_class)`` returns None, or how the trial ends instead: 'exception',
        'result', 'crash', 'timeout', 'memory', or 'lost', after which it is repeated. A number from
        0 to 1 is the probability that an attempt crashes.
    changes : iterable of (float, str, int)
        ``(seconds, name, slots)``: from that moment of the clock on, a class has so many workers.
        Those with the highest numbers go first, and their trials are lost; a class without any is
        not there. List a class that comes later with 0 slots.
    slowdown : mapping of str to float, optional
        Names of workers, and by which factor trials take longer there.
    seed : int, default 0
        Fixes which attempts crash.

    Notes
    -----
    An objective that takes the handle of its trial is evaluated when an attempt starts, up to the step at which it is judged,
    and its reports come in at the times of their steps.

    The clock begins at 0 and goes on when the backend is opened again. A search finds the workers
    as they are at that moment; trials that ran when it was closed are forgotten.

    With `Shadho.add_compute_class` the workers are grouped anew, as real ones are: by the declared
    classes, the rest by hardware. Then a worker may have several slots, and `seconds` is given the
    class that was formed.

    Examples
    --------
    An hour of 95 machines, of which 20 leave after half of it:

    >>> from shadho import ComputeClass, Shadho, spaces
    >>> from shadho.backends import Simulated
    >>> def seconds(params, compute_class):
    ...     return 60 + 4000 * params['x'] / compute_class.hardware.cores
    >>> cluster = Simulated(
    ...     [
    ...         ComputeClass('16-core', 20, {'cores': 16}),
    ...         ComputeClass('8-core', 25, {'cores': 8}),
    ...         ComputeClass('4-core', 50, {'cores': 4}),
    ...     ],
    ...     seconds,
    ...     changes=[(1800, '4-core', 30)],
    ... )
    >>> opt = Shadho('doc', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, timeout=600,
    ...              seed=0, backend=cluster, storage=None, display=False)
    >>> result = opt.run()
    >>> result.elapsed, len(result) > 100
    (600.0, True)
    """

    name = 'simulated'
    has_folders = True

    def __init__(
        self,
        classes: Sequence[ComputeClass],
        seconds: Seconds,
        *,
        overhead: float = 0.0,
        memory: Callable[[Any], Any] | None = None,
        failures: Callable[[Any, ComputeClass], str | None] | float | None = None,
        changes: Iterable[tuple[float, str, int]] = (),
        slowdown: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.classes = check_classes('Simulated', classes)
        self.seconds = _check_callable('seconds', seconds)
        self.overhead = _check_number('overhead', overhead)
        self.memory = None if memory is None else _check_callable('memory', memory)
        self.failures = _check_failures(failures)
        self.slowdown = _check_slowdown(slowdown, self.classes)
        self.seed = seed
        self._changes = _check_changes(changes, self.classes)
        self._workers = [own.slots for own in self.classes]
        self._time = 0.0
        self._running: dict[int, _Attempt] = {}

    @classmethod
    def affinity(cls, job: Job) -> int:
        return 0

    def open(self, job: Job) -> None:
        self._job = job
        self._running = {}
        # Ends of attempts, and (below) the numbers of reports; those of attempts that were cancelled or lost stay in it.
        self._events: list[tuple[float, int, _Attempt, int | None]] = []
        self._numbers = count()
        self._homes = [self._home(own) for own in self.classes]
        self._free: dict[str, list[_Slot]] = {name: [] for name, _ in self._homes}
        for kind, workers in enumerate(self._workers):
            self._join(kind, 0, workers)
        self._change()
        self._form()
        if not any(own.slots for own in self._discovered) and not self._changes:
            raise BackendError(
                'Simulated(): no trial fits on this cluster, now or after its changes: the classes '
                f'{", ".join(own.name for own in self.classes)} have no slot for what each trial asks for '
                f'({dict(job.resources) or "one core"})'
            )

    def close(self) -> None:
        self._running = {}

    def discover(self) -> Sequence[ComputeClass]:
        return self._discovered

    def start(self, trial: Trial) -> None:
        free = self._free.get(trial.compute_class)
        if not free:
            raise BackendError(f'Simulated(): the class {trial.compute_class!r} has no free slot for trial {trial.id}')
        own = self._by_name[trial.compute_class]
        host = self._host(free[0])
        seconds, error = self._fate(trial, own, self._own_seconds(trial, own, host))
        outcome: Outcome | None = None
        reports: list[Report] = []
        facts = self._job.facts(trial)
        if facts is not None and error is None:
            outcome, reports = self._evaluate(trial, facts)
            if self._job.max_steps is not None:
                seconds *= max(outcome['step'] - trial.step, 1) / self._job.max_steps
        attempt = _Attempt(
            trial, heapq.heappop(free), host, self._time + self.overhead, seconds, error, outcome, reports
        )
        self._running[trial.id] = attempt
        last = outcome['step'] - trial.step if outcome is not None else 0
        end = attempt.started + seconds
        for number, report in enumerate(reports):
            self._schedule(min(end, attempt.started + seconds * (report.step - trial.step) / last), attempt, number)
        self._schedule(end, attempt)

    def _evaluate(self, trial: Trial, facts: Mapping[str, Any]) -> tuple[Outcome, list[Report]]:
        """Evaluate the objective up to the step at which the trial is judged; return what comes of it, and its reports."""
        reports: list[Report] = []

        def tell(step: int, results: Mapping[str, Any], waits: bool) -> Mapping[str, Any] | None:
            reports.append(Report(trial.id, trial.attempt, step, results))
            return {'leave': 'paused'} if waits else None

        outcome = {'step': trial.step, **self._job.objective.evaluate(trial.params, trial.id, TrialHandle(facts, tell))}
        outcome['timing'] = {}  # real seconds
        last = max([outcome['step'], *(report.step for report in reports)])
        return {**outcome, 'step': last}, reports

    def _schedule(self, moment: float, attempt: _Attempt, report: int | None = None) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), attempt, report))

    def answer(self, trial: Trial, answer: Answer) -> None:
        attempt = self._running.get(trial.id)
        if attempt is None or not answer.leave or attempt.outcome is None:
            return
        told: Outcome = {'state': answer.leave, 'loss': None, 'results': {}, 'error': None, 'step': attempt.told}
        outcome = {**attempt.outcome, **told}  # the search adds the last report
        ended = attrs.evolve(attempt, outcome=outcome, seconds=self._time - attempt.started)
        self._running[trial.id] = ended
        self._schedule(self._time, ended)

    def stop(self, trial: Trial) -> None:
        attempt = self._running.pop(trial.id, None)
        if attempt is not None:
            heapq.heappush(self._free[trial.compute_class], attempt.slot)

    def poll(self, timeout: float | None) -> Sequence[Report | Result]:
        """Go on to the next moment at which something happens, at most `timeout` seconds.

        Returns
        -------
        sequence of Report or Result
            All of that moment; none when only workers have come or gone.
        """
        until = math.inf if timeout is None else self._time + timeout
        if timeout and until == self._time:  # so that a rest that is too small to count ends, too
            until = math.nextafter(until, math.inf)
        moment = min(self._next_end(), self._next_change())
        if moment == math.inf and not any(own.slots for own in self._discovered):
            raise BackendError(
                'Simulated(): all workers have left, and no change brings any back: nothing can happen any more'
            )
        if moment > until or moment == math.inf:
            self._time = self._time if until == math.inf else until
            return []
        self._time = moment
        results: list[Report | Result] = []
        while self._next_end() == moment:
            _, _, attempt, report = heapq.heappop(self._events)
            if report is None:
                results.append(self._finish(attempt))
                continue
            attempt.told = attempt.reports[report].step
            results.append(attrs.evolve(attempt.reports[report], time=moment))
        if self._next_change() == moment:
            results += self._change()
            self._form()
        return results

    def now(self) -> float:
        """Return seconds of the simulated clock."""
        return self._time

    # --- trials --------------------------------------------------------------------------------

    def _own_seconds(self, trial: Trial, own: ComputeClass, host: str) -> float:
        seconds = _returned('seconds', self.seconds(trial.params, own), trial)
        if seconds == math.inf and self._job.trial_timeout is None:
            raise ConfigurationError(
                f'Simulated(): seconds returned inf for trial {trial.id} in class {own.name!r}, which would never end; '
                'return a finite number, or limit trials with trial_timeout'
            )
        # A clock that stood still would never reach the search's timeout.
        return max(seconds * self.slowdown.get(host, 1.0), 0.0 if self.overhead else _SHORTEST)

    def _fate(self, trial: Trial, own: ComputeClass, seconds: float) -> tuple[float, TrialError | None]:
        """Return how long an attempt lasts, and what it fails of."""
        error = self._lack_of_memory(trial, own)
        if error is not None:
            seconds /= 2
        else:
            error = self._failure(trial, own)
        limit = self._job.trial_timeout
        if limit is not None and seconds > limit:
            return limit, TrialError('timeout', f'the trial was ended after its trial_timeout of {limit:g} s')
        return seconds, error

    def _lack_of_memory(self, trial: Trial, own: ComputeClass) -> TrialError | None:
        limit = own.resources.get('memory') or own.hardware.memory
        if self.memory is None or not limit:
            return None
        needed = _returned('memory', self.memory(trial.params), trial)
        if needed <= limit:
            return None
        return TrialError('memory', f'the trial needs {needed:g} MiB, and its slot has {limit:g} (simulated)')

    def _failure(self, trial: Trial, own: ComputeClass) -> TrialError | None:
        kind = None
        if callable(self.failures):
            kind = self.failures(trial.params, own)
            if kind is not None and kind not in KINDS:
                raise ConfigurationError(
                    f'Simulated(): failures must return None or a kind of error ({", ".join(KINDS)}); '
                    f'got {kind!r} for trial {trial.id}'
                )
        elif self.failures and random.Random(f'{self.seed} {trial.id} {trial.attempt}').random() < self.failures:
            kind = 'crash'
        return None if kind is None else TrialError(kind, f'{kind} (simulated)')

    def _finish(self, attempt: _Attempt) -> Result:
        """Return what comes of an attempt at its very end."""
        if attempt.error is not None:
            return self._end(attempt, attempt.error)
        outcome = attempt.outcome or self._job.objective.evaluate(attempt.trial.params, attempt.trial.id)
        self.stop(attempt.trial)  # it holds its slot no longer
        return Result.of(
            attempt.trial.id, outcome, started=attempt.started, finished=self._time, seconds=attempt.seconds,
            host=attempt.host, output=outcome.get('output', ''), attempt=attempt.trial.attempt,
        )  # fmt: skip

    def _end(self, attempt: _Attempt, error: TrialError) -> Result:
        """Return the result of an attempt that fails now, or is lost."""
        self.stop(attempt.trial)
        state = TrialState.LOST if error.kind == 'lost' else TrialState.FAILED
        started = min(attempt.started, self._time)
        return Result(
            attempt.trial.id, state, error=error, started=started, finished=self._time, seconds=self._time - started,
            host=attempt.host, attempt=attempt.trial.attempt,
        )  # fmt: skip

    def _next_end(self) -> float:
        events = self._events
        while events and self._running.get(events[0][2].trial.id) is not events[0][2]:
            heapq.heappop(events)
        return events[0][0] if events else math.inf

    # --- workers -------------------------------------------------------------------------------

    def _home(self, own: ComputeClass) -> tuple[str, int]:
        """Return the name of the class that workers belong to, and how many slots each has there."""
        if not self._job.classes:
            return own.name, 1
        (formed,) = form_classes([own.hardware], self._job.classes, self._job.resources)
        return formed.name, slots(own.hardware, formed.resources)

    def _form(self) -> None:
        """Form the compute classes of the workers that there are."""
        present = [attrs.evolve(own, slots=workers) for own, workers in zip(self.classes, self._workers) if workers]
        resources = self._job.resources
        if self._job.classes:
            hardware = [own.hardware for own in present for _ in range(own.slots)]
            present = form_classes(hardware, self._job.classes, resources)
        elif resources:
            present = [_asking(own, resources) for own in present]
        self._discovered = present
        self._by_name = {own.name: own for own in present}

    def _host(self, slot: _Slot) -> str:
        return f'{self.classes[slot.kind].name}-{slot.worker}'

    def _next_change(self) -> float:
        return max(self._changes[0][0], self._time) if self._changes else math.inf

    def _change(self) -> list[Result]:
        """Let the workers come and go whose time it is; return the trials that are lost."""
        results = []
        while self._changes and self._changes[0][0] <= self._time:
            _, kind, workers = self._changes.popleft()
            before, self._workers[kind] = self._workers[kind], workers
            self._join(kind, before, workers)
            if workers < before:
                results += self._leave(kind, workers)
        return results

    def _join(self, kind: int, first: int, last: int) -> None:
        name, parts = self._homes[kind]
        self._free[name] += [_Slot(kind, worker, part) for worker in range(first, last) for part in range(parts)]
        heapq.heapify(self._free[name])

    def _leave(self, kind: int, first: int) -> list[Result]:
        """Take away the workers from number `first` on."""
        gone = [run for run in self._running.values() if run.slot.kind == kind and run.slot.worker >= first]
        results = [self._end(attempt, TrialError('lost', f'the worker {attempt.host} left')) for attempt in gone]
        name, _ = self._homes[kind]
        self._free[name] = [slot for slot in self._free[name] if slot.kind != kind or slot.worker < first]
        heapq.heapify(self._free[name])
        return results


def _asking(own: ComputeClass, resources: Mapping[str, Any]) -> ComputeClass:
    """Return a class whose trials ask for these resources; it has no slots if its memory or GPUs do not suffice."""
    scarce = {name: amount for name, amount in resources.items() if name in ('memory', 'gpus')}
    count = own.slots if slots(own.hardware, scarce) else 0
    return attrs.evolve(own, slots=count, resources={**own.resources, **resources})


class _Slot(NamedTuple):
    """A place for one trial; the free ones are taken in this order."""

    kind: int
    worker: int
    part: int


@attrs.define(eq=False)
class _Attempt:
    """A trial in its slot.

    `seconds` counts from `started`, and `error` is what it will fail of. `outcome` and `reports` are there if it was evaluated at
    its start; `told` is the step of the last report that has come in.
    """

    trial: Trial
    slot: _Slot
    host: str
    started: float
    seconds: float
    error: TrialError | None
    outcome: Outcome | None = None
    reports: Sequence[Report] = ()
    told: int = 0


def _check_callable(argument: str, given: Any) -> Any:
    if not callable(given):
        takes = 'params, compute_class' if argument == 'seconds' else 'params'
        raise ConfigurationError(
            f'Simulated(): {argument} must be a function {argument}({takes}) that returns a number; got {given!r} '
            f'({type(given).__name__})'
        )
    return given


def _check_number(argument: str, given: Any, *, least: float = 0.0, most: float = math.inf) -> float:
    """Return a finite number within limits."""
    is_number = isinstance(given, numbers.Real) and not isinstance(given, bool)
    if not is_number or not least <= given <= min(most, sys.float_info.max):
        upper = '' if most == math.inf else f' to {most:g}'
        raise ConfigurationError(
            f'Simulated(): {argument} must be a number of {least:g}{upper or " or more"}; got {given!r}'
        )
    return float(given)


def _check_failures(given: Any) -> Any:
    return given if given is None or callable(given) else _check_number('failures', given, most=1.0)


def _check_slowdown(given: Any, classes: Sequence[ComputeClass]) -> dict[str, float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"Simulated(): slowdown must be a dict such as {{'{classes[0].name}-0': 2.0}}; got {given!r}"
        )
    names = {own.name for own in classes}
    for host, factor in given.items():
        name, _, number = str(host).rpartition('-')
        if name not in names or not number.isdecimal():
            raise ConfigurationError(
                f'Simulated(): slowdown: {host!r} is no worker; workers are named <class>-<number>, such as '
                f"'{classes[0].name}-0'"
            )
        if _check_number(f'slowdown of {host!r}', factor) == 0:
            raise ConfigurationError(f'Simulated(): slowdown of {host!r} must be a factor above 0; got {factor!r}')
    return {host: float(factor) for host, factor in given.items()}


def _check_changes(given: Any, classes: Sequence[ComputeClass]) -> deque[tuple[float, int, int]]:
    """Return when which class, by its number, has how many workers: in order of time."""
    listed = as_list(given)
    if listed is None:
        raise ConfigurationError(
            f"Simulated(): changes must be a list such as [(1800, '{classes[0].name}', 10)]; got {given!r}"
        )
    names = [own.name for own in classes]
    changes = []
    for change in listed:
        if isinstance(change, str) or not isinstance(change, Sequence) or len(change) != 3:
            raise ConfigurationError(
                f"Simulated(): each of changes must be (seconds, name of a class, slots), such as (1800, '{names[0]}', "
                f'10); got {change!r}'
            )
        when, name, workers = change
        if name not in names:
            raise ConfigurationError(f'Simulated(): changes: there is no class {name!r}; {nearest(str(name), names)}')
        number = as_integer(workers)
        if number is None or number < 0:
            raise ConfigurationError(f'Simulated(): changes: slots must be an integer of 0 or more; got {workers!r}')
        changes.append((_check_number('changes: seconds', when), names.index(name), number))
    return deque(sorted(changes, key=lambda change: change[0]))


def _returned(argument: str, value: Any, trial: Trial) -> float:
    """Return what a function of the user gave for a trial, as a number of 0 or more."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not number >= 0:
        raise ConfigurationError(
            f'Simulated(): {argument} must return a number of 0 or more; got {value!r} for trial {trial.id} in class '
            f'{trial.compute_class!r} with the parameters {trial.params!r}'
        )
    return number
