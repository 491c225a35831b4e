"""Successive halving: settings are evaluated with few samples or iterations first, and the best of them with more.

The rungs are those of `shadho.fidelity.asha`, and a step of a trial is one sample, or one iteration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from sklearn.base import is_classifier
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _num_samples

from shadho.checks import as_integer
from shadho.errors import ConfigurationError, nearest
from shadho.fidelity.base import MOST_TREES
from shadho.fidelity.rungs import ladder
from shadho.forest import Forest
from shadho.records import Trial, TrialState
from shadho.result import SearchResult
from shadho.sklearn.evaluation import CrossValidation, Evaluation
from shadho.sklearn.settings import Settings, first_of
from shadho_worker.handle import TrialHandle

__all__ = ['SAMPLES', 'Halving', 'RungByRung', 'best_of_the_largest', 'check_halving']

SAMPLES = 'n_samples'
"""The resource that is the size of the training set; any other is a parameter."""

_DEFAULTS = {'resource': SAMPLES, 'min_resources': 'exhaust', 'max_resources': 'auto', 'factor': 3}


@attrs.frozen
class Halving:
    """How much of a resource the candidates of each rung get.

    Attributes
    ----------
    resource : str
        ``'n_samples'``, or a parameter of the estimator.
    factor : int
        One in `factor` candidates goes on from each rung, with `factor` times as much.
    least : int
        Lower bound on what those of the first rung get.
    most : int
        What those of the last rung get.
    """

    resource: str
    factor: int
    least: int
    most: int

    @classmethod
    def of(cls, given: Any, settings: Settings, n_samples: int, smallest: int, trials: int | None) -> Halving:
        """Read what a user gave.

        Parameters
        ----------
        given : str or mapping
        settings : Settings
        n_samples : int
        smallest : int
            The fewest samples that a cross-validation can do with.
        trials : int or None
            Settings to try, if that is known.

        Raises
        ------
        ConfigurationError
            When an option cannot be used, or the resource is none.
        """
        options = check_halving(given)
        resource, factor = options['resource'], _whole('factor', options['factor'], 2)
        is_samples = resource == SAMPLES
        most = options['max_resources']
        if most == 'auto':
            most = n_samples if is_samples else _set_by(settings, resource)
        most = _whole('max_resources', most, 1, n_samples if is_samples else None)
        least = options['min_resources']
        if least in ('exhaust', 'smallest'):
            least = min(smallest if is_samples else 1, most)
            if options['min_resources'] == 'exhaust' and trials is not None:
                least = max(least, _exhausting(most, factor, trials, Forest(settings.space).count))
        halving = cls(resource, factor, _whole('min_resources', least, 1, most, "'exhaust', 'smallest' or "), most)
        halving.check(settings)
        return halving

    @property
    def rungs(self) -> list[int]:
        """The amount of the resource at each rung."""
        return ladder(self.least, self.most, self.factor)

    @property
    def search_options(self) -> dict[str, Any]:
        """Options of `shadho.Shadho`."""
        rule = {'eta': self.factor, 'min_steps': self.least}
        return {'max_steps': self.most, 'fidelity': 'asha', 'fidelity_options': rule}

    def apply(self, settings: Settings, named: Mapping[str, Any], amount: int) -> dict[str, Any]:
        """Return a setting with an amount of the resource, where that is a parameter."""
        return dict(named) if self.resource == SAMPLES else {**named, settings.name(named, self.resource): amount}

    def check(self, settings: Settings) -> None:
        """Refuse a resource that an estimator does not have, or that the space sets."""
        if self.resource == SAMPLES:
            return
        for named in settings.examples():
            if settings.name(named, self.resource) in named:
                raise ConfigurationError(
                    f'halving: the resource {self.resource!r} is also a parameter of the space; leave it out there, as the '
                    'search sets it'
                )
            try:
                settings.apply(self.apply(settings, named, self.most))
            except ValueError as error:
                raise ConfigurationError(
                    f"halving: {self.resource!r} is neither 'n_samples' nor a parameter of the estimator: {error}"
                ) from error

    def evaluations(self, result: SearchResult) -> list[Evaluation]:
        """Return what each setting scored at each rung, in the order of rungs, as scikit-learn has them."""
        rungs, curves = self.rungs, result.reports()
        trials = {event.id: result.decoded(event) for _, event in result.storage.read() if isinstance(event, Trial)}
        trials.update((trial.id, trial) for trial in result)
        found = []
        for trial in trials.values():
            curve = curves.get(trial.id, [])
            found += [Evaluation(trial, report.results, rungs.index(report.step)) for report in curve]
            if trial.state is TrialState.FAILED and len(curve) < len(rungs):
                found.append(Evaluation(trial, {}, len(curve)))
        return sorted(found, key=lambda evaluation: (evaluation.rung, evaluation.trial.id))


@attrs.define(slots=False)
class RungByRung(CrossValidation):
    """Evaluates a setting at one rung after the other, anew at each.

    Attributes
    ----------
    halving : Halving
    splits_by_rung : sequence of sequence of (train, test)
        Indices. Test sets are whole at each rung, so that scores differ by the training only.
    """

    halving: Halving = attrs.field(kw_only=True)
    splits_by_rung: Sequence[Sequence[tuple[Any, Any]]] = attrs.field(kw_only=True)

    @classmethod
    def of(cls, whole: CrossValidation, given: Any, trials: int | None, seed: int) -> RungByRung:
        """Return a cross-validation rung by rung.

        Parameters
        ----------
        whole : CrossValidation
        given : str or mapping
            What a user gave as `halving`.
        trials : int or None
            Settings to try, if that is known.
        seed : int
            Fixes which samples a rung has.
        """
        n_samples, splits = _num_samples(whole.X), whole.splits
        classes = _classes(first_of(whole.settings.estimator), whole.y)
        smallest = 2 * len(splits) * (1 if classes is None else int(classes.max()) + 1)
        halving = Halving.of(given, whole.settings, n_samples, smallest, trials)
        by_rung: list[Sequence[tuple[Any, Any]]] = [splits for _ in halving.rungs]
        if halving.resource == SAMPLES:
            by_rung = _nested(splits, halving.rungs, n_samples, classes, seed)
        return cls(**attrs.asdict(whole, recurse=False), halving=halving, splits_by_rung=by_rung)

    def __call__(self, params: Any, trial: TrialHandle) -> None:  # type: ignore[override]
        """Report the mean score at each rung, until the trial is paused."""
        for rung, amount in enumerate(self.halving.rungs):
            if amount > trial.step and not trial.report(self.at(params, rung), step=amount):
                return

    def at(self, params: Any, rung: int) -> dict[str, Any]:
        """Return the mean score at a rung, and all that scikit-learn notes of each split."""
        rungs = self.halving.rungs
        named = self.halving.apply(self.settings, self.settings.named(params), rungs[rung])
        return self.evaluate(named, self.splits_by_rung[rung], self.trial * len(rungs) + rung)

    @property
    def evaluations_per_trial(self) -> int:
        return len(self.halving.rungs)

    @property
    def search_options(self) -> dict[str, Any]:
        return self.halving.search_options

    def repeat(self, trial: Trial) -> None:
        for rung, amount in enumerate(self.halving.rungs):
            if amount > trial.step:
                self.at(trial.params, rung)

    def evaluations(self, result: SearchResult) -> list[Evaluation]:
        return self.halving.evaluations(result)

    def candidate(self, evaluation: Evaluation) -> dict[str, Any]:
        named = super().candidate(evaluation)
        return self.halving.apply(self.settings, named, self.halving.rungs[evaluation.rung])


def _nested(
    splits: Sequence[tuple[Any, Any]], amounts: Sequence[int], n_samples: int, classes: Any, seed: int
) -> list[Sequence[tuple[Any, Any]]]:
    """Return the splits of each rung: each training set holds those of the rungs before.

    Parameters
    ----------
    splits : sequence of (train, test)
    amounts : sequence of int
        How many of all samples each rung has; of every training set it has the same share.
    n_samples : int
    classes : array of int, shape (n_samples,), or None
        Each training set has about the shares of the classes that the whole one has, and one sample of each at first.
    seed : int
    """
    rng = np.random.default_rng(seed)
    samples = np.arange(n_samples)
    orders = [_order(samples[train], classes, rng) for train, _ in splits]
    found: list[Sequence[tuple[Any, Any]]] = []
    for amount in amounts:
        parts = [order[: max(1, amount * len(order) // n_samples)] for order in orders]
        found.append(splits if amount == n_samples else [(part, test) for part, (_, test) in zip(parts, splits)])
    return found


def _classes(estimator: Any, y: Any) -> npt.NDArray[Any] | None:
    """Return the number of each sample's class; None if there are no classes to stratify by."""
    if not is_classifier(estimator) or type_of_target(y) not in ('binary', 'multiclass'):
        return None
    return np.unique(column_or_1d(y), return_inverse=True)[1]


