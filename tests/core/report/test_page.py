"""The page of a search as a file: what is in it, and what never may be."""

from __future__ import annotations

import base64
import hashlib
import html
import html.parser
import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from plotly.offline import get_plotlyjs

from shadho import Shadho, load_result, spaces
from shadho.cli import cli
from shadho.errors import ConfigurationError
from shadho.report import payload as payload_module
from shadho.report import to_html
from shadho.report.comparison import best_so_far, compare, distributions
from shadho.report.document import page
from shadho.report.payload import payload

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>&lt;%{x}{{plotly}}\u2028'


class Elements(html.parser.HTMLParser):
    """What a browser makes of a page: elements, and the texts of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.attributes = [], [], []
        self.in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.in_script = tag == 'script'
        if self.in_script:
            self.scripts.append('')

    def handle_endtag(self, tag):
        self.in_script = False

    def handle_data(self, data):
        if self.in_script:
            self.scripts[-1] += data


def inflated(text):
    """Return what stands deflated in a page."""
    return zlib.decompress(base64.b64decode(text)).decode()


@pytest.fixture
def recorded():
    """Leave a search with failures in ``small.db``."""

    def objective(params):
        if params['x'] > 0.8:
            raise ValueError(f'x={params["x"]} is too large')
        return math.inf if params['x'] < 0.1 else {'loss': params['x'], 'note': 'fine'}

    space = {'x': spaces.uniform(0, 1), 'kind': ['a', 'b']}
    return Shadho(
        'small', objective, space, max_tasks=30, backend='inline', display=False, seed=0, method='random'
    ).run()


@pytest.fixture
def hostile():
    """Return a search whose every text tries to run in the reader's browser."""

    def objective(params):
        if params[EVIL][EVIL] == EVIL:
            raise ValueError(EVIL)
        return {'loss': params[EVIL]['x'], EVIL: EVIL}

    space = {'exclusive': True, EVIL: {EVIL: [EVIL, 'tame'], 'x': spaces.uniform(1, 2)}, 'other': {EVIL: [EVIL]}}
    return Shadho('hostile', lambda params: objective({EVIL: {EVIL: EVIL}} if 'other' in params else params), space, max_tasks=40, backend='inline', storage=None, display=False, seed=0, method='random').run()  # fmt: skip


def test_the_payload_is_plain_json_that_says_all(recorded):
    data = json.loads(json.dumps(payload(load_result('small.db')), allow_nan=False))
    assert data['title'] == 'small'
    assert dict(data['facts'])['trials'] == '30'
    columns = {column['name']: data['arrays'][column['values']['$']] for column in data['trials']['columns']}
    trials = list(recorded)
    assert columns['trial'] == [trial.id for trial in trials]
    assert columns['loss'] == [
        'inf' if trial.loss == math.inf else trial.loss and float(f'{trial.loss:.6g}') for trial in trials
    ]
    assert columns['kind'] == [trial.params['kind'] for trial in trials]
    assert data['best']['trial'] == recorded.best.id
    [failure] = data['failures']['shown']
    assert failure['count'] == sum(trial.error is not None for trial in trials) == len(data['trials']['tracebacks'])
    assert 'is too large' in failure['traceback']


def test_what_is_optimised_is_called_by_its_key(search):
    result = search(
        lambda params: {'accuracy': params['x']}, {'x': spaces.grid([0.25, math.inf])}, max_tasks=2, loss_key='accuracy',
        direction='maximize',
    )  # fmt: skip
    data = payload(result)
    facts = [name for name, _ in data['facts']]
    assert (facts[0], 'infinite accuracy' in facts) == ('best accuracy', True)
    assert [column['name'] for column in data['trials']['columns']][2] == 'accuracy'
    assert 'loss' not in json.dumps(data['figures']['history'])


