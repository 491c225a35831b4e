"""The driver: configuration of a search, and the loop that is the story of every trial."""

from __future__ import annotations

import contextlib
import difflib
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

import shadho
from shadho.backends import Backend, Job
from shadho.errors import ConfigurationError, ShadhoError, StorageError
from shadho.execution.classes import DeclaredClass, check_resources
from shadho.execution.objective import Command, Function, Objective, check_file
from shadho.forest import Forest
from shadho.plugins import Registry
from shadho.records import ComputeClass, Result, Trial, TrialError, TrialState
from shadho.result import SearchResult
from shadho.samplers import Sampler
from shadho.scheduling import Policy
from shadho.search import Search, check_direction
from shadho.spaces import spec
from shadho.storage import Storage

__all__ = ['SearchInfo', 'SearchResult', 'Shadho']

log = logging.getLogger('shadho')

_REDISCOVER = 1.0
"""Seconds between two looks at which workers there are, and the longest single wait."""

_SHORT = 0.005
"""Seconds below which a trial is so short that the next one should wait beside it."""


@attrs.frozen
class SearchInfo:
    """What observers learn when a search begins or goes on.

    Attributes
    ----------
    exp_key, backend, method, policy, storage, direction : str
    seed : int
    classes : tuple of ComputeClass
    max_tasks : int or None
        Trials of the whole search.
    timeout : float or None
        Seconds of this run.
    recorded : int
        Trials that earlier runs finished.
    best : Trial or None
        The best of these.
    forest : Forest
    now : callable
        Seconds of active search, as the times of trials.
    """

    exp_key: str
    backend: str
    method: str
    policy: str
    storage: str
    direction: str
    seed: int
    classes: tuple[ComputeClass, ...]
    max_tasks: int | None
    timeout: float | None
    recorded: int
    best: Trial | None
    forest: Forest
    now: Callable[[], float]


