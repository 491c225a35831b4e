"""Search: forest, scheduling, sampler and history as ask and tell.

No files, no processes, no clock of its own.
"""

from __future__ import annotations

import bisect
import inspect
import math
import numbers
import secrets
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import attrs
import numpy as np

import shadho_worker
from shadho import plugins
from shadho.checks import as_integer, check_count, check_direction, check_loss_key, check_options, check_whole
from shadho.errors import ConfigurationError, LedgerError, ShadhoError, SpaceError
from shadho.forest import Forest, Tree, Visited
from shadho.goal import Goal
from shadho.ledger import Ledger
from shadho.plugins import Registry
from shadho.recommend import MOST_LEADERS, recommended
from shadho.records import (
    DEFAULT_CLASS,
    LATEST,
    Attempt,
    ClassesChanged,
    ComputeClass,
    Event,
    Result,
    RunBegan,
    Trial,
    TrialError,
    TrialState,
    as_log,
)
from shadho.samplers import Sampler, SamplerContext, Suggestion
from shadho.samplers.grid import combination
from shadho.scheduling import Choice, New, Policy, PolicyContext, Slot
from shadho.table import Table

__all__ = ['Search', 'check_tree']

_MOST_REJECTED = 100

_LARGEST_QUOTA = 2**53
"""Trials that no tree will ever have, and a float can hold."""


