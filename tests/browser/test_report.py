"""The page of a search in a real browser."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from shadho import ComputeClass, Shadho, spaces
from shadho.backends import Simulated
from shadho.report import to_html

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>'
FIGURES = (
    'history', 'trees', 'distribution', 'importance', 'slice', 'contour', 'scatter', 'parallel', 'classes', 'prices', 'expected',
    'timeline',
)  # fmt: skip
SIZE = spaces.log10_uniform(-3, 3)
KERNELS = {
    'exclusive': True,
    'linear': {'C': SIZE},
    'rbf': {'C': SIZE, 'gamma': spaces.log10_uniform(-5, 1), 'kind': ['a', 'b']},
}
MACHINES = [ComputeClass('16-core', 4, {'cores': 16}), ComputeClass('4-core', 10, {'cores': 4})]


def the_loss(params):
    [(kernel, own)] = params.items()
    if own['C'] < 0.002:
        raise ValueError(f'C={own["C"]} is too small')
    return math.inf if own['C'] > 900 else 0.1 + abs(math.log10(own['C']) - 1) + (kernel == 'linear')


def seconds(params, compute_class):
    return 1600 / compute_class.hardware.cores if 'rbf' in params else 120


def run(objective, space, name='kernels', trials=120, **options):
    backend = Simulated(MACHINES, seconds)
    known = {'method': 'random', 'storage': None, 'display': False, 'seed': 0, 'backend': backend}
    return Shadho(name, objective, space, max_tasks=trials, **{**known, **options}).run()


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    """Write the pages of some searches once."""
    folder = tmp_path_factory.mktemp('pages')

    def write(name, result):
        (folder / f'{name}.html').write_text(to_html(result), encoding='utf-8')
        return SimpleNamespace(path=folder / f'{name}.html', result=result)

    evil = {'exclusive': True, EVIL: {EVIL: [EVIL, '<b>'], 'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(0, 1)}}

    def evil_loss(params):
        [(_, own)] = params.items()
        if own['x'] > 0.8:
            raise ValueError(EVIL)
        return {'loss': own['x'], EVIL: EVIL}

    def reporting(params, trial):
        [(_, own)] = params.items()
        for step in trial.steps():
            trial.report(loss=abs(math.log10(own['C']) - 1) + 1 / step)

    hostile = run(evil_loss, evil, backend='inline', trials=60)
    hostile.exp_key = EVIL
    return SimpleNamespace(
        usual=write('usual', run(the_loss, KERNELS)),
        hostile=write('hostile', hostile),
        empty=write('empty', run(the_loss, KERNELS, backend='inline', trials=None, timeout=1e-9)),
        failed=write('failed', run(lambda params: None, KERNELS, backend='inline', trials=20)),
        rungs=write('rungs', run(reporting, KERNELS, max_steps=9, fidelity='asha')),
        long=write('long', run(the_loss, KERNELS, trials=10_000)),
    )


def see(page, *figures):
    """Scroll to figures until they are drawn."""
    for name in figures:
        page.locator(f'#{name} .figure').scroll_into_view_if_needed()
        page.wait_for_selector(f'#{name} .figure[data-drawn]')


def column(page, number):
    return page.locator(f'#trials tbody tr td:nth-child({number})').all_inner_texts()


def press(page, title):
    page.locator('#trials th button', has_text=title).first.click()


def test_every_figure_is_drawn_when_it_comes_into_sight(show, pages):
    page = show(pages.usual.path)
    assert page.title() == 'kernels · SHADHO'
    see(page, *FIGURES)
    for name in FIGURES:
        box = page.locator(f'#{name} .figure svg.main-svg').first.bounding_box()
        assert box['width'] > 200
        assert box['height'] > 100
    assert page.locator('#history .scatterlayer path.js-line').count() == 1


def test_the_switch_draws_the_history_over_trials(show, pages):
    page = show(pages.usual.path)
    see(page, 'history')
    axis = page.locator('#history .xtitle')
    assert axis.text_content() == 'minutes of search'
    page.get_by_role('button', name='over trials').click()
    page.wait_for_selector('#history .figure[data-drawn=trials]')
    assert axis.text_content() == 'finished trials'
    assert page.get_by_role('button', name='over trials').get_attribute('aria-pressed') == 'true'


def test_a_slice_and_a_contour_can_be_chosen(show, pages):
    page = show(pages.usual.path)
    see(page, 'slice', 'contour')
    page.locator('#slice select').select_option('rbf.gamma')
    page.wait_for_selector('#slice .figure[data-drawn="rbf.gamma"]')
    assert page.locator('#slice .xtitle').text_content() == 'rbf.gamma'
    assert page.locator('#contour select').evaluate('list => list.options.length') == 1


def test_any_two_columns_are_drawn_in_the_colours_of_a_third(show, pages):
    page = show(pages.usual.path)
    see(page, 'scatter')
    assert page.locator('#scatter .xtitle').text_content() == 'rbf.C'
    ranks = page.evaluate('document.querySelector("#scatter .figure").data.at(-1).marker.color')
    assert (ranks[0], ranks[-1]) == (1, 0)  # the best of those that are drawn lies uppermost
    for place, name in enumerate(['seconds', 'loss', 'class']):
        page.locator('#scatter select').nth(place).select_option(name)
    page.wait_for_selector('#scatter .figure[data-drawn="seconds loss class"]')
    assert page.locator('#scatter .xtitle').text_content() == 'seconds'
    assert sorted(page.locator('#scatter .legendtext').all_text_contents()) == ['16-core', '4-core']


def test_the_loss_has_a_logarithmic_axis_on_demand_in_all_figures(show, pages):
    page = show(pages.usual.path)
    see(page, 'history', 'distribution')
    axes = '() => ["history", "distribution"].map((id) => document.querySelector(`#${id} .figure`).layout)'
    assert page.evaluate(f'({axes})().map((own, place) => own[["yaxis", "xaxis"][place]].type)') == ['linear', 'linear']
    page.locator('#history .log').click()
    page.wait_for_function(f'({axes})().every((own, place) => own[["yaxis", "xaxis"][place]].type === "log")')


def test_the_loss_stays_the_first_of_the_axes_where_not_all_fit(show, pages):
    page = show(pages.usual.path, width=400)
    see(page, 'parallel')
    titles = '() => document.querySelector("#parallel .figure").data[0].dimensions.map((own) => own.label)'
    first = page.evaluate(titles)
    page.locator('#parallel .next').click()
    page.wait_for_function(f'JSON.stringify(({titles})()) !== {json.dumps(json.dumps(first, separators=(",", ":")))}')
    assert (first[0], page.evaluate(titles)[0]) == ('loss', 'loss')


def test_classes_have_a_table_that_marks_the_bottleneck(show, pages):
    page = show(pages.usual.path)
    rows = page.locator('#classes table tr').all_inner_texts()
    assert [row.split('\t')[0].split('\n')[0].removesuffix('bottleneck') for row in rows[1:]] == ['4-core', '16-core']
    assert page.locator('#classes .mark').count() == 1


def test_the_timeline_has_the_colours_of_rungs_or_of_trees_and_a_table_of_rungs(show, pages):
    page = show(pages.rungs.path)
    see(page, 'timeline', 'slice')
    names = page.locator('#timeline .legendtext')
    assert names.all_text_contents() == ['to step 1', 'to step 3', 'to step 9']
    page.get_by_role('button', name='by tree').click()
    page.wait_for_selector('#timeline .figure[data-drawn=tree]')
    assert names.all_text_contents() == ['linear', 'rbf']
    rows = page.locator('#timeline tr').all_inner_texts()
    assert sorted(rows[0].split()) == ['16-core', '4-core', 'reached', 'rung']
    assert rows[1].split()[:3] == ['step', '1', '120']
    assert 'after step' in page.locator('#slice .thinned').inner_text()
    assert not show(pages.usual.path).locator('#timeline .rungs').is_visible()


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_printing_draws_all_figures_in_light_colours(scheme, show, pages):
    page = show(pages.usual.path, scheme=scheme)
    page.wait_for_selector('#trials tbody tr')
    page.evaluate('window.dispatchEvent(new Event("beforeprint"))')
    for name in FIGURES:
        page.wait_for_selector(f'#{name} .figure[data-drawn]')
    line = '() => document.querySelector("#history .scatterlayer path.js-line").style.stroke'
    assert page.evaluate(line) == 'rgb(51, 51, 51)'
    page.evaluate('window.dispatchEvent(new Event("afterprint"))')
    page.wait_for_function(f'({line})() === "{"rgb(51, 51, 51)" if scheme == "light" else "rgb(227, 229, 232)"}"')


def test_no_mode_bar_lies_over_the_legend_of_a_narrow_page(show, pages):
    page = show(pages.usual.path, width=390)
    see(page, 'history')
    page.locator('#history .figure').hover()
    assert page.locator('#history .modebar-btn').count() == 0


def test_words_for_colours_are_right_in_the_dark(show, pages):
    told = 'getComputedStyle(document.querySelector(".strongest"), "::before").content'
    assert show(pages.usual.path, scheme='dark').evaluate(told) == '"lightest"'
    assert show(pages.usual.path).evaluate(told) == '"darkest"'


def test_what_is_optimised_is_called_by_its_key_everywhere(show, pages, tmp_path):
    result = run(lambda params: {'accuracy': 1.0}, KERNELS, trials=12, direction='maximize', loss_key='accuracy')
    (tmp_path / 'accuracy.html').write_text(to_html(result), encoding='utf-8')
    page = show(tmp_path / 'accuracy.html')
    page.wait_for_selector('#trials tbody tr')
    assert 'loss' not in page.locator('body').inner_text().lower()


def test_the_table_is_sorted_by_any_column(show, pages):
    page = show(pages.usual.path)
    press(page, 'loss')
    losses = sorted(trial.loss for trial in pages.usual.result if trial.loss is not None)
    assert [float(text) for text in column(page, 3)] == pytest.approx(losses[:25], rel=1e-5)
    assert page.locator('#trials th[aria-sort=ascending]').inner_text().startswith('loss')
    press(page, 'loss')
    infinite = losses.count(math.inf)
    assert column(page, 3)[: infinite + 1] == ['inf'] * infinite + [f'{losses[-infinite - 1]:.6g}']


def test_the_table_is_searched_word_by_word(show, pages):
    page = show(pages.usual.path)
    page.get_by_role('searchbox').fill('rbf 4-core kind=b')
    found = [
        trial.id
        for trial in pages.usual.result
        if 'rbf' in trial.params and trial.compute_class == '4-core' and trial.params['rbf']['kind'] == 'b'
    ]
    assert page.locator('#trials .count').inner_text() == f'{len(found)} trials'
    assert [int(text) for text in column(page, 1)] == sorted(found)[:25]


def test_the_table_has_pages(show, pages):
    page = show(pages.usual.path)
    assert page.locator('#trials .place').inner_text() == 'page 1 of 5'
    page.get_by_role('button', name='Next').click()
    assert column(page, 1)[0] == '25'
    page.get_by_role('button', name='Previous').click()
    assert column(page, 1)[0] == '0'
    assert page.get_by_role('button', name='Previous').is_disabled()


def test_a_trial_that_failed_shows_its_traceback(show, pages):
    page = show(pages.usual.path)
    page.locator('#failures summary').first.click()
    assert 'is too small' in page.locator('#failures pre').first.inner_text()
    page.locator('#failures details').first.get_by_role('button').first.click()
    assert page.locator('#trials tr.open .failed').inner_text() == 'failed'
    assert 'Traceback' in page.locator('#trials .details pre').inner_text()


def test_clicking_a_point_opens_its_trial(show, pages):
    page = show(pages.usual.path)
    see(page, 'history')
    box = page.locator('#history .scatterlayer .trace .point').first.bounding_box()
    place = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    page.mouse.move(*place)
    page.wait_for_selector('#history .hoverlayer .hovertext')
    page.mouse.click(*place)
    page.wait_for_selector('#trials tr.open')
    assert page.locator('#trials .details dl').inner_text().startswith('trial')


def test_colours_follow_the_reader(show, pages):
    page = show(pages.usual.path, scheme='dark')
    see(page, 'history')
    drawn = '() => document.querySelector("#history .scatterlayer path.js-line").style.stroke'
    assert page.evaluate(drawn) == 'rgb(227, 229, 232)'
    page.emulate_media(color_scheme='light')
    page.wait_for_function(f'({drawn})() === "rgb(51, 51, 51)"')


@pytest.mark.parametrize('width', [400, 800, 1600])
def test_nothing_is_wider_than_the_screen(width, show, pages, tmp_path):
    page = show(pages.usual.path, width=width)
    see(page, *FIGURES)
    assert page.evaluate('document.documentElement.scrollWidth') == width
    picture = tmp_path / 'page.png'
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 50_000


def test_no_text_of_a_search_runs_or_becomes_an_element(show, pages):
    page = show(pages.hostile.path)
    see(page, *(name for name in FIGURES if name not in ('contour', 'prices')))  # no two of its numbers vary together
    assert page.locator('#title').inner_text() == EVIL
    page.locator('#failures summary').first.click()
    page.locator('#failures details').first.get_by_role('button').first.click()
    assert EVIL in page.locator('#trials .details pre').inner_text()
    page.locator('#slice select').select_option(index=1)
    page.get_by_role('searchbox').fill(EVIL)
    assert page.locator('img').count() == 0
    assert page.locator('script').count() == 4  # plotly's is inflated into one of its own
    assert '</script><script>alert(1)</script><img' in page.locator('#trees table').inner_text()


def test_the_policy_stops_what_would_get_in_nevertheless(browser, pages):
    page = browser.new_page()
    page.goto(pages.usual.path.as_uri())
    told = []
    page.on('console', lambda message: told.append(message.text))
    page.evaluate('() => { document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=document.title=1>"); }')
    page.wait_for_timeout(300)
    assert page.title() == 'kernels · SHADHO'
    assert any('Content Security Policy' in text for text in told)
    page.close()


@pytest.mark.parametrize('case', ['empty', 'failed'])
def test_a_search_with_little_to_show_says_what_is_missing(case, show, pages):
    page = show(getattr(pages, case).path)
    for name in ('trees', 'importance', 'contour', 'parallel'):
        page.locator(f'#{name}').scroll_into_view_if_needed()
        assert page.locator(f'#{name} .figure .note').inner_text() != ''
    assert page.locator('#trials tbody tr').count() == {'empty': 0, 'failed': 20}[case]


def test_several_searches_are_compared_on_one_page(show, pages, tmp_path):
    others = run(the_loss, KERNELS, name='others', trials=50)
    (tmp_path / 'both.html').write_text(to_html(pages.usual.result, others), encoding='utf-8')
    page = show(tmp_path / 'both.html')
    page.wait_for_selector('#history .figure[data-drawn]')
    assert page.title() == 'kernels, others · SHADHO'
    assert page.locator('#searches tr').count() == 3
    assert page.locator('#history .legendtext').all_text_contents() == ['kernels', 'others']
    page.get_by_role('button', name='over trials').click()
    page.wait_for_selector('#history .figure[data-drawn=trials]')
    assert page.locator('#history .xtitle').text_content() == 'finished trials'


def test_ten_thousand_trials_are_drawn_sorted_and_searched(show, pages):
    page = show(pages.long.path)
    see(page, *FIGURES)
    assert page.locator('#trials .count').inner_text() == '10,000 trials'
    assert page.locator('#trials tbody tr').count() == 25
    press(page, 'loss')
    assert float(column(page, 3)[0]) == pytest.approx(pages.long.result.best.loss, rel=1e-5)
    page.get_by_role('searchbox').fill('linear failed')
    failed = sum('linear' in trial.params and trial.loss is None for trial in pages.long.result)
    assert page.locator('#trials .count').inner_text() == f'{failed} trials'
    page.get_by_role('button', name='over trials').click()
    page.wait_for_selector('#history .figure[data-drawn=trials]')
    assert len(Path(pages.long.path).read_bytes()) < 5e6