def test_columns_of_many_trials_are_packed_and_hold_the_same():
    space = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'kind': ['p', 'q']}}
    result = Shadho(
        'many', lambda params: params['a']['x'] if 'a' in params else 2.0, space, max_tasks=1200, backend='inline', storage=None,
        display=False, seed=0, method='random', policy='fcfs', repeats=1000,
    ).run()  # fmt: skip
    data = json.loads(json.dumps(payload(result)))
    columns = {own['name']: own['values'] for own in data['trials']['columns']}
    trials = list(result)
    assert columns['state'] == {'labels': ['done'], 'count': 1200}
    assert set(columns['a.x']) == {'known', 'values'}
    assert set(columns['b.kind']) == {'labels', 'codes'}
    assert [unpacked(columns['a.x'], data)[row] for row in (0, 1, -1)] == [
        float(f'{trials[row].params["a"]["x"]:.6g}') if 'a' in trials[row].params else None for row in (0, 1, -1)
    ]
    assert unpacked(columns['b.kind'], data) == [trial.params.get('b', {}).get('kind') for trial in trials]
    assert unpacked(data['trials']['results'], data) == [''] * 1200


def unpacked(value, data):
    """Return a column of the table, as the page reads it."""
    if isinstance(value, list):
        return value
    if '$' in value:
        return data['arrays'][value['$']]
    if 'count' in value:
        return value['labels'] * value['count']
    if 'labels' in value:
        return [unpacked(value['labels'], data)[place] for place in unpacked(value['codes'], data)]
    known = iter(unpacked(value['values'], data))
    return [next(known) if is_known else None for is_known in unpacked(value['known'], data)]


def test_every_result_is_a_column_of_numbers_or_texts(search):
    def objective(params):
        told = {'loss': params['x'], 'f1': 1 - params['x'], 'epochs': {'train': 3}, 'note': 'fine', 'seconds': 7}
        return told if params['x'] < 0.9 else {**told, 'note': 'last', 'extra': math.inf}

    data = payload(search(objective, {'x': spaces.uniform(0, 1)}, max_tasks=30))
    columns = {own['name']: own for own in data['trials']['columns']}
    assert [name for name in columns if name not in ('x', 'error')][7:] == [
        'f1', 'epochs.train', 'note', 'results.seconds', 'extra'
    ]  # fmt: skip
    assert [columns[name]['kind'] for name in ('f1', 'note', 'extra')] == ['number', 'text', 'number']
    f1, loss = (unpacked(columns[name]['values'], data) for name in ('f1', 'loss'))
    assert f1 == pytest.approx([1 - own for own in loss], abs=1e-5)
    assert set(unpacked(columns['extra']['values'], data)) == {None, 'inf'}


def test_results_that_have_no_column_are_told_of_a_trial(search, monkeypatch):
    monkeypatch.setattr(payload_module, '_RESULTS', 1)
    data = payload(search(lambda params: {'loss': 1.0, 'a': 2, 'b': 3}, {'x': spaces.uniform(0, 1)}, max_tasks=2))
    assert [own['name'] for own in data['trials']['columns']][-2:] == ['a', 'error']
    assert data['trials']['results'] == ['b=3', 'b=3']


def test_a_page_says_how_many_trees_it_does_not_list(search):
    space = {f'part{i}': {'exclusive': True, 'a': {}, 'b': {}} for i in range(40)}
    data = payload(search(lambda params: 1.0, space, max_tasks=80))
    assert len(data['trees']['shown']) == 20
    tried = dict(data['facts'])['trees tried'].partition(' ')[0]
    assert data['trees']['more'] == int(tried) - 20
    assert data['figures']['classes']['thinned'].endswith('the 30 with the most trials are drawn.')


def test_a_page_says_which_trials_its_figures_leave_out(recorded, monkeypatch):
    assert {own['thinned'] for own in payload(recorded)['figures'].values()} == {''}
    monkeypatch.setitem(payload_module._THINNED, 'history', (29, 'best'))
    assert payload(recorded)['figures']['history']['thinned'] == (
        'Of more than 29 trials, the best and some others are drawn; the table has all.'
    )


