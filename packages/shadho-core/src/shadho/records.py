"""Frozen records that the parts of a search exchange. Storages keep those that are events."""

from __future__ import annotations

import copy
import enum
import heapq
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from shadho.checks import as_integer, check_resource
from shadho.errors import ConfigurationError
from shadho.jsontags import readable
from shadho.words import counted, format_loss, format_params, html_table
from shadho_worker import jsonable
from shadho_worker.handle import LAST_STEP

__all__ = [
    'DEFAULT_CLASS',
    'FINISHED',
    'LATEST',
    'PARTIAL',
    'Attempt',
    'ClassesChanged',
    'ComputeClass',
    'Event',
    'FolderRemoved',
    'Hardware',
    'Note',
    'Report',
    'Result',
    'RunBegan',
    'RunEnded',
    'Trial',
    'TrialError',
    'TrialState',
    'Worker',
    'as_log',
    'check_timing',
    'copy_containers',
    'to_plain',
]

DEFAULT_CLASS = 'default'

LATEST = 1e15
"""Upper bound (s) on any timestamp or duration; larger values are corrupt. Chosen: 30 million years."""

_MOST_GPUS = 2**16
"""Upper bound on the GPUs of one worker. A larger number is a typo, whose list of models could exhaust memory. Chosen."""


class TrialState(str, enum.Enum):
    """The state of a trial or of its last attempt."""

    RUNNING = 'running'
    """An attempt runs; if the driver dies, the trial runs again when the search is resumed."""
    DONE = 'done'
    """The trial returned a loss; inf is a valid loss."""
    FAILED = 'failed'
    """The trial raised, crashed, timed out or returned an invalid result; it counts as finished."""
    STOPPED = 'stopped'
    """The fidelity ended the trial before its last step; it counts as finished, with the loss of its last report."""
    PAUSED = 'paused'
    """The trial rests at a step, with the loss of its last report, and goes on from there if the fidelity promotes it."""
    LOST = 'lost'
    """The worker of an attempt vanished; the trial is retried and has no result yet."""
    CANCELLED = 'cancelled'
    """The attempt ended since the trial moved, its worker left, or the run ended; it runs again."""

    def __str__(self) -> str:
        return self.value


FINISHED = frozenset({TrialState.DONE, TrialState.FAILED, TrialState.STOPPED})
"""States in which a trial stays for good."""

PARTIAL = frozenset({TrialState.STOPPED, TrialState.PAUSED})
"""States whose loss is that of a step before the last one."""

_PARTS = ('setup', 'load', 'save', 'transfer')
"""Parts of an attempt that are timed, see `Result`."""

_AT_REST = FINISHED | PARTIAL
"""States in which the steps and the seconds of the last attempt count."""