class Shadho:
    """A search for good hyperparameters: what varies, what is evaluated, where, and for how long.

    The constructor only checks its arguments; files are written and processes started by `run`.

    Parameters
    ----------
    exp_key : str
        Names the search: its storage is ``<exp_key>.db`` unless `storage` says otherwise.
    objective : callable or str
        A function of the parameters that returns a loss, or a dict that holds it; or a shell
        command that is run in a folder of its own (see `add_input_file`).
    space : dict, domain, or any structure of `shadho.spaces`
    method : str or Sampler class, default 'random'
        'random', 'grid', 'sobol', or the name of a plugin's sampler.
    timeout : float, optional
        Seconds after which this run ends; trials still running are cancelled.
    max_tasks : int, optional
        Finished trials after which the search ends, those of earlier runs and failed ones included.
        One of the two limits is needed, unless the space ends by itself (grids).
    seed : int, optional
        Fixes every random choice.
    backend : str or Backend, default 'auto'
        'auto', 'inline', 'local', or the name of a plugin's backend.
    storage : str, Path, Storage or None, default 'auto'
        'auto' is ``<exp_key>.db``; a path ending in .db is an SQLite file, in .json JSON Lines;
        None keeps nothing on disk.
    policy : str or Policy class, default 'fcfs'
        Which tree of the forest runs in which compute class.
    resources : mapping, optional
        What each trial asks for: ``{'cores': 1, 'memory': MiB, 'gpus': 0}``; one core by default.
    trial_timeout : float, optional
        Seconds after which a trial is ended, as failed.
    max_retries : int, default 3
        How often a trial is repeated whose worker vanished. Trials that fail are never repeated.
    direction : {'minimize', 'maximize'}, default 'minimize'
    loss_key : str, default 'loss'
        Where the objective's dict holds what is optimised.
    resume : bool, default True
        Go on with a search of the same key; with False, refuse to touch one.
    grid_points : int, optional
        With ``method='grid'``: quantiles to try of each continuous domain.
    repeats : int, default 1
        How often every combination of a space of grids is visited.
    durability : {'normal', 'full'}, default 'normal'
        Whether a power cut may lose the last moments of the storage.
    display : bool, optional
        Show progress on standard error; by default when that is a terminal or a log of one's own
        (every few seconds a line).
    plugins : iterable of modules or objects
        Observers and other plugins, besides the installed ones.
    options : mapping, optional
        Further options of the sampler.

    Raises
    ------
    ConfigurationError
        When an argument cannot be used.
    SpaceError
        When the space makes no sense.

    Examples
    --------
    >>> from shadho import Shadho, spaces
    >>> opt = Shadho('doc', lambda params: params['x'] ** 2, {'x': spaces.uniform(-1, 1)},
    ...              max_tasks=50, seed=1, backend='inline', storage=None, display=False)
    >>> result = opt.run()
    >>> len(result), abs(result.best.params['x']) < 0.1
    (50, True)
    """

    def __init__(
        self,
        exp_key: str,
        objective: Callable[[Any], Any] | str,
        space: Any,
        method: str | type[Sampler] = 'random',
        timeout: float | None = None,
        max_tasks: int | None = None,
        seed: int | None = None,
        backend: str | Backend = 'auto',
        storage: str | os.PathLike[str] | Storage | None = 'auto',
        *,
        policy: str | type[Policy] = 'fcfs',
        resources: Mapping[str, Any] | None = None,
        trial_timeout: float | None = None,
        max_retries: int = 3,
        direction: str = 'minimize',
        loss_key: str = 'loss',
        resume: bool = True,
        grid_points: int | None = None,
        repeats: int = 1,
        durability: str = 'normal',
        display: bool | None = None,
        plugins: Iterable[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.exp_key = _check_key(exp_key)
        self.objective = _check_objective(objective)
        self.timeout = _check_seconds('timeout', timeout)
        self.max_tasks = _check_count('max_tasks', max_tasks, 1)
        self.trial_timeout = _check_seconds('trial_timeout', trial_timeout)
        self.max_retries = _check_count('max_retries', max_retries, 0) or 0
        self.direction = check_direction(direction)
        self.loss_key = loss_key
        self.resources = check_resources(resources)
        self.resume = resume
        self.display = display
        self._registry = _registry(plugins)
        self._search_options: dict[str, Any] = {
            'method': method, 'policy': policy, 'direction': direction, 'loss_key': loss_key,
            'grid_points': grid_points, 'repeats': repeats, 'options': options, 'registry': self._registry,
        }  # fmt: skip
        self._seed = seed
        self.forest = Forest(space)
        self._check_end(self._new_search(seed))
        self._backend = backend if isinstance(backend, Backend) else self._find_backend(backend)
        self._storage = self._find_storage(storage, durability)
        self._classes: list[DeclaredClass] = []
        self._inputs: list[Path] = []
        self._outputs: list[str] = []

    # --- configuration -----------------------------------------------------------------------

    def add_input_file(self, path: str | os.PathLike[str]) -> None:
        """Place a file or folder in the folder of every trial of a command.

        Raises
        ------
        ConfigurationError
            When there is no such file, or the objective is a function.
        """
        self._only_for_commands('add_input_file')
        self._inputs.append(check_file('input', path))

    def add_output_file(self, path: str | os.PathLike[str]) -> None:
        """Bring a file back from the folder of every trial, as ``<exp_key>-output/<trial>/<path>``."""
        self._only_for_commands('add_output_file')
        self._outputs.append(str(check_file('output', path)))

    def _only_for_commands(self, method: str) -> None:
        if not isinstance(self.objective, str):
            raise ConfigurationError(
                f'{method}(): files are for commands, and the objective is a function, which reads and writes any '
                "file by itself; for a command, pass a string such as 'bash evaluate.sh'"
            )

    def add_compute_class(self, name: str, resource: str, value: Any, max_tasks: int | None = None) -> None:
        """Declare a compute class: the workers with at least so much of a resource.

        A worker belongs to the declared class with the highest value that it satisfies, and a trial
        there asks for that amount, unless `resources` names the resource.

        Parameters
        ----------
        name : str
        resource : str
            'cores', 'memory' (MiB), 'gpus', 'gpu_model', or any feature of the workers.
        value : number or str
            A number is a lower bound; a name must be equal.
        max_tasks : int, optional
            The most trials of the class that are handed out at once.
        """
        if any(own.name == name for own in self._classes):
            raise ConfigurationError(f'add_compute_class(): there is a class {name!r} already')
        self._classes.append(DeclaredClass(name, resource, value, max_tasks))

    def _new_search(self, seed: int | None) -> Search:
        return Search(self.forest, seed=seed, **self._search_options)

    def _check_end(self, search: Search) -> None:
        if self.timeout is not None or self.max_tasks is not None:
            return
        trees = (self.forest.tree(index) for index in range(min(self.forest.count, 1000)))
        if all(search.length(tree) < math.inf for tree in trees):
            return
        raise ConfigurationError(
            'the search would never end: give timeout=<seconds>, max_tasks=<trials>, or both (only spaces of grids '
            'end by themselves)'
        )

    def _find_backend(self, name: str) -> Backend:
        if name != 'auto':
            return self._registry.get('backend', name)()  # type: ignore[no-any-return]
        job = self._job()
        able = [
            (cls.affinity(job), not cls.__module__.startswith('shadho.'), cls)
            for cls in self._registry.classes('backend').values()
        ]
        affinity, _, chosen = max(able, key=lambda entry: entry[:2])
        if affinity < 1:
            raise ConfigurationError(
                'no installed backend can run this search by itself'
                + (' with a trial_timeout' if self.trial_timeout else '')
                + '; pip install shadho-core[local], or name one: '
                + ', '.join(self._registry.classes('backend'))
            )
        return chosen()  # type: ignore[no-any-return]

    def _find_storage(self, storage: str | os.PathLike[str] | Storage | None, durability: str) -> Storage:
        if isinstance(storage, Storage):
            return storage
        if storage is None or storage == ':memory:':
            return self._registry.get('storage', 'memory')()  # type: ignore[no-any-return]
        classes = self._registry.classes('storage')
        text = os.fspath(storage)
        if text == 'auto':
            text = 'sqlite'
        if text in classes:
            cls = classes[text]
            return cls(self.exp_key + cls.suffixes[0], durability=durability) if cls.suffixes else cls()  # type: ignore[no-any-return]
        for cls in classes.values():
            if Path(text).suffix in cls.suffixes:
                return cls(text, durability=durability)  # type: ignore[no-any-return]
        known = sorted(suffix for cls in classes.values() for suffix in cls.suffixes)
        raise ConfigurationError(
            f'storage={text!r}: no storage has this name or file ending; give a path that ends in one of {", ".join(known)}, '
            f'one of the names {", ".join(sorted(classes))}, or None to keep nothing'
        )

    def _job(self) -> Job:
        folder = Path(f'{self.exp_key}-output')
        objective: Objective
        if isinstance(self.objective, str):
            inputs, outputs = getattr(self, '_inputs', []), getattr(self, '_outputs', [])
            objective = Command(self.objective, tuple(inputs), tuple(outputs), folder.absolute(), self.loss_key)
        else:
            objective = Function(self.objective, self.loss_key)
        classes = tuple(getattr(self, '_classes', ()))
        return Job(self.exp_key, objective, self.resources, classes, self.trial_timeout)

    # --- running -------------------------------------------------------------------------------

    def run(self) -> SearchResult:
        """Search until a limit is reached, nothing is left to suggest, or Ctrl-C is pressed.

        A search of the same key goes on where it ended: nothing recorded is evaluated again, and
        trials that were running are.

        Returns
        -------
        SearchResult
            Also after Ctrl-C, with all that was recorded.

        Raises
        ------
        StorageError
            When the storage belongs to another search, is in use, corrupt, or cannot be written.
        """
        with self._storage as storage:
            search, elapsed = self._restore(storage)
            with self._backend as backend:
                backend.open(self._job())
                run = _Run(self, search, storage, backend, elapsed)
                return run.run()

    def _restore(self, storage: Storage) -> tuple[Search, float]:
        """Build the search from what the storage holds; return it with the seconds searched so far."""
        known = storage.metadata()
        search = self._new_search(self._seed if self._seed is not None else known.get('seed'))
        own = {
            'fingerprint': spec.fingerprint(self.forest.space),
            'direction': self.direction,
            'loss_key': self.loss_key,
        }
        if known:
            self._check_same(storage, known, own)
            if self._seed not in (None, known['seed']):
                log.warning('seed=%s differs from the seed %s that this search began with', self._seed, known['seed'])
        else:
            storage.update(
                **own, **self._space_texts(), exp_key=self.exp_key, seed=search.seed,
                version=shadho.__version__, elapsed=0.0,
            )  # fmt: skip
        latest = float(known.get('elapsed', 0.0))

        def records() -> Iterator[Trial | Result]:
            nonlocal latest
            for _, record in storage.read():
                latest = max(latest, record.started or 0.0, getattr(record, 'finished', 0.0) or 0.0)
                yield record

        search.restore(records())
        return search, latest

    def _space_texts(self) -> dict[str, str]:
        return {'space': spec.describe(self.forest.space), 'outline': spec.outline(self.forest.space)}

    def _check_same(self, storage: Storage, known: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        if not self.resume:
            raise StorageError(
                f'{storage} already holds a search, and resume=False: nothing is overwritten. Give another exp_key or '
                'storage, remove the file, or let the search go on with resume=True'
            )
        if known.get('fingerprint') != own['fingerprint']:
            difference = _difference(known, self._space_texts())
            raise StorageError(
                f'{storage} belongs to another search space. Give this search another exp_key or storage, or the space '
                'that is recorded:\n' + difference
            )
        for name in ('direction', 'loss_key'):
            if known.get(name) != own[name]:
                raise StorageError(
                    f'{storage} was recorded with {name}={known.get(name)!r}, and now {name}={own[name]!r}: their losses '
                    'cannot be compared. Give this search another exp_key or storage'
                )


class _Run:
    """One run of a search: from the first free slot to the last result."""

    def __init__(self, shadho: Shadho, search: Search, storage: Storage, backend: Backend, elapsed: float) -> None:
        self.config = shadho
        self.search = search
        self.storage = storage
        self.backend = backend
        self.registry = _with_display(shadho)
        self.origin = backend.now() - elapsed
        self.deadline = math.inf if shadho.timeout is None else elapsed + shadho.timeout
        self.classes: Sequence[ComputeClass] = ()
        self.running: dict[int, Trial] = {}
        self.busy: dict[str, int] = {}
        self.attempts: dict[int, int] = {}
        self.pace = math.inf  # seconds that trials take of late
        self.stopped = ''
        self.interrupts = _Interrupts()
        self.echo = not isinstance(shadho.objective, str)

    def now(self) -> float:
        """Seconds of active search, all runs together."""
        return self.backend.now() - self.origin

    def run(self) -> SearchResult:
        self._discover()
        self.registry.notify('shadho_search_started', search=self._info())
        try:
            with self.interrupts:
                self._loop()
        except BaseException:
            self.stopped = 'error'
            with contextlib.suppress(ShadhoError):  # the storage may be what failed
                self._finish()
            raise
        result = self._finish()
        self.interrupts.exit_when_terminated()
        return result

    def _loop(self) -> None:
        """The story of every trial."""
        finished: list[Trial] = []
        while not self._is_over():
            self._discover()
            trials = list(self._fill_slots())
            for trial in trials:
                self.storage.append(trial)
            self.storage.flush()  # results that have come in and trials that depend on them, at once
            self._announce(finished)
            finished = []
            if self.stopped:
                break
            for trial in trials:
                self.backend.submit(trial)
                self.registry.notify('shadho_trial_dispatched', trial=trial)
            for result in self._poll():
                self.storage.append(result)
                finished += self._learn(result)
        self.storage.flush()
        self._announce(finished)

    def _is_over(self) -> bool:
        if self.interrupts.name:
            self.stopped = self.interrupts.name
        elif self.now() >= self.deadline:
            self.stopped = 'timeout'
        elif not self.running and not self.stopped:
            if self._remaining() <= 0:
                self.stopped = 'max_tasks'
            elif self.search.finished:
                self.stopped = 'finished'
        return bool(self.stopped)

    def _remaining(self) -> float:
        """Trials that may still be handed out."""
        limit = self.config.max_tasks
        return math.inf if limit is None else limit - len(self.search.history) - len(self.running)

    def _fill_slots(self) -> Iterator[Trial]:
        """Yield a trial for each free slot that is to be used."""
        ahead = 1 + (self.backend.queues_ahead and self.pace < _SHORT)
        for compute_class in self.classes:
            while self.busy.get(compute_class.name, 0) < compute_class.slots * ahead and self._remaining() > 0:
                trial = self.search.ask(compute_class.name, self.now())
                if trial is None:
                    break
                self.running[trial.id] = trial
                self.busy[compute_class.name] = self.busy.get(compute_class.name, 0) + 1
                yield trial

    def _poll(self) -> Sequence[Result]:
        timeout = min(self.deadline - self.now(), _REDISCOVER)
        with self.interrupts.allowed():
            results = self.backend.poll(max(timeout, 0.0))
            return [self._on_own_clock(result) for result in results if result.trial in self.running]
        return []

    def _on_own_clock(self, result: Result) -> Result:
        if result.state is TrialState.LOST and self.attempts.get(result.trial, 0) >= self.config.max_retries:
            error = TrialError('lost', f'its worker vanished {self.config.max_retries + 1} times; see max_retries')
            result = attrs.evolve(result, state=TrialState.FAILED, error=error)
        return result.shifted(-self.origin)

    def _learn(self, result: Result) -> list[Trial]:
        """Take a result in; return the trial when it is finished with it."""
        trial = self.running.pop(result.trial)
        self.busy[trial.compute_class] -= 1
        if result.output and self.echo and (result.error is None or result.error.kind in ('exception', 'result')):
            sys.stdout.write(result.output)
        if result.state is TrialState.LOST:
            self.attempts[trial.id] = self.attempts.get(trial.id, 0) + 1
            log.warning('trial %d lost its worker %s; it runs again', trial.id, result.host)
            self.search.cancel(trial)
            return []
        self.attempts.pop(trial.id, None)
        self.pace = result.seconds if math.isinf(self.pace) else 0.9 * self.pace + 0.1 * result.seconds
        trial = self.search.record(result)
        if trial.error is not None:
            log.info('trial %d failed (%s): %s', trial.id, trial.error.kind, trial.error.message)
        return [trial]

    def _announce(self, trials: Sequence[Trial]) -> None:
        """Tell observers of finished trials, whose results are durable by now."""
        for trial in trials:
            self.registry.notify('shadho_trial_finished', trial=trial)
            if any(self.registry.notify('shadho_should_stop', trial=trial)):
                self.stopped = 'plugin'

    def _discover(self) -> None:
        classes = list(self.backend.discover())
        if classes != self.classes:
            self._warn_of_unserved(classes)
            self.classes = classes
            self.search.plan(classes, self.now())
            self.registry.notify('shadho_plan_changed', classes=tuple(classes))

    def _warn_of_unserved(self, classes: Sequence[ComputeClass]) -> None:
        present = {compute_class.name for compute_class in classes}
        connected = '; '.join(f'{own.name}: {own.hardware}, {own.slots} slots' for own in classes) or 'nothing'
        for declared in self.config._classes:
            if declared.name not in present:
                log.warning('no connected worker can serve the compute class %s; connected: %s', declared, connected)
        for compute_class in classes:
            if compute_class.slots < 1:
                log.warning(
                    'the compute class %s (%s) has no slot for a trial that asks for %s',
                    compute_class.name, compute_class.hardware, dict(compute_class.resources),
                )  # fmt: skip

    def _finish(self) -> SearchResult:
        """Cancel what still runs, note how long it took, and gather the result."""
        for trial in list(self.running.values()):
            self.backend.cancel(trial)
            now = self.now()
            self.storage.append(Result(trial.id, TrialState.CANCELLED, started=trial.started or now, finished=now))
            self.search.cancel(trial)
        self.storage.flush()
        self.storage.update(elapsed=self.now())
        search = self.search
        result = SearchResult(
            self.config.exp_key, search.best, self.stopped, self.now(), self.storage, search.forest, search.history,
            search.direction, search.seed,
        )  # fmt: skip
        self.registry.notify('shadho_search_finished', result=result)
        return result

    def _info(self) -> SearchInfo:
        search, config = self.search, self.config
        return SearchInfo(
            config.exp_key, self.backend.name, search.sampler.name, search.policy.name, str(self.storage), search.direction,
            search.seed, tuple(self.classes), config.max_tasks, config.timeout, len(search.history), search.best,
            search.forest, self.now,
        )  # fmt: skip


class _Interrupts:
    """Ctrl-C and SIGTERM, let through only while the search waits, so that its state stays whole."""

    _NAMES = {signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}

    def __init__(self) -> None:
        self.name = ''
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in self._NAMES:
                self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        again = bool(self.name)
        self.name = self._NAMES[signal.Signals(number)]
        if self._waiting or again:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Let a signal end the waiting within, which is then left early."""
        try:
            self._waiting = True
            if not self.name:
                yield
            else:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.name = self.name or 'interrupted'
        finally:
            self._waiting = False

    def exit_when_terminated(self) -> None:
        """End the process as SIGTERM asked, with the status that shells give such an end."""
        if self.name == 'terminated':
            sys.exit(128 + signal.SIGTERM)


def _with_display(config: Shadho) -> Registry:
    """Return the registry, with the live display as one more observer."""
    show = config.display
    if show is False:
        return config._registry
    from shadho.live import make_display

    return config._registry.extended(make_display())


def _registry(extra: Iterable[Any]) -> Registry:
    from shadho import plugins

    return plugins.load().extended(*extra)


def _difference(known: Mapping[str, Any], given: Mapping[str, str], limit: int = 40) -> str:
    """Show how two spaces differ: as people read them, or in full where that leaves the difference out."""
    for name in ('space', 'outline'):
        old, new = (str(side.get(name, '')).splitlines() for side in (known, given))
        lines = list(difflib.unified_diff(old, new, 'recorded', 'given now', lineterm='', n=2))
        if lines:
            break
    return '\n'.join([*lines[:limit], *([f'... {len(lines) - limit} more lines'] if len(lines) > limit else [])])


def _check_key(exp_key: str) -> str:
    if (
        not isinstance(exp_key, str)
        or not exp_key.strip()
        or '/' in exp_key
        or '\0' in exp_key
        or exp_key in ('.', '..')
    ):
        raise ConfigurationError(
            f"exp_key must be a name that can be a file's, such as 'svm-search'; got {exp_key!r}. For a storage in another "
            'folder give storage="folder/name.db"'
        )
    return exp_key


def _check_objective(objective: Any) -> Any:
    if isinstance(objective, str):
        if not objective.strip():
            raise ConfigurationError("the objective is an empty command; pass one such as 'bash evaluate.sh'")
    elif not callable(objective):
        raise ConfigurationError(
            f'the objective must be a function of the parameters, or a shell command as a string; got {objective!r} '
            f'({type(objective).__name__})'
        )
    return objective


def _check_seconds(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f'{name} must be a number of seconds greater than 0, or None; got {value!r}')
    return None if math.isinf(value) else float(value)


def _check_count(name: str, value: int | None, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f'{name} must be an integer of {least} or more; got {value!r}')
    return value
