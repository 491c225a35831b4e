"""Learning curves, and what figures make of trials that were paused or stopped."""

from __future__ import annotations

import math

import matplotlib

matplotlib.use('Agg')

import numpy as np
import pytest

from shadho import report, spaces
from shadho.errors import ConfigurationError
from shadho.records import TrialState
from shadho.report import interactive
from shadho.report.course import Course
from shadho.report.curves import MOST_CURVES
from shadho.report.payload import payload

SPACE = {'model': {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(0, 1)}}}


def objective(params, trial):
    [(kind, own)] = params['model'].items()
    for step in trial.steps():
        trial.report(loss=own['x'] + 1 / step + (kind == 'b'))


def rising(params, trial):
    """Losses rise, so that the least ones are of the earliest steps."""
    for step in trial.steps():
        trial.report(loss=params['x'] + step)


OPTIONS = {'max_tasks': 30, 'max_steps': 9, 'fidelity': 'asha', 'method': 'random'}


@pytest.fixture
def course(search):
    return Course.of(search(objective, SPACE, **OPTIONS))


def test_each_trial_has_its_reported_losses_in_the_order_of_steps(course):
    assert set(course.curves) == set(range(30))
    for row, (steps, losses) in course.curves.items():
        trial = course.trials[row]
        assert steps.tolist() == list(range(1, trial.step + 1))
        assert losses[-1] == pytest.approx(trial.loss)


def test_curves_are_drawn_in_the_colours_of_their_trees(course):
    ax = report.plot_curves(course)
    ax.figure.canvas.draw()
    fig = interactive.curves(course)
    assert len(fig.data) == 4
    for line, trace in zip(ax.lines[::2], fig.data[::2], strict=True):
        assert (line.get_label(), line.get_color()) == (trace.name, trace.line.color)
        np.testing.assert_allclose(line.get_ydata(), trace.y, rtol=1e-6)
        assert np.isnan(line.get_xdata()).sum() == sum(course.label(tree) == trace.name for tree in course.trees)
    assert fig.to_json()


def test_a_page_has_curves_only_where_trials_have_reported(search, course):
    choices = payload(course)['figures']['curves']['choices']
    assert len(choices) == 1
    silent = payload(Course.of(search(lambda params: 1.0, SPACE, max_tasks=3)))
    assert 'curves' not in silent['figures']


def test_without_reports_it_is_said_that_there_are_no_curves(search):
    result = search(lambda params: 1.0, SPACE, max_tasks=3)
    for draw in (report.plot_curves, interactive.curves):
        with pytest.raises(ConfigurationError, match='no trial of .* has reported a finite loss'):
            draw(result)


def test_of_very_many_curves_the_longest_and_best_are_drawn(search):
    course = Course.of(search(objective, SPACE, **{**OPTIONS, 'max_tasks': MOST_CURVES + 50}))
    [*traces] = interactive.curves(course).data
    drawn = {int(trial) for trace in traces for trial in trace.customdata}
    assert drawn == {int(trial) for trace in traces[1::2] for trial in trace.customdata}
    assert len(drawn) == MOST_CURVES
    done = {trial.id for trial in course.trials if trial.state is TrialState.DONE}
    assert done
    assert done <= drawn


def test_the_best_so_far_is_among_those_that_were_run_furthest(search):
    result = search(rising, {'x': spaces.uniform(0, 1)}, **OPTIONS)
    course = Course.of(result)
    drawn, best = course.best_so_far()
    assert {course.trials[row].state for row in np.flatnonzero(drawn)} == {TrialState.DONE}
    assert best[-1] == pytest.approx(result.best.loss)
    assert min(course.best_of_trees().values()) == pytest.approx(result.best.loss)


def test_losses_that_are_no_numbers_are_left_out_of_curves(search):
    def function(params, trial):
        for step in trial.steps():
            trial.report(loss=math.nan if step == 2 else float(step))

    course = Course.of(search(function, {'x': spaces.uniform(0, 1)}, max_tasks=1, max_steps=3))
    assert [steps.tolist() for steps, _ in course.curves.values()] == [[1.0, 3.0]]