def _tuple(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(items)


@attrs.frozen
class TrialError:
    """Why a trial failed.

    Attributes
    ----------
    kind : str
        'exception', 'result' (an invalid result), 'crash', 'timeout', 'memory' or 'lost'.
    message : str
        One line.
    traceback : str
        The remote traceback, or the end of the trial's output; may be empty.
    """

    kind: str
    message: str
    traceback: str = ''


@attrs.frozen
class Hardware:
    """The hardware of one worker.

    Attributes
    ----------
    cores : int
    memory : int
        MiB; 0 when unknown.
    gpus : tuple of str
        Model of each GPU.
    cpu : str
        Model of the processor; may be empty.
    features : mapping
        Other properties that compute classes may require, by name.
    """

    cores: int = 1
    memory: int = 0
    gpus: tuple[str, ...] = attrs.field(default=(), converter=_tuple)
    cpu: str = ''
    features: Mapping[str, Any] = attrs.field(factory=dict)

    def amount(self, resource: str) -> Any:
        """Return the amount (a number) or the model (a name) of `resource`; None if unknown."""
        if resource == 'gpus':
            return len(self.gpus)
        if resource == 'gpu_model':
            return self.gpus[0] if self.gpus else None
        if resource in ('cores', 'memory', 'cpu'):
            return getattr(self, resource)
        return self.features.get(resource)

    def __str__(self) -> str:
        parts = [counted(self.cores, 'core')]
        if self.memory:
            parts.append(f'{self.memory / 1024:.3g} GiB')
        models = list(dict.fromkeys(self.gpus))
        parts += [f'{self.gpus.count(model)} x {model}' for model in models]
        return ', '.join(parts)


def _name(value: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"ComputeClass(): name must be a non-empty str, such as 'large'; got {value!r}")
    return value


def _slots(value: int) -> int:
    slots = as_integer(value)
    if slots is None or slots < 0:
        raise ConfigurationError(f'ComputeClass(): slots must be an integer of 0 or more; got {value!r}')
    return slots


def _resources(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            "ComputeClass(): resources must be a dict of the resources that a trial needs, such as {'cores': 1}; "
            f'got {value!r} ({type(value).__name__})'
        )
    for name in value:
        check_resource('ComputeClass(): resources', name, ('cores', 'memory', 'gpus'))
    return {name: _amount('resources', name, amount, above=name == 'cores') for name, amount in value.items()}


def _amount(argument: str, name: str, amount: Any, above: bool = False) -> Any:
    """Return an amount of cores, memory or GPUs as an int or float; any other resource as given."""
    if name not in ('cores', 'memory', 'gpus'):
        return amount
    is_number = isinstance(amount, numbers.Real) and not isinstance(amount, bool)
    if not is_number or not 0 <= amount < math.inf or (above and amount == 0):
        least = 'above 0' if above else 'of 0 or more'
        raise ConfigurationError(f'ComputeClass(): {argument}: {name} must be a number {least}; got {amount!r}')
    whole = as_integer(amount)
    return float(amount) if whole is None else whole


def _hardware(value: Hardware | Mapping[str, Any]) -> Hardware:
    if isinstance(value, Hardware):
        return value
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            "ComputeClass(): hardware must be a Hardware, or a dict such as {'cores': 16, 'gpus': ['V100']}; "
            f'got {value!r} ({type(value).__name__})'
        )
    known = {field.name for field in attrs.fields(Hardware)}
    plain = {key: item for key, item in value.items() if key in known}
    features = {key: item for key, item in value.items() if key not in known}
    for key in features:
        check_resource('ComputeClass(): hardware', key, known - {'cpu'})
    gpus = plain.get('gpus', ())
    if as_integer(gpus) is not None:
        count = _amount('hardware', 'gpus', gpus)
        if count > _MOST_GPUS:
            raise ConfigurationError(f'ComputeClass(): hardware: gpus must be at most {_MOST_GPUS:,}; got {gpus!r}')
        plain['gpus'] = ('gpu',) * count
    elif isinstance(gpus, str) or not isinstance(gpus, Sequence):
        raise ConfigurationError(
            f"ComputeClass(): hardware: gpus must be an integer or a list of models, such as ['V100']; got {gpus!r}"
        )
    for name in {'cores', 'memory'} & set(plain):
        plain[name] = _amount('hardware', name, plain[name], above=name == 'cores')
    return Hardware(**{**plain, 'features': {**plain.get('features', {}), **features}})


@attrs.frozen
class ComputeClass:
    """A number of slots on workers with the same hardware.

    Attributes
    ----------
    name : str
    slots : int
        Number of trials that run at once.
    hardware : Hardware or mapping
        Hardware of one worker of the class; a mapping such as ``{'cores': 16}`` is converted.
    resources : mapping
        Resource request of each trial in this class, such as ``{'cores': 1}``.
    """

    name: str = attrs.field(default=DEFAULT_CLASS, converter=_name)
    slots: int = attrs.field(default=1, converter=_slots)
    hardware: Hardware = attrs.field(factory=Hardware, converter=_hardware)
    resources: Mapping[str, Any] = attrs.field(factory=lambda: {'cores': 1}, converter=_resources)


@attrs.frozen
class Worker:
    """A worker that is connected to a backend.

    Attributes
    ----------
    name : str
        Unique among the workers of the backend.
    host : str
    compute_class : str
        Class of its slots.
    hardware : Hardware
    slots : int
        Number of trials that it runs at once.
    running : tuple of int
        Ids of its running trials.
    """

    name: str
    host: str
    compute_class: str
    hardware: Hardware
    slots: int
    running: tuple[int, ...] = attrs.field(default=(), converter=_tuple)