class Search:
    """Suggests settings of a search space and learns from their losses.

    Parameters
    ----------
    space : dict, domain, or any structure of `shadho.spaces`
    method : str or Sampler class, default 'auto'
        How points are suggested within a tree: 'auto', 'tpe', 'random', 'grid', 'sobol', or another one's name.
    policy : str or Policy class, default 'market'
        Which tree the next trial comes from: 'market', 'ranked', 'fcfs', or a plugin's.
    seed : int, optional
        Fixes every random choice; drawn when not given (see the attribute).
    direction : {'minimize', 'maximize'}, default 'minimize'
    loss_key : str, default 'loss'
        Where an objective's dict holds the loss.
    grid_points : int, optional
        With ``method='grid'``: quantiles to try of each continuous domain.
    repeats : int, default 1
        How often each setting is tried in a tree that has finitely many: one without continuous domains. When all
        are tried, the tree is done.
    trials_per_tree : int, optional
        So many trials are suggested in every tree, and no more.
    options : mapping, optional
        Further options of the sampler.
    policy_options : mapping, optional
        Options of the policy, such as ``{'fairness': 1.0, 'heuristics': {'promise': 2.0}}``.
    registry : Registry, optional
        Where names are looked up; the installed plugins by default.

    Attributes
    ----------
    forest : Forest
    ledger : Ledger
        The state of every trial.
    history : Table
        The finished trials, which the ledger keeps.
    added : Table
        Results that were added (see `add`).
    pending : mapping of int to Trial
        Trials that were asked for and not yet told.
    seed : int

    Examples
    --------
    >>> from shadho import Search, spaces
    >>> search = Search({'x': spaces.uniform(-1, 1)}, seed=0)
    >>> for _ in range(100):
    ...     trial = search.ask()
    ...     _ = search.tell(trial, trial.params['x'] ** 2)
    >>> search.best.loss < 0.01
    True
    """

    def __init__(
        self,
        space: Any,
        method: str | type[Sampler] = 'auto',
        *,
        policy: str | type[Policy] = 'market',
        seed: int | None = None,
        direction: str = 'minimize',
        loss_key: str = 'loss',
        grid_points: int | None = None,
        repeats: int = 1,
        trials_per_tree: int | None = None,
        options: Mapping[str, Any] | None = None,
        policy_options: Mapping[str, Any] | None = None,
        registry: Registry | None = None,
    ) -> None:
        registry = registry or plugins.load()
        fixed = check_count('seed', seed, 0)
        self.seed = secrets.randbits(32) if fixed is None else fixed
        self.goal = Goal(check_loss_key(loss_key), check_direction(direction))
        self.repeats = check_whole('repeats', repeats, 1)
        self.forest = space if isinstance(space, Forest) else Forest(space)
        self.ledger = Ledger(self.goal)
        self.history = self.ledger.history
        self.added = Table()
        self._visited = Visited(self.repeats)
        self._leaders: list[Trial] = []
        self._exhausted: set[int] = set()
        self._are_planned = False
        self.grid_points = check_count('grid_points', grid_points, 1)
        quota = check_count('trials_per_tree', trials_per_tree, 1)
        self.trials_per_tree = None if quota is None else min(quota, _LARGEST_QUOTA)
        sampler_class = registry.get('sampler', method, 'method') if isinstance(method, str) else method
        options = check_options('options', options)
        if self.grid_points is not None:  # which is an error where the sampler knows of none
            options = {'grid_points': self.grid_points, **options}
        known = SamplerContext(self.forest, self.ledger, self.seed, self.repeats, self.added, self._visited)
        self.sampler: Sampler = _make('method', Sampler, sampler_class, known, options)
        policy_class = registry.get('policy', policy) if isinstance(policy, str) else policy
        context = PolicyContext(self.forest, self.ledger, self.seed, self.trials_per_tree, self.sampler.promise)
        chosen = _with_heuristics(check_options('policy_options', policy_options), registry)
        self.policy: Policy = _make('policy', Policy, policy_class, context, chosen)

    @property
    def direction(self) -> str:
        """Whether the loss is minimised or maximised."""
        return self.goal.direction

    @property
    def loss_key(self) -> str:
        """Where an objective's dict holds the loss."""
        return self.goal.loss_key

    @property
    def pending(self) -> Mapping[int, Trial]:
        """Trials that were asked for and not yet told."""
        return self.ledger.running

    @property
    def best(self) -> Trial | None:
        """The best trial that is done; the earliest of equals."""
        return self._leaders[0].copied() if self._leaders else None

    @property
    def leaders(self) -> list[Trial]:
        """The best trials that are done, at most 30, the best one first."""
        return [trial.copied() for trial in self._leaders]

    @property
    def recommended(self) -> Trial | None:
        """The trial to rely on where losses are noisy, and the best one is the luckiest.

        That is the one of `leaders` whose expected loss is least, by a Gaussian process of up to 300 trials, which is fitted each
        time. It is the best one where there is no model: of fewer than 10 trials, or in a space of more than 300 leaves.
        """
        found = recommended(self.forest, self.history, self._leaders)
        return None if found is None else found.copied()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to suggest; pending trials may still be told."""
        return len(self._exhausted) == self.forest.count and not self.waiting

    @property
    def waiting(self) -> int:
        """How many trials were taken back (see `cancel`) and are to be suggested again."""
        return self.ledger.waiting_count

    @property
    def classes(self) -> Mapping[str, ComputeClass]:
        """The compute classes that there are, by name; until `plan` says otherwise one slot of the class 'default'."""
        return self.ledger.classes if self._are_planned else {DEFAULT_CLASS: ComputeClass()}

    def plan(self, classes: Sequence[ComputeClass], now: float) -> None:
        """Say which compute classes there are from now on.

        Raises
        ------
        ConfigurationError
            When two have the same name.
        """
        names = [compute_class.name for compute_class in classes]
        if len(set(names)) < len(names):
            raise ConfigurationError(
                f'plan(): compute classes must have different names; got {", ".join(names)}. Add the slots of equal ones up'
            )
        self.apply(ClassesChanged(classes, now))

    def ask(self, compute_class: str = DEFAULT_CLASS, now: float = 0.0) -> Trial | None:
        """Suggest the next trial for a free slot of a class.

        Parameters
        ----------
        compute_class : str, default 'default'
        now : float, default 0.0
            Seconds, on any clock that does not run backwards.

        Returns
        -------
        Trial or None
            Its parameters are the caller's to change. None when the slot had better stay idle: all is suggested
            (see `finished`), or the policy wants it so.

        Raises
        ------
        ConfigurationError
            When there is no such class (see `plan`).
        SpaceError
            When a callback of a dependent value raises for a hundred suggestions in a row. (A single
            one becomes a failed trial, and the next suggestion is returned.)
        """
        if compute_class not in self.classes:
            raise ConfigurationError(
                f'ask(): there is no compute class {compute_class!r}; known: {", ".join(self.classes) or "none"}. Say which '
                "there are with plan([ComputeClass('16-core', slots=20), ...], now=0.0)"
            )
        for _ in range(_MOST_REJECTED):
            trial = self.fill(Slot(compute_class), now)
            if trial is None:
                return None
            if trial.error is None:
                return trial.copied()
            reason = trial.error.message
        raise SpaceError(f'{_MOST_REJECTED} suggestions in a row could not be computed; the last: {reason}')

    def fill(self, slot: Slot, now: float) -> Trial | None:
        """Begin what the policy chooses for a free slot, and return it, as `ask` does; or a trial that cannot be computed.

        Such a trial, of which a callback of a dependent value raised, is a failed one, and told already.
        """
        return self.begin(self.choose(slot, now), slot, now)

    def choose(self, slot: Slot, now: float) -> Choice | None:
        """Return what a free slot is to run."""
        if not self._are_planned:
            self.plan([ComputeClass()], 0.0)
        return self.policy.choose(slot, now)

    def begin(self, choice: Choice | None, slot: Slot, now: float) -> Trial | None:
        """Begin what was chosen for a free slot. A trial that moves there must have been ended where it ran."""
        while isinstance(choice, New):
            suggestion = self.sampler.ask(choice.tree, self.history.asked_in(choice.tree.index))
            if suggestion is not None:
                return self._begin(self._unvisited(self._on_grid(suggestion)), slot.compute_class, now)
            self._exclude(choice.tree)
            choice = self.policy.choose(attrs.evolve(slot, may_move=False), now)
        return None if choice is None else self._begin_again(choice.trial, slot.compute_class, now)

    def _begin(self, suggestion: Suggestion, compute_class: str, now: float) -> Trial:
        tree, point = suggestion.tree, tuple(suggestion.point.tolist())
        params, error = _computed(tree, point)
        trial = Trial(
            self.history.asked,
            tree.index,
            point,
            params,
            compute_class,
            self._resources(compute_class),
            suggestion.meta,
            started=now,
        )
        self.apply(trial)
        if error is not None:
            return self.record(Result(trial.id, TrialState.FAILED, error=error, started=now, finished=now))
        return trial

    def _begin_again(self, trial: Trial, compute_class: str, now: float) -> Trial:
        """Begin another attempt at a waiting trial, in any class."""
        attempt = Attempt(trial.id, trial.attempt + 1, compute_class, self._resources(compute_class), now)
        return self._with_objects(self.apply(attempt))

    def _resources(self, compute_class: str) -> Mapping[str, Any]:
        return self.classes[compute_class].resources if compute_class in self.classes else {}

    def apply(self, event: Event) -> Any:
        """Apply an event to the ledger, and let sampler and policy learn from it.

        Returns
        -------
        Trial or None
            As the event leaves it (see `Ledger.apply`).
        """
        trial = self.ledger.apply(event)
        if isinstance(event, Trial):
            tree = self.forest.tree(event.tree)
            self._visited.add(tree, event.point)
            self.policy.on(event, trial)
            self._exclude_if_exhausted(tree)
            return trial
        if trial is not None and trial.is_finished:
            self._learn(trial)
        elif isinstance(event, ClassesChanged):
            self._are_planned = True
        self.policy.on(event, trial)
        return trial

    def length(self, tree: Tree) -> float:
        """Return how many trials a tree has: infinitely many, unless all settings are tried or `trials_per_tree` ends it."""
        own = min(self.repeats * tree.size, self.sampler.length(tree))
        return own if self.trials_per_tree is None else min(own, self.trials_per_tree)

    def _unvisited(self, suggestion: Suggestion) -> Suggestion:
        """Replace a setting that was tried as often as it may be; what the sampler noted of it no longer holds then."""
        tree = suggestion.tree
        if tree.size == math.inf:
            return suggestion
        rng = np.random.default_rng((self.seed, tree.index, self.history.asked_in(tree.index)))
        point = self._visited.unvisited(tree, suggestion.point, rng)
        return suggestion if point is suggestion.point else attrs.evolve(suggestion, point=point, meta={})

    def _exclude_if_exhausted(self, tree: Tree) -> None:
        if self.history.asked_in(tree.index) >= self.length(tree):
            self._exclude(tree)

    def _exclude(self, tree: Tree) -> None:
        if tree.index not in self._exhausted:
            self._exhausted.add(tree.index)
            self.policy.exclude(tree)

    def _on_grid(self, suggestion: Suggestion) -> Suggestion:
        """Set the coordinates of grid domains to the tree's next combination."""
        tree = suggestion.tree
        if not tree.grid_leaves:
            return suggestion
        k = self.history.asked_in(tree.index)
        digits = combination([domain.size for _, domain in tree.grid_leaves], k)
        point = np.array(suggestion.point)
        for (index, domain), digit in zip(tree.grid_leaves, digits):
            point[index] = domain.coordinate(digit)
        return attrs.evolve(suggestion, point=point)

    def tell(self, trial: Trial | int, result: float | Mapping[str, Any], *, seconds: float = 0.0) -> Trial:
        """Say what came of a trial.

        Parameters
        ----------
        trial : Trial or int
            From `ask`, or the id of such a one; trials may be told in any order.
        result : float or dict
            The loss, or a dict that holds it under the loss key. Anything else, such as None or
            nan, makes the trial a failed one.
        seconds : float, default 0.0
            How long it took.

        Returns
        -------
        Trial
            The finished trial.

        Raises
        ------
        ShadhoError
            When it is no trial, or none that is pending; or `seconds` is no number of 0 or more.
        """
        number = _trial_number(trial)
        seconds = _check_seconds(seconds)
        asked = self.ledger.running.get(number)
        started = 0.0 if asked is None else asked.started or 0.0
        if type(result) is float and not math.isnan(result):  # mostly: then there is nothing to be read
            state, results = TrialState.DONE, {self.loss_key: result}
            came = Result(number, state, result, results, None, started, started + seconds, seconds)
        else:
            outcome = shadho_worker.outcome(result, self.loss_key)
            came = Result.of(number, outcome, started=started, finished=started + seconds, seconds=seconds)
        return self.record(came).copied()

    def add(self, params: Any, loss: float | None) -> None:
        """Learn from a result of another search, or one that is known beforehand: a warm start.

        It is no trial of this search: neither counted nor ever its best.

        Parameters
        ----------
        params : as the objective receives them
        loss : float or None
            None or nan when the trial failed.

        Raises
        ------
        SpaceError
            When the parameters do not lie in the space.

        Examples
        --------
        >>> from shadho import Search, spaces
        >>> search = Search({'x': spaces.uniform(-1, 1)}, seed=0)
        >>> search.add({'x': 0.1}, 0.01)
        >>> len(search.history)
        0
        """
        if loss is not None and (isinstance(loss, bool) or not isinstance(loss, numbers.Real)):
            raise ConfigurationError(f'add(): loss must be a number, or None for a failed trial; got {loss!r}')
        tree, point = self.forest.encode(params)
        known = self.goal.minimised(None if loss is None else float(loss))
        self.added.add(tree.index, point, known)
        self._visited.know(tree, point)
        self.sampler.tell(Suggestion(tree, np.array(point)), known)

    def record(self, result: Result) -> Trial:
        """Take in what came of an attempt at a pending trial.

        A trial that is done or failed is learned from; one whose attempt was lost or cancelled is suggested again.

        Returns
        -------
        Trial
            With its result, when it is finished.
        """
        if result.trial not in self.ledger.running:
            state = 'was told already' if 0 <= result.trial < self.history.asked else 'was never asked for'
            raise ShadhoError(f'trial {result.trial} {state}; each trial from ask() is told once')
        return self._with_objects(self.apply(result))

    def _learn(self, trial: Trial) -> None:
        """Let the sampler learn from a trial that has finished."""
        suggestion = Suggestion(self.forest.tree(trial.tree), np.array(trial.point), trial.meta)
        self.sampler.tell(suggestion, self._minimised(trial))
        if trial.state is TrialState.DONE:
            self._rank(trial)

    def _rank(self, trial: Trial) -> None:
        leaders = self._leaders
        if len(leaders) < MOST_LEADERS or self._minimised(trial) < self._minimised(leaders[-1]):
            bisect.insort(leaders, self._with_objects(trial), key=self._minimised)
            del leaders[MOST_LEADERS:]

    def _minimised(self, trial: Trial) -> float:
        return self.goal.minimised(trial.loss)

    def cancel(self, trial: Trial) -> None:
        """Take back a trial that will not be told; the search suggests it again when it goes on."""
        if trial.id in self.ledger.running:
            self.record(Result(trial.id, TrialState.CANCELLED))

    def restore(self, events: Iterable[Event]) -> None:
        """Rebuild everything from the log of an earlier run: results are learned, and what has not finished waits to be run again.

        Must come before the first `ask`.

        Parameters
        ----------
        events : iterable of Trial, Attempt, Result and the other events
            As a storage keeps them; or finished trials, such as those of a `SearchResult`.

        Raises
        ------
        ShadhoError
            When one is no event, is of another space, or a trial is missing among the finished ones.
        """
        self.replay(events)
        self.begin_run()

    def replay(self, events: Iterable[Event]) -> None:
        """Apply a log as `restore` does, but leave running what runs by the log: to look at a search."""
        for place, event in enumerate(_in_order(events), 1):
            if isinstance(event, Trial) and event.id == self.history.asked:
                check_tree(self.forest, event.id, event.tree, len(event.point))
                if not self._are_planned:  # as in a list of trials
                    self.plan([ComputeClass(event.compute_class)], event.started or 0.0)
            try:
                self.apply(event)
            except LedgerError as error:
                raise LedgerError(
                    f'restore(): record {place} {error}: a search is restored from all of its trials. Give all of '
                    'them once, before the first ask(), such as (event for _, event in result.storage.read()); to learn from '
                    'some, call add(trial.params, trial.loss) for each'
                ) from error

    def begin_run(self) -> None:
        """Go on with what was restored: attempts that the log leaves running ended with the run before."""
        now = self.ledger.time
        for trial in list(self.ledger.running.values()):
            started = now if trial.started is None else trial.started
            ended = Result(
                trial.id, TrialState.CANCELLED, started=started, finished=now, attempt=trial.attempt, reason='ended'
            )
            self.apply(ended)
        self.apply(RunBegan(now))

    def _with_objects(self, trial: Trial) -> Trial:
        """Return a trial with its parameters as objects, of which a log may have texts only."""
        if self.forest.keeps_values or trial.params is None:
            return trial
        return attrs.evolve(trial, params=self.forest.tree(trial.tree).decode(trial.point))


