"""The picture of a search: what is drawn, read back from the artists."""

from __future__ import annotations

import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

matplotlib.use('Agg')

from matplotlib import pyplot as plt

from shadho import Shadho, spaces
from shadho.report import plot_history


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def search(objective, values, **options):
    """Run a search that visits each value once, and return its result."""
    space = values if isinstance(values, dict) else {'x': spaces.grid(values)}
    known = {'backend': 'inline', 'storage': None, 'display': False, 'seed': 0}
    return Shadho('history', objective, space, **{**known, **options}).run()


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def exclusive(count):
    return {'exclusive': True, **{f'tree{i:02}': {'x': spaces.grid([i + 1])} for i in range(count)}}


def place(params):
    """Return the one value of an exclusive space."""
    [inner] = params.values()
    return inner['x']


def fails(params):
    raise ValueError('no luck')


def test_each_trial_is_drawn_at_its_loss_and_the_time_of_its_completion():
    result = search(lambda params: params['x'], [3, 1, 2])
    trials = lines(plot_history(result))['trials']
    assert trials.get_ydata().tolist() == [trial.loss for trial in result]
    assert trials.get_xdata().tolist() == [trial.finished for trial in result]


def test_the_best_loss_so_far_is_a_step_line_to_the_end_of_the_search():
    result = search(lambda params: params['x'], [3, 1, 2])
    best = lines(plot_history(result))['best so far']
    losses = [trial.loss for trial in result]
    assert best.get_drawstyle() == 'steps-post'
    assert best.get_ydata().tolist() == [*np.minimum.accumulate(losses), 1.0]
    assert best.get_xdata()[-1] == result.elapsed


def test_the_best_so_far_rises_when_maximising():
    result = search(lambda params: params['x'], [3, 1, 2], direction='maximize')
    ax = plot_history(result)
    losses = [trial.loss for trial in result]
    assert lines(ax)['best so far'].get_ydata().tolist() == [*np.maximum.accumulate(losses), 3.0]
    assert ax.get_ylabel() == 'score (maximised)'


def test_trees_have_colours_of_their_own_and_their_labels_stand_in_the_legend():
    ax = plot_history(search(place, exclusive(3)))
    assert legend(ax) == ['tree00', 'tree01', 'tree02', 'best so far']
    assert len({line.get_color() for line in ax.get_lines()}) == 4
    assert lines(ax)['tree01'].get_ydata().tolist() == [2.0]


def test_the_nine_best_of_many_trees_have_a_colour_and_the_others_share_one():
    ax = plot_history(search(lambda params: -place(params), exclusive(12)))
    assert legend(ax) == [*(f'tree{i:02}' for i in range(3, 12)), '3 other trees', 'best so far']
    assert sorted(lines(ax)['3 other trees'].get_ydata()) == [-3.0, -2.0, -1.0]


def test_a_tree_keeps_its_colour_when_losses_change():
    one, other = (
        lines(plot_history(search(lambda params, sign=sign: sign * place(params), exclusive(4)))) for sign in (1, -1)
    )
    assert one['tree02'].get_color() == other['tree02'].get_color()


def test_failed_trials_are_marks_on_the_upper_rim():
    result = search(lambda params: params['x'] if params['x'] > 1 else None, [3, 1, 2])
    ax = plot_history(result)
    failed = lines(ax)['failed']
    assert failed.get_ydata().tolist() == [1.0]
    assert failed.get_transform() == ax.get_xaxis_transform()
    assert failed.get_xdata().tolist() == [trial.finished for trial in result if trial.loss is None]
    assert sorted(lines(ax)['trials'].get_ydata()) == [2.0, 3.0]


def test_infinite_losses_are_other_marks_on_the_upper_rim():
    ax = plot_history(search(lambda params: math.inf if params['x'] == 1 else params['x'], [3, 1, 2]))
    assert len(lines(ax)['infinite loss'].get_xdata()) == 1
    assert 'failed' not in lines(ax)
    assert np.isfinite(lines(ax)['best so far'].get_ydata()).all()


def test_a_search_without_trials_is_an_empty_picture():
    ax = plot_history(search(lambda params: 0.0, {'x': spaces.uniform(0, 1)}, timeout=1e-9))
    ax.figure.canvas.draw()
    assert ax.get_title(loc='left') == 'history: 0 trials, none done'
    assert ax.get_lines() == []


def test_a_search_with_failures_only_has_marks_and_no_scale_of_losses():
    ax = plot_history(search(fails, [1, 2]))
    ax.figure.canvas.draw()
    assert legend(ax) == ['failed']
    assert ax.get_yticks().tolist() == []


@pytest.mark.parametrize(
    ('losses', 'scale'),
    [([1, 10, 101], 'log'), ([1, 10, 100], 'linear'), ([0, 10, 1000], 'linear'), ([-1, 1000], 'linear')],
)
def test_the_scale_is_logarithmic_when_positive_losses_span_more_than_two_decades(losses, scale):
    assert plot_history(search(lambda params: params['x'], losses)).get_yscale() == scale


def test_the_scale_can_be_chosen():
    result = search(lambda params: params['x'], [1, 2])
    assert plot_history(result, log=True).get_yscale() == 'log'
    result = search(lambda params: params['x'], [1, 1000])
    assert plot_history(result, log=False).get_yscale() == 'linear'


def test_a_logarithmic_scale_of_few_decades_has_enough_labels_to_read_a_loss():
    ax = plot_history(search(lambda params: params['x'], [0.06, 0.9]), log=True)
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    shown = [label.get_text() for label in ax.get_yticklabels() if low <= label.get_position()[1] <= high]
    assert shown == ['0.1', '0.2', '0.5', '1']


@pytest.mark.parametrize(
    ('elapsed', 'unit', 'end'),
    [(90.0, 'seconds', 90.0), (180.0, 'minutes', 3.0), (10_800.0, 'hours', 3.0), (259_200.0, 'days', 3.0)],
)
def test_time_is_in_a_unit_that_is_easy_to_read(elapsed, unit, end):
    result = search(lambda params: 1.0, [1])
    result.elapsed = elapsed
    ax = plot_history(result)
    assert ax.get_xlabel() == f'{unit} of search'
    assert lines(ax)['best so far'].get_xdata()[-1] == end


def test_it_draws_into_axes_that_are_given():
    figure, (left, right) = plt.subplots(ncols=2)
    assert plot_history(search(lambda params: 1.0, [1]), right) is right
    assert plt.get_fignums() == [figure.number]
    assert left.get_lines() == []


def test_the_title_names_the_search_its_trials_and_the_best_loss():
    ax = plot_history(search(lambda params: 0.25, [1]))
    assert ax.get_title(loc='left') == 'history: 1 trial, best loss 0.25'


def test_labels_of_trees_are_shown_as_they_are():
    space = {'exclusive': True, '_hidden': {'x': spaces.grid([1])}, '$x$ $': {'x': spaces.grid([2])}, 'l' * 50: {}}
    ax = plot_history(search(lambda params: 1.0, space))
    ax.figure.canvas.draw()
    assert [text.strip() for text in legend(ax)] == ['_hidden', '$x$ $', 'l' * 35 + '…', 'best so far']


def test_matplotlib_is_imported_only_when_something_is_drawn():
    code = 'import sys, shadho.report; assert "matplotlib" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)
