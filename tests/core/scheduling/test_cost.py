"""Seconds count as a cost, where time is what ends a search."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from shadho import ComputeClass, SearchResult, Shadho, spaces
from shadho.backends import Simulated
from shadho.errors import ConfigurationError
from shadho.scheduling import Choice, Slot
from shadho.scheduling.market import Market

SPACE = {'size': spaces.loguniform(1, 1000), 'rate': spaces.uniform(0, 1)}


def searched(method: str = 'random', slots: int = 8, policy: Any = 'market', **options: Any) -> SearchResult:
    """Return a search on equal slots, in which sizes decide the seconds but not the loss."""
    options = {'seed': 1, **options}
    backend = Simulated([ComputeClass('node', slots)], lambda params, compute_class: params['size'])
    return Shadho(
        'cost', lambda params: abs(params['rate'] - 0.3), SPACE, method, policy=policy, backend=backend, storage=None, display=False,
        **options,
    ).run()  # fmt: skip


def sizes(result: SearchResult) -> list[float]:
    return [trial.params['size'] for trial in sorted(result, key=lambda trial: trial.id)]


@pytest.mark.parametrize('method', ['random', 'tpe', 'auto'])
def test_a_search_that_ends_by_time_prefers_settings_that_take_less(method: str) -> None:
    blind, aware = (searched(method, timeout=700, cost_aware=cost_aware) for cost_aware in (False, 'auto'))
    assert len(aware) > 1.1 * len(blind)


@pytest.mark.parametrize('limits', [{'timeout': 700}, {'max_tasks': 100}])
def test_seconds_count_wholly_at_first_and_not_at_all_in_the_end(limits: dict[str, Any]) -> None:
    weights = []

    class Noting(Market):
        def choose(self, slot: Slot, now: float) -> Choice | None:
            if slot.may_begin:
                weights.append(slot.cost_weight)
            return super().choose(slot, now)

    searched(policy=Noting, cost_aware=True, **limits)
    assert weights[0] == 1
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] < 0.1


def test_a_tree_that_does_not_fit_everywhere_gets_its_share() -> None:
    # What is passed over because it is dear waits for no memory, so its tree does not come first.
    space = {'exclusive': True, **{f'part {number}': dict(SPACE) for number in range(3)}}
    backend = Simulated(
        [ComputeClass('small', 8), ComputeClass('large', 8)],
        lambda params, compute_class: next(iter(params.values()))['size'] ** 0.5,
        failures=lambda params, compute_class: (
            'memory' if compute_class.name == 'small' and 'part 2' in params else None
        ),
    )
    result = Shadho(
        'cost', lambda params: next(iter(params.values()))['rate'], space, 'random', backend=backend, storage=None, display=False, seed=0,
        timeout=300, cost_aware=True, policy_options={'heuristics': {}, 'fairness': 1.0},
    ).run()  # fmt: skip
    counts = Counter(trial.tree for trial in result)
    assert min(counts.values()) > max(counts.values()) / 4


@pytest.mark.parametrize(
    'limits',
    [
        {'max_tasks': 60}, {'max_tasks': 60, 'timeout': 10_000}, {'timeout': 600, 'slots': 1}, {'timeout': 300, 'policy': 'fcfs'},
    ],
)  # fmt: skip
def test_elsewhere_the_sampler_has_its_way(limits: dict[str, Any]) -> None:
    assert sizes(searched(**limits, cost_aware='auto')) == sizes(searched(**limits, cost_aware=False))


def test_a_serial_search_counts_seconds_if_it_is_told_to() -> None:
    assert len(searched(slots=1, timeout=8000, cost_aware=True)) > len(searched(slots=1, timeout=8000))


@pytest.mark.parametrize('method', ['random', 'tpe', 'auto'])
def test_equal_seconds_change_nothing(method: str) -> None:
    results = []
    for cost_aware in (False, True):
        backend = Simulated([ComputeClass('node', 8)], lambda params, compute_class: 7.0)
        results.append(
            Shadho(
                'cost', lambda params: params['rate'], SPACE, method, backend=backend, storage=None, display=False, seed=0, timeout=100,
                cost_aware=cost_aware,
            ).run()
        )  # fmt: skip
    assert sizes(results[0]) == sizes(results[1])


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cost_aware must be True, 'auto' or False; got 'yes'"):
        searched(timeout=1, cost_aware='yes')
    with pytest.raises(ConfigurationError, match="the policy 'fcfs' does not weigh seconds"):
        searched(timeout=1, cost_aware=True, policy='fcfs')


def test_a_search_says_so_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    backend = Simulated([ComputeClass('node', 2)], lambda params, compute_class: 1.0)
    for limits, said in (({'timeout': 5.0}, 'policy market (cost-aware),'), ({'max_tasks': 5}, 'policy market,')):
        Shadho(
            'cost',
            lambda params: params['rate'],
            SPACE,
            backend=backend,
            storage=None,
            display=True,
            cost_aware='auto',
            **limits,
        ).run()
        assert said in capsys.readouterr().err
