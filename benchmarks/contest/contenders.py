"""Who competes: our methods and other libraries, each by its own ask and tell."""

from __future__ import annotations

import importlib.util
import math
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from . import spaces
from .spaces import Params, Space

OURS = ('random', 'sobol', 'tpe', 'rf', 'gp', 'cmaes', 'pso', 'hyperopt', 'auto')
"""Names of our methods; those that are not installed are left out with a line that says so."""

BASELINE = 'uniform'
"""Every parameter drawn independently: what regrets are divided by."""


Finished: TypeAlias = tuple[Params, float]
"""Parameters and their loss."""


class Contender:
    """Suggests parameters and is told their losses, of which nan is a failed trial.

    Parameters
    ----------
    space : list of parameters and branches
    seed : int
    trials : int
        How many will be told, for those that plan by it.
    """

    title: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    slow: ClassVar[bool] = False

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        raise NotImplementedError

    def ask(self) -> tuple[Any, Params]:
        """Return what is told back, and the parameters."""
        raise NotImplementedError

    def tell(self, token: Any, loss: float) -> None:
        raise NotImplementedError

    def recommend(self) -> Params | None:
        """Return the parameters that the losses so far speak for; None for those of the least loss."""
        return None

    def learn(self, finished: Sequence[Finished]) -> None:
        """Learn trials that others suggested, before the first that is asked for."""
        raise NotImplementedError


class Uniform(Contender):
    """Random search that has no policy: what the others are measured by."""

    title = 'random search'

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)

    def ask(self) -> tuple[Any, Params]:
        return None, spaces.drawn(self.space, self.rng)

    def tell(self, token: Any, loss: float) -> None:
        pass

    def learn(self, finished: Sequence[Finished]) -> None:
        pass


class Shadho(Contender):
    """One of our methods, with the default policy."""

    method: ClassVar[str]

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        from shadho import Search

        self.space = space
        self.search = Search(spaces.for_shadho(space), method=self.method, seed=seed)

    def ask(self) -> tuple[Any, Params]:
        trial = self.search.ask()
        return trial, spaces.from_shadho(self.space, trial.params)

    def tell(self, token: Any, loss: float) -> None:
        self.search.tell(token, loss)

    def recommend(self) -> Params | None:
        recommended = self.search.recommended
        return None if recommended is None else spaces.from_shadho(self.space, recommended.params)

    def learn(self, finished: Sequence[Finished]) -> None:
        from shadho.records import Result, Trial, TrialState

        records: list[Trial | Result] = []
        for number, (params, loss) in enumerate(finished):
            nested = spaces.to_shadho(self.space, params)
            tree, point = self.search.forest.encode(nested)
            records += [Trial(number, tree.index, point, nested), Result(number, TrialState.DONE, loss)]
        self.search.restore(records)


def ours(name: str) -> type[Contender]:
    """Return the class of one of our methods."""
    return type(name, (Shadho,), {'title': name, 'method': name})


class OptunaTPE(Contender):
    """Optuna's default sampler, with its default options."""

    title = 'Optuna TPE'
    requires = ('optuna',)

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        self.study = optuna.create_study(sampler=self.sampler(seed))

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed)

    def ask(self) -> tuple[Any, Params]:
        trial = self.study.ask()
        return trial, spaces.from_optuna(self.space, trial)

    def tell(self, token: Any, loss: float) -> None:
        from optuna.trial import TrialState

        if math.isnan(loss):
            self.study.tell(token, state=TrialState.FAIL)
        else:
            self.study.tell(token, loss)

    def learn(self, finished: Sequence[Finished]) -> None:
        from optuna.trial import create_trial

        distributions = spaces.distributions(self.space)
        self.study.add_trials([
            create_trial(params=params, distributions={name: distributions[name] for name in params}, value=loss)
            for params, loss in finished
        ])  # fmt: skip


class OptunaCMA(OptunaTPE):
    """Optuna's CMA-ES, with its default options; it draws at random what is no number."""

    title = 'Optuna CMA-ES'
    requires = ('optuna', 'cmaes')

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(seed=seed)


class OptunaGP(OptunaTPE):
    """Optuna's Gaussian process, with its default options."""

    title = 'Optuna GP'
    requires = ('optuna', 'torch')
    slow = True

    def sampler(self, seed: int) -> Any:
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed)


