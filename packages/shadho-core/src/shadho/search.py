"""Search: ask and tell over forest, policy, sampler and ledger. It has no files, processes or clock."""

from __future__ import annotations

import bisect
import contextlib
import logging
import math
import numbers
import secrets
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import attrs
import numpy as np

import shadho_worker
from shadho import plugins
from shadho.checks import (
    as_integer,
    check_count,
    check_direction,
    check_flag,
    check_loss_key,
    check_options,
    check_whole,
)
from shadho.errors import ConfigurationError, LedgerError, ShadhoError, SpaceError
from shadho.fidelity import Decision, Fidelity, FidelityContext
from shadho.forest import Forest, Tree, Visited
from shadho.goal import Goal
from shadho.ledger import Ledger
from shadho.plugins import Registry
from shadho.plugins.new import new_fidelity, new_policy, new_sampler
from shadho.recommend import MOST_LEADERS, recommended
from shadho.records import (
    DEFAULT_CLASS,
    LATEST,
    PARTIAL,
    Attempt,
    ClassesChanged,
    ComputeClass,
    Event,
    Note,
    Report,
    Result,
    RunBegan,
    Trial,
    TrialError,
    TrialState,
    as_log,
)
from shadho.samplers import Offer, Sampler, SamplerContext, Suggestion
from shadho.samplers.grid import combination
from shadho.samplers.numbers import Numbers
from shadho.scheduling import Choice, Move, New, Policy, PolicyContext, Run, Slot
from shadho.table import Table

__all__ = ['Search', 'check_tree']

log = logging.getLogger('shadho')

_MOST_REJECTED = 100
"""Suggestions in a row that cannot be computed before `ask` raises. Rare failures pass, a broken callback shows. Chosen."""

_MOST_COMPLETE = 100
"""Trials that have reported their last step, and of which further results are taken. Chosen: more than may end at once."""

_RESULTS = 'results'
"""The kind of a note with further results of a trial."""

_EXHAUSTED = 'tree exhausted'
"""The kind of a note about a tree in which a sampler has nothing left to suggest, whatever its `length`."""

_LARGEST_QUOTA = 2**53
"""Upper bound on `trials_per_tree`: the largest integer up to which floats are exact. No tree has more trials."""