@attrs.frozen
class Attempt:
    """The start of another attempt at a trial; the first attempt starts with the `Trial`.

    Attributes
    ----------
    trial : int
        The trial's id.
    number : int
        Greater than the number of the previous attempt.
    compute_class : str
    resources : mapping
    started : float or None
        Seconds of active search.
    until : int or None
        Step at which the attempt is judged; None for a trial without steps.
    """

    trial: int
    number: int
    compute_class: str = DEFAULT_CLASS
    resources: Mapping[str, Any] = attrs.field(factory=dict)
    started: float | None = None
    until: int | None = None


@attrs.frozen
class Report:
    """An intermediate result of a running trial.

    Attributes
    ----------
    trial : int
        The trial's id.
    attempt : int
        The number of the reporting attempt.
    step : int
        Counts from 1 over all attempts at the trial; greater than the step of the attempt's previous report.
    results : mapping
        Values by name.
    time : float
        Seconds of active search.
    """

    trial: int
    attempt: int
    step: int
    results: Mapping[str, Any] = attrs.field(factory=dict)
    time: float = 0.0


@attrs.frozen
class ClassesChanged:
    """A new list of compute classes, after workers have joined or left.

    Attributes
    ----------
    classes : tuple of ComputeClass
    time : float
        Seconds of active search.
    """

    classes: tuple[ComputeClass, ...] = attrs.field(converter=_tuple)
    time: float = 0.0


@attrs.frozen
class FolderRemoved:
    """The folder of a paused or waiting trial is removed: if the trial goes on, its next attempt begins at step 0.

    Attributes
    ----------
    trial : int
        The trial's id.
    time : float
        Seconds of active search.
    """

    trial: int
    time: float = 0.0


@attrs.frozen
class RunBegan:
    """A process starts or resumes the search.

    Attributes
    ----------
    time : float
        Seconds of active search.
    """

    time: float = 0.0


@attrs.frozen
class RunEnded:
    """A run has ended without being killed.

    Attributes
    ----------
    time : float
        Seconds of active search.
    reason : str
        As in `SearchResult.stopped`.
    """

    time: float = 0.0
    reason: str = ''


@attrs.frozen
class Note:
    """Any other entry in the log of a search. It changes no trial; readers skip kinds that they do not know.

    Attributes
    ----------
    kind : str
    values : mapping
        JSON types only.
    trial : int or None
        Id of the trial that it concerns; None for the search.
    time : float
        Seconds of active search.
    """

    kind: str
    values: Mapping[str, Any] = attrs.field(factory=dict)
    trial: int | None = None
    time: float = 0.0


