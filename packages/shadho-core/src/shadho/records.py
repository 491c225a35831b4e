"""Frozen records: all that crosses from one room to another. The events among them are what a storage keeps."""

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

__all__ = [
    'DEFAULT_CLASS',
    'LATEST',
    'Attempt',
    'ClassesChanged',
    'ComputeClass',
    'Event',
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
    'copy_containers',
    'to_plain',
]

DEFAULT_CLASS = 'default'

LATEST = 1e15
"""Seconds beyond which no time of a search is a time."""


_MOST_GPUS = 2**16
"""Of one worker: beyond any, and few enough to be listed."""


class TrialState(str, enum.Enum):
    """What has become of a trial."""

    RUNNING = 'running'
    """Handed to a backend; run again when the driver dies."""
    DONE = 'done'
    """A loss came back (inf is one)."""
    FAILED = 'failed'
    """Raised, crashed, timed out, or returned something unusable; counts as a finished trial."""
    LOST = 'lost'
    """An attempt whose worker vanished; it is retried, and no result."""
    CANCELLED = 'cancelled'
    """Still running when the search ended; run first when the search goes on."""

    def __str__(self) -> str:
        return self.value


def _tuple(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(items)


@attrs.frozen
class TrialError:
    """Why a trial failed.

    Attributes
    ----------
    kind : str
        'exception', 'result' (what came back cannot be used), 'crash', 'timeout', 'memory' or
        'lost'.
    message : str
        One line for people.
    traceback : str
        The remote traceback, or the end of what the trial printed; may be empty.
    """

    kind: str
    message: str
    traceback: str = ''


@attrs.frozen
class Hardware:
    """What one worker consists of.

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
        Anything else that compute classes may ask for, by name.
    """

    cores: int = 1
    memory: int = 0
    gpus: tuple[str, ...] = attrs.field(default=(), converter=_tuple)
    cpu: str = ''
    features: Mapping[str, Any] = attrs.field(factory=dict)

    def amount(self, resource: str) -> Any:
        """How much (a number), or which (a name), of `resource` there is; None when unknown."""
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
        raise ConfigurationError(f"ComputeClass(): name must be a name, such as 'large'; got {value!r}")
    return value


def _slots(value: int) -> int:
    slots = as_integer(value)
    if slots is None or slots < 0:
        raise ConfigurationError(f'ComputeClass(): slots must be an integer of 0 or more; got {value!r}')
    return slots


def _resources(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            "ComputeClass(): resources must be a dict of what a trial asks for, such as {'cores': 1}; "
            f'got {value!r} ({type(value).__name__})'
        )
    for name in value:
        check_resource('ComputeClass(): resources', name, ('cores', 'memory', 'gpus'))
    return {name: _amount('resources', name, amount, above=name == 'cores') for name, amount in value.items()}


def _amount(argument: str, name: str, amount: Any, above: bool = False) -> Any:
    """Return how much of cores, memory or GPUs there is as a plain number; of all else, what was given."""
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
            f"ComputeClass(): hardware: gpus must be a number or a list of models, such as ['V100']; got {gpus!r}"
        )
    for name in {'cores', 'memory'} & set(plain):
        plain[name] = _amount('hardware', name, plain[name], above=name == 'cores')
    return Hardware(**{**plain, 'features': {**plain.get('features', {}), **features}})


@attrs.frozen
class ComputeClass:
    """Workers with the same hardware, seen as a number of slots.

    Attributes
    ----------
    name : str
    slots : int
        Trials that may run at once; a slot runs one at a time.
    hardware : Hardware or mapping
        Of one worker of the class; a mapping may be given, as in ``{'cores': 16}``.
    resources : mapping
        What each trial in this class asks for, as in ``{'cores': 1}``.
    """

    name: str = attrs.field(default=DEFAULT_CLASS, converter=_name)
    slots: int = attrs.field(default=1, converter=_slots)
    hardware: Hardware = attrs.field(factory=Hardware, converter=_hardware)
    resources: Mapping[str, Any] = attrs.field(factory=lambda: {'cores': 1}, converter=_resources)