class HyperoptTPE(Contender):
    """hyperopt's TPE, with its default options."""

    title = 'hyperopt TPE'
    requires = ('hyperopt',)

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        from hyperopt import Trials
        from hyperopt.base import Domain

        self.space = space
        self.built = spaces.for_hyperopt(space)
        self.domain = Domain(lambda params: 0.0, self.built)
        self.trials = Trials()
        self.rng = np.random.default_rng(seed)

    def ask(self) -> tuple[Any, Params]:
        from hyperopt import JOB_STATE_RUNNING, space_eval, tpe

        ids = self.trials.new_trial_ids(1)
        (document,) = tpe.suggest(ids, self.domain, self.trials, int(self.rng.integers(2**31)))
        document['state'] = JOB_STATE_RUNNING
        self.trials.insert_trial_docs([document])
        self.trials.refresh()
        values = {name: own[0] for name, own in document['misc']['vals'].items() if own}
        return ids[0], spaces.from_hyperopt(self.space, space_eval(self.built, values))

    def tell(self, token: Any, loss: float) -> None:
        from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK

        document = next(own for own in self.trials.trials if own['tid'] == token)
        document['state'] = JOB_STATE_DONE
        document['result'] = {'status': STATUS_FAIL} if math.isnan(loss) else {'status': STATUS_OK, 'loss': loss}
        self.trials.refresh()

    def learn(self, finished: Sequence[Finished]) -> None:
        from hyperopt import JOB_STATE_DONE, STATUS_OK
        from hyperopt.fmin import generate_trial

        documents = []
        for number, (params, loss) in enumerate(finished):
            document = generate_trial(number, spaces.to_hyperopt(self.space, params))
            documents.append(document | {'state': JOB_STATE_DONE, 'result': {'status': STATUS_OK, 'loss': loss}})
        self.trials.insert_trial_docs(documents)
        self.trials.refresh()


class SMAC(Contender):
    """SMAC's random forest: its facade for searches of hyperparameters, with its default options."""

    title = 'SMAC3'
    requires = ('smac',)
    slow = True

    def __init__(self, space: Space, seed: int, trials: int) -> None:
        from smac import Scenario

        self.folder = tempfile.TemporaryDirectory()
        built = spaces.for_smac(space, seed)
        self.scenario = Scenario(
            built, deterministic=True, n_trials=trials, seed=seed, output_directory=self.folder.name
        )
        self.smac = self._made()
        self.worst = 0.0

    def _made(self, **parts: Any) -> Any:
        from smac import HyperparameterOptimizationFacade

        return HyperparameterOptimizationFacade(
            self.scenario, lambda config, seed=0: 0.0, logging_level=40, overwrite=True, **parts
        )

    def ask(self) -> tuple[Any, Params]:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            info = self.smac.ask()
        return info, dict(info.config)

    def tell(self, token: Any, loss: float) -> None:
        from smac.runhistory import StatusType, TrialValue

        if math.isnan(loss):  # its forest takes no infinite costs
            value = TrialValue(cost=self.worst, status=StatusType.CRASHED)
        else:
            self.worst = max(loss, self.worst)
            value = TrialValue(cost=loss)
        self.smac.tell(token, value, save=False)

    def learn(self, finished: Sequence[Finished]) -> None:
        from ConfigSpace import Configuration
        from smac import HyperparameterOptimizationFacade
        from smac.runhistory import TrialInfo

        # What is told is the initial design; without this, a hundred points would be asked for that cost nothing.
        design = HyperparameterOptimizationFacade.get_initial_design(self.scenario, n_configs=1)
        self.smac = self._made(initial_design=design)
        for params, loss in finished:
            self.tell(TrialInfo(Configuration(self.scenario.configspace, values=params), seed=0), loss)


CONTENDERS: dict[str, type[Contender]] = {
    BASELINE: Uniform,
    **{name: ours(name) for name in OURS},
    'optuna-tpe': OptunaTPE,
    'optuna-cma': OptunaCMA,
    'optuna-gp': OptunaGP,
    'hyperopt-tpe': HyperoptTPE,
    'smac': SMAC,
}
"""By the names of the option ``--methods``."""


def missing(name: str) -> str | None:
    """Return why a contender cannot take part, or None."""
    from shadho import Search
    from shadho import spaces as our
    from shadho.errors import ShadhoError

    contender = CONTENDERS[name]
    if issubclass(contender, Shadho):
        try:
            Search({'x': our.uniform(0, 1)}, method=name, seed=0)
        except ShadhoError as error:
            return str(error)
    lacks = [library for library in contender.requires if importlib.util.find_spec(library) is None]
    return f'not installed: {", ".join(lacks)}' if lacks else None