@attrs.frozen
class Result:
    """The outcome of one attempt at a trial.

    Attributes
    ----------
    trial : int
        The trial's id.
    state : TrialState
    loss : float or None
        The value under the loss key, with the objective's sign; of the last report if paused or stopped. None otherwise.
    results : mapping
        The objective's whole return value, or its last report.
    error : TrialError or None
    started, finished : float
        On the backend's clock, in seconds.
    seconds : float
        Duration of the objective.
    host : str
        Host of the attempt.
    output : str
        The end of the trial's output, if the backend captures it.
    attempt : int or None
        The number of the attempt (see `Trial`); None stands for the running attempt.
    reason : str
        Why the attempt was cancelled: 'moved' (the trial restarts in another class), 'left' (its worker left before it began),
        'ended' (with the run). Empty otherwise, or if unknown.
    step : int
        The last step of the trial; 0 without steps.
    timing : mapping of str to float
        Seconds of parts of the attempt, as far as they are known: 'setup', before the first step of a trial, or 'load', before the
        first step of an attempt that goes on; 'save', after the answer that paused it; 'transfer', if the backend copied its folder.
    """

    trial: int
    state: TrialState
    loss: float | None = None
    results: Mapping[str, Any] = attrs.field(factory=dict)
    error: TrialError | None = None
    started: float = 0.0
    finished: float = 0.0
    seconds: float = 0.0
    host: str = ''
    output: str = ''
    attempt: int | None = None
    reason: str = ''
    step: int = 0
    timing: Mapping[str, float] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls, trial: int, outcome: Mapping[str, Any], *, started: float = 0.0, finished: float = 0.0, seconds: float = 0.0,
        host: str = '', output: str = '', attempt: int | None = None,
    ) -> Result:  # fmt: skip
        """Build a Result from an outcome of `shadho_worker` (plain JSON data)."""
        taken = 0.0
        try:
            if not 0 <= seconds < LATEST:
                raise ValueError(f'seconds is {seconds!r:.80}, which is no duration')
            taken = seconds
            state, loss, results = TrialState(outcome['state']), outcome['loss'], readable(outcome['results'])
            loss = None if loss is None else float(loss)
            error = None if outcome.get('error') is None else TrialError(**outcome['error'])
            step = outcome.get('step', 0)
            if type(step) is not int or not 0 <= step <= LAST_STEP:
                raise ValueError(f'step is {step!r:.80}')
            timing = check_timing(outcome.get('timing', {}))
        except Exception as unreadable:  # a script may have written anything
            message = f'the result cannot be read: {type(unreadable).__name__}: {unreadable}'
            state, loss, results, error, step = TrialState.FAILED, None, {}, TrialError('result', message), 0
            timing = {}
        return cls(
            trial,
            state,
            loss,
            results,
            error,
            started,
            finished,
            taken,
            host,
            output,
            attempt,
            step=step,
            timing=timing,
        )

    def copied(self) -> Result:
        """Return a copy of this result whose `results` may be changed."""
        return attrs.evolve(self, results=copy_containers(self.results))

    def shifted(self, seconds: float) -> Result:
        """Return this result with its times on a clock that is ahead by `seconds`."""
        return Result(
            self.trial,
            self.state,
            self.loss,
            self.results,
            self.error,
            self.started + seconds,
            self.finished + seconds,
            self.seconds,
            self.host,
            self.output,
            self.attempt,
            self.reason,
            self.step,
            self.timing,
        )