def _order(train: npt.NDArray[Any], classes: Any, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return samples in an order whose every beginning is a stratified draw."""
    drawn = rng.permutation(train)
    if classes is None:
        return drawn
    own = classes[drawn]
    counts = np.bincount(own)
    place = np.empty(len(own))  # within the class
    place[np.argsort(own, kind='stable')] = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)
    order: npt.NDArray[Any] = drawn[np.argsort(place / counts[own], kind='stable')]
    return order


def best_of_the_largest(metric: str, results: Mapping[str, Any]) -> int:
    """Return the row of the best mean score among those of the largest rung that has any."""
    scores, amounts = results[f'mean_test_{metric}'], results['n_resources']
    known = ~np.isnan(scores)
    rows = np.flatnonzero(amounts == amounts[known].max()) if known.any() else np.flatnonzero(amounts == amounts.max())
    return int(rows[np.argmax(np.where(known, scores, -np.inf)[rows])])


def check_halving(given: Any) -> dict[str, Any]:
    """Return the options of `halving`; ConfigurationError when there are others, or no resource."""
    options = {'resource': given} if isinstance(given, str) else given
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            "halving must be 'n_samples', the name of a parameter such as 'n_estimators', or a dict such as "
            f"{{'resource': 'n_estimators', 'max_resources': 300}}; got {given!r} ({type(given).__name__})"
        )
    for name in options:
        if name not in _DEFAULTS:
            raise ConfigurationError(f'halving has no option {name!r}; {nearest(str(name), _DEFAULTS)}')
    if not isinstance(options.get('resource', SAMPLES), str):
        raise ConfigurationError(
            f"halving: resource must be 'n_samples' or the name of a parameter; got {options['resource']!r}"
        )
    return {**_DEFAULTS, **options}


def _whole(name: str, value: Any, least: int, most: int | None = None, otherwise: str = '') -> int:
    number = as_integer(value)
    if number is None or number < least or (most is not None and number > most):
        bounds = f'of {least} or more' if most is None else f'from {least} to {most}'
        raise ConfigurationError(f'halving: {name} must be {otherwise}an integer {bounds}; got {value!r}')
    return number


def _set_by(settings: Settings, resource: str) -> int:
    """Return what the estimators have for a parameter."""
    values = [estimator.get_params().get(resource) for estimator in settings.estimators]
    number = as_integer(values[0])
    if number is None or number < 1 or any(value != number for value in values):
        own = ' and '.join(dict.fromkeys(map(repr, values)))
        raise ConfigurationError(
            f'halving: the largest value of {resource!r} is not known, as the estimator has {own}. Give it: '
            f"halving={{'resource': {resource!r}, 'max_resources': 300}}"
        )
    return number


def _exhausting(most: int, factor: int, trials: int, trees: int) -> int:
    """Return the least of the first rung such that at least one trial comes to the last one.

    Trials are compared within their trees, and one tree has at least its share of them.
    """
    rivals = trials if trees > MOST_TREES else max(1, trials // trees)
    while rivals >= factor and most > 1:
        rivals, most = rivals // factor, most // factor
    return most
