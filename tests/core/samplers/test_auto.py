"""The choice of a method."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from shadho import Search, Shadho, spaces
from shadho.samplers import SamplerContext, auto
from shadho.samplers.auto import Auto
from shadho.testing import SamplerSuite

X = spaces.uniform(0, 1)
SPACE = {'x': X, 'model': {'exclusive': True, 'a': {'y': X}, 'b': {'word': ['p', 'q', 'r']}}}


class TestAuto(SamplerSuite):
    """The contract of samplers."""

    expensive = True

    def make(self, context: SamplerContext) -> Auto:
        return Auto(context)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trials are many."""
    monkeypatch.setattr(auto, '_MANY_TRIALS', 15)
    monkeypatch.setattr(auto, '_MANY_IN_TREE', 10)


def story(method: str, trials: int) -> list[tuple[int, tuple[float, ...], str]]:
    """Return tree, point and method of each trial of a search in series."""
    search, told = Search(SPACE, method=method, seed=2), []
    for _ in range(trials):
        trial = search.ask()
        assert trial is not None
        told.append((trial.tree, trial.point, trial.meta.get('method', '')))
        search.tell(trial, (trial.params['x'] - 0.3) ** 2 + sum(trial.point[1:]) + trial.tree)
    return told


def test_first_a_gaussian_process_and_tpe_suggest_in_turn() -> None:
    assert [method for _, _, method in story('auto', 20)] == ['gp', 'tpe'] * 10


def test_rough_losses_are_searched_as_well_as_by_tpe_and_smooth_ones_as_by_a_gaussian_process() -> None:
    def best(method: str, rough: bool) -> float:
        found = []
        for seed in range(5):
            search = Search({f'x{number}': X for number in range(3)}, method, seed=seed)
            for _ in range(60):
                trial = search.ask()
                assert trial is not None
                loss = sum((x - 0.3) ** 2 for x in trial.point)
                search.tell(trial, math.floor(loss * 20) + 10 * (math.sin(1e4 * loss) > 0.3) if rough else loss)
            assert search.best is not None and search.best.loss is not None
            found.append(search.best.loss)
        return sorted(found)[2]

    assert best('auto', rough=True) <= best('tpe', rough=True)
    assert best('auto', rough=False) < best('tpe', rough=False) / 10


def test_with_very_many_pending_trials_tpe_suggests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, '_MANY_PENDING', 6)
    search = Search(SPACE, 'auto', seed=0)
    trials = [search.ask() for _ in range(12)]
    assert [trial.meta['method'] for trial in trials if trial] == ['gp', 'tpe'] * 3 + ['gp'] + ['tpe'] * 5


@pytest.mark.usefixtures('soon')
def test_after_many_trials_tpe_suggests_alone_and_an_evolution_strategy_in_trees_of_many() -> None:
    told, before = story('auto', 40), Counter[int]()
    for number, (tree, _, method) in enumerate(told):
        early = 'gp' if number < 15 and number % 2 == 0 else 'tpe'
        assert method == (early if before[tree] < 10 else 'tpe' if number % 4 == 3 else 'cmaes')
        before[tree] += 1
    assert {method for _, _, method in told} == {'gp', 'tpe', 'cmaes'}
    assert len({(tree, point) for tree, point, _ in told}) == 40


@pytest.mark.usefixtures('soon')
def test_a_search_that_was_interrupted_near_the_change_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def run(name: str, trials: int) -> list[tuple[int, tuple[float, ...]]]:
        result = Shadho(
            'change', lambda params: params['x'] ** 2, SPACE, 'auto', max_tasks=trials, seed=1, backend='inline',
            storage=tmp_path / f'{name}.db', display=False,
        ).run()  # fmt: skip
        return [(trial.tree, trial.point) for trial in result]

    for first in (13, 15, 17):
        run(f'parts{first}', first)
        assert run(f'parts{first}', 22) == run('whole', 22)


def test_a_space_of_very_many_leaves_gets_tpe_from_the_beginning() -> None:
    sampler = Search({f'x{number}': X for number in range(320)}, 'auto', seed=0).sampler
    suggestion = sampler.ask(sampler.forest.tree(0), 0)
    assert suggestion is not None
    assert suggestion.meta == {'method': 'tpe'}
    assert '320 leaves' in sampler.title


def test_the_beginning_of_a_search_says_what_is_chosen_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    Shadho(
        'said', lambda params: params['x'], SPACE, 'auto', max_tasks=1, backend='inline', storage=None, display=True
    ).run()
    assert 'method auto (gp and tpe in turn; cmaes where a tree has 300 trials)' in ' '.join(
        capsys.readouterr().err.split()
    )