@attrs.frozen
class Worker:
    """One worker that is connected to a backend.

    Attributes
    ----------
    name : str
        Tells it from all other workers of the backend.
    host : str
    compute_class : str
        The class that its slots count to.
    hardware : Hardware
    slots : int
        Trials that it runs at once.
    running : tuple of int
        Ids of the trials that it runs now.
    """

    name: str
    host: str
    compute_class: str
    hardware: Hardware
    slots: int
    running: tuple[int, ...] = attrs.field(default=(), converter=_tuple)


@attrs.frozen
class Attempt:
    """The beginning of another attempt at a trial; the first one begins with the `Trial`.

    Attributes
    ----------
    trial : int
        The trial's id.
    number : int
        Greater than that of the attempt before.
    compute_class : str
    resources : mapping
    started : float or None
        Seconds of active search.
    """

    trial: int
    number: int
    compute_class: str = DEFAULT_CLASS
    resources: Mapping[str, Any] = attrs.field(factory=dict)
    started: float | None = None


@attrs.frozen
class Report:
    """What a trial has measured on its way.

    Attributes
    ----------
    trial : int
        The trial's id.
    attempt : int
        The number of the attempt that measured it.
    step : int
        Counts from 1, over all attempts at the trial; greater than that of the attempt's report before.
    results : mapping
        Values by their names.
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
    """The compute classes that there are from now on: workers have come or gone.

    Attributes
    ----------
    classes : tuple of ComputeClass
    time : float
        Seconds of active search.
    """

    classes: tuple[ComputeClass, ...] = attrs.field(converter=_tuple)
    time: float = 0.0


@attrs.frozen
class RunBegan:
    """A process begins to run the search, or goes on with it.

    Attributes
    ----------
    time : float
        Seconds of active search.
    """

    time: float = 0.0


@attrs.frozen
class RunEnded:
    """A run has ended in an orderly way.

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
    """Anything else that is kept with a search. It changes no trial; readers skip the kinds that they do not know.

    Attributes
    ----------
    kind : str
    values : mapping
        Of JSON's types.
    trial : int or None
        The trial that it is about; None for the search.
    time : float
        Seconds of active search.
    """

    kind: str
    values: Mapping[str, Any] = attrs.field(factory=dict)
    trial: int | None = None
    time: float = 0.0


