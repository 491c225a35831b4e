"""Importance, against functions whose shares of the variance are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from shadho import ComputeClass, Shadho, spaces
from shadho.backends import Simulated
from shadho.errors import ConfigurationError
from shadho.report import parameter_importance
from shadho.report.importance import _marginals

UNIT = spaces.uniform(0, 1)


def shares(result):
    found = parameter_importance(result)
    return dict(zip(found.names, found.shares))


def the_value(params):
    """Return the one value of an exclusive space, and its branch."""
    [(branch, own)] = params.items()
    [value] = own.values()
    return branch, value


def test_marginals_of_boxes_are_exact():
    # f = 1 on [0, 1/2) x [0, 1], 3 on [1/2, 1] x [0, 1/4), 5 on [1/2, 1] x [1/4, 1]
    lower = np.array([[-np.inf, -np.inf], [0.5, -np.inf], [0.5, 0.25]])
    upper = np.array([[0.5, np.inf], [np.inf, 0.25], [np.inf, np.inf]])
    mean, variance, marginals = _marginals(lower, upper, np.array([1.0, 3.0, 5.0]))
    assert mean == pytest.approx(0.5 * 1 + 0.125 * 3 + 0.375 * 5)
    assert variance == pytest.approx(0.5 * 1 + 0.125 * 9 + 0.375 * 25 - mean**2)
    assert marginals[0] == pytest.approx(0.5 * (1 - mean) ** 2 + 0.5 * (4.5 - mean) ** 2)
    assert marginals[1] == pytest.approx(0.25 * (2 - mean) ** 2 + 0.75 * (3 - mean) ** 2)


def test_a_sum_has_the_shares_of_its_terms(search):
    found = shares(search(lambda params: 1 + params['a'] + 2 * params['b'], dict.fromkeys('abc', UNIT), max_tasks=400))
    assert found == pytest.approx({'a': 1 / 5, 'b': 4 / 5, 'c': 0}, abs=0.04)
    assert list(found) == ['b', 'a', 'c']


def test_the_function_of_ishigami_has_its_shares_and_an_interaction(search):
    def ishigami(params):
        a, b, c = params.values()
        return math.sin(a) + 7 * math.sin(b) ** 2 + 0.1 * c**4 * math.sin(a)

    found = parameter_importance(
        search(ishigami, dict.fromkeys('abc', spaces.uniform(-math.pi, math.pi)), max_tasks=1200)
    )
    of_explained = dict(zip(found.names, found.shares / found.explained))
    assert of_explained == pytest.approx({'a': 0.314, 'b': 0.442, 'c': 0}, abs=0.1)
    assert found.explained - found.shares.sum() == pytest.approx(0.244, abs=0.12)
    assert found.explained > 0.8


def test_a_category_that_decides_all_explains_all(search):
    space = {'kind': ['a', 'b', 'c'], 'x': UNIT}
    found = shares(search(lambda params: 1.0 + (params['kind'] == 'b'), space, max_tasks=100))
    assert found == pytest.approx({'kind': 1, 'x': 0}, abs=1e-6)


def test_a_log_parameter_counts_by_its_exponent(search):
    space = {'C': spaces.log10_uniform(-3, 3), 'x': UNIT}
    found = shares(search(lambda params: 5 + np.log10(params['C']) + 6 * params['x'], space, max_tasks=400))
    assert found == pytest.approx({'C': 0.5, 'x': 0.5}, abs=0.06)


def test_the_tree_and_the_parameters_of_each_tree_share_the_variance(search):
    # near: 1 + x, far: 2 + 3 y. Between the trees: means 1.5 and 3.5. Within: variances 1/12 and 9/12.
    def objective(params):
        branch, value = the_value(params)
        return 1 + value if branch == 'near' else 2 + 3 * value

    space = {'exclusive': True, 'near': {'x': UNIT}, 'far': {'y': UNIT}}
    total = 1 + (1 / 12 + 9 / 12) / 2
    expected = {'tree': 1 / total, 'near.x': (1 / 24) / total, 'far.y': (9 / 24) / total}
    assert shares(search(objective, space, max_tasks=400)) == pytest.approx(expected, abs=0.04)


def test_a_decision_within_another_counts_where_there_is_one(search):
    # one: 0; two.low: 1; two.high: 3. All trees count alike.
    space = {'exclusive': True, 'one': {'x': UNIT}, 'two': {'exclusive': True, 'low': {'x': UNIT}, 'high': {'x': UNIT}}}

    def objective(params):
        return 10.0 if 'one' in params else 11.0 if 'low' in params['two'] else 13.0

    total = np.var([0, 1, 3])
    found = shares(search(objective, space, max_tasks=200))
    assert found['tree'] == pytest.approx(np.var([0, 2, 2]) / total, abs=0.03)
    assert found['two'] == pytest.approx((2 / 3) * np.var([1, 3]) / total, abs=0.03)
    assert sum(found.values()) == pytest.approx(1, abs=0.01)


def test_maximising_changes_no_share(search):
    options = {'max_tasks': 200, 'direction': 'maximize'}
    found = shares(search(lambda params: -params['a'] - 2 * params['b'], dict.fromkeys('ab', UNIT), **options))
    assert found == pytest.approx({'a': 1 / 5, 'b': 4 / 5}, abs=0.05)


def test_infinite_and_failed_trials_are_left_out(search):
    def objective(params):
        if params['a'] < 0.1:
            raise ValueError
        return math.inf if params['a'] < 0.2 else 1 + params['b']

    found = parameter_importance(search(objective, dict.fromkeys('ab', UNIT), max_tasks=200))
    assert found.names[0] == 'b'
    assert found.shares[0] > 0.95


def test_one_trial_that_went_wholly_wrong_does_not_explain_the_variance(search):
    def objective(params):
        return 1e6 if params['b'] > 0.99 else 1 + params['a']

    found = parameter_importance(search(objective, dict.fromkeys('ab', UNIT), max_tasks=300))
    assert found.names[0] == 'a'
    assert found.shares[0] > 0.7 * found.explained > 0.4


def test_losses_over_decades_count_by_their_logarithm(search):
    found = parameter_importance(search(lambda params: 10 ** (4 * params['a'] + params['b']), dict.fromkeys('ab', UNIT), max_tasks=300))  # fmt: skip
    assert found.log
    assert found.shares == pytest.approx([16 / 17, 1 / 17], abs=0.04)
    assert 'log of the loss' in found.measure


def test_a_constant_loss_has_no_shares(search):
    found = parameter_importance(search(lambda params: 1.0, {'a': UNIT}, max_tasks=20))
    assert found.shares.tolist() == [0.0]
    assert found.explained == 0.0


def test_too_few_trials_are_an_error_that_says_so(search):
    with pytest.raises(ConfigurationError, match='needs 10 trials with a finite loss; .* has 3'):
        parameter_importance(search(lambda params: params['a'], {'a': UNIT}, max_tasks=3))


def test_a_forest_of_a_trillion_trees_has_its_decisions_as_parameters(search):
    space = {f'part{i}': {'exclusive': True, 'a': {}, 'b': {}} for i in range(40)}

    def objective(params):
        return 2.0 + ('a' in params['part7'])

    result = search(objective, space, max_tasks=150)
    assert result.forest.count == 2**40
    found = parameter_importance(result)
    assert found.names[0] == 'part7'
    assert found.shares[0] > 0.9


def test_pure_noise_is_explained_by_nothing_however_many_trees_there_are(search):
    noise = np.random.default_rng(0)
    many = {f'part{i}': {'exclusive': True, 'a': {'x': UNIT}, 'b': {}} for i in range(40)}
    for space in (many, dict.fromkeys('abc', UNIT)):
        found = parameter_importance(search(lambda params: noise.normal(), space, max_tasks=150))
        assert found.shares.sum() < 0.05
        assert found.explained < 0.05


def test_shares_sum_to_what_is_explained_where_noise_is_half_of_the_variance(search):
    noise = np.random.default_rng(0)
    space = {f'part{i}': {'exclusive': True, 'a': {}, 'b': {}} for i in range(40)}

    def objective(params):
        return ('a' in params['part7']) + ('a' in params['part9']) + noise.normal(0, np.sqrt(0.5))

    found = parameter_importance(search(objective, space, max_tasks=400))
    assert set(found.names[:2]) == {'part7', 'part9'}
    assert found.explained == pytest.approx(0.5, abs=0.15)
    assert 0.6 * found.explained < found.shares[:2].sum() < found.shares.sum() <= found.explained + 1e-12
    assert found.rest >= 0.35


def test_seconds_are_explained_by_what_makes_trials_long_and_not_by_the_machine() -> None:
    space = {'size': spaces.uniform(0, 1), 'rate': spaces.uniform(0, 1), 'kind': ['a', 'b']}
    nodes = [ComputeClass('fast', 2), ComputeClass('slow', 2)]

    def seconds(params: Any, compute_class: ComputeClass) -> float:
        return math.exp(3 * params['size']) * (100 if compute_class.name == 'slow' else 1)

    result = Shadho(
        'timed', lambda params: params['rate'], space, 'random', policy='fcfs', backend=Simulated(nodes, seconds), storage=None, seed=0,
        max_tasks=150, display=False,
    ).run()  # fmt: skip
    found = parameter_importance(result, of='seconds')
    assert found.names[0] == 'size'
    assert found.shares[0] > 0.8
    assert found.shares[1:].sum() < 0.05
    assert found.measure.startswith('log of the seconds (')
    assert parameter_importance(result).names[0] == 'rate'


def test_only_loss_and_seconds_are_explained(search):
    with pytest.raises(ConfigurationError, match="of must be 'loss' or 'seconds'; got 'memory'"):
        parameter_importance(search(lambda params: params['x'], {'x': UNIT}, max_tasks=20), of='memory')
