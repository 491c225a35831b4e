"""Searches in the simulated time of ``benchmarks/fidelity.py``."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

from contest.spaces import Real
from curves import contenders, problems, runs
from curves.contenders import Contender, Job
from curves.models import STEPS
from curves.problems import Curve, Problem
from curves.results import Row, quotient

START, STEP = 2.0, 1.0


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> Problem:
    """A problem whose loss is its parameter, and whose trainings all take as long."""
    own = Problem(
        'parameter', [Real('x', 0, 1)], lambda params: Curve(np.full(STEPS, params['x']), START, STEP, params['x'])
    )
    monkeypatch.setitem(problems.PROBLEMS, own.name, own)
    return own


def seconds(monkeypatch: pytest.MonkeyPatch, contender: type[Contender], slots: int = 1) -> float:
    """Return the seconds of a search by a contender."""
    monkeypatch.setitem(contenders.CONTENDERS, 'tested', contender)
    return runs.search(runs.Task('tested', 'parameter', slots, 0))


class Good(Contender):
    """Asks for the best setting, and trains it fully."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.reported: list[int] = []

    def ask(self, now: float) -> Job | None:
        return Job(None, {'x': 0.0})

    def report(self, job: Job, loss: float, now: float) -> bool:
        self.reported.append(job.step)
        return True


class Pausing(Good):
    """Pauses a trial after nine steps, once."""

    paused: Job | None = None

    def ask(self, now: float) -> Job | None:
        return Job(None, {'x': 0.0}, self.paused.step) if self.paused else super().ask(now)

    def report(self, job: Job, loss: float, now: float) -> bool:
        if job.step == 9:
            self.paused = job
        return job.step != 9


class Bad(Good):
    """Asks for the worst setting."""

    def ask(self, now: float) -> Job | None:
        return Job(None, {'x': 1.0})


class Waiting(Good):
    """Has one trial at a time."""

    running = False

    def ask(self, now: float) -> Job | None:
        if self.running:
            return None
        self.running = True
        return super().ask(now)


class Silent(Good):
    """Asks for nothing."""

    def ask(self, now: float) -> Job | None:
        return None


@pytest.mark.usefixtures('problem')
class TestSearch:
    def test_a_full_training_takes_its_start_and_its_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert seconds(monkeypatch, Good) == START + STEPS * STEP

    def test_a_trial_that_was_paused_pays_its_start_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert seconds(monkeypatch, Pausing) == 2 * START + STEPS * STEP

    def test_a_search_that_finds_nothing_good_ends_at_its_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert math.isinf(seconds(monkeypatch, Bad))

    def test_a_slot_waits_while_there_is_nothing_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert seconds(monkeypatch, Waiting, slots=4) == START + STEPS * STEP

    def test_nothing_to_do_and_nothing_running_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(RuntimeError, match='asked for nothing'):
            seconds(monkeypatch, Silent)

    def test_the_oracle_is_sooner_than_random_search(self) -> None:
        taken = [runs.search(runs.Task(name, 'parameter', 1, 0)) for name in ('oracle', 'random')]
        assert taken[0] < taken[1]

    def test_our_search_with_full_training_takes_part(self) -> None:
        assert math.isfinite(runs.search(runs.Task('full', 'parameter', 8, 0)))

    def test_a_search_that_missed_its_target_counts_as_the_limit(self) -> None:
        missed, own = (Row('random', 'parameter', 1, 0.01, values, 0.0) for values in ([None, None], [83.0, 83.0]))
        assert quotient(missed, own).value == pytest.approx(400)


def test_the_target_is_the_loss_of_the_top_percent(problem: Problem) -> None:
    assert problems.target(problem.name) == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize('name', ['Hartmann3', 'Hartmann6', 'power law'])
def test_a_setting_has_the_same_curve_whenever_it_is_trained(name: str) -> None:
    own = problems.PROBLEMS[name]
    params = {item.name: (item.low + item.high) / 2 for item in own.space}
    assert own.curve(params).losses.tolist() == own.curve(params).losses.tolist()


def test_hartmann_without_bias_or_noise_has_its_known_least_value() -> None:
    best = (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)
    params = {f'x{place}': value for place, value in enumerate(best)}
    assert problems.PROBLEMS['Hartmann6'].curve(params).final == pytest.approx(-3.32237, abs=1e-4)
