"""The choice of a method."""

from __future__ import annotations

from pathlib import Path

import pytest

from shadho import Search, Shadho, spaces
from shadho.forest import Forest
from shadho.samplers import auto
from shadho.samplers.auto import Auto
from shadho.testing import SamplerSuite

X = spaces.uniform(0, 1)
SPACE = {'x': X, 'model': {'exclusive': True, 'a': {'y': X}, 'b': {'word': ['p', 'q', 'r']}}}


class TestAuto(SamplerSuite):
    """The contract of samplers."""

    expensive = True

    def make(self, forest: Forest, seed: int) -> Auto:
        return Auto(forest, seed=seed)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trials are many."""
    monkeypatch.setattr(auto, '_MANY_TRIALS', 15)


def story(method: str, trials: int) -> list[tuple[int, tuple[float, ...], str]]:
    """Return tree, point and method of each trial of a search in series."""
    search, told = Search(SPACE, method=method, seed=2), []
    for _ in range(trials):
        trial = search.ask()
        assert trial is not None
        told.append((trial.tree, trial.point, trial.meta.get('method', '')))
        search.tell(trial, (trial.params['x'] - 0.3) ** 2 + sum(trial.point[1:]) + trial.tree)
    return told


def test_first_it_suggests_what_a_gaussian_process_would() -> None:
    ours, model = story('auto', 20), story('gp', 20)
    assert [own[:2] for own in ours] == [own[:2] for own in model]
    assert {method for _, _, method in ours} == {'gp'}


@pytest.mark.usefixtures('soon')
def test_after_many_trials_it_goes_on_with_tpe_which_knows_all_of_them() -> None:
    told = story('auto', 25)
    assert [method for _, _, method in told] == ['gp'] * 15 + ['tpe'] * 10
    assert min(point[0] for _, point, _ in told[:15]) < 0.4
    assert len({(tree, point) for tree, point, _ in told}) == 25


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
    sampler = Auto(Forest({f'x{number}': X for number in range(120)}), seed=0)
    suggestion = sampler.ask(sampler.forest.tree(0))
    assert suggestion is not None
    assert suggestion.meta == {'method': 'tpe'}
    assert '120 leaves' in sampler.choice


def test_the_beginning_of_a_search_says_what_is_chosen_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    Shadho(
        'said', lambda params: params['x'], SPACE, 'auto', max_tasks=1, backend='inline', storage=None, display=True
    ).run()
    assert 'method auto (gp, as it gets furthest with few trials' in capsys.readouterr().err
