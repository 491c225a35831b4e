"""Still and interactive pictures: what is drawn, read back from them."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shadho import ComputeClass, report, spaces
from shadho.backends import Simulated
from shadho.errors import ConfigurationError
from shadho.records import TrialState
from shadho.report import interactive
from shadho.report.classes import sum_up_classes
from shadho.report.course import Course
from shadho.report.forecasts import forecasts
from shadho.report.parallel import lay_axes
from shadho.report.parameters import pairs
from shadho.report.plan import plan_cluster
from shadho.report.surface import smooth
from shadho.report.ticks import round_ticks
from shadho.report.timeline import lay_out
from shadho.report.trees import sum_up_trees

# Learning curves, which these searches have none of, are in test_curves.py.
STILL = [getattr(report, name) for name in report.__all__ if name.startswith('plot_') and name != 'plot_curves']
INTERACTIVE = [getattr(interactive, name) for name in interactive.__all__ if name != 'curves']
NEEDS_MORE = ('importance', 'slice', 'contour', 'rank')


def the_loss(params):
    """Return a loss that is best at C = 10 in 'poly'; a large one fails, a very small one is infinite."""
    [(kind, own)] = params.items()
    if own['C'] > 700:
        raise ValueError(f'C={own["C"]} is too large')
    if own['C'] < 0.002:
        return math.inf
    return 0.1 + abs(math.log10(own['C']) - 1) + (kind == 'linear')


def names(course):
    return [own.name for own in course.parameters]


def parameter(course, name):
    return next(own for own in course.parameters if own.name == name)


# --- parameters --------------------------------------------------------------------------------


def test_a_parameter_has_its_values_where_it_is_active(search, kernels):
    course = Course.of(search(the_loss, kernels, max_tasks=30))
    assert names(course) == ['linear.C', 'linear.loss', 'poly.C', 'poly.degree', 'poly.shift']
    for trial, value in zip(course.trials, parameter(course, 'poly.degree').values):
        assert value == trial.params['poly']['degree'] if 'poly' in trial.params else np.isnan(value)


def test_axes_are_logarithmic_where_the_domain_is(search):
    space = {'a': spaces.log2_randint(0, 8), 'b': spaces.uniform(1, 1000), 'c': [1, 10, 100, 1000], 'd': [1, 2, 3]}
    course = Course.of(search(lambda params: 1.0, space, max_tasks=40))
    assert [own.log for own in course.parameters] == [True, False, True, False]


def test_categories_keep_their_order_in_the_space(search):
    space = {'kind': ['z', 'a', True, 3, None]}
    course = Course.of(search(lambda params: 1.0, space, max_tasks=60))
    assert course.parameters[0].labels == ('z', 'a', 'True', '3', 'None')


def test_numbers_that_no_float_holds_are_categories(search):
    course = Course.of(search(lambda params: 1.0, {'n': [10**400, 2 * 10**400]}, max_tasks=20))
    assert [label[:3] for label in course.parameters[0].labels] == ['100', '200']


def test_pairs_are_numbers_that_vary_together(search, kernels):
    course = Course.of(search(the_loss, kernels, max_tasks=60))
    found = [(one.name, other.name) for one, other in pairs(course.parameters, course.is_finite)]
    assert found == [('poly.C', 'poly.degree'), ('poly.C', 'poly.shift'), ('poly.degree', 'poly.shift')]


@pytest.mark.parametrize(
    ('low', 'high', 'log', 'expected'),
    [
        (0, 1, False, ['0', '0.2', '0.4', '0.6', '0.8', '1']),
        (-7, 12, False, ['-5', '0', '5', '10']),
        (-6.5, 2.2, True, ['1e-06', '0.0001', '0.01', '1', '100']),
        (3, 3, False, ['3']),
    ],
)
def test_ticks_are_round_numbers(low, high, log, expected):
    assert [label for _, label in round_ticks(low, high, log)] == expected


# --- what is summed up -------------------------------------------------------------------------


def test_trees_are_summed_up_the_best_first(search, kernels):
    result = search(the_loss, kernels, max_tasks=80)
    found = sum_up_trees(Course.of(result))
    assert [own.label for own in found] == ['poly', 'linear']
    assert found[0].best == result.best.loss
    assert sum(own.trials for own in found) == 80
    assert sum(own.failed for own in found) == sum(trial.loss is None for trial in result) > 0
    assert all(np.isfinite(own.losses).all() for own in found)


def test_the_best_tree_has_the_greatest_loss_when_maximising(search, kernels):
    result = search(lambda params: float('poly' in params), kernels, max_tasks=30, direction='maximize')
    assert [(own.label, own.best) for own in sum_up_trees(Course.of(result))] == [('poly', 1.0), ('linear', 0.0)]


def times(course, spans, classes=None):
    """Return a course whose trials ran at some times, in some classes."""
    import attrs

    started, finished = (np.array(own, float) for own in zip(*spans))
    trials = [attrs.evolve(trial, seconds=end - begun) for trial, (begun, end) in zip(course.trials, spans)]
    return attrs.evolve(
        course, trials=trials, started=started, finished=finished,
        classes=np.array(classes or ['all'] * len(spans), object),
    )  # fmt: skip


def test_trials_that_ran_at_once_have_rows_of_their_own(search):
    course = Course.of(search(lambda params: 1.0, {'x': spaces.uniform(0, 1)}, max_tasks=5))
    plan = lay_out(times(course, [(0, 2), (0, 1), (1, 3), (2, 4), (2.5, 3)]))
    assert plan.rows.tolist() == [0, 1, 1, 0, 2]
    assert (plan.classes[0].rows, plan.classes[0].first, plan.count) == (3, 0, 3)


def test_classes_stand_below_each_other_with_their_share_of_busy_time(search):
    course = Course.of(search(lambda params: 1.0, {'x': spaces.uniform(0, 1)}, max_tasks=3))
    plan = lay_out(times(course, [(0, 10), (0, 5), (5, 10)], ['b', 'a', 'a']))
    assert [(own.name, own.first, own.rows, own.utilisation) for own in plan.classes] == [
        ('a', 0, 1, 1.0),
        ('b', 1, 1, 1.0),
    ]
    assert plan.rows.tolist() == [1, 0, 0]
    assert plan.classes[0].title == 'a\n1 slot, 100% busy'


def in_classes(course, *classes, states=()):
    """Return a course of these compute classes, with an attempt in the first of them for each state."""
    import attrs

    from shadho.report.log import EndedAttempt
    from shadho.result import ClassUse

    course.result.classes = [ClassUse(own) for own in classes]
    attempts = [EndedAttempt(900 + number, 0, classes[0].name, state, 0.0, 5.0) for number, state in enumerate(states)]
    return attrs.evolve(course, attempts=attempts)


def test_classes_stand_in_the_order_of_their_size_and_are_summed_up(search):
    course = Course.of(search(lambda params: 1.0, {'x': spaces.uniform(0, 1)}, max_tasks=3))
    course = in_classes(
        times(course, [(0, 10), (0, 4), (4, 10)], ['big', 'a', 'a']), ComputeClass('a', 2),
        ComputeClass('big', 1, resources={'cores': 8}), ComputeClass('gpu', 1, resources={'gpus': 1}), states=[TrialState.LOST],
    )  # fmt: skip
    found = sum_up_classes(course)
    assert [own.name for own in found] == ['gpu', 'big', 'a']
    assert [(own.slots, own.trials, own.done, own.lost) for own in found] == [(1, 0, 0, 0), (1, 1, 1, 0), (2, 2, 2, 1)]
    assert [own.seconds for own in found[1:]] == [10.0, 5.0]
    assert math.isnan(found[0].seconds)
    assert found[0].request == '1 core, 1 GPU'
    assert [own.name for own in lay_out(course).classes] == ['big', 'a']


def test_slots_that_wait_for_the_search_have_no_price(search, kernels):
    from shadho.result import ClassUse

    course = Course.of(cluster(search, kernels))
    known = forecasts(course)
    assert all(own.price > 0 for own in sum_up_classes(course, known))
    course.result.classes = [ClassUse(own, 100.0, 10.0, 99.0) for own in course.compute_classes.values()]
    assert all(math.isnan(own.price) and not own.is_bottleneck for own in sum_up_classes(course, known))


def test_attempts_that_brought_no_result_have_bars_of_their_own(search):
    course = Course.of(search(lambda params: 1.0, {'x': spaces.uniform(0, 1)}, max_tasks=2))
    course = in_classes(
        times(course, [(0, 2), (2, 9)]), ComputeClass('all', 3), states=[TrialState.LOST, TrialState.CANCELLED]
    )
    plan = lay_out(course)
    assert (plan.rows.tolist(), plan.attempts.tolist(), plan.count) == ([0, 0], [1, 2], 3)
    assert {'lost', 'cancelled'} <= {trace.name for trace in interactive.timeline(course).data}
    drawn = report.plot_timeline(course)
    assert {'lost', 'cancelled'} <= {own.get_text() for own in drawn.get_legend().get_texts()}


def cluster(search, kernels, **options):
    """Return a search on two simulated classes, of which one is twice as fast for 'poly' alone."""
    machines = [ComputeClass('fast', 4, {'cores': 2}), ComputeClass('slow', 8, {'cores': 1})]
    backend = Simulated(machines, lambda params, own: 100 / own.hardware.cores if 'poly' in params else 80)
    return search(the_loss, kernels, backend=backend, **{'max_tasks': 200, **options})


def test_trees_and_classes_are_a_map_of_seconds_and_of_trials(search, kernels):
    result = cluster(search, kernels)
    [seconds], [trials] = (interactive.placement(result, show).data for show in ('seconds', 'trials'))
    told = {
        tuple(names): text for names, text in zip(seconds.customdata.reshape(-1, 2).tolist(), np.ravel(seconds.text))
    }
    assert told == {('poly', 'fast'): '50', ('poly', 'slow'): '100', ('linear', 'fast'): '80', ('linear', 'slow'): '80'}
    assert sum(map(int, np.ravel(trials.text))) == 200


def test_a_map_has_the_trees_with_the_most_trials(search):
    space = {f'part{i}': {'exclusive': True, 'a': {}, 'b': {}} for i in range(40)}
    space['x'] = spaces.uniform(0, 1)
    result = search(lambda params: params['x'], space, max_tasks=120)
    [drawn] = interactive.placement(result, 'trials').data
    assert len(drawn.z) == 30 < len({trial.tree for trial in result})


def test_prices_follow_from_the_trials_and_end_as_a_plan_has_them(search, kernels):
    result = cluster(search, kernels)
    course = Course.of(result)
    found = forecasts(course)
    assert found.classes == ['slow', 'fast']
    planned = plan_cluster(result.storage, list(course.compute_classes.values()))
    assert found.prices[-1] == pytest.approx(planned.prices, rel=0.05)
    assert (np.diff(found.moments) >= 0).all()
    assert [own.is_bottleneck for own in sum_up_classes(course, found)] == [False, True]
    assert [trace.name for trace in interactive.prices(course, found).data] == ['slow', 'fast']


def test_trials_are_expected_to_take_what_those_before_them_took(search, kernels):
    course = Course.of(cluster(search, kernels))
    expected = forecasts(course).expected
    took = np.array([trial.seconds for trial in course.trials])
    assert np.isnan(expected[course.started < course.finished.min()]).all()
    late = (np.arange(len(course)) > 100) & ~course.failed
    assert expected[late] == pytest.approx(took[late], rel=0.25)
    assert [trace.name for trace in interactive.expected_seconds(course).data] == ['slow', 'fast', 'as expected']


@pytest.mark.parametrize('direction', ['minimize', 'maximize'])
def test_a_distribution_says_which_share_is_at_least_as_good(direction, search, kernels):
    result = search(the_loss, kernels, max_tasks=60, direction=direction)
    course = Course.of(result)
    last = interactive.distribution(course).data[-1]
    assert last.name == 'all trials'
    assert last.x[0] == pytest.approx(course.best_so_far()[1][-1])
    assert last.y[-1] == pytest.approx(course.is_finite.sum() / 60)
    better = np.sum(course.sign * course.losses[course.is_finite] <= course.sign * last.x[9] + 1e-6)
    assert last.y[9] == pytest.approx(better / 60)


def test_labels_of_trees_tell_the_best_ones_apart_and_nothing_that_all_share(search):
    space = {f'block{i}': {'exclusive': True, 'conv': {}, 'skip': {}} for i in range(30)}
    space['same'] = {'exclusive': True, 'only': {'x': spaces.uniform(0, 1)}}
    course = Course.of(search(lambda params: params['same']['only']['x'], space, max_tasks=80))
    best = course.best_of_trees()
    labels = [course.label(tree, 60) for tree in sorted(best, key=lambda tree: best[tree])[:20]]
    assert len(set(labels)) == 20
    assert max(map(len, labels)) <= 60
    assert not any('only' in label or 'block' in label for label in labels)


def test_a_surface_is_near_the_loss(search):
    space = {'a': spaces.uniform(0, 1), 'b': spaces.uniform(0, 1)}
    course = Course.of(search(lambda params: 1 + params['a'] if params['b'] < 0.4 else math.inf, space, max_tasks=400))
    surface = smooth(course, *course.parameters)
    inner = surface.z[5:-5, 5:-5]
    expected = np.broadcast_to(1 + surface.x, surface.z.shape)[5:-5, 5:-5]
    seen = np.isfinite(inner)
    assert seen.mean() > 0.9
    assert np.abs(inner - np.minimum(expected, surface.high))[seen].max() < 0.12


def test_a_surface_is_empty_far_from_all_trials(search):
    space = {'a': spaces.uniform(0, 1), 'b': spaces.uniform(0, 1)}
    course = Course.of(search(lambda params: 1.0 if abs(params['a'] - params['b']) < 0.2 else math.inf, space, max_tasks=400))  # fmt: skip
    surface = smooth(course, *course.parameters)
    assert np.isnan([surface.z[0, -1], surface.z[-1, 0]]).all()
    assert np.isfinite(np.diag(surface.z)[2:-2]).all()


def test_an_inactive_parameter_stands_at_the_foot_of_its_axis(search, kernels):
    course = Course.of(search(the_loss, kernels, max_tasks=40))
    axes = {axis.name: axis for axis in lay_axes(course)}
    assert list(axes)[:2] == ['loss', 'tree']
    linear = np.array(['linear' in trial.params for trial in course.trials])[course.is_finite]
    degree = axes['poly.degree']
    assert (degree.places[linear] == degree.range[0]).all()
    assert (degree.places[~linear] >= 0).all()
    assert degree.ticks[0] == (degree.range[0], '-')


# --- pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize('draw', [*STILL, *INTERACTIVE], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize('direction', ['minimize', 'maximize'])
def test_every_picture_can_be_drawn(draw, direction, search, kernels):
    drawn = draw(search(the_loss, kernels, max_tasks=40, direction=direction))
    if hasattr(drawn, 'figure'):
        drawn.figure.canvas.draw()
    else:
        assert drawn.data
        assert drawn.to_json()


def nothing(params):
    return 0.0


def fails(params):
    raise ValueError('no luck')


def is_infinite(params):
    return math.inf


SPARSE = {
    'empty': (nothing, {'timeout': 1e-9}),
    'one trial': (nothing, {'max_tasks': 1}),
    'all failed': (fails, {'max_tasks': 12}),
    'all infinite': (is_infinite, {'max_tasks': 12}),
    'all alike': (nothing, {'max_tasks': 8}),
}


@pytest.mark.parametrize('draw', [*STILL, *INTERACTIVE], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize('case', SPARSE)
def test_a_search_with_little_to_show_is_drawn_or_says_why_not(draw, case, search, kernels):
    objective, options = SPARSE[case]
    result = search(objective, kernels, **options)
    try:
        drawn = draw(result)
    except ConfigurationError as error:
        assert any(word in draw.__name__ for word in NEEDS_MORE)
        assert 'trial' in str(error)
    else:
        if hasattr(drawn, 'figure'):
            drawn.figure.canvas.draw()
        else:
            assert drawn.to_json()


EXTREME = {
    'diverged scores': (lambda number: -1e160 * number if number % 2 else -0.5, 'maximize'),
    'one far below': (lambda number: -1e160 if number == 3 else float(number), 'minimize'),
    'both ends': (lambda number: 1e308 * (-1) ** number, 'minimize'),
    'up to 1e280': (lambda number: 10.0 ** (number * 280 / 11), 'minimize'),
    'tiny': (lambda number: 1e-290 * (number + 1), 'minimize'),
}
EXTREME_SPACE = {'wide': spaces.log10_uniform(-300, 300), 'huge': spaces.uniform(0, 1e300), 'x': spaces.uniform(0, 1)}


@pytest.mark.parametrize('case', EXTREME)
def test_losses_and_domains_near_the_ends_of_a_float_are_drawn(case, search):
    loss, direction = EXTREME[case]
    numbers = itertools.count()
    course = Course.of(search(lambda params: loss(next(numbers)), EXTREME_SPACE, max_tasks=12, direction=direction))
    for draw in [*STILL, *INTERACTIVE]:
        drawn = draw(course)
        if hasattr(drawn, 'figure'):
            drawn.figure.canvas.draw()
            plt.close(drawn.figure)
        else:
            assert drawn.to_json()
    for name in ('wide', 'huge'):
        drawn = report.plot_slice(course, name)
        drawn.figure.canvas.draw()
        assert name in drawn.get_xlabel() != name
        plt.close(drawn.figure)
    assert 0 <= report.parameter_importance(course).shares.sum() <= 1
    assert report.to_html(course)


def test_losses_that_are_mostly_huge_are_drawn_in_a_unit(search):
    course = Course.of(search(lambda params: 1e200 * params['x'], {'x': spaces.uniform(1, 2)}, max_tasks=5))
    assert (course.unit, course.loss_name) == (1e200, 'loss / 1e+200')
    assert all(1 <= loss <= 2 for loss in course.losses)
    assert course.best_of_trees()[0] * course.unit == pytest.approx(course.result.best.loss)


def test_a_loss_far_beyond_all_others_stands_on_the_rim(search):
    course = Course.of(
        search(lambda params: -1e160 if params['n'] else 0.5, {'n': spaces.grid([0, 1])}, direction='maximize')
    )
    assert [course.is_finite.sum(), course.is_infinite.sum()] == [1, 1]


def test_pairs_of_many_parameters_are_found_without_going_through_all(search):
    course = Course.of(search(nothing, {f'x{number}': spaces.uniform(0, 1) for number in range(400)}, max_tasks=6))
    found = [(one.name, other.name) for one, other in itertools.islice(pairs(course.parameters, course.is_finite), 4)]
    assert found == [('x0', 'x1'), ('x0', 'x2'), ('x0', 'x3'), ('x1', 'x2')]


@pytest.mark.parametrize('draw', [*STILL, *INTERACTIVE], ids=lambda draw: draw.__name__)
def test_trees_with_numbers_beyond_any_machine_are_drawn(draw, search):
    space = {f'part{i}': {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {}} for i in range(70)}
    space['y'] = spaces.uniform(0, 1)
    space['z'] = spaces.uniform(0, 1)
    result = search(lambda params: params['y'], space, max_tasks=10)
    assert max(trial.tree for trial in result) > 2**64
    drawn = draw(result)
    if hasattr(drawn, 'figure'):
        drawn.figure.canvas.draw()
    else:
        assert drawn.to_json()


def test_both_kinds_of_parallel_coordinates_colour_lines_by_the_loss(search, kernels):
    result = search(the_loss, kernels, max_tasks=40)
    losses = sorted((own.loss for own in result if own.loss is not None and math.isfinite(own.loss)), reverse=True)
    [still] = report.plot_parallel_coordinates(result).collections
    [other] = interactive.parallel_coordinates(result).data
    assert still.get_array()[-10:].tolist() == pytest.approx(losses[-10:])  # the worst tenth share a colour
    assert other.line.color.tolist() == pytest.approx(losses)


def test_both_kinds_draw_the_same_slice(search, kernels):
    result = search(the_loss, kernels, max_tasks=40)
    ax, fig = report.plot_slice(result, 'poly.C'), interactive.slice(result, 'poly.C')
    still = next(line for line in ax.get_lines() if line.get_label() == 'poly')
    other = next(trace for trace in fig.data if trace.name == 'poly')
    assert other.x.tolist() == pytest.approx(still.get_xdata().tolist())
    assert other.y.tolist() == pytest.approx(still.get_ydata().tolist())
    assert other.marker.color == still.get_color()


def test_the_history_runs_over_time_or_trials(search, kernels):
    result = search(the_loss, kernels, max_tasks=40)
    best = interactive.history(result, over='trials').data[2]
    assert best.name == 'best so far'
    assert best.x[-1] == 40
    assert (np.diff(best.y) <= 0).all()
    assert interactive.history(result).layout.xaxis.title.text == 'seconds of search'


def test_a_parameter_that_no_trial_has_is_named_with_the_nearest(search, kernels):
    result = search(the_loss, kernels, max_tasks=12)
    with pytest.raises(ConfigurationError, match=r"no trial has a parameter 'poly.degre'; did you mean 'poly.degree'"):
        report.plot_slice(result, 'poly.degre')


def test_parameters_that_never_vary_together_have_no_contour(search, kernels):
    result = search(the_loss, kernels, max_tasks=40)
    with pytest.raises(ConfigurationError, match='linear.C and poly.C are not such'):
        report.plot_contour(result, 'linear.C', 'poly.C')


def test_a_contour_has_the_axes_that_were_asked_for(search, kernels):
    result = search(the_loss, kernels, max_tasks=40)
    ax = report.plot_contour(result, 'poly.shift', 'poly.C')
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ('poly.shift', 'poly.C', 'log')
    assert report.plot_contour(result, y='poly.shift').get_ylabel() == 'poly.shift'


@pytest.mark.parametrize('direction', ['minimize', 'maximize'])
def test_a_plot_of_ranks_colours_trials_by_their_order_whatever_the_outliers(search, direction):
    sign = 1 if direction == 'minimize' else -1
    space = {'x': spaces.uniform(0, 1), 'y': spaces.uniform(0, 1)}
    result = search(
        lambda params: sign * (1e9 if params['x'] > 0.9 else params['x']), space, max_tasks=30, direction=direction
    )
    fig = interactive.rank(result, 'x', 'y')
    (seen,) = fig.data
    order = np.argsort(seen.marker.color)
    assert sorted(seen.marker.color) == list(range(30))
    capped = np.minimum(np.array(seen.x)[order], 0.9)
    assert (np.diff(capped) >= 0).all()
    assert (fig.layout.xaxis.title.text, fig.layout.yaxis.title.text) == ('x', 'y')
    assert seen.marker.color[-1] == 0  # the best is drawn last


def test_bars_of_ten_thousand_trials_are_a_few_traces(search):
    course = Course.of(search(nothing, {'x': spaces.uniform(0, 1)}, max_tasks=10))
    import attrs

    many = attrs.evolve(
        course,
        trials=course.trials * 1000,
        **{name: np.tile(getattr(course, name), 1000) for name in ('ids', 'trees', 'classes', 'losses', 'failed')},
        started=np.arange(10_000.0),
        finished=np.arange(10_000.0) + 1.5,
    )
    fig = interactive.timeline(many)
    assert len(fig.data) == 2
    assert fig.data[1].type == 'scattergl'


@pytest.fixture
def crowd(search, kernels):
    """Return a thousand trials of each of ten, the best of all among them, of which one tree has few."""
    import attrs

    course = Course.of(search(the_loss, kernels, max_tasks=20))
    losses = np.where(
        np.isnan(course.losses), np.nan, np.tile(course.losses, 1000).reshape(1000, -1) + np.arange(1000)[:, None]
    )
    trees = np.full(20_000, course.trees[0], object)
    trees[np.flatnonzero(np.isfinite(losses.ravel()))[-50:]] = next(
        own for own in course.trees if own != course.trees[0]
    )
    return attrs.evolve(
        course,
        trials=course.trials * 1000,
        ids=np.arange(20_000),
        trees=trees,
        losses=losses.ravel(),
        **{name: np.tile(getattr(course, name), 1000) for name in ('classes', 'failed')},
        started=np.arange(20_000.0),
        finished=np.arange(20_000.0) + np.where(np.arange(20_000) == 777, 9.0, 0.5),
    )


def test_of_too_many_trials_the_best_of_each_tree_and_others_are_points(crowd):
    fig = interactive.history(crowd)
    drawn = {trace.name: np.array(trace.customdata) for trace in fig.data if trace.customdata is not None}
    few, many = sorted((rows for name, rows in drawn.items() if name not in ('failed', 'infinite loss')), key=len)
    assert (len(few), len(many)) == (50, interactive.MOST_POINTS - 50)
    assert int(np.nanargmin(np.where(np.isfinite(crowd.losses), crowd.losses, np.nan))) in many
    assert len(set(many)) == len(many)
    assert all(len(rows) <= interactive.MOST_POINTS for rows in drawn.values())


def test_of_too_many_trials_the_longest_and_the_best_have_bars(crowd):
    shown = np.array(interactive.timeline(crowd).data[-1].customdata)
    assert interactive.MOST_POINTS <= len(shown) <= interactive.MOST_POINTS + 1
    assert {777, int(np.nanargmin(np.where(np.isfinite(crowd.losses), crowd.losses, np.nan)))} <= set(shown.tolist())


def test_importing_the_reports_loads_no_library_that_draws():
    code = 'import sys, shadho.report.interactive, shadho.report.files; print(*sys.modules)'
    loaded = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert not {'matplotlib', 'plotly', 'sklearn', 'scipy'} & set(loaded)


def test_a_missing_library_is_named_with_the_command_that_installs_it(search, kernels, monkeypatch):
    result = search(the_loss, kernels, max_tasks=12)
    for module in ('plotly', 'plotly.graph_objects', 'sklearn.ensemble'):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match='plotly.*pip install plotly'):
        interactive.history(result)
    with pytest.raises(ConfigurationError, match='scikit-learn.*pip install scikit-learn'):
        report.parameter_importance(result)