@attrs.frozen
class Result:
    """What came back from one attempt at a trial.

    Attributes
    ----------
    trial : int
        The trial's id.
    state : TrialState
    loss : float or None
        The value under the loss key, in the user's own sign; None unless done.
    results : mapping
        All that the objective returned.
    error : TrialError or None
    started, finished : float
        On the backend's clock, in seconds.
    seconds : float
        How long the objective itself took.
    host : str
        Where it ran.
    output : str
        The end of what the trial printed, where the backend captures it.
    attempt : int or None
        The number of the attempt (see `Trial`); None for the one that runs, where no other can be meant.
    reason : str
        Why the attempt was cancelled: 'moved' (the trial begins again in another class), 'left' (its worker left before it began),
        'ended' (with the run). Empty otherwise, or when it is not known.
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

    @classmethod
    def of(
        cls, trial: int, outcome: Mapping[str, Any], *, started: float = 0.0, finished: float = 0.0, seconds: float = 0.0,
        host: str = '', output: str = '', attempt: int | None = None,
    ) -> Result:  # fmt: skip
        """Build a Result from an outcome of `shadho_worker` (plain JSON data)."""
        taken = 0.0
        try:
            if not 0 <= seconds < LATEST:
                raise ValueError('it took an impossible time')
            taken = seconds
            state, loss, results = TrialState(outcome['state']), outcome['loss'], readable(outcome['results'])
            loss = None if loss is None else float(loss)
            error = None if outcome.get('error') is None else TrialError(**outcome['error'])
        except Exception as unreadable:  # a script may have written anything
            message = f'the result cannot be read: {type(unreadable).__name__}: {unreadable}'
            state, loss, results, error = TrialState.FAILED, None, {}, TrialError('result', message)
        return cls(trial, state, loss, results, error, started, finished, taken, host, output, attempt)

    def copied(self) -> Result:
        """Return this result with a dict of results that its receiver may change."""
        return attrs.evolve(self, results=copy_containers(self.results))

    def shifted(self, seconds: float) -> Result:
        """Return this result on a clock that is so many seconds ahead."""
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
        )


@attrs.frozen
class Trial:
    """One setting of the hyperparameters: first what is asked, later also what came of it.

    Attributes
    ----------
    id : int
        Counts from 0 in the order of suggestion.
    tree : int
        Number of the tree in the forest.
    point : tuple of float
        In the tree's unit cube.
    params : Any
        What the objective receives, shaped like the space.
    compute_class : str
    resources : mapping
        What the trial asks of its slot, as in ``{'cores': 1}``.
    meta : mapping
        Notes of the sampler.
    state : TrialState
    loss : float or None
        None unless done.
    results : mapping
    error : TrialError or None
    started, finished : float or None
        Seconds of active search since the search first began.
    seconds : float or None
        How long the objective took.
    host, output : str
    attempt : int
        The number of the attempt at the trial, from 0: it has another one when its worker vanishes, when the search ends before
        the trial does, and when it moves to another class.
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

    def copied(self) -> Trial:
        """Return this trial with parameters, results and notes that its receiver may change."""
        return Trial(  # attrs.evolve would take twice as long
            self.id, self.tree, self.point, copy_containers(self.params), self.compute_class,
            copy_containers(self.resources), copy_containers(self.meta), self.state, self.loss, copy_containers(self.results), self.error,
            self.started, self.finished, self.seconds, self.host, self.output, self.attempt,
        )  # fmt: skip

    @property
    def is_finished(self) -> bool:
        """Whether the trial is DONE or FAILED."""
        return self.state in (TrialState.DONE, TrialState.FAILED)

    def result(self) -> Result:
        """Return what came of this trial, as a record of its own."""
        return Result(
            self.id, self.state, self.loss, self.results, self.error, self.started or 0.0, self.finished or 0.0,
            self.seconds or 0.0, self.host, self.output, self.attempt,
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
        """Return this trial as it was before anything came of it."""
        return Trial(
            self.id, self.tree, self.point, self.params, self.compute_class, self.resources, self.meta,
            started=self.started, attempt=self.attempt,
        )  # fmt: skip

    def begun_again(self, attempt: Attempt) -> Trial:
        """Return this trial with another attempt that runs."""
        return Trial(
            self.id, self.tree, self.point, self.params, attempt.compute_class, attempt.resources, self.meta,
            started=attempt.started, attempt=attempt.number,
        )  # fmt: skip

    def with_result(self, result: Result) -> Trial:
        """Return this trial together with what came of it."""
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
            result.seconds,
            result.host,
            result.output,
            self.attempt,
        )


Event = Trial | Attempt | Report | Result | ClassesChanged | RunBegan | RunEnded | Note
"""All that a log is made of."""


def as_log(trials: Iterable[Trial]) -> Iterator[Trial | Result]:
    """Yield the records of finished trials as a storage would have them: asked in their order, with results in between."""
    running: list[tuple[float, int, Trial]] = []
    for trial in sorted(trials, key=lambda trial: trial.id):
        while running and running[0][0] <= (trial.started or 0.0):
            yield heapq.heappop(running)[2].result()
        yield trial.asked()
        heapq.heappush(running, (trial.finished or 0.0, trial.id, trial))
    for _, _, trial in sorted(running, key=lambda item: item[:2]):
        yield trial.result()


def to_plain(record: Any) -> dict[str, Any]:
    """Return a record as data that JSON keeps."""
    data: dict[str, Any] = jsonable(attrs.asdict(record, value_serializer=_serialize))
    return data


def _serialize(_: Any, field: Any, value: Any) -> Any:
    """Make a list of a field that is a tuple; a tuple within features stays one."""
    return list(value) if field is not None and isinstance(value, tuple) else value


def copy_containers(value: Any) -> Any:
    """Copy dicts, lists, tuples and arrays, but no other objects within: whoever gets the copy may change it."""
    kind = type(value)
    if kind is dict:
        return {key: copy_containers(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind([copy_containers(item) for item in value])
    is_array = kind.__module__.partition('.')[0] in ('numpy', 'pandas') and getattr(value, 'ndim', 0) != 0
    return copy.copy(value) if is_array or isinstance(value, (dict, list, bytearray)) else value