@attrs.frozen
class Trial:
    """One evaluation of a hyperparameter setting: the suggestion and, once finished, its result.

    Attributes
    ----------
    id : int
        Counts from 0 in the order of suggestion.
    tree : int
        Number of the tree in the forest.
    point : tuple of float
        Coordinates in the tree's unit cube.
    params : Any
        The objective's argument, structured like the space.
    compute_class : str
    resources : mapping
        The trial's resource request, such as ``{'cores': 1}``.
    meta : mapping
        The sampler's data about the suggestion.
    state : TrialState
    loss : float or None
        None unless done, stopped or paused.
    results : mapping
    error : TrialError or None
    started, finished : float or None
        Seconds of active search, counted over all runs.
    seconds : float or None
        Duration of the objective: the sum over the attempts that were paused or ended the trial, in whatever classes they ran.
        Lost and cancelled attempts do not count. None before the first of these has ended.
    host, output : str
    attempt : int
        The number of the attempt, from 0. A trial gets another attempt if its worker vanishes, if the run ends before the
        trial does, if it moves to another class, or if it was paused and goes on.
    step : int
        The last step of the attempts that were paused or ended the trial; a further attempt begins after it.
    until : int or None
        Step at which the current attempt is judged; None for a trial without steps.
    """

    id: int
    tree: int
    point: tuple[float, ...]
    params: Any
    compute_class: str = DEFAULT_CLASS
    resources: Mapping[str, Any] = attrs.field(factory=dict)
    meta: Mapping[str, Any] = attrs.field(factory=dict)
    state: TrialState = TrialState.RUNNING
    loss: float | None = None
    results: Mapping[str, Any] = attrs.field(factory=dict)
    error: TrialError | None = None
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    host: str = ''
    output: str = ''
    attempt: int = 0
    step: int = 0
    until: int | None = None

    def copied(self) -> Trial:
        """Return a copy of this trial whose parameters, results and metadata may be changed."""
        return Trial(  # attrs.evolve would take twice as long
            self.id, self.tree, self.point, copy_containers(self.params), self.compute_class,
            copy_containers(self.resources), copy_containers(self.meta), self.state, self.loss, copy_containers(self.results), self.error,
            self.started, self.finished, self.seconds, self.host, self.output, self.attempt, self.step, self.until,
        )  # fmt: skip

    @property
    def is_finished(self) -> bool:
        """Whether the trial is DONE, FAILED or STOPPED."""
        return self.state in FINISHED

    @property
    def reach(self) -> float:
        """How far the trial was run, as a number of steps, and inf if it is done."""
        return math.inf if self.state is TrialState.DONE else self.step

    def result(self) -> Result:
        """Return the result of this trial as a separate record."""
        return Result(
            self.id, self.state, self.loss, self.results, self.error, self.started or 0.0, self.finished or 0.0,
            self.seconds or 0.0, self.host, self.output, self.attempt, step=self.step,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        """Show this trial as a table in a notebook."""
        facts = {
            'trial': self.id, 'state': self.state, 'loss': None if self.loss is None else format_loss(self.loss), 'compute class': self.compute_class, 'seconds': self.seconds,
            'error': self.error and f'{self.error.kind}: {self.error.message}',
        }  # fmt: skip
        rows = [(name, value) for name, value in facts.items() if value not in (None, '')]
        return html_table([], [*rows, *format_params(self.params)])

    def asked(self) -> Trial:
        """Return this trial without its result."""
        return Trial(
            self.id, self.tree, self.point, self.params, self.compute_class, self.resources, self.meta,
            started=self.started, attempt=self.attempt, until=self.until,
        )  # fmt: skip

    def begun_again(self, attempt: Attempt) -> Trial:
        """Return this trial with another running attempt."""
        return Trial(
            self.id, self.tree, self.point, self.params, attempt.compute_class, attempt.resources, self.meta,
            started=attempt.started, seconds=self.seconds, attempt=attempt.number, step=self.step, until=attempt.until,
        )  # fmt: skip

    def with_result(self, result: Result) -> Trial:
        """Return this trial with a result."""
        seconds = self.seconds
        if self.state is TrialState.RUNNING and result.state in _AT_REST:  # not a paused one that is stopped
            seconds = result.seconds if seconds is None else seconds + result.seconds
        return Trial(
            self.id,
            self.tree,
            self.point,
            self.params,
            self.compute_class,
            self.resources,
            self.meta,
            result.state,
            result.loss,
            result.results,
            result.error,
            result.started,
            result.finished,
            seconds,
            result.host,
            result.output,
            self.attempt,
            result.step if result.state in _AT_REST else self.step,
            self.until,
        )


Event = Trial | Attempt | Report | Result | ClassesChanged | FolderRemoved | RunBegan | RunEnded | Note
"""The records that make up a log."""


def check_timing(timing: Any) -> Mapping[str, float]:
    """Return the seconds of parts of an attempt; raise ValueError if they are none."""
    if not isinstance(timing, Mapping) or not all(
        name in _PARTS and type(seconds) in (int, float) and 0 <= seconds < LATEST for name, seconds in timing.items()
    ):
        raise ValueError(f'timing is {timing!r:.80}')
    return timing


def as_log(trials: Iterable[Trial]) -> Iterator[Trial | Result]:
    """Yield finished trials as events in the order of a log: trials by id, with results in between."""
    running: list[tuple[float, int, Trial]] = []
    for trial in sorted(trials, key=lambda trial: trial.id):
        while running and running[0][0] <= (trial.started or 0.0):
            yield heapq.heappop(running)[2].result()
        yield trial.asked()
        heapq.heappush(running, (trial.finished or 0.0, trial.id, trial))
    for _, _, trial in sorted(running, key=lambda item: item[:2]):
        yield trial.result()


def to_plain(record: Any) -> dict[str, Any]:
    """Return a record as JSON-compatible data."""
    data: dict[str, Any] = jsonable(attrs.asdict(record, value_serializer=_serialize))
    return data


def _serialize(_: Any, field: Any, value: Any) -> Any:
    """Turn a tuple that is a field into a list; tuples within features stay."""
    return list(value) if field is not None and isinstance(value, tuple) else value


def copy_containers(value: Any) -> Any:
    """Return a copy of nested dicts, lists, tuples and arrays, which shares all other objects."""
    kind = type(value)
    if kind is dict:
        return {key: copy_containers(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind([copy_containers(item) for item in value])
    is_array = kind.__module__.partition('.')[0] in ('numpy', 'pandas') and getattr(value, 'ndim', 0) != 0
    return copy.copy(value) if is_array or isinstance(value, (dict, list, bytearray)) else value
