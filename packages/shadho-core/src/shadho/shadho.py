"""Shadho: the configuration of a search, and how it is run."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, overload

from shadho.backends import Backend, Job
from shadho.background import BackgroundRun
from shadho.checks import check_count, check_flag, check_grace, check_path, check_plugins, check_seconds, check_size
from shadho.driver import Driver, RunOptions
from shadho.errors import BackendError, ConfigurationError
from shadho.execution.folders import folders_of
from shadho.execution.objective import LOADING, Command, Function, Objective, check_file
from shadho.fidelity import Fidelity
from shadho.forest import Forest
from shadho.hardware.classes import DeclaredClass, check_resources
from shadho.interrupts import Interrupts
from shadho.options import (
    check_backend,
    check_fidelity,
    check_key,
    check_objective,
    check_parameters,
    find_backend,
    find_earlier,
    find_storage,
    objective_name,
    warn_of_launcher,
    working_folder,
)
from shadho.plugins import Registry
from shadho.result import SearchResult
from shadho.resume import resume, warm_up
from shadho.samplers import Sampler
from shadho.scheduling import Policy
from shadho.search import Search
from shadho.spaces import describe, spec
from shadho.storage import Storage
from shadho.storage.base import FileStorage
from shadho.streams import usable_streams
from shadho_worker import jsonable
from shadho_worker.handle import TrialHandle, takes_trial

__all__ = ['Shadho']

log = logging.getLogger('shadho')


class Shadho:
    """A search for good hyperparameters: what varies, what is evaluated, where, and for how long.

    The constructor only checks its arguments; files are written and processes started by `run`.

    Parameters
    ----------
    exp_key : str
        Names the search: its storage is ``<exp_key>.db`` unless `storage` says otherwise.
    objective : callable or str
        A function of the parameters that returns a loss, or a dict that holds it, and may have the handle of its trial as a
        second parameter (see `shadho.TrialHandle`); or a shell command that is run in a folder of its own (see `add_input_file`).
    space : dict, domain, or any structure of `shadho.spaces`
    method : str or Sampler class, default 'auto'
        'auto', 'tpe', 'random', 'grid', 'sobol', any other of `shadho plugins`, or a Sampler class of your own.
    timeout : float, optional
        Seconds after which this run ends; trials still running are cancelled.
    max_tasks : int, optional
        Trials to begin, those of earlier runs included: the search ends when none of them runs or deserves to go on.
        One of the two limits is needed, unless `trials_per_tree` or the space (grids) ends the search.
    seed : int, optional
        Fixes every random choice.
    backend : str or Backend, default 'auto'
        'auto', 'inline', 'local', or the name of a plugin's backend.
    storage : str, Path, Storage or None, default 'auto'
        'auto' is ``<exp_key>.db``; a path ending in .db is an SQLite file, in .json JSON Lines;
        None keeps nothing on disk.
    policy : str or Policy class, default 'market'
        Which tree of the forest runs in which compute class: 'market', 'ranked', 'fcfs', or the name
        of a plugin's policy.
    resources : mapping, optional
        What each trial asks for: ``{'cores': 1, 'memory': MiB, 'gpus': 0}``; one core by default.
    trials_per_tree : int, optional
        The search ends when every tree of the forest has so many finished trials, failed ones
        included.
    trial_timeout : float, optional
        Seconds after which a trial is ended, as failed.
    grace : float, default 10.0
        Seconds between SIGTERM and SIGKILL for a trial that is ended by `trial_timeout`, the end of the search, or its move to
        another slot: time to save. Only a trial that handles SIGTERM uses it; others end at once. 0 kills at once.
    max_tasks_per_child : int, optional
        Trials after which a process that runs trials is replaced by a new one, for objectives that leak memory or other
        resources; by default, processes live as long as the search. A trial that runs out of memory ends its process in any case.
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
        How often each setting is tried in a tree of finitely many settings, which is done after that.
    warm_start : str, Path or Storage, optional
        An earlier search, such as ``'other.db'``, over the same space or one that overlaps: this one learns
        from its results, which are neither counted nor ever the best.
    durability : {'normal', 'full'}, default 'normal'
        Whether a power cut may lose the last moments of the storage.
    display : bool, optional
        Show progress on standard error, by a panel on a terminal or in a notebook, else by a line every few seconds;
        at the end the summary, and where the search is kept. On by default.
    echo : bool, optional
        Print on standard output what a trial has printed, when it ends: at most 100 lines a second beside a panel. By default
        for functions, and not for commands. It is recorded in any case. A function that the backend 'inline' runs prints
        by itself.
    plugins : iterable of modules or objects
        Observers and other plugins, besides the installed ones.
    options : mapping, optional
        Further options of the sampler.
    policy_options : mapping, optional
        Options of the policy, such as ``{'fairness': 1.0}``.
    max_steps : int, optional
        Steps of a trial that runs to its end, such as epochs of training, for an objective that takes the handle of its trial
        (see `shadho.TrialHandle`).
    fidelity : str or Fidelity class, default 'full'
        How far each trial is run: 'full'; 'asha' and 'hyperband' pause trials, and let the best go on; 'median' stops those
        that are worse than half of the completed ones were; or a plugin's name. All but 'full' need `max_steps`.
    fidelity_options : mapping, optional
        Options of the fidelity, such as ``{'eta': 4}``.
    folders : str or int, optional
        Bound on the folders of paused trials, such as ``'10 GB'``, or as a number of bytes: beyond it, the worst ones are removed,
        except that of the best trial. A trial without its folder begins again at its first step if it goes on. No bound by default.
    keep_folders : bool, default True
        Keep the folders of paused trials when the search comes to its end, so that it can be continued with a larger `max_tasks`;
        with False, only that of the best trial stays.
    cost_aware : bool or 'auto', default False
        Whether the policy 'market' prefers settings that should take few seconds, in proportion to their expected improvement:
        wholly when the search begins, ever less, and not at all when its time is over. 'auto' does so in a search on several slots
        that ends by `timeout` alone.

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

    _limit_name: ClassVar[str] = 'max_tasks'
    """How the caller knows `max_tasks`, for messages."""

    def __init__(
        self,
        exp_key: str,
        objective: Callable[[Any], Any] | Callable[[Any, TrialHandle], Any] | str,
        space: Any,
        method: str | type[Sampler] = 'auto',
        timeout: float | None = None,
        max_tasks: int | None = None,
        seed: int | None = None,
        backend: str | Backend = 'auto',
        storage: str | os.PathLike[str] | Storage | None = 'auto',
        *,
        policy: str | type[Policy] = 'market',
        resources: Mapping[str, Any] | None = None,
        trials_per_tree: int | None = None,
        trial_timeout: float | None = None,
        grace: float = 10.0,
        max_tasks_per_child: int | None = None,
        max_retries: int = 3,
        direction: str = 'minimize',
        loss_key: str = 'loss',
        resume: bool = True,
        grid_points: int | None = None,
        repeats: int = 1,
        warm_start: str | os.PathLike[str] | Storage | None = None,
        durability: str = 'normal',
        display: bool | None = None,
        echo: bool | None = None,
        plugins: Iterable[Any] = (),
        options: Mapping[str, Any] | None = None,
        policy_options: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        fidelity: str | type[Fidelity] = 'full',
        fidelity_options: Mapping[str, Any] | None = None,
        folders: str | int | None = None,
        keep_folders: bool = True,
        cost_aware: bool | Literal['auto'] = False,
    ) -> None:
        working_folder()
        self.exp_key = check_key(exp_key)
        self.objective = check_objective(objective)
        self.timeout = check_seconds('timeout', timeout)
        self.max_tasks = check_count(self._limit_name, max_tasks, 1)
        self.trial_timeout = check_seconds('trial_timeout', trial_timeout)
        self.grace = check_grace(grace)
        self.max_tasks_per_child = check_count('max_tasks_per_child', max_tasks_per_child, 1)
        self.max_retries = check_count('max_retries', max_retries, 0) or 0
        self.resources = check_resources(resources)
        self.folders = check_size('folders', folders)
        self.keep_folders = check_flag('keep_folders', keep_folders)
        self.resume = check_flag('resume', resume)
        self.display = check_flag('display', display, None)
        self.echo = check_flag('echo', echo, None)
        self.cost_aware = None if cost_aware == 'auto' else check_flag('cost_aware', cost_aware, 'auto')
        self._registry = _registry(check_plugins(plugins))
        self._search_options: dict[str, Any] = {
            'method': method, 'policy': policy, 'direction': direction, 'loss_key': loss_key,
            'grid_points': grid_points, 'repeats': repeats, 'options': options, 'registry': self._registry,
            'trials_per_tree': trials_per_tree, 'policy_options': policy_options, 'max_steps': max_steps,
            'fidelity': fidelity, 'fidelity_options': fidelity_options,
            'cost_aware': self.timeout is not None and self.max_tasks is trials_per_tree is None
            if self.cost_aware is None else self.cost_aware,
        }  # fmt: skip
        self._seed = seed
        self._classes: list[DeclaredClass] = []
        self._inputs: list[Path] = []
        self._outputs: list[str] = []
        self._is_running = False
        self.forest = Forest(space)
        check_parameters(self.objective, self.forest)
        search = self._new_search(seed)
        self._check_end(search)
        if self.cost_aware and not search.policy.is_cost_aware:
            raise ConfigurationError(
                f"cost_aware=True: the policy {search.policy.name!r} does not weigh seconds; take policy='market', or leave out cost_aware"
            )
        self.loss_key = search.loss_key
        self.max_steps = search.max_steps
        self._takes_trial = isinstance(objective, str) or takes_trial(objective)
        check_fidelity(search.fidelity, self._takes_trial)
        self._identity = {
            'exp_key': self.exp_key,
            'objective': objective_name(self.objective),
            'method': search.sampler.name,
            'policy': search.policy.name,
            'grid_points': search.grid_points,
            'direction': search.direction,
            'loss_key': search.loss_key,
            'max_steps': search.max_steps,
            'fidelity': search.fidelity.name,
            'fidelity_options': jsonable(dict(fidelity_options or {})),
            'rungs': list(search.fidelity.rungs),
            'space': describe(space),
            'outline': spec.outline(space),
            'fingerprint': spec.fingerprint(space),
        }
        self._backend = backend if isinstance(backend, Backend) else find_backend(self._registry, backend, self._job())
        check_backend(self._backend, self._job())
        self._storage = find_storage(self._registry, storage, self.exp_key, durability)
        self._earlier = None if warm_start is None else find_earlier(self._registry, warm_start)

    # --- configuration -----------------------------------------------------------------------

    def add_input_file(self, path: str | os.PathLike[str]) -> None:
        """Place a file or folder in the folder of every trial of a command.

        Raises
        ------
        ConfigurationError
            When there is no such file, or the objective is a function.
        """
        self._only_for_commands('add_input_file')
        self._inputs.append(check_file('input', check_path('add_input_file', path)))

    def add_output_file(self, path: str | os.PathLike[str]) -> None:
        """Bring a file back from the folder of every trial, as ``<exp_key>-output/<trial>/<path>``."""
        self._only_for_commands('add_output_file')
        self._outputs.append(str(check_file('output', check_path('add_output_file', path))))

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

    def _new_warm_search(self, seed: int | None) -> Search:
        search = self._new_search(seed)
        if self._earlier is not None:
            warm_up(search, self._earlier, self._identity)
        return search

    def _check_end(self, search: Search) -> None:
        if not (self.timeout is self.max_tasks is search.trials_per_tree is None):
            return
        is_finite = all(leaf.domain.size is not None for leaf in self.forest.leaves)
        if is_finite or search.sampler.length(self.forest.tree(0)) < math.inf:
            return
        raise ConfigurationError(
            f'the search would never end: give timeout=<seconds>, {self._limit_name}=<trials>, or both, or '
            'trials_per_tree=<trials> (only spaces without continuous domains end by themselves)'
        )

    def _job(self, seed: int = 0, folders: Path | None = None) -> Job:
        objective: Objective = Function(self.objective, self.loss_key, self._takes_trial)
        if isinstance(self.objective, str):
            folder = Path(f'{self.exp_key}-output').absolute()
            objective = Command(
                self.objective, tuple(self._inputs), tuple(self._outputs), folder, self.loss_key, self.grace
            )
        return Job(
            self.exp_key, objective, self.resources, tuple(self._classes), self.trial_timeout, self.max_tasks_per_child,
            self.max_steps, seed, folders, self.grace,
        )  # fmt: skip

    # --- running -------------------------------------------------------------------------------

    @overload
    def run(self, background: Literal[False] = False) -> SearchResult: ...

    @overload
    def run(self, background: Literal[True]) -> BackgroundRun: ...

    @overload
    def run(self, background: bool) -> SearchResult | BackgroundRun: ...

    def run(self, background: bool = False) -> SearchResult | BackgroundRun:
        """Search until a limit is reached, nothing is left to suggest, or Ctrl-C is pressed.

        A search of the same key goes on where it ended: nothing recorded is evaluated again, and
        trials that were running are.

        Parameters
        ----------
        background : bool, default False
            Search in a thread, and return at once.

        Returns
        -------
        SearchResult or BackgroundRun
            The former also after Ctrl-C, with all that was recorded. The latter in the background: it shows the best trial so
            far, and waits for the result or stops the search.

        Raises
        ------
        StorageError
            When the storage belongs to another search, is in use, corrupt, or cannot be written.
        BackendError
            When no trial can be run, or the backend runs another search.
        ConfigurationError
            When this object's search runs already.
        """
        check_flag('background', background)
        if os.environ.get(LOADING):
            raise ConfigurationError(
                'a search was started while a process loaded its objective: the module of the objective runs a search when '
                "it is imported; put that part below if __name__ == '__main__':"
            )
        working_folder()
        if self._is_running:
            raise ConfigurationError(
                f'run(): the search {self.exp_key!r} of this object runs already; wait for its end, or stop() what '
                'run(background=True) returned'
            )
        with usable_streams():
            warn_of_launcher(self._registry, self._backend, self._job())
            self._backend.attend()
        self._is_running = True
        if not background:
            return self._run(Interrupts())
        try:
            return BackgroundRun(self.exp_key, self._run)
        except RuntimeError as error:
            self._is_running = False
            raise BackendError(f'run(background=True): the system refuses a thread for the search: {error}') from error

    def _run(self, interrupts: Interrupts, begin: Callable[[Search], None] = lambda search: None) -> SearchResult:
        """Run; `begin` gets the search before its first trial."""
        try:
            with usable_streams(), interrupts, self._storage as storage:
                search = resume(storage, self._new_warm_search, self._seed, self._identity, allowed=self.resume)
                begin(search)
                with self._folders() as folders, self._backend as backend:
                    job = self._job(search.seed, folders)
                    backend.open(job)
                    try:
                        result = Driver(job, self._run_options(), search, storage, backend, interrupts).run()
                    except (KeyboardInterrupt, SystemExit):  # a second signal
                        backend.hurry()
                        raise
                    interrupts.exit_when_terminated()  # an exception for the backend: the search is cut off, not at its end
            interrupts.exit_when_terminated()
            return result
        finally:
            self._is_running = False

    @contextlib.contextmanager
    def _folders(self) -> Iterator[Path | None]:
        """Give the place of the folders of trials: beside the storage, or a temporary one."""
        if not self._takes_trial:
            yield None
        elif isinstance(self._storage, FileStorage):
            path = self._storage.path.absolute()
            yield folders_of(path)
        else:
            with tempfile.TemporaryDirectory(prefix='shadho-') as folder:
                yield Path(folder)

    def _run_options(self) -> RunOptions:
        echo = not isinstance(self.objective, str) if self.echo is None else self.echo
        return RunOptions(
            self._registry, self.max_tasks, self.timeout, self.max_retries, self.display is not False, echo, self.cost_aware,
            self._limit_name, self.folders, self.keep_folders,
        )  # fmt: skip


def _registry(extra: Iterable[Any]) -> Registry:
    from shadho import plugins

    return plugins.load().extended(*extra)