def test_long_columns_are_written_once(recorded):
    data = payload(recorded)
    texts = [json.dumps(item) for item in data['arrays']]
    assert len(set(texts)) == len(texts)
    shown = json.dumps(data['figures'])
    assert 'bdata' not in shown
    assert len(re.findall(r'\{"\$": \d+\}', shown)) > len(texts) / 2


def test_a_page_has_all_in_one_file_and_refers_to_nothing(recorded):
    text = to_html(load_result('small.db'))
    found = Elements(text)
    assert not {'link', 'iframe', 'object', 'base', 'img'} & set(found.tags)
    assert not {'src', 'srcset'} & set(found.attributes)
    assert len(found.scripts) == 3
    assert json.loads(inflated(found.scripts[0]))['title'] == 'small'
    assert inflated(found.scripts[1]) == get_plotlyjs()


def test_a_page_takes_half_of_what_is_in_it(recorded):
    assert len(to_html(recorded)) < 0.5 * len(get_plotlyjs())


def test_the_policy_of_a_page_lets_its_own_scripts_run_and_no_others(recorded):
    text = to_html(recorded)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    _, plotly, own = Elements(text).scripts
    scripts = inflated(plotly), own
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert policy.startswith("default-src 'none'; script-src " + ' '.join(f"'sha256-{own}'" for own in hashes) + ' ')
    assert 'http' not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_no_text_of_a_search_can_leave_its_place_in_the_page(hostile, recorded):
    hostile.exp_key = EVIL
    text, tame = to_html(hostile), to_html(recorded)
    found, expected = Elements(text), Elements(tame)
    assert found.tags == expected.tags
    assert found.scripts[1:] == expected.scripts[1:]
    data = json.loads(inflated(found.scripts[0]))
    assert data['title'] == EVIL
    assert data['failures']['shown'][0]['message'] == f'ValueError: {EVIL}'
    assert re.fullmatch(r'[A-Za-z0-9+/=]*', found.scripts[0])
    head, _, rest = text.partition(found.scripts[0])
    assert 'onerror=alert' not in (head + rest).replace(html.escape(EVIL), 'the title')


def test_texts_in_figures_are_escaped_for_plotly(hostile):
    data = payload(hostile)
    figures = json.dumps([data['figures'], [item for item in data['arrays'] if isinstance(item, dict)]])
    assert 'onerror' in figures
    titles = [choice['figure']['layout']['xaxis']['title']['text'] for choice in data['figures']['slice']['choices']]
    assert any('&lt;/script&gt;' in title for title in titles)
    for choice in data['figures']['slice']['choices']:
        assert '<img' not in json.dumps(choice['figure'])
        assert '%{x}{{' not in json.dumps(choice['figure'])


@pytest.mark.parametrize(
    ('objective', 'options', 'note'),
    [
        (lambda params: 0.0, {'timeout': 1e-9}, 'No trial is finished.'),
        (lambda params: None, {'max_tasks': 3}, None),
        (lambda params: math.inf, {'max_tasks': 3}, None),
        (lambda params: 0.0, {'max_tasks': 1}, None),
    ],
    ids=['empty', 'all failed', 'all infinite', 'one trial'],
)
def test_a_search_with_little_to_show_has_a_page_too(objective, options, note):
    space = {'x': spaces.uniform(0, 1), 'y': spaces.uniform(0, 1)}
    result = Shadho('little', objective, space, backend='inline', storage=None, display=False, **options).run()
    data = payload(result)
    assert json.loads(inflated(Elements(page(data)).scripts[0])) == json.loads(json.dumps(data))
    assert all(own['choices'] or own['note'] for own in data['figures'].values())
    assert note is None or data['figures']['history']['note'] == note


# --- the command -------------------------------------------------------------------------------


def report(*arguments):
    return CliRunner().invoke(cli, ['report', *arguments])


def test_the_command_writes_a_page_beside_the_search(recorded):
    done = report('small.db')
    assert (done.exit_code, done.output) == (0, 'small.html\n')
    assert Path('small.html').read_text(encoding='utf-8') == to_html(load_result('small.db'))


