"""Who competes: ours, the floor and the ceiling, and other libraries, each by its own ask and tell.

The seam for ours is `Stepwise`: `ours` lists its options, and whatever this release of shadho lacks is left out.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np
from contest import spaces
from contest.spaces import Branch, Category, Params, Real, Space, Whole

from .models import STEPS
from .problems import Problem, target

BASELINE = 'random'
"""Random search that trains every trial fully: what the others are measured by."""

ORACLE = 'oracle'


@attrs.define(eq=False)
class Job:
    """A trial in a slot.

    Attributes
    ----------
    token : any
        What the contender knows it by.
    params : dict
    step : int, default 0
        Steps that it is trained already; its training goes on from there.
    started : float, default 0.0
        Simulated seconds.
    """

    token: Any
    params: Params
    step: int = 0
    started: float = 0.0


class Contender:
    """Asks for trials, and decides after each step of one whether its training goes on.

    Parameters
    ----------
    problem : `Problem`
    seed : int
    """

    title: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()

    def __init__(self, problem: Problem, seed: int) -> None:
        raise NotImplementedError

    def ask(self, now: float) -> Job | None:
        """Return what a free slot trains, or None when there is nothing to do until a running trial reports."""
        raise NotImplementedError

    def report(self, job: Job, loss: float, now: float) -> bool:
        """Take the loss after a step, of which nan ends the trial as failed, and return whether it goes on.

        The trial ends in any case when it is fully trained.
        """
        raise NotImplementedError


class Random(Contender):
    """Random search that trains every trial fully."""

    title = 'random, full training'

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem = problem
        self.rng = np.random.default_rng(seed)

    def ask(self, now: float) -> Job | None:
        return Job(None, spaces.drawn(self.problem.space, self.rng))

    def report(self, job: Job, loss: float, now: float) -> bool:
        return True


class Oracle(Random):
    """Random search that ends after the first step whatever will not be among the best."""

    title = 'oracle of curves'

    def report(self, job: Job, loss: float, now: float) -> bool:
        return self.problem.curve(job.params).final <= target(self.problem.name)


# --- ours --------------------------------------------------------------------------------------------


class Shadho(Contender):
    """Our search with full training, and the default policy."""

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, problem: Problem, seed: int) -> None:
        from shadho import Search

        self.space = problem.space
        self.search: Any = Search(spaces.for_shadho(problem.space), seed=seed, **self.options)

    def ask(self, now: float) -> Job | None:
        trial = self.search.ask(now=now)
        if trial is None:
            return None
        return Job(trial, spaces.from_shadho(self.space, trial.params), getattr(trial, 'step', 0) or 0, now)

    def report(self, job: Job, loss: float, now: float) -> bool:
        if job.step < STEPS and not math.isnan(loss):
            return True
        self.search.tell(job.token, loss, seconds=now - job.started)
        return False


class Stepwise(Shadho):
    """Our search that is told the loss of every step; it takes paused trials up again by itself."""

    def report(self, job: Job, loss: float, now: float) -> bool:
        if math.isnan(loss):
            self.search.tell(job.token, loss)
            return False
        return bool(self.search.report(job.token, loss=loss, step=job.step, now=now))


def ours(title: str, **options: Any) -> type[Contender]:
    """Return the class of a search of ours with some options."""
    base = Stepwise if 'fidelity' in options else Shadho
    steps = {'max_steps': STEPS} if base is Stepwise else {}
    return type(title, (base,), {'title': f'SHADHO {title}', 'options': {**steps, **options}})


# --- Optuna ------------------------------------------------------------------------------------------


class Optuna(Contender):
    """Optuna's TPE, with the option it recommends for parallel trials; `pruner` makes one of the pruners."""

    requires = ('optuna',)
    pruner: ClassVar[Callable[[Any], Any]]

    def __init__(self, problem: Problem, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = problem.space
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        # The pruner of Hyperband assigns brackets by the name of the study.
        self.study = optuna.create_study(
            sampler=sampler, pruner=type(self).pruner(optuna.pruners), study_name=f'{problem.name} {seed}'
        )

    def ask(self, now: float) -> Job | None:
        trial = self.study.ask()
        return Job(trial, spaces.from_optuna(self.space, trial))

    def report(self, job: Job, loss: float, now: float) -> bool:
        from optuna.trial import TrialState

        if math.isnan(loss):
            self.study.tell(job.token, state=TrialState.FAIL)
            return False
        job.token.report(loss, job.step)
        if job.step == STEPS:
            self.study.tell(job.token, loss)
        elif job.token.should_prune():
            self.study.tell(job.token, state=TrialState.PRUNED)
            return False
        return True


def optuna(title: str, pruner: Callable[[Any], Any]) -> type[Contender]:
    """Return the class of Optuna with one of its pruners."""
    return type(title, (Optuna,), {'title': f'Optuna {title}', 'pruner': staticmethod(pruner)})


# --- spaces without branches -------------------------------------------------------------------------


def flat(space: Space) -> list[Real | Whole | Category]:
    """Return all parameters side by side, a branch as a category, for libraries that know no conditions."""
    items: list[Real | Whole | Category] = []
    for item in space:
        if isinstance(item, Branch):
            items.append(Category(item.name, tuple(item.options)))
            items += [inner for own in item.options.values() for inner in flat(own)]
        else:
            items.append(item)
    return items


# --- NePS --------------------------------------------------------------------------------------------


class Neps(Contender):
    """An algorithm of NePS: each of its trials trains a setting up to a fidelity, from where its last trial left it."""

    requires = ('neps',)
    algorithm: ClassVar[str]

    def __init__(self, problem: Problem, seed: int) -> None:
        import random

        import neps
        import torch
        from neps.optimizers.ask_and_tell import AskAndTell

        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        built = {item.name: self._domain(item) for item in flat(problem.space)}
        space = type('Space', (neps.PipelineSpace,), {**built, 'step': neps.IntegerFidelity(lower=1, upper=STEPS)})
        self.neps = AskAndTell(getattr(neps.algorithms, self.algorithm)(space()))

    def _domain(self, item: Real | Whole | Category) -> Any:
        import neps

        if isinstance(item, Category):
            return neps.Categorical(choices=item.values)
        if isinstance(item, Whole):
            return neps.Integer(lower=item.low, upper=item.high)
        return neps.Float(lower=item.low, upper=item.high, log=item.log)

    def ask(self, now: float) -> Job | None:
        trial = self.neps.ask()
        before = trial.metadata.previous_trial_id
        step = self.neps.trials[before].config['step'] if before else 0
        return Job(trial, {name: value for name, value in trial.config.items() if name != 'step'}, step)

    def report(self, job: Job, loss: float, now: float) -> bool:
        if math.isnan(loss):
            self.neps.tell(job.token, ValueError('diverged'))
            return False
        if job.step < job.token.config['step']:
            return True
        self.neps.tell(job.token, loss)
        return False


def neps(title: str, algorithm: str) -> type[Contender]:
    """Return the class of an algorithm of NePS."""
    return type(title, (Neps,), {'title': f'NePS {title}', 'algorithm': algorithm})


# --- Syne Tune ---------------------------------------------------------------------------------------


class SyneTune(Contender):
    """A scheduler of Syne Tune, driven as its `Tuner` drives it."""

    requires = ('syne_tune',)
    scheduler: ClassVar[str]

    def __init__(self, problem: Problem, seed: int) -> None:
        from syne_tune.optimizer import baselines

        np.random.seed(seed)  # of its first draws
        built = {item.name: self._domain(item) for item in flat(problem.space)}
        self.scheduler_ = getattr(baselines, self.scheduler)(
            built, metric='loss', time_attr='step', max_t=STEPS, random_seed=seed
        )
        self.asked = 0

    def _domain(self, item: Real | Whole | Category) -> Any:
        from syne_tune import config_space

        if isinstance(item, Category):
            return config_space.choice(list(item.values))
        if isinstance(item, Whole):
            return config_space.randint(item.low, item.high)
        return (config_space.loguniform if item.log else config_space.uniform)(item.low, item.high)

    def ask(self, now: float) -> Job | None:
        import datetime

        from syne_tune.backend.trial_status import Trial

        trial = Trial(self.asked, self.scheduler_.suggest().config, datetime.datetime.fromtimestamp(now))
        self.asked += 1
        self.scheduler_.on_trial_add(trial)
        return Job(trial, trial.config)

    def report(self, job: Job, loss: float, now: float) -> bool:
        from syne_tune.optimizer.scheduler import SchedulerDecision

        if math.isnan(loss):
            self.scheduler_.on_trial_error(job.token)
            return False
        if self.scheduler_.on_trial_result(job.token, {'loss': loss, 'step': job.step}) == SchedulerDecision.CONTINUE:
            return True
        self.scheduler_.on_trial_remove(job.token)
        return False


def syne_tune(title: str, scheduler: str) -> type[Contender]:
    """Return the class of a scheduler of Syne Tune."""
    return type(title, (SyneTune,), {'title': f'Syne Tune {title}', 'scheduler': scheduler})


CONTENDERS: dict[str, type[Contender]] = {
    BASELINE: Random,
    ORACLE: Oracle,
    'full': ours('full training'),
    'asha': ours('ASHA', fidelity='asha'),
    'asha-random': ours('ASHA, random', fidelity='asha', method='random'),
    'hyperband': ours('Hyperband', fidelity='hyperband'),
    'median': ours('median stopping', fidelity='median'),
    'optuna-full': optuna('TPE, full training', lambda pruners: pruners.NopPruner()),
    'optuna-hyperband': optuna('TPE, Hyperband', lambda pruners: pruners.HyperbandPruner(1, STEPS, 3)),
    'optuna-median': optuna('TPE, median', lambda pruners: pruners.MedianPruner()),
    'neps-asha': neps('ASHA', 'asha'),
    'neps-hyperband': neps('async. Hyperband', 'async_hb'),
    'synetune-asha': syne_tune('ASHA', 'ASHA'),
    'synetune-bohb': syne_tune('BOHB', 'BOHB'),
}
"""By the names of the option ``--methods``."""

PEERS = tuple(name for name, own in CONTENDERS.items() if issubclass(own, (Optuna, Neps, SyneTune)))


def missing(name: str) -> str | None:
    """Return why a contender cannot take part, or None."""
    contender = CONTENDERS[name]
    if issubclass(contender, Shadho):
        from shadho import Search
        from shadho import spaces as our
        from shadho.errors import ShadhoError

        try:
            Search({'x': our.uniform(0, 1)}, seed=0, **contender.options)
        except (ShadhoError, TypeError) as error:
            return f'not in this release of shadho: {error}'
    lacks = [library for library in contender.requires if importlib.util.find_spec(library) is None]
    return f'not installed: {", ".join(lacks)}' if lacks else None
