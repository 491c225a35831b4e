"""Learning curves, and what figures make of trials that were paused or stopped."""

from __future__ import annotations

import math

import matplotlib

matplotlib.use('Agg')

import numpy as np
import pytest

from shadho import ComputeClass, report, spaces
from shadho.backends import Simulated
from shadho.errors import ConfigurationError
from shadho.records import TrialState
from shadho.report import interactive
from shadho.report.classes import sum_up_classes
from shadho.report.course import Course
from shadho.report.curves import MOST_CURVES
from shadho.report.payload import payload
from shadho.report.rungs import colours_of_rungs, sum_up_rungs
from shadho.report.timeline import kinds

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


# --- losses that are compared, and rungs -------------------------------------------------------------


def test_figures_compare_losses_after_the_same_step(search):
    course = Course.of(search(objective, SPACE, **{**OPTIONS, 'max_tasks': 120}))
    compared = course.comparable
    reached = {row: losses[steps == 3][0] for row, (steps, losses) in course.curves.items() if 3 in steps}
    assert (course.rungs, compared.level, compared.comparable) == ((1, 3, 9), 3, compared)
    assert 20 <= len(compared) == len(reached) < 120
    assert compared.losses.tolist() == [reached[row] for row in sorted(reached)]
    assert compared.caption == f'The loss of each trial after step 3, which {len(reached)} of 120 trials have reached.'
    colours = {own.label: own.colour for own in course.groups()}
    assert all(colours[own.label] == own.colour for own in compared.groups())
    fig = interactive.slice(course, 'model.a.x')
    assert fig.layout.yaxis.title.text == 'loss after step 3'
    assert set(np.concatenate([trace.y for trace in fig.data])) <= set(compared.losses.astype(np.float32))
    assert report.parameter_importance(course).loss_name == 'loss after step 3'
    figures = payload(course)['figures']
    told = {name for name, found in figures.items() if compared.caption in found['thinned']}
    assert told == {'trees', 'distribution', 'importance', 'slice', 'contour', 'parallel'}


def test_where_few_have_come_to_the_second_rung_losses_after_the_first_are_compared(course):
    assert course.comparable.level == 1
    assert len(course.comparable) == 30


def test_trials_that_failed_or_ended_of_their_own_accord_are_compared_too(search):
    def odd(params, trial):
        if trial.id == 0:
            return 7.0
        for step in trial.steps():
            if trial.id == 1:
                raise ValueError('no')
            trial.report(loss=params['x'] + step)
        return None

    course = Course.of(search(odd, {'x': spaces.uniform(0, 1)}, **OPTIONS)).comparable
    found = dict(zip(course.ids.tolist(), course.losses.tolist()))
    assert (len(course), found[0], found[1], course.failed.sum()) == (30, 7.0, pytest.approx(math.nan, nan_ok=True), 1)


def test_without_rungs_all_trials_are_compared_by_their_last_loss(search):
    for options in ({'fidelity': 'full'}, {'fidelity': 'full', 'max_steps': None}):
        course = Course.of(search(lambda params: params['x'], {'x': spaces.uniform(0, 1)}, **{**OPTIONS, **options}))
        assert course.comparable is course
        assert (course.caption, course.loss_name, sum_up_rungs(course)) == ('', 'loss', [])


def test_the_timeline_tells_to_which_rung_each_attempt_ran(search):
    machines = [ComputeClass('fast', 2, {'cores': 2}), ComputeClass('slow', 4, {'cores': 1})]
    backend = Simulated(machines, lambda params, own: 90 / own.hardware.cores)
    course = Course.of(search(objective, SPACE, backend=backend, **OPTIONS))
    went_on = sum(own.state is TrialState.PAUSED for own in course.attempts)
    assert went_on > 0
    found = kinds(course)
    assert [own.label for own in found] == ['to step 1', 'to step 3', 'to step 9']
    assert len({own.colour for own in found}) == 3
    counts = [int(own.trials.sum() + own.attempts.sum()) for own in found]
    assert sum(counts) == 30 + went_on
    table = sum_up_rungs(course)
    assert [sum(own.attempts.values()) for own in table] == counts
    assert [own.reached for own in table] == [sum(trial.step >= step for trial in course.trials) for step in (1, 3, 9)]
    assert set(table[0].attempts) == {'fast', 'slow'}
    by_tree = kinds(course, 'tree')
    assert {own.label for own in by_tree} == {own.label for own in course.groups()}
    assert sum(int(own.trials.sum() + own.attempts.sum()) for own in by_tree) == 30 + went_on
    for by in ('rung', 'tree'):
        fig = interactive.timeline(course, by)
        assert [trace.name for trace in fig.data if trace.name] == [own.label for own in kinds(course, by)]
        assert sum(len(trace.customdata) for trace in fig.data if trace.customdata is not None) == 30 + went_on
        legend = report.plot_timeline(course, by=by).get_legend()
        assert [own.get_text() for own in legend.get_texts()] == [own.label for own in kinds(course, by)]
    data = payload(course)
    assert [own['name'] for own in data['figures']['timeline']['choices']] == ['rung', 'tree']
    assert data['rungs']['shown'][0][:2] == [1, 30]


@pytest.mark.parametrize('count', [1, 2, 3, 4, 5, 7, 12])
def test_rungs_have_colours_of_their_own_up_to_seven(count):
    colours = colours_of_rungs(count)
    assert (len(colours), len(set(colours))) == (count, min(count, 7))


def test_a_class_counts_the_seconds_of_the_attempts_that_ran_there(search):
    machines = [ComputeClass('fast', 2, {'cores': 2}), ComputeClass('slow', 4, {'cores': 1})]
    backend = Simulated(machines, lambda params, own: 90 / own.hardware.cores)
    course = Course.of(search(objective, SPACE, backend=backend, **OPTIONS))
    taken = {name: sum(course.seconds_in(name)) for name in ('fast', 'slow')}
    assert sum(taken.values()) == pytest.approx(sum(trial.seconds for trial in course.trials))
    for own in sum_up_classes(course):
        assert own.seconds == pytest.approx(taken[own.name] / len(course.seconds_in(own.name)))