def _in_order(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events of a log as they come, and then those of trials that were finished when they came."""
    finished = []
    for event in events:
        if not isinstance(event, get_args(Event)):
            raise ConfigurationError(
                f'restore() takes events of a log; got {event!r:.200} ({type(event).__name__}). Those of a storage are '
                '(event for _, event in storage.read())'
            )
        if isinstance(event, Trial) and event.is_finished:
            finished.append(event)
        else:
            yield event
    yield from as_log(finished)


def check_tree(forest: Forest, number: int, tree: int, length: int) -> None:
    """Refuse a trial of a log, of a tree and with so many coordinates, that is of another space; ShadhoError."""
    if not (0 <= tree < forest.count) or length != len(forest.tree(tree)):
        raise ShadhoError(f'trial {number} of the log belongs to another search space')


def _computed(tree: Tree, point: Sequence[float]) -> tuple[Any, TrialError | None]:
    """Return the parameters that a point stands for, or why they cannot be computed."""
    try:
        return tree.decode(point), None
    except SpaceError as error:
        return None, TrialError('exception', str(error), ''.join(traceback.format_exception(error)))


def _with_heuristics(options: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
    """Replace names of heuristics by heuristics."""
    heuristics = options.get('heuristics')
    if heuristics is None:
        return options
    if not isinstance(heuristics, Mapping):
        raise ConfigurationError(
            "policy_options: heuristics must be a dict of names to the power of each, such as {'promise': 2.0}; "
            f'got {heuristics!r} ({type(heuristics).__name__})'
        )
    found = {registry.get('heuristic', own)() if isinstance(own, str) else own: heuristics[own] for own in heuristics}
    return {**options, 'heuristics': found}


def _check_seconds(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real) or not 0 <= seconds < LATEST:
        raise ConfigurationError(f'tell(): seconds must be a number of 0 or more, below {LATEST:g}; got {seconds!r}')
    return float(seconds)


def _makes_none(argument: str, given: Any, base: type[Any]) -> ConfigurationError:
    """Return the error for what makes no sampler or policy."""
    kind = base.__name__
    if isinstance(given, base):
        cause = 'an object, but each search makes its own; pass the class, without parentheses'
    elif isinstance(given, type):
        cause = f'a class that is no {kind}, or lacks methods of one; derive it from {kind}, and give it a name'
    else:
        cause = f'{type(given).__name__}; leave {argument} out for the default'
    return ConfigurationError(f'{argument} must be a name or a {kind} class; got {given!r} ({cause})')


def _can_make(given: Any, base: type[Any]) -> bool:
    """Whether a class, or a function, may make one of a context."""
    if isinstance(given, type):
        return issubclass(given, base) and not inspect.isabstract(given) and hasattr(given, 'name')
    try:
        inspect.signature(given).bind_partial(None)
    except (TypeError, ValueError):
        return False
    return True


def _trial_number(trial: Any) -> int:
    """Return the id of a trial that is told."""
    number = trial.id if isinstance(trial, Trial) else as_integer(trial)
    if number is None:
        cause = ' (ask() returns None when there is nothing to suggest)' if trial is None else ''
        raise ConfigurationError(f'tell() needs a Trial from ask(), or the id of one; got {trial!r}{cause}')
    return number


def _make(argument: str, base: type[Any], cls: Any, context: Any, options: Mapping[str, Any]) -> Any:
    """Make a sampler or a policy of its context and the user's options."""
    if not _can_make(cls, base):
        raise _makes_none(argument, cls, base)
    known = inspect.signature(cls).parameters
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    own = list(known)[1:]
    unused = [] if any_name else [name for name in options if name not in own]
    if unused:
        raise ConfigurationError(
            f'{argument}={getattr(cls, "name", cls)!r} has no option {unused[0]!r}; its options: {", ".join(own) or "none"}'
        )
    try:
        made = cls(context, **options)
    except TypeError as error:
        if isinstance(cls, type):
            raise
        raise _makes_none(argument, cls, base) from error
    if not isinstance(made, base):
        raise _makes_none(argument, cls, base)
    return made