class Search:
    """Suggests settings of a search space and learns from their losses.

    Parameters
    ----------
    space : dict, domain, or any structure of `shadho.spaces`
    method : str or Sampler class, default 'auto'
        The sampler, which suggests points within a tree: 'auto', 'tpe', 'random', 'grid', 'sobol', or any other name.
    policy : str or Policy class, default 'market'
        The policy, which chooses the tree of the next trial: 'market', 'ranked', 'fcfs', or a plugin's name.
    seed : int, optional
        Fixes every random choice; drawn if omitted (see the attribute).
    direction : {'minimize', 'maximize'}, default 'minimize'
    loss_key : str, default 'loss'
        Key of the loss in the dict that an objective returns.
    grid_points : int, optional
        With ``method='grid'``: number of quantiles of each continuous domain.
    repeats : int, default 1
        Number of trials of each setting in a finite tree, which is one without continuous domains. When all settings
        are tried, the tree is exhausted.
    trials_per_tree : int, optional
        Exact number of trials in every tree.
    options : mapping, optional
        Further options of the sampler.
    policy_options : mapping, optional
        Options of the policy, such as ``{'fairness': 1.0, 'heuristics': {'promise': 2.0}}``.
    max_steps : int, optional
        Steps of a trial that runs to its end, such as epochs of training.
    fidelity : str or Fidelity class, default 'full'
        How far each trial is run: 'full', 'asha', 'hyperband', 'median', or a plugin's name. All but 'full' need `max_steps`.
    fidelity_options : mapping, optional
        Options of the fidelity, such as ``{'eta': 4}``.
    cost_aware : bool, default False
        Learn what parameters add to seconds on a single compute class, too, for slots where seconds count (see `Slot.cost_weight`).
    registry : Registry, optional
        Resolves names; by default, the installed plugins.

    Attributes
    ----------
    forest : Forest
    ledger : Ledger
        The state of every trial.
    history : Table
        The ledger's finished trials.
    added : Table
        Results from elsewhere (see `add`).
    pending : mapping of int to Trial
        Trials from `ask` that have no result yet, by id.
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

    Trials that are judged on the way report step by step; a paused one comes back from `ask`:

    >>> search = Search({'rate': spaces.loguniform(1e-3, 1)}, seed=0, max_steps=9, fidelity='asha')
    >>> for _ in range(50):
    ...     trial = search.ask()
    ...     loss = 1.0
    ...     for step in range(trial.step + 1, search.max_steps + 1):
    ...         loss = abs(trial.params['rate'] - 0.1) + 1 / step
    ...         if not search.report(trial, loss=loss, step=step):
    ...             break
    >>> search.best.step
    9
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
        max_steps: int | None = None,
        fidelity: str | type[Fidelity] = 'full',
        fidelity_options: Mapping[str, Any] | None = None,
        cost_aware: bool = False,
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
        self._numbers = Numbers(self.history)
        self._are_planned = False
        self.grid_points = check_count('grid_points', grid_points, 1)
        quota = check_count('trials_per_tree', trials_per_tree, 1)
        self.trials_per_tree = None if quota is None else min(quota, _LARGEST_QUOTA)
        self.max_steps = check_count('max_steps', max_steps, 1)
        self.cost_aware = check_flag('cost_aware', cost_aware)
        rule = FidelityContext(self.ledger, self.seed, self.max_steps, self.forest.count, self._length)
        self.fidelity = new_fidelity(fidelity, rule, fidelity_options, registry)
        self.ledger.measure_at(self.fidelity.rungs)
        self._complete: dict[int, Trial] = {}  # the latest that have reported their last step, and may still be told
        options = check_options('options', options)
        if self.grid_points is not None:  # a sampler without this option refuses it
            options = {'grid_points': self.grid_points, **options}
        known = SamplerContext(self.forest, self.ledger, self.seed, self.repeats, self.added, self._visited)
        self.sampler = new_sampler(method, known, options, registry)
        context = PolicyContext(
            self.forest, self.ledger, self.seed, self.trials_per_tree, self.sampler.promise, self.promotable,
            self._offers, self._numbers.crowded, self.cost_aware,
        )  # fmt: skip
        self.policy = new_policy(policy, context, policy_options, registry)

    @property
    def direction(self) -> str:
        """Whether the loss is minimised or maximised."""
        return self.goal.direction

    @property
    def loss_key(self) -> str:
        """Key of the loss in the dict that an objective returns."""
        return self.goal.loss_key

    @property
    def pending(self) -> Mapping[int, Trial]:
        """Trials from `ask` that have no result yet, by id."""
        return self.ledger.running

    @property
    def best(self) -> Trial | None:
        """The best of the trials that were run furthest, that is, of those that are done if there are any; the earliest of ties."""
        return self._leaders[0].copied() if self._leaders else None

    @property
    def leaders(self) -> list[Trial]:
        """The best trials, at most 30 and the best one first; those that were run furthest come before others."""
        return [trial.copied() for trial in self._leaders]

    @property
    def recommended(self) -> Trial | None:
        """The trial to rely on if losses are noisy, as the best trial is then often just the luckiest.

        It is the trial of `leaders` with the least expected loss by a Gaussian process of up to 300 trials, fitted on each
        access. With fewer than 10 trials, in a space of more than 300 leaves, or where trials were paused or stopped, there is no
        model, and it is `best`.
        """
        found = recommended(self.forest, self.history, self._leaders)
        return None if found is None else found.copied()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to suggest; trials may still be pending."""
        return self._has_no_new and not self.waiting and not self.ledger.paused

    @property
    def _has_no_new(self) -> bool:
        """Whether no tree has a suggestion left."""
        return len(self._exhausted) == self.forest.count

    @property
    def waiting(self) -> int:
        """The number of cancelled or lost trials that `ask` will suggest again."""
        return self.ledger.waiting_count

    @property
    def classes(self) -> Mapping[str, ComputeClass]:
        """The compute classes by name; before the first `plan`, one slot of the class 'default'."""
        return self.ledger.classes if self._are_planned else {DEFAULT_CLASS: ComputeClass()}

    def plan(self, classes: Sequence[ComputeClass], now: float) -> None:
        """Set the compute classes.

        Raises
        ------
        ConfigurationError
            When two have the same name.
        """
        names = [compute_class.name for compute_class in classes]
        if len(set(names)) < len(names):
            raise ConfigurationError(
                f'plan(): compute classes must have different names; got {", ".join(names)}. Merge classes of the same name '
                'by adding their slots'
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
            The caller may change its parameters. None leaves the slot idle: nothing is left to suggest
            (see `finished`), or the policy holds trials back.

        Raises
        ------
        ConfigurationError
            When the class is unknown (see `plan`).
        SpaceError
            When a callback of a dependent value raises for a hundred suggestions in a row. A single
            one becomes a failed trial, and `ask` returns the next suggestion.
        """
        if compute_class == DEFAULT_CLASS and len(self.classes) == 1:  # whatever it is called
            [compute_class] = self.classes
        if compute_class not in self.classes:
            raise ConfigurationError(
                f'ask(): unknown compute class {compute_class!r}; known: {", ".join(self.classes) or "none"}. Declare the '
                "classes first: plan([ComputeClass('16-core', slots=20), ...], now=0.0)"
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
        """Begin the policy's choice for a free slot, and return it as `ask` does.

        If a callback of a dependent value raises, return the failed trial, which is already recorded.
        """
        return self.begin(self.choose(slot, now), slot, now)

    def choose(self, slot: Slot, now: float) -> Choice | None:
        """Return the policy's choice for a free slot."""
        if not self._are_planned:
            self.plan([ComputeClass()], 0.0)
        choice = self.policy.choose(slot, now)
        if choice is None and slot.may_begin and self._has_no_new and self.ledger.paused:
            return Run(min(self.ledger.paused.values(), key=self._resume_rank))
        return choice

    def _resume_rank(self, trial: Trial) -> tuple[bool, float, float]:
        """Return the key to sort paused trials by: those that can go on from where they were paused come first."""
        return trial.id in self.ledger.without_folder, *self.goal.rank(trial)

    def promotable(self) -> Generator[Trial, None, None]:
        """Yield paused trials that deserve to go on, the best first; those that would begin again at step 0 come last."""
        without_folder = []
        with contextlib.closing(self.fidelity.promotable()) as promotable:
            for trial in promotable:
                if trial.id in self.ledger.without_folder:
                    without_folder.append(trial)
                else:
                    yield trial
        yield from without_folder

    def begin(self, choice: Choice | None, slot: Slot, now: float) -> Trial | None:
        """Begin a choice in a free slot. A trial that moves must have ended in its former class."""
        if isinstance(choice, Move) and not slot.may_move:
            return None
        while isinstance(choice, New):
            if not slot.may_begin:
                return None
            offer = choice.offer or self._own_offer(choice.tree)
            if offer is not None:
                return self._begin(offer, slot.compute_class, now)
            self.apply(Note(_EXHAUSTED, {'tree': str(choice.tree.index)}, time=now))
            choice = self.policy.choose(attrs.evolve(slot, may_move=False), now)
        return None if choice is None else self._begin_again(choice.trial, slot.compute_class, now)

    def _own_offer(self, tree: Tree) -> Offer | None:
        """Return the sampler's own suggestion; None if it has none left."""
        number = self._numbers.first(tree.index)
        suggestion = self.sampler.ask(tree, number)
        return None if suggestion is None else Offer(self._on_grid(suggestion, number), number)

    def _offers(self, tree: Tree, count: int) -> Sequence[Offer]:
        """Return suggestions of a tree, of which a slot may begin any."""
        offers = self.sampler.offers(tree, self._numbers.free(tree.index, count))
        if tree.size == math.inf and not tree.grid_leaves:
            return offers
        return [
            attrs.evolve(offer, suggestion=self._unvisited(self._on_grid(offer.suggestion, offer.number)))
            for offer in offers
        ]

    def _begin(self, offer: Offer, compute_class: str, now: float) -> Trial:
        suggestion = self._unvisited(offer.suggestion)
        tree, point = suggestion.tree, tuple(suggestion.point.tolist())
        params, error = _computed(tree, point)
        trial = Trial(
            self.history.asked,
            tree.index,
            point,
            params,
            compute_class,
            self._resources(compute_class),
            self._numbers.noted(offer, suggestion),
            started=now,
            until=self.fidelity.until(self.history.asked),
        )
        self.apply(trial)
        if error is not None:
            return self.record(Result(trial.id, TrialState.FAILED, error=error, started=now, finished=now))
        return trial

    def _begin_again(self, trial: Trial, compute_class: str, now: float) -> Trial:
        """Begin another attempt at a waiting or paused trial, in any class."""
        until = self.fidelity.until(trial)
        attempt = Attempt(trial.id, trial.attempt + 1, compute_class, self._resources(compute_class), now, until)
        return self._with_objects(self.apply(attempt))

    def _resources(self, compute_class: str) -> Mapping[str, Any]:
        return self.classes[compute_class].resources if compute_class in self.classes else {}

    def apply(self, event: Event) -> Any:
        """Apply an event to the ledger, then let sampler and policy learn from it.

        Returns
        -------
        Trial or None
            The trial after the event (see `Ledger.apply`).
        """
        measured = len(self.ledger.measured)
        trial = self.ledger.apply(event)
        self.fidelity.on(event, trial)
        if isinstance(event, Trial):
            tree = self.forest.tree(event.tree)
            self._visited.add(tree, event.point)
            self._numbers.take(event)
            self.policy.on(event, trial)
            self._exclude_if_exhausted(tree)
            return trial
        if trial is not None and len(self.ledger.measured) > measured:
            self.sampler.tell(
                Suggestion(self.forest.tree(trial.tree), np.array(trial.point), trial.meta),
                self.ledger.measured.last_loss,
            )
        if isinstance(event, Result) and trial is not None:
            self._rank(trial)
        elif isinstance(event, ClassesChanged):
            self._are_planned = True
        self.policy.on(event, trial)
        if isinstance(event, Note) and event.kind == _EXHAUSTED:
            self._exclude(self.forest.tree(int(event.values['tree'])))
        return trial

    def length(self, tree: Tree) -> float:
        """Return the number of trials at which a tree is exhausted; inf without a bound."""
        length = min(self.repeats * tree.size, self.sampler.length(tree))
        return length if self.trials_per_tree is None else min(length, self.trials_per_tree)

    def _length(self, tree: int) -> float:
        return self.length(self.forest.tree(tree))

    def _unvisited(self, suggestion: Suggestion) -> Suggestion:
        """Replace a setting that has had all of its repeats; the sampler's metadata of it is dropped."""
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

    def _on_grid(self, suggestion: Suggestion, k: int) -> Suggestion:
        """Set the coordinates of grid domains to the tree's next combination."""
        tree = suggestion.tree
        if not tree.grid_leaves:
            return suggestion
        digits = combination([domain.size for _, domain in tree.grid_leaves], k)
        point = np.array(suggestion.point)
        for (index, domain), digit in zip(tree.grid_leaves, digits):
            point[index] = domain.coordinate(digit)
        return attrs.evolve(suggestion, point=point)

    def tell(self, trial: Trial | int, result: float | Mapping[str, Any], *, seconds: float = 0.0) -> Trial:
        """Record the result of a trial.

        Parameters
        ----------
        trial : Trial or int
            A trial from `ask`, or its id; in any order.
        result : float or dict
            The loss, or a dict that holds it under the loss key. Anything else, such as None or
            nan, marks the trial as failed.
        seconds : float, default 0.0
            Duration of the trial.

        Returns
        -------
        Trial
            The finished trial.

        Raises
        ------
        ShadhoError
            When `trial` is not a pending trial, or `seconds` is not a number of 0 or more.

        Notes
        -----
        A trial that `report` has paused is stopped, with the loss of its last report.
        """
        number = _trial_number(trial)
        seconds = _check_seconds(seconds)
        paused = self.ledger.paused.get(number)
        if paused is not None:
            ended: Trial = self.apply(attrs.evolve(paused.result(), state=TrialState.STOPPED))
            return ended.copied()
        if number in self._complete:
            return self._add_results(self._complete.pop(number), result)
        return self._told(number, result, seconds).copied()

    def _told(self, number: int, result: float | Mapping[str, Any], seconds: float) -> Trial:
        asked = self.ledger.running.get(number)
        started = 0.0 if asked is None else asked.started or 0.0
        step = 0 if asked is None else self.ledger.last_step(asked)
        if type(result) is float and not math.isnan(result):  # the common case needs no conversion
            state, results = TrialState.DONE, {self.loss_key: result}
            came = Result(number, state, result, results, None, started, started + seconds, seconds, step=step)
        else:
            outcome = {**shadho_worker.outcome(result, self.loss_key), 'step': step}
            came = Result.of(number, outcome, started=started, finished=started + seconds, seconds=seconds)
        return self.record(came)

    def report(
        self, trial: Trial | int, values: float | Mapping[str, Any] | None = None, /, *, step: int | None = None, now: float = 0.0,
        **more: Any,
    ) -> bool:  # fmt: skip
        """Record the results of a pending trial at a step, and return whether it should go on.

        Parameters
        ----------
        trial : Trial or int
            A trial from `ask`, or its id.
        values : float or mapping, optional
            The loss, or results by name, with the loss under the loss key.
        step : int, optional
            Counts from 1 over all attempts at the trial; by default the one after the last. A step that does not increase is
            dropped with a warning.
        now : float, default 0.0
            Seconds, on the clock of `ask`.
        **more
            Further results by name.

        Returns
        -------
        bool
            False if the trial should be left: it is complete, paused (`ask` may return it again, with ``trial.step`` above 0), or
            stopped. A complete trial may still be told further results, which do not change its loss.

        Raises
        ------
        ShadhoError
            When `trial` is not a pending trial.

        Examples
        --------
        >>> from shadho import Search, spaces
        >>> search = Search({'x': spaces.uniform(-1, 1)}, seed=0, max_steps=2)
        >>> trial = search.ask()
        >>> search.report(trial, loss=0.5, step=1), search.report(trial, loss=0.25, step=2)
        (True, False)
        >>> search.ask().id, search.best.loss
        (1, 0.25)
        """
        number = _trial_number(trial, 'report()')
        running = self.ledger.running.get(number)
        if running is None:
            raise self._not_pending(number)
        last = self.ledger.last_step(running)
        step = last + 1 if step is None else check_whole('step', step, 1)
        if step <= last:
            log.warning(
                'trial %d: the report of step %d comes after that of step %d, and is dropped', number, step, last
            )
            return True
        given = dict(values) if isinstance(values, Mapping) else {} if values is None else {self.loss_key: values}
        results = shadho_worker.jsonable({**given, **more})
        decision = self.hear(Report(number, running.attempt, step, results, now))
        if decision is None:
            self._complete[number] = self._told(number, results, max(0.0, now - (running.started or 0.0)))
            if len(self._complete) > _MOST_COMPLETE:
                del self._complete[next(iter(self._complete))]
        elif decision is not Decision.GO_ON:
            self.leave(running, decision, now)
        return decision is Decision.GO_ON

    def hear(self, report: Report) -> Decision | None:
        """Record a report of a running trial, and return the decision on it; None after its last step."""
        trial = self.apply(report)
        if self.max_steps is not None and report.step >= self.max_steps:
            return None
        return self.fidelity.judge(trial, report)

    def leave(self, trial: Trial, decision: Decision, now: float) -> Trial:
        """Pause or stop a running trial after its latest report."""
        started = now if trial.started is None else trial.started
        seconds = max(0.0, now - started)
        return self.record(
            Result(
                trial.id,
                TrialState(decision.value),
                started=started,
                finished=now,
                seconds=seconds,
                attempt=trial.attempt,
            )
        )

    def _add_results(self, trial: Trial, result: Any) -> Trial:
        """Note further results of a trial that has reported its last step; they are in the log as a note."""
        given = result if isinstance(result, Mapping) else {self.loss_key: result}
        more = {name: value for name, value in shadho_worker.jsonable(dict(given)).items() if name != self.loss_key}
        self.apply(Note(_RESULTS, more, trial.id, self.ledger.time))
        told = attrs.evolve(trial, results={**trial.results, **more})
        self._leaders = [told if leader.id == told.id else leader for leader in self._leaders]
        return told.copied()

    def add(self, params: Any, loss: float | None) -> None:
        """Learn from a known result, such as one of another search (a warm start).

        It is not a trial of this search: it neither counts nor becomes the best one.

        Parameters
        ----------
        params : Any
            As the objective receives them.
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
        """Record the result of an attempt at a pending trial.

        Sampler and policy learn from a trial that is done or failed; a lost or cancelled one is suggested again.

        Returns
        -------
        Trial
            The trial after the event, with its result if finished.
        """
        if result.trial not in self.ledger.running:
            raise self._not_pending(result.trial)
        return self._with_objects(self.apply(self._with_last_report(result)))

    def _with_last_report(self, result: Result) -> Result:
        """Return the end of an attempt at a step with the loss of its last report; record that first if it did not come."""
        trial = self.ledger.running[result.trial]
        if result.state not in PARTIAL:
            return result
        report = self.ledger.reports.get(trial.id)
        last = self.ledger.last_step(trial)
        if result.step > last:
            report = Report(trial.id, trial.attempt, result.step, result.results, result.finished)
            self.apply(report)
        if report is None:
            return attrs.evolve(result, step=last)
        loss = self.goal.sign * self.goal.reported(report.results)
        known = None if math.isnan(loss) else loss
        return attrs.evolve(result, loss=known, results=report.results, step=report.step)

    def _not_pending(self, number: int) -> ShadhoError:
        is_known = 0 <= number < self.history.asked
        state = 'already has a result or was cancelled' if is_known else 'was never returned by ask()'
        if number in self.ledger.paused:
            state = 'is paused, until ask() returns it again'
        return ShadhoError(f'trial {number} {state}; pass each trial from ask() to tell() once')

    def _rank(self, trial: Trial) -> None:
        """Give a trial that has ended or is paused its place among the best."""
        if not trial.is_finished and trial.state is not TrialState.PAUSED:
            return
        leaders, rank = self._leaders, self.goal.rank
        if trial.attempt:  # it may have been ranked when it was paused before
            leaders[:] = [leader for leader in leaders if leader.id != trial.id]
        if trial.loss is not None and (len(leaders) < MOST_LEADERS or rank(trial) < rank(leaders[-1])):
            bisect.insort(leaders, self._with_objects(trial), key=rank)
            del leaders[MOST_LEADERS:]

    def cancel(self, trial: Trial) -> None:
        """Cancel a pending trial that will get no result; `ask` suggests it again."""
        ended = Result(trial.id, TrialState.CANCELLED, attempt=trial.attempt)
        if self.ledger.awaits(ended):
            self.record(ended)

    def restore(self, events: Iterable[Event], append: Callable[[Event], None] | None = None) -> None:
        """Rebuild the state of a search from a log; unfinished trials wait to run again.

        Call it before the first `ask`.

        Parameters
        ----------
        events : iterable of Event
            The events of a storage, or finished trials, such as those of a `SearchResult`.
        append : callable, optional
            Gets each further event before it takes effect, such as `Storage.append`.

        Raises
        ------
        ShadhoError
            When an item is not an event or belongs to another space, or when a trial is missing.
        """
        self.replay(events)
        if append is not None:
            self.ledger.write_to(append)
        self.begin_run()

    def replay(self, events: Iterable[Event]) -> None:
        """Apply a log like `restore`, but leave its running trials running, to inspect a search."""
        for place, event in enumerate(_in_order(events), 1):
            if isinstance(event, Trial):
                check_tree(self.forest, event.id, event.tree, len(event.point))
                if not self._are_planned:  # a log that was written by hand holds no classes
                    self.plan([ComputeClass(event.compute_class)], event.started or 0.0)
            try:
                for each in self._as_attempt(event):
                    self.apply(each)
            except LedgerError as error:
                raise LedgerError(
                    f'restore(): record {place} {error}. restore() needs all trials of a search, each once, before the first '
                    'ask(): pass (event for _, event in result.storage.read()). To learn from some trials only, call '
                    'add(trial.params, trial.loss) for each'
                ) from error

    def _as_attempt(self, event: Event) -> Iterator[Event]:
        """Yield a trial that was begun before as another attempt, as `ask` returns it; any other event as it is."""
        known = self.ledger.pending.get(event.id) if isinstance(event, Trial) else None
        if isinstance(event, Trial) and known is not None and event.attempt > known.attempt:
            if known.id in self.ledger.running:
                yield self._cut_off(known)
            yield Attempt(event.id, event.attempt, event.compute_class, event.resources, event.started)
        else:
            yield event

    def begin_run(self) -> None:
        """Start a run: cancel attempts that the log leaves running, as they ended with the previous run."""
        for trial in list(self.ledger.running.values()):
            self.apply(self._cut_off(trial))
        self.apply(RunBegan(self.ledger.time))

    def _cut_off(self, trial: Trial) -> Result:
        """Return the end of an attempt whose run has ended without one."""
        now = self.ledger.time
        started = now if trial.started is None else trial.started
        return Result(
            trial.id, TrialState.CANCELLED, started=started, finished=now, attempt=trial.attempt, reason='ended'
        )

    def _with_objects(self, trial: Trial) -> Trial:
        """Return a trial with parameters decoded from its point, as a log may hold texts for objects."""
        if self.forest.keeps_values or trial.params is None:
            return trial
        return attrs.evolve(trial, params=self.forest.tree(trial.tree).decode(trial.point))


def _in_order(events: Iterable[Event]) -> Iterator[Event]:
    """Yield events in order, then the events of trials that were given as finished."""
    finished = []
    for event in events:
        if not isinstance(event, get_args(Event)):
            raise ConfigurationError(
                f'restore() takes events of a log; got {event!r:.200} ({type(event).__name__}). For a storage, pass '
                '(event for _, event in storage.read())'
            )
        if isinstance(event, Trial) and event.is_finished:
            finished.append(event)
        else:
            yield event
    if finished:
        names = dict.fromkeys(trial.compute_class for trial in finished)
        yield ClassesChanged([ComputeClass(name) for name in names])
    yield from as_log(finished)


def check_tree(forest: Forest, number: int, tree: int, length: int) -> None:
    """Raise ShadhoError if a logged trial's tree or number of coordinates does not match the space."""
    if not (0 <= tree < forest.count) or length != len(forest.tree(tree)):
        raise ShadhoError(f'trial {number} of the log belongs to another search space')


def _computed(tree: Tree, point: Sequence[float]) -> tuple[Any, TrialError | None]:
    """Return the parameters of a point, or the error if they cannot be computed."""
    try:
        return tree.decode(point), None
    except SpaceError as error:
        return None, TrialError('exception', str(error), ''.join(traceback.format_exception(error)))


def _check_seconds(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real) or not 0 <= seconds < LATEST:
        raise ConfigurationError(f'tell(): seconds must be a number of 0 or more, below {LATEST:g}; got {seconds!r}')
    return float(seconds)


def _trial_number(trial: Any, call: str = 'tell()') -> int:
    """Return the id of a trial that was passed to a method."""
    number = trial.id if isinstance(trial, Trial) else as_integer(trial)
    if number is None:
        cause = ' (ask() returns None when there is nothing to suggest)' if trial is None else ''
        raise ConfigurationError(f'{call} needs a Trial from ask(), or its id; got {trial!r}{cause}')
    return number