def test_the_command_writes_where_it_is_told_and_says_so_as_json(recorded):
    done = report('small.db', '--output', 'other.html', '--json')
    assert json.loads(done.output) == {'report': 'other.html'}
    assert Path('other.html').exists()
    assert not Path('small.html').exists()


def test_the_command_writes_pictures(recorded):
    done = report('small.db', '--png', '--json')
    assert done.exit_code == 0, done.output
    names = ['history', 'trees', 'importance', 'slice', 'parallel', 'timeline']  # one number has no contour
    assert json.loads(done.output) == {'pictures': [f'small-{name}.png' for name in names]}
    assert all(Path(f'small-{name}.png').read_bytes()[:4] == b'\x89PNG' for name in names)


def test_the_command_compares_several_searches_on_one_page(recorded):
    other = {'storage': 'other.db', 'method': 'sobol', 'max_tasks': 10}
    Shadho('other', lambda params: 0.5, {'x': spaces.uniform(0, 1)}, backend='inline', display=False, **other).run()
    done = report('small.db', 'other.db')
    assert (done.exit_code, done.output) == (0, 'comparison.html\n')
    found = Elements(Path('comparison.html').read_text(encoding='utf-8'))
    data = json.loads(inflated(found.scripts[0]))
    assert data['title'] == 'small, other'
    table = [dict(zip(data['table']['titles'], row)) for row in data['table']['rows']]
    assert [(row['search'], row['trials'], row['method'], row['policy']) for row in table] == [
        ('small', '30', 'random', 'market'),
        ('other', '10', 'sobol', 'market'),
    ]
    assert table[0]['failed'] == str(sum(trial.loss is None for trial in recorded))
    assert report('small.db', 'other.db', '--png').exit_code == 1
    assert report('small.db', 'other.db', '--output', 'other.db').exit_code == 1


def test_the_lines_of_a_comparison_end_at_the_best_loss_of_each(recorded, search):
    others = search(lambda params: 3 * params['x'], {'x': spaces.uniform(0, 1)}, max_tasks=5)
    over_time, over_trials = (best_so_far(compare([recorded, others]), over).data for over in ('time', 'trials'))
    for line, result in [*zip(over_time, [recorded, others]), *zip(over_trials, [recorded, others])]:
        assert line.y[-1] == pytest.approx(result.best.loss)
        assert (np.diff(line.y) <= 0).all()
    assert [line.x[-1] for line in over_trials] == [30, 5]
    drawn = distributions(compare([recorded, others])).data
    assert drawn[0].y[-1] == pytest.approx(sum(math.isfinite(own) for own in recorded.index.losses) / 30)


def test_searches_of_two_directions_are_not_compared(search):
    results = [search(lambda params: 1.0, {'x': spaces.uniform(0, 1)}, max_tasks=2, direction=own) for own in ('minimize', 'maximize')]  # fmt: skip
    with pytest.raises(ConfigurationError, match='some are minimised and some maximised'):
        to_html(*results)


def test_searches_of_one_name_are_told_apart_by_their_files():
    for path in ('one.db', 'two.db'):
        Shadho('same', lambda params: 1.0, {'x': [1, 2]}, backend='inline', display=False, storage=path).run()
    found = compare([load_result(path) for path in ('one.db', 'two.db')])
    assert [own.name for own in found] == ['same (one.db)', 'same (two.db)']


def test_a_report_is_never_written_over_the_search(recorded):
    before = Path('small.db').read_bytes()
    done = report('small.db', '--output', './small.db')
    assert done.exit_code == 1
    assert 'is the file of the search itself' in done.output
    assert Path('small.db').read_bytes() == before


def test_a_place_that_cannot_be_written_is_an_error_in_one_line(recorded):
    done = report('small.db', '--output', 'nowhere/small.html')
    assert done.exit_code == 1
    assert "the report cannot be written to 'nowhere/small.html': No such file or directory" in done.output


def test_a_missing_search_is_an_error_in_one_line():
    done = report('nothing.db')
    assert (done.exit_code, 'there is no file' in done.output) == (1, True)
